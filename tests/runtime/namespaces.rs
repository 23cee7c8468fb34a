//! Namespaces by path and made anew, what belongs to whom, and id maps.

use std::fs;

use e2e::bundle::Bundle;
use e2e::{World, needs, program};
use serde_json::{Value, json};

use super::lifecycle::create;

const KINDS: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
    ("time", "time"),
    ("user", "user"),
];

fn map(host: u32, size: u32) -> Value {
    json!([{"containerID": 0, "hostID": host, "size": size}])
}

fn open_to(w: &World, b: &Bundle, uid: u32) {
    w.cmd("chown").arg("-hR").arg(format!("{uid}:{uid}")).arg(b.rootfs("")).run().ok();
    w.cmd("chmod").arg("755").arg(w.path("")).run().ok();
}

fn in_users(w: &World, b: Bundle) -> Bundle {
    open_to(w, &b, 100_000);
    let b = b.and("/linux/namespaces", json!({"type": "user"}));
    b.with("/linux/uidMappings", map(100_000, 65536))
        .with("/linux/gidMappings", map(100_000, 65536))
}

fn pid(w: &World, b: &Bundle) -> u64 {
    w.runtime(["state", b.id()]).ok().json()["pid"].as_u64().unwrap()
}

/// A container with all eight, asleep.
fn asleep(w: &World) -> (Bundle, u64) {
    let b = in_users(w, w.bundle("first", &["sleep", "1000"]));
    let b = b.and("/linux/namespaces", json!({"type": "time"}));
    create(w, &b);
    w.runtime(["start", b.id()]).ok();
    let pid = pid(w, &b);
    (b, pid)
}

fn look(kinds: &[&str]) -> String {
    let all = kinds.join(" ");
    format!("for n in {all}; do readlink /proc/self/ns/$n; done")
}

#[test]
fn all_eight_are_joined_by_path() {
    needs!(FullKernel);
    let w = World::new();
    let (first, pid) = asleep(&w);
    let names: Vec<&str> = KINDS.iter().map(|(_, file)| *file).filter(|f| *f != "mnt").collect();
    let b = w.bundle("second", &["sh", "-c", &look(&names)]);
    open_to(&w, &b, 100_000);
    let paths: Vec<Value> = KINDS
        .iter()
        .filter(|(word, _)| *word != "mount")
        .map(|(word, file)| json!({"type": word, "path": format!("/proc/{pid}/ns/{file}")}))
        .chain([json!({"type": "mount"})])
        .collect();
    let b = b.with("/linux/namespaces", paths.into());
    let inside = w.runtime(["run", "-b", b.path(), b.id()]).ok().lines();
    for (file, inside) in names.iter().zip(inside) {
        let real = fs::read_link(format!("/proc/{pid}/ns/{file}")).unwrap();
        assert_eq!(inside, real.to_string_lossy(), "{file}");
    }
    w.runtime(["delete", "--force", first.id()]).ok();
}

#[test]
fn joined_user_namespace_owns_the_new_ones() {
    needs!(FullKernel);
    let w = World::new();
    let (first, pid) = asleep(&w);
    // A host name of its own takes privilege over the owner of the uts namespace, and so on.
    let script = "hostname; ip link show lo | grep -c UP; cat /proc/self/timens_offsets; id -u";
    let mut b = w.bundle("second", &["sh", "-c", script]);
    open_to(&w, &b, 100_000);
    let list = b.config["linux"]["namespaces"].as_array_mut().unwrap();
    list.push(json!({"type": "user", "path": format!("/proc/{pid}/ns/user")}));
    list.push(json!({"type": "time"}));
    let b = b.with("/linux/timeOffsets", json!({"monotonic": {"secs": 7881, "nanosecs": 5}}));
    let lines = w.runtime(["run", "-b", b.path(), b.id()]).ok().lines();
    let words: Vec<Vec<&str>> = lines.iter().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(
        words,
        [
            vec!["box"],
            vec!["1"],
            vec!["monotonic", "7881", "5"],
            vec!["boottime", "0", "0"],
            vec!["0"]
        ]
    );
    w.runtime(["delete", "--force", first.id()]).ok();
}

#[test]
fn new_user_namespace_beside_a_network_of_the_hosts() {
    needs!(ManyIds);
    let w = World::new();
    let mut b = in_users(&w, w.bundle("b", &["sh", "-c", &look(&["net", "user"])]));
    for n in b.config["linux"]["namespaces"].as_array_mut().unwrap() {
        if n["type"] == "network" {
            n["path"] = "/proc/self/ns/net".into();
        }
    }
    b.write();
    let lines = w.runtime(["run", "-b", b.path(), b.id()]).ok().lines();
    let ours = |file: &str| fs::read_link(format!("/proc/self/ns/{file}")).unwrap();
    assert_eq!(lines[0], ours("net").to_string_lossy());
    assert_ne!(lines[1], ours("user").to_string_lossy());
}

