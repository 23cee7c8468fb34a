//! /dev: the devices and links that every container has, and those that config.json adds.

use std::fs;

use e2e::bundle::Bundle;
use e2e::{World, needs};
use serde_json::{Value, json};

/// What it prints of each device: type, permissions, owner and number.
const STAT: &str = "stat -c '%n %F %a %u:%g %t:%T'";

fn run(w: &World, b: &Bundle) -> Vec<String> {
    w.runtime(["run", "-b", b.path(), b.id()]).ok().lines()
}

fn in_users(w: &World, b: Bundle) -> Bundle {
    w.cmd("chown").args(["-hR", "100000:100000"]).arg(b.rootfs("")).run().ok();
    w.cmd("chmod").arg("755").arg(w.path("")).run().ok();
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let b = b.and("/linux/namespaces", json!({"type": "user"}));
    b.with("/linux/uidMappings", map.clone()).with("/linux/gidMappings", map)
}

const DEFAULTS: [(&str, &str); 6] = [
    ("null", "1:3"),
    ("zero", "1:5"),
    ("full", "1:7"),
    ("random", "1:8"),
    ("urandom", "1:9"),
    ("tty", "5:0"),
];

#[test]
fn default_devices_and_links_are_there() {
    needs!(Root);
    let w = World::new();
    let names = DEFAULTS.map(|(name, _)| format!("/dev/{name}")).join(" ");
    let links = "for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done";
    let b = w.bundle("b", &["sh", "-c", &format!("{STAT} {names}; {links}")]);
    let lines = run(&w, &b);
    for ((name, number), line) in DEFAULTS.iter().zip(&lines) {
        assert_eq!(*line, format!("/dev/{name} character special file 666 0:0 {number}"));
    }
    let links =
        ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "pts/ptmx"];
    assert_eq!(lines[6..], links);
}

#[test]
fn in_a_user_namespace_the_default_devices_are_the_hosts() {
    needs!(Root);
    let w = World::new();
    let script = "for n in null zero full random urandom tty; do stat -c '%F %t:%T' /dev/$n; done; \
        echo x >/dev/null && grep -c ' /dev/null ' /proc/self/mounts";
    let b = in_users(&w, w.bundle("b", &["sh", "-c", script]));
    let lines = run(&w, &b);
    for ((_, number), line) in DEFAULTS.iter().zip(&lines) {
        assert_eq!(*line, format!("character special file {number}"));
    }
    assert_eq!(lines[6], "1");
}

#[test]
fn devices_of_every_type_have_the_mode_and_owner_asked_for() {
    needs!(Root);
    let w = World::new();
    let names = "/dev/char /dev/unbuffered /dev/block /elsewhere/pipe /dev/plain";
    let b = w.bundle("b", &["sh", "-c", &format!("{STAT} {names}")]);
    // 0o100640: the type's bits in fileMode say nothing.
    let b = b.with(
        "/linux/devices",
        json!([
            {"path": "/dev/char", "type": "c", "major": 10, "minor": 229, "fileMode": 0o100_640, "uid": 3, "gid": 4},
            {"path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 3, "fileMode": 0o4600},
            {"path": "/dev/block", "type": "b", "major": 7, "minor": 200, "fileMode": 0o660, "gid": 6},
            {"path": "/elsewhere/pipe", "type": "p", "fileMode": 0o622, "uid": 7},
            {"path": "/dev/plain", "type": "c", "major": 1, "minor": 5},
        ]),
    );
    let want = [
        "/dev/char character special file 640 3:4 a:e5",
        "/dev/unbuffered character special file 4600 0:0 1:3",
        "/dev/block block special file 660 0:6 7:c8",
        "/elsewhere/pipe fifo 622 7:0 0:0",
        "/dev/plain character special file 666 0:0 1:5",
    ];
    assert_eq!(run(&w, &b), want);
}

#[test]
fn device_that_replaces_a_default_one_is_the_configs() {
    needs!(Root);
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", &format!("{STAT} /dev/tty; readlink /dev/ptmx")]);
    let b = b.with(
        "/linux/devices",
        json!([{"path": "/dev/tty", "type": "c", "major": 5, "minor": 0, "fileMode": 0o600, "uid": 9},
            {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}]),
    );
    assert_eq!(run(&w, &b), ["/dev/tty character special file 600 9:0 5:0", "pts/ptmx"]);
}

#[test]
fn file_that_is_not_the_device_asked_for_is_an_error() {
    needs!(Root);
    let w = World::new();
    let device = |kind: &str, minor: u32| json!([{"path": "/there", "type": kind, "major": 1, "minor": minor}]);
    let refused = |devices: Value| {
        let b = w.bundle("b", &["true"]).with("/linux/devices", devices);
        w.cmd("mknod").arg(b.rootfs("there")).args(["c", "1", "3"]).run().ok();
        let done = w.runtime(["run", "-b", b.path(), b.id()]);
        fs::remove_dir_all(b.dir()).unwrap();
        done
    };
    refused(device("c", 3)).ok();
    refused(device("c", 5)).refused().err_has("/there").err_has("not the device asked for");
    refused(device("b", 3)).refused().err_has("/there");
    refused(json!([{"path": "/there", "type": "x"}])).refused().err_has("/linux/devices/0/type");
    refused(json!([{"path": "there", "type": "p"}])).refused().err_has("/linux/devices/0/path");
}

#[test]
fn in_a_user_namespace_a_device_has_the_mode_and_owner_asked_for_too() {
    // KERNEL: open_tree(2) of a mount that is nowhere.
    needs!(Root, Linux(6, 15));
    let w = World::new();
    let script = "stat -c '%n %F %a %u:%g %t:%T' /dev/mine /lost/too; head -c 2 /dev/mine | wc -c; \
        awk '$2 == \"/dev/mine\" {print $4}' /proc/self/mounts | cut -d, -f1-3";
    let b = in_users(&w, w.bundle("b", &["sh", "-c", script]));
    let b = b.with(
        "/linux/devices",
        json!([{"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o757, "uid": 10, "gid": 11},
            {"path": "/lost/too", "type": "b", "major": 7, "minor": 9, "fileMode": 0o640}]),
    );
    let want = [
        "/dev/mine character special file 757 10:11 1:5",
        "/lost/too block special file 640 0:0 7:9",
        "2",
        "rw,nosuid,noexec",
    ];
    assert_eq!(run(&w, &b), want);
}
