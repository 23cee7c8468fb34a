//! Id-mapped mounts: the files of a bind are seen by other ids, for this mount alone.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;

use e2e::bundle::Bundle;
use e2e::{World, needs};
use serde_json::{Value, json};

use super::lifecycle::create;

/// A tree `name` with `foo` of 100:211 and `bar` of 101:222.
fn tree(w: &World, name: &str) -> PathBuf {
    let dir = w.path(name);
    fs::create_dir_all(&dir).unwrap();
    for (file, uid, gid) in [("foo", 100, 211), ("bar", 101, 222)] {
        fs::write(dir.join(file), "").unwrap();
        chown(dir.join(file), Some(uid), Some(gid)).unwrap();
    }
    dir
}

fn map(container: u32, host: u32, size: u32) -> Value {
    json!([{"containerID": container, "hostID": host, "size": size}])
}

/// A bundle that shows the owners of `paths`.
fn stat(w: &World, paths: &[&str]) -> Bundle {
    let mut args = vec!["stat", "-c", "%u:%g"];
    args.extend(paths);
    w.bundle("b", &args)
}

fn in_users(w: &World, b: Bundle) -> Bundle {
    w.cmd("chown").args(["-hR", "100000:100000"]).arg(b.rootfs("")).run().ok();
    w.cmd("chmod").arg("755").arg(w.path("")).run().ok();
    let b = b.and("/linux/namespaces", json!({"type": "user"}));
    b.with("/linux/uidMappings", map(0, 100_000, 65536))
        .with("/linux/gidMappings", map(0, 100_000, 65536))
}

fn run(w: &World, b: &Bundle) -> Vec<String> {
    w.runtime(["run", "-b", b.path(), b.id()]).ok().lines()
}

#[test]
fn maps_of_the_mount_decide_without_a_user_namespace() {
    needs!(Root, Linux(5, 12));
    let w = World::new();
    let dir = tree(&w, "one");
    let lines = json!([{"containerID": 100, "hostID": 1000, "size": 1},
        {"containerID": 101, "hostID": 2000, "size": 1}]);
    let b = stat(&w, &["/in/foo", "/in/bar", "/plain/foo"])
        .and(
            "/mounts",
            json!({"destination": "/in", "source": dir, "options": ["bind", "idmap"],
            "uidMappings": lines, "gidMappings": map(200, 5000, 100)}),
        )
        .and("/mounts", json!({"destination": "/plain", "source": dir, "options": ["bind"]}));
    assert_eq!(run(&w, &b), ["1000:5011", "2000:5022", "100:211"]);
}

#[test]
fn maps_alone_imply_idmap() {
    needs!(Root, Linux(5, 12));
    let w = World::new();
    let dir = tree(&w, "one");
    let b = stat(&w, &["/in/foo"]).and(
        "/mounts",
        json!({"destination": "/in", "source": dir, "options": ["bind"],
            "uidMappings": map(100, 7, 1), "gidMappings": map(211, 8, 1)}),
    );
    assert_eq!(run(&w, &b), ["7:8"]);
}

#[test]
fn an_idmapped_mount_in_a_user_namespace_is_written_as_its_root() {
    needs!(Root, Linux(5, 12));
    let w = World::new();
    let dir = tree(&w, "one");
    // Nobody but the host's root can go there: the runtime opens it.
    w.cmd("chmod").arg("700").arg(&dir).run().ok();
    chown(&dir, Some(0), Some(0)).unwrap();
    let b =
        w.bundle("b", &["sh", "-c", "stat -c %u:%g /in/foo; touch /in/new; stat -c %u:%g /in/new"]);
    let b = in_users(&w, b).and(
        "/mounts",
        json!({"destination": "/in", "source": dir, "options": ["bind", "idmap", "shared"],
            "uidMappings": map(0, 100_000, 65536), "gidMappings": map(0, 100_000, 65536)}),
    );
    assert_eq!(run(&w, &b), ["100:211", "0:0"]);
    assert_eq!(fs::metadata(dir.join("new")).unwrap().uid(), 0);
}

#[test]
fn idmap_without_maps_takes_those_of_the_user_namespace() {
    needs!(Root, Linux(5, 12));
    let w = World::new();
    let dir = tree(&w, "one");
    let b = in_users(&w, stat(&w, &["/in/foo", "/plain/foo"]))
        .and("/mounts", json!({"destination": "/in", "source": dir, "options": ["bind", "idmap"]}))
        .and("/mounts", json!({"destination": "/plain", "source": dir, "options": ["bind"]}));
    assert_eq!(run(&w, &b), ["100:211", "65534:65534"]);
}