#[test]
fn user_and_time_namespace_and_exec_into_them() {
    needs!(FullKernel);
    let w = World::new();
    let b = in_users(&w, w.bundle("b", &["sleep", "1000"]));
    let b = b.and("/linux/namespaces", json!({"type": "time"}));
    let b =
        b.with("/linux/timeOffsets", json!({"boottime": {"secs": 1337, "nanosecs": 3_141_519}}));
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    let words = w.runtime(["exec", b.id(), "cat", "/proc/self/timens_offsets"]).ok().out();
    let words: Vec<&str> = words.split_whitespace().collect();
    assert_eq!(words, ["monotonic", "0", "0", "boottime", "1337", "3141519"]);
    w.runtime(["delete", "--force", b.id()]).ok();
}

#[test]
fn time_offsets_of_a_namespace_given_by_path_are_refused() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    let b = b.and("/linux/namespaces", json!({"type": "time", "path": "/proc/self/ns/time"}));
    w.runtime(["run", "-b", b.path(), b.id()]).ok();
    let b = b.with("/linux/timeOffsets", json!({"boottime": {"secs": 1}}));
    w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("/linux/timeOffsets");
}

#[test]
fn mount_namespace_given_by_path_is_joined() {
    needs!(Root);
    let w = World::new();
    let mut holder = w.cmd("unshare").args(["-m", "sleep", "1000"]).start();
    let ns = format!("/proc/{}/ns/mnt", holder.id());
    let ours = fs::read_link("/proc/self/ns/mnt").unwrap();
    while fs::read_link(&ns).unwrap() == ours {
        std::thread::yield_now();
    }
    let mut b = w.bundle("b", &["readlink", "/proc/self/ns/mnt"]);
    for n in b.config["linux"]["namespaces"].as_array_mut().unwrap() {
        if n["type"] == "mount" {
            n["path"] = ns.clone().into();
        }
    }
    b.write();
    let theirs = fs::read_link(&ns).unwrap();
    let done = w.runtime(["run", "-b", b.path(), b.id()]);
    holder.kill().unwrap();
    holder.wait().unwrap();
    done.ok().out_is(&theirs.to_string_lossy());
}

#[test]
fn path_must_be_of_a_namespace_of_that_type() {
    needs!(Root);
    let w = World::new();
    for (path, why) in [
        ("/proc/self/ns/net", "is a network namespace, not ipc"),
        ("/etc/passwd", "is not a namespace"),
        ("/no/such/file", "no such file"),
    ] {
        let b = w.bundle("b", &["true"]);
        let list = json!([{"type": "uts"}, {"type": "ipc", "path": path}, {"type": "mount"}]);
        let b = b.with("/linux/namespaces", list);
        let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
        done.err_has("/linux/namespaces/1/path").err_has(why);
        fs::remove_dir_all(b.dir()).unwrap();
    }
    let b = w.bundle("b", &["true"]).and("/linux/namespaces", json!({"type": "ipc"}));
    w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("listed twice");
}

#[test]
fn maps_beside_a_user_namespace_path_must_be_its_own() {
    needs!(FullKernel);
    let w = World::new();
    let (first, pid) = asleep(&w);
    let mut b = w.bundle("second", &["id", "-u"]);
    open_to(&w, &b, 100_000);
    let user = json!({"type": "user", "path": format!("/proc/{pid}/ns/user")});
    b.config["linux"]["namespaces"].as_array_mut().unwrap().push(user);
    let same = map(100_000, 65536);
    let b = b.with("/linux/uidMappings", same.clone()).with("/linux/gidMappings", same);
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("0");
    let b = b.with("/linux/gidMappings", map(5, 1));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).refused();
    done.err_has("/linux/gidMappings").err_has("you may only provide one");
    w.runtime(["delete", "--force", first.id()]).ok();
}

#[test]
fn maps_of_several_lines() {
    needs!(ManyIds);
    let w = World::new();
    let script =
        "awk '{print $1,$2,$3}' /proc/self/uid_map /proc/self/gid_map; stat -c %u:%g /mine";
    let b = in_users(&w, w.bundle("b", &["sh", "-c", script]));
    let lines = json!([{"containerID": 0, "hostID": 100_000, "size": 1000},
        {"containerID": 1000, "hostID": 5000, "size": 1}, {"containerID": 1001, "hostID": 201_000, "size": 9}]);
    let b = b.with("/linux/uidMappings", lines);
    fs::write(b.rootfs("mine"), "").unwrap();
    std::os::unix::fs::chown(b.rootfs("mine"), Some(5000), Some(100_007)).unwrap();
    let want = "0 100000 1000\n1000 5000 1\n1001 201000 9\n0 100000 65536\n1000:7";
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is(want);
}

