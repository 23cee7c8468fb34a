//! `mounts`: what is added to a running container, and removed from it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use e2e::bundle::Bundle;
use e2e::{Done, World, needs};
use serde_json::{Value, json};

use super::lifecycle::create;

fn running(w: &World, users: bool) -> Bundle {
    let b = w.bundle("b", &["sleep", "1000"]);
    let b = if users { super::options::users(w, b) } else { b };
    create(w, &b);
    w.runtime(["start", b.id()]).ok();
    b
}

fn change(w: &World, b: &Bundle, how: &str, list: &Value) -> Done {
    let file = w.path("list.json");
    fs::write(&file, list.to_string()).unwrap();
    w.runtime(["mounts", how, b.id(), file.to_str().unwrap()])
}

fn inside(w: &World, b: &Bundle, script: &str) -> Done {
    w.runtime(["exec", b.id(), "sh", "-c", script])
}

/// Where something is mounted, as the container sees it.
fn points(w: &World, b: &Bundle) -> Vec<String> {
    let table = inside(w, b, "cat /proc/self/mountinfo").ok();
    let point = |line: &String| line.split(' ').nth(4).unwrap().to_owned();
    table.lines().iter().map(point).collect()
}

fn end(w: &World, b: &Bundle) {
    w.runtime(["delete", "-f", b.id()]).ok();
}

fn bind(from: &Path, to: &str) -> Value {
    json!({"destination": to, "type": "bind", "source": from, "options": ["bind", "ro"]})
}

#[test]
fn binds_and_tmpfs_come_to_a_running_container_and_go() {
    needs!(Root);
    for users in [false, true] {
        let w = World::new();
        let dir = w.path("host");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("file"), "from the host\n").unwrap();
        let b = running(&w, users);
        let before = points(&w, &b);
        let list = json!([
            bind(&dir, "/in/dir"),
            bind(&dir.join("file"), "/in/one"),
            {"destination": "/in/tmpfs", "type": "tmpfs", "source": "tmpfs",
                "options": ["size=64k", "mode=750", "noexec"]},
        ]);
        change(&w, &b, "add", &list).ok();
        let script = "cat /in/dir/file /in/one; stat -c '%a %u' /in/tmpfs; \
            echo x >/in/tmpfs/x && echo wrote; echo x >/in/dir/no";
        let seen = inside(&w, &b, script).code(1);
        assert_eq!(seen.lines(), ["from the host", "from the host", "750 0", "wrote"], "{seen}");
        assert!(!dir.join("no").exists());
        change(&w, &b, "remove", &list).ok();
        assert_eq!(points(&w, &b), before);
        // The destination is enough, and the last one that was added goes first.
        change(&w, &b, "add", &list).ok();
        let below = json!([{"destination": "/in/tmpfs/below", "type": "tmpfs", "source": "t"}]);
        change(&w, &b, "add", &below).ok();
        let both = json!([{"destination": "/in/tmpfs"}, {"destination": "/in/tmpfs/below"}]);
        change(&w, &b, "remove", &both).ok();
        assert_eq!(points(&w, &b).len(), before.len() + 2);
        end(&w, &b);
        let left = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!left.contains(w.path("").to_str().unwrap()), "{left}");
    }
}

#[test]
fn of_a_list_that_fails_nothing_stays_added() {
    needs!(Root);
    let w = World::new();
    let dir = w.path("host");
    fs::create_dir(&dir).unwrap();
    let b = running(&w, false);
    let before = points(&w, &b);
    let tmpfs = json!({"destination": "/one", "type": "tmpfs", "source": "t"});
    for (last, words) in [
        (
            json!({"destination": "/two", "type": "tmpfs", "source": "t", "options": ["no=such"]}),
            "/two",
        ),
        (bind(&dir.join("none"), "/two"), "no such file"),
        (bind(&dir, "/proc/self"), "/mounts/2"),
        (json!({"destination": "/two", "type": "proc", "source": "proc"}), "binds and tmpfs"),
        (json!({"destination": "/two", "type": "sysfs", "source": "s"}), "binds and tmpfs"),
        (bind(&dir, "/"), "the root of a running container stays"),
        (bind(&b.rootfs("bin"), "/two"), "in the container's own root"),
    ] {
        let done = change(&w, &b, "add", &json!([tmpfs, bind(&dir, "/x"), last])).refused();
        done.err_has(words);
        assert_eq!(points(&w, &b), before, "{words}");
        change(&w, &b, "remove", &json!([tmpfs])).refused().err_has("nothing was added at /one");
    }
    end(&w, &b);
}