#[test]
fn ridmap_reaches_the_mounts_below_and_idmap_does_not() {
    needs!(Root, Linux(5, 12));
    let w = World::new();
    let (top, below) = (tree(&w, "top"), tree(&w, "below"));
    fs::create_dir(top.join("sub")).unwrap();
    for (word, want) in [("idmap", "100:211"), ("ridmap", "1000:1011")] {
        let b = stat(&w, &["/in/foo", "/in/sub/foo"]).and(
            "/mounts",
            json!({"destination": "/in", "source": top, "options": ["rbind", word],
                "uidMappings": map(100, 1000, 10), "gidMappings": map(200, 1000, 100)}),
        );
        // In a mount namespace of its own: nothing of it stays.
        let script = format!(
            "mount --bind {} {} && exec \"$@\"",
            below.display(),
            top.join("sub").display()
        );
        let under = ["unshare", "-m", "sh", "-c", &script, "sh"];
        let done = w.runtime_cmd(["run", "-b", b.path(), b.id()]).under(under).run().ok();
        assert_eq!(done.lines(), ["1000:1011", want], "{word}");
        fs::remove_dir_all(b.dir()).unwrap();
    }
}

#[test]
fn source_that_an_earlier_mount_put_into_the_root_is_idmapped_too() {
    needs!(Root, Linux(5, 12));
    let w = World::new();
    let dir = tree(&w, "one");
    for users in [false, true] {
        let b = stat(&w, &["/again/foo"]);
        let b = if users { in_users(&w, b) } else { b };
        let inside = b.rootfs("mnt");
        let b = b
            .and("/mounts", json!({"destination": "/mnt", "source": dir, "options": ["bind"]}))
            .and(
                "/mounts",
                json!({"destination": "/again", "source": inside, "options": ["bind", "idmap"],
                "uidMappings": map(100, 100_500, 10), "gidMappings": map(211, 100_600, 10)}),
            );
        let want = if users { "500:600" } else { "100500:100600" };
        assert_eq!(run(&w, &b), [want], "users {users}");
        fs::remove_dir_all(b.dir()).unwrap();
    }
}

#[test]
fn user_namespace_that_is_joined_gives_its_maps() {
    needs!(Root, Linux(5, 12));
    let w = World::new();
    let dir = tree(&w, "one");
    let first = w.bundle("first", &["sleep", "60"]);
    let first = in_users(&w, first);
    create(&w, &first);
    let state = w.runtime(["state", first.id()]).ok().json();
    let mut b = stat(&w, &["/in/foo"])
        .and("/mounts", json!({"destination": "/in", "source": dir, "options": ["bind", "idmap"]}));
    w.cmd("chown").args(["-hR", "100000:100000"]).arg(b.rootfs("")).run().ok();
    let path = format!("/proc/{}/ns/user", state["pid"]);
    b.config["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "user", "path": path}));
    b.write();
    assert_eq!(run(&w, &b), ["100:211"]);
    w.runtime(["delete", "--force", first.id()]).ok();
}

/// Whoever makes the first process after others were joined is held up as soon as it has made it.
#[test]
fn bug_a_first_process_was_heard_before_its_number() {
    needs!(Root, Machine);
    let w = World::new();
    let first = in_users(&w, w.bundle("first", &["sleep", "60"]));
    create(&w, &first);
    let state = w.runtime(["state", first.id()]).ok().json();
    let mut b = w.bundle("b", &["echo", "said"]);
    w.cmd("chown").args(["-hR", "100000:100000"]).arg(b.rootfs("")).run().ok();
    let path = format!("/proc/{}/ns/user", state["pid"]);
    let user = json!({"type": "user", "path": path});
    b.config["linux"]["namespaces"].as_array_mut().unwrap().push(user);
    b.write();
    let slow = ["strace", "-f", "-o", "/dev/null", "-e", "trace=clone,clone3"];
    let slow = [&slow[..], &["-e", "inject=clone,clone3:delay_exit=500000"]].concat();
    let run = w.runtime_cmd(["run", "-b", b.path(), b.id()]).under(slow);
    run.run().ok().out_is("said");
    w.runtime(["delete", "--force", first.id()]).ok();
}

#[test]
fn what_can_not_be_idmapped_is_refused_by_its_place() {
    needs!(Root);
    let w = World::new();
    let dir = tree(&w, "one");
    let refused = |mount: Value, what: &str| {
        let b = w.bundle("b", &["true"]).and("/mounts", mount);
        w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has(what);
        fs::remove_dir_all(b.dir()).unwrap();
    };
    let own = map(0, 1, 1);
    refused(
        json!({"destination": "/x", "source": dir, "options": ["bind", "idmap"]}),
        "/mounts/7/uidMappings",
    );
    refused(
        json!({"destination": "/x", "source": dir, "options": ["bind"], "uidMappings": own}),
        "/mounts/7/gidMappings",
    );
    refused(
        json!({"destination": "/x", "type": "tmpfs", "source": "t", "options": ["idmap"],
        "uidMappings": own, "gidMappings": own}),
        "/mounts/7/options",
    );
    // procfs can't be id-mapped, and the kernel's answer names the mount.
    refused(
        json!({"destination": "/x", "source": "/proc", "options": ["bind"],
        "uidMappings": own, "gidMappings": own}),
        "MOUNT_ATTR_IDMAP",
    );
}