#[test]
fn unprivileged_user_with_several_lines_asks_newuidmap() {
    needs!(ManyIds);
    let w = World::new();
    let script =
        "awk '{print $1,$2,$3}' /proc/self/uid_map /proc/self/gid_map; cat /proc/self/setgroups";
    let b = w.bundle("b", &["sh", "-c", script]);
    let lines = json!([{"containerID": 0, "hostID": 1000, "size": 1},
        {"containerID": 1, "hostID": 700_000, "size": 65535}]);
    let b = b.and("/linux/namespaces", json!({"type": "user"}));
    let b = b.with("/linux/uidMappings", lines.clone()).with("/linux/gidMappings", lines);
    let b = b.with("/linux/cgroupsPath", json!(null)).with("/linux/resources", json!({}));
    let copy = w.path("dhow-runtime");
    fs::copy(program("dhow-runtime"), &copy).unwrap();
    w.cmd("chown").args(["-R", "1000:1000"]).arg(w.path("")).run().ok();
    // Who may use which ids is the machine's: here it says so for this one case.
    for (name, line) in [
        ("subuid", "sailor:700000:65536\n"),
        ("subgid", "sailor:700000:65536\n"),
        ("passwd", "root:x:0:0::/:/bin/sh\nsailor:x:1000:1000::/:/bin/sh\n"),
    ] {
        fs::write(w.path(name), line).unwrap();
    }
    let dir = w.path("");
    let script = format!(
        "for n in subuid subgid passwd; do touch /etc/$n; mount --bind {}/$n /etc/$n || exit 1; done; exec \"$@\"",
        dir.display()
    );
    let user = [
        "unshare",
        "-m",
        "sh",
        "-c",
        &script,
        "sh",
        "setpriv",
        "--reuid=1000",
        "--regid=1000",
        "--clear-groups",
    ];
    let run = w.cmd(copy).arg("--root").arg(w.path("state")).env("XDG_RUNTIME_DIR", w.path("home"));
    let done = run.args(["run", "-b", b.path(), b.id()]).under(user).run().ok();
    let map = "0 1000 1\n1 700000 65535";
    assert_eq!(done.out(), format!("{map}\n{map}\nallow"));
}

#[test]
fn without_a_mount_namespace_the_mounts_are_the_callers() {
    needs!(Root);
    let w = World::new();
    let mut b = w.bundle(
        "b",
        &["sh", "-c", "readlink /proc/self/ns/mnt; ls /dev/null /in/config.json; touch /x 2>&1"],
    );
    let linux = b.config["linux"].as_object_mut().unwrap();
    linux.remove("maskedPaths");
    linux.remove("readonlyPaths");
    linux["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "mount");
    let b = b.with("/root/readonly", true.into());
    let b = b.and("/mounts", json!({"destination": "/in", "source": ".", "options": ["bind"]}));
    // Its caller is one whose mounts end with it.
    let count = "grep -c /bundle-b/rootfs /proc/self/mountinfo || true";
    let script = format!("readlink /proc/self/ns/mnt; \"$@\"; {count}");
    let under = ["unshare", "-m", "sh", "-c", &script, "sh"];
    let lines = w.runtime_cmd(["run", "-b", b.path(), b.id()]).under(under).run().ok().lines();
    assert_eq!(lines[0], lines[1]);
    assert_eq!(lines[2..4], ["/dev/null", "/in/config.json"]);
    assert!(lines[4].contains("Read-only"), "{lines:?}");
    // As with runc they stay; a start that fails leaves none.
    assert!(lines[5].parse::<u32>().unwrap() > 5, "{lines:?}");
    let b = b.with("/process/args", json!(["/no/such/program"]));
    let under = ["unshare", "-m", "sh", "-c", &script, "sh"];
    let done = w.runtime_cmd(["run", "-b", b.path(), b.id()]).under(under).run().ok();
    assert_eq!(done.lines().last().unwrap(), "0", "{done}");
    // However late it fails.
    let b = b.with("/process/args", json!(["true"]));
    let late = ["create", "-b", b.path(), "--pid-file", "/no/such/directory/pid", b.id()];
    let done = w.runtime_cmd(late).under(under).run().ok();
    assert_eq!(done.lines().last().unwrap(), "0", "{done}");
    let b = b.with("/hooks/startContainer", json!([{"path": "/bin/false"}]));
    let done = w.runtime_cmd(["run", "-b", b.path(), b.id()]).under(under).run().ok();
    assert_eq!(done.lines().last().unwrap(), "0", "{done}");
}

#[test]
fn new_user_namespace_without_maps_has_the_callers_ids() {
    needs!(Root, Linux(5, 12));
    let w = World::new();
    let dir = w.path("shown");
    fs::create_dir(&dir).unwrap();
    let b = w.bundle("b", &["sh", "-c", "cat /proc/self/uid_map; stat -c %u /in"]);
    let b = b.and("/linux/namespaces", json!({"type": "user"}));
    let b = b.and(
        "/mounts",
        json!({"destination": "/in", "source": dir, "options": ["bind", "rbind", "idmap"]}),
    );
    let done = w.runtime(["run", "-b", b.path(), b.id()]).ok();
    let words: Vec<String> = done.out().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["0", "0", "4294967295", "0"]);
    done.err_has("/linux/uidMappings: not set");
}