/// A container puts a link in the way of what is to be removed, to lay open what is masked.
#[test]
fn nothing_is_removed_that_was_not_added() {
    let w = World::new();
    let b = running(&w, false);
    let before = points(&w, &b);
    let list = json!([{"destination": "/in/keys", "type": "tmpfs", "source": "t"}]);
    change(&w, &b, "add", &list).ok();
    inside(&w, &b, "mv /in /out && ln -s /proc /in").ok();
    change(&w, &b, "remove", &list).refused().err_has("nothing was added at /in/keys");
    inside(&w, &b, "rm /in && ln -s /dev /in && mkdir /dev/keys").ok();
    change(&w, &b, "remove", &list).refused().err_has("nothing was added at /in/keys");
    for kept in ["/dev/shm", "/proc"] {
        let list = json!([{"destination": kept}]);
        change(&w, &b, "remove", &list).refused().err_has("nothing was added");
    }
    change(&w, &b, "remove", &json!([{"destination": "/out/keys"}])).ok();
    assert_eq!(points(&w, &b), before);
    end(&w, &b);
}

/// CVE: 2021-30465 and the like: a destination never leaves the container's root.
#[test]
fn a_link_as_destination_stays_in_the_root() {
    needs!(Root);
    let w = World::new();
    let (dir, out) = (w.path("host"), w.path("out"));
    fs::create_dir(&dir).unwrap();
    fs::create_dir(&out).unwrap();
    let b = running(&w, false);
    symlink(format!("../../../../..{}", out.display()), b.rootfs("way")).unwrap();
    symlink("/proc", b.rootfs("p")).unwrap();
    change(&w, &b, "add", &json!([bind(&dir, "/way/x")])).ok();
    assert!(fs::read_dir(&out).unwrap().next().is_none());
    assert!(points(&w, &b).contains(&format!("{}/x", out.display())));
    change(&w, &b, "add", &json!([bind(&dir, "/p/sys")])).refused().err_has("leads to /proc");
    end(&w, &b);
}

#[test]
fn what_the_container_mounts_below_does_not_reach_the_host() {
    needs!(Root);
    let w = World::new();
    let dir = w.path("host");
    fs::create_dir_all(dir.join("below")).unwrap();
    let script =
        format!("mount --bind {0} {0} && mount --make-shared {0} && exec \"$@\"", dir.display());
    let b = running(&w, false);
    let file = w.path("list.json");
    let list = json!([{"destination": "/in", "type": "bind", "source": dir, "options": ["rbind", "rshared"]}]);
    fs::write(&file, list.to_string()).unwrap();
    let look =
        "\"$@\" && nsenter -t $PID -m mount -t tmpfs t /in/below && cat /proc/self/mountinfo";
    let pid = w.runtime(["state", b.id()]).ok().json()["pid"].to_string();
    let add = w.runtime_cmd(["mounts", "add", b.id(), file.to_str().unwrap()]).env("PID", &pid);
    let under = ["unshare", "-m", "sh", "-c", &script, "sh", "sh", "-c", look, "sh"];
    let table = add.under(under).run().ok();
    assert!(!table.out().contains("/host/below"), "{table}");
    end(&w, &b);
}

#[test]
fn mounts_want_a_container_that_is_there_with_mounts_of_its_own() {
    let w = World::new();
    let list = json!([{"destination": "/in", "type": "tmpfs", "source": "t"}]);
    let b = w.bundle("b", &["true"]);
    change(&w, &b, "add", &list).refused().err_has("does not exist");
    w.runtime(["run", "--keep", "-b", b.path(), b.id()]).ok();
    change(&w, &b, "add", &list).refused().err_has("container not running");
    end(&w, &b);
    let b = running(&w, false);
    change(&w, &b, "add", &json!({"mounts": []})).refused().err_has("list.json");
    w.runtime(["mounts", "move", b.id(), "x"]).refused().err_has("one of add and remove");
    w.runtime(["pause", b.id()]).ok();
    change(&w, &b, "add", &list).ok();
    w.runtime(["resume", b.id()]).ok();
    change(&w, &b, "remove", &list).ok();
    end(&w, &b);
}
