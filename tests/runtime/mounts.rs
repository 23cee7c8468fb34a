//! The root file system: mounts, devices, masked and read-only paths; all confined to it.

use std::fs;
use std::os::unix::fs::symlink;

use e2e::{World, needs};
use serde_json::json;

#[test]
fn read_only_root() {
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "touch /x 2>&1; touch /dev/shm/y && echo shm"]);
    let b = b.with("/root/readonly", true.into());
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_has("Read-only file system").out_has("shm");
}

#[test]
fn masked_paths_are_empty_and_read_only_paths_are_read_only() {
    let w = World::new();
    let script = "wc -c </secret; ls /hidden | wc -l; echo x 2>&1 >/kept/file";
    let b = w.bundle("b", &["sh", "-c", script]);
    fs::write(b.rootfs("secret"), "gold").unwrap();
    fs::create_dir(b.rootfs("hidden")).unwrap();
    fs::write(b.rootfs("hidden/file"), "gold").unwrap();
    fs::create_dir(b.rootfs("kept")).unwrap();
    let b = b.and("/linux/maskedPaths", "/secret".into());
    let b = b.and("/linux/maskedPaths", "/hidden".into());
    let b = b.and("/linux/maskedPaths", "/not/there".into());
    let b = b.and("/linux/readonlyPaths", "/kept".into());
    let done = w.runtime(["run", "-b", b.path(), b.id()]).code(1);
    assert_eq!(done.lines()[..2], ["0", "0"]);
    assert!(format!("{}{}", done.out(), done.err()).contains("Read-only file system"), "{done}");
}

/// What of many names isn't there is known by one look; a process is there that no look tells of.
#[test]
fn many_paths_of_a_procfs_are_masked_beside_those_that_it_has_not() {
    let w = World::new();
    let script = "wc -c </proc/keys; ls /proc/fs /proc/1 /proc/version 2>&1 | wc -l; \
        echo x 2>&1 >/proc/sys/kernel/domainname";
    let b = w.bundle("b", &["sh", "-c", script]);
    let names = ["/proc/no", "/proc/such", "/proc/name", "/proc/key", "/proc/keyss", "/proc/keys"];
    let masked = names.iter().chain(&["/proc/fs", "/proc/1"]);
    let b = b.with("/linux/maskedPaths", json!(masked.collect::<Vec<_>>()));
    let b = b.with("/linux/readonlyPaths", json!(["/proc/none", "/proc/sys"]));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).code(1);
    // The file, and two titles with a line before and nothing below.
    assert_eq!(done.lines()[..2], ["0", "5"], "{done}");
    assert!(format!("{}{}", done.out(), done.err()).contains("Read-only file system"), "{done}");
}

#[test]
fn bind_mounts_of_files_and_directories() {
    let w = World::new();
    let dir = w.path("host");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "from the host\n").unwrap();
    let script = "cat /in/dir/file /in/one; echo back >/in/dir/new; echo x >/ro/no 2>&1";
    let b = w.bundle("b", &["sh", "-c", script]);
    let bind = |to: &str, from: &std::path::Path, options: &[&str]| json!({"destination": to, "type": "bind", "source": from, "options": options});
    let b = b.and("/mounts", bind("/in/dir", &dir, &["rbind", "rprivate"]));
    let b = b.and("/mounts", bind("/in/one", &dir.join("file"), &["bind", "ro"]));
    let b = b.and("/mounts", bind("/ro", &dir, &["bind", "ro", "nosuid", "nodev", "noexec"]));
    let done = w.runtime(["run", "-b", b.path(), b.id()]).code(1);
    assert!(done.out().starts_with("from the host\nfrom the host"), "{done}");
    assert!(format!("{}{}", done.out(), done.err()).contains("Read-only file system"), "{done}");
    assert_eq!(fs::read_to_string(dir.join("new")).unwrap(), "back\n");
    assert!(!dir.join("no").exists());
}

#[test]
fn tmpfs_has_the_size_and_mode_asked_for() {
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "df -k /scratch | tail -1; stat -c %a /scratch"]);
    let scratch = json!({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs",
        "options": ["size=128k", "mode=1770", "nosuid"]});
    let b = b.and("/mounts", scratch);
    let lines = w.runtime(["run", "-b", b.path(), b.id()]).ok().lines();
    assert_eq!(lines[0].split_whitespace().nth(1), Some("128"));
    assert_eq!(lines[1], "1770");
}

#[test]
fn mount_point_behind_a_link_stays_inside_the_root() {
    let w = World::new();
    let outside = w.path("outside");
    fs::create_dir(&outside).unwrap();
    let b = w.bundle("b", &["cat", "/way/there/file"]);
    // In the image this link is absolute: it means the container's root, not the host's.
    symlink(&outside, b.rootfs("way")).unwrap();
    let from = w.path("from");
    fs::create_dir(&from).unwrap();
    fs::write(from.join("file"), "inside\n").unwrap();
    let b = b.and(
        "/mounts",
        json!({"destination": "/way/there", "type": "bind", "source": from, "options": ["bind"]}),
    );
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("inside");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "something was made outside the root");
}

#[test]
fn proc_behind_a_link_is_refused() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    fs::remove_dir(b.rootfs("proc")).unwrap();
    symlink("/tmp", b.rootfs("proc")).unwrap();
    w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("/proc");
}

#[test]
fn default_devices_work_and_extra_ones_are_made() {
    needs!(Root);
    let w = World::new();
    let script = "echo x >/dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c; \
        ls -l /dev/fd /dev/stdin /dev/ptmx | awk '{print $NF}'; ls -l /dev/extra | awk '{print $1,$3,$4,$5,$6}'";
    let b = w.bundle("b", &["sh", "-c", script]);
    let b = b.with(
        "/linux/devices",
        json!([{"path": "/dev/extra", "type": "c", "major": 1, "minor": 3,
        "fileMode": 0o640, "uid": 7, "gid": 8}]),
    );
    w.runtime(["run", "-b", b.path(), b.id()])
        .ok()
        .out_is("3\n5\n/proc/self/fd\npts/ptmx\n/proc/self/fd/0\ncrw-r----- 7 8 1, 3");
}

#[test]
fn device_that_is_not_allowed_cannot_be_opened() {
    needs!(Root);
    let w = World::new();
    // 1:11 is kmsg: not in the default list, so the device cgroup holds it back.
    let b = w.bundle("b", &["sh", "-c", "head -c1 /dev/held 2>&1 >/dev/null"]);
    let held =
        json!([{"path": "/dev/held", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]);
    let b = b.with("/linux/devices", held);
    let done = w.runtime(["run", "-b", b.path(), b.id()]).code(1);
    assert!(done.out().contains("not permitted"), "{done}");
}

#[test]
fn root_propagation_keeps_mounts_apart() {
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "cut -d' ' -f5,7- /proc/self/mountinfo | grep -c shared:"]);
    w.runtime(["run", "-b", b.path(), b.id()]).code(1).out_is("0");
}

#[test]
fn old_root_is_gone() {
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "awk '{print $4}' /proc/self/mountinfo | grep -c e2e"]);
    // Only the root itself comes from the host's disk.
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("1");
}
