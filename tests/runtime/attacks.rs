//! What has broken other runtimes, tried on this one. CVE numbers say where it was found.

use std::fs;
use std::os::unix::fs::symlink;

use e2e::{World, needs};
use nix::sys::statvfs::{FsFlags, statvfs};
use serde_json::json;

use super::lifecycle::create;

/// Opens the host's root as descriptor 7 and runs the rest with it.
const LEAK: [&str; 4] = ["sh", "-c", "exec 7</; exec \"$@\"", "sh"];

/// CVE-2024-21626: descriptor 7 is the host's root; whatever else is open may only lead to
/// directories inside.
#[test]
fn working_directory_through_a_descriptor_stays_inside_with_run() {
    let w = World::new();
    fs::write(w.path("marker"), "outside\n").unwrap();
    let marker = w.path("marker");
    let marker = format!("../../../..{}", marker.display());
    for fd in 3..16 {
        let b = w.bundle(&format!("b{fd}"), &["cat", &marker, &marker[12..]]);
        let b = b.with("/process/cwd", json!(format!("/proc/self/fd/{fd}")));
        let done = w.runtime_cmd(["run", "-b", b.path(), b.id()]).under(LEAK).run().refused();
        assert!(!done.out().contains("outside"), "descriptor {fd} leads out");
        if fd == 7 {
            let _ = done.err_has("cwd");
        }
    }
}

/// CVE-2024-21626.
#[test]
fn working_directory_through_a_descriptor_stays_inside_with_exec() {
    let w = World::new();
    let marker = w.path("marker");
    fs::write(&marker, "outside\n").unwrap();
    let marker = format!("../../../..{}", marker.display());
    let b = w.bundle("b", &["sleep", "100"]);
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    for fd in 3..16 {
        let cwd = format!("/proc/self/fd/{fd}");
        let exec = w.runtime_cmd(["exec", "--cwd", &cwd, b.id(), "cat", &marker, &marker[12..]]);
        let done = exec.under(LEAK).run().refused();
        assert!(!done.out().contains("outside"), "descriptor {fd} leads out");
    }
    w.runtime(["delete", "--force", b.id()]).ok();
}

/// CVE-2024-21626: the directory on the host that the root is a bind of has the root's inode, which
/// glibc's getcwd(3) takes for the root; its parent is the host's.
#[test]
fn bug_the_root_s_own_directory_on_the_host_passed_for_the_root() {
    let w = World::new();
    let sleeper = w.bundle("s", &["sleep", "100"]);
    create(&w, &sleeper);
    w.runtime(["start", sleeper.id()]).ok();
    let cwd = "/proc/self/fd/7";
    let b = w.bundle("b", &["ls", ".."]).with("/process/cwd", json!(cwd));
    let leak = |b: &e2e::bundle::Bundle| {
        let line = format!("exec 7<{}; exec \"$@\"", b.rootfs("").display());
        ["sh".to_owned(), "-c".to_owned(), line, "sh".to_owned()]
    };
    let run = w.runtime_cmd(["run", "-b", b.path(), b.id()]).under(leak(&b)).run();
    let exec = w.runtime_cmd(["exec", "--cwd", cwd, sleeper.id(), "ls", ".."]);
    for done in [run, exec.under(leak(&sleeper)).run()] {
        assert!(!done.refused().out().contains("config.json"));
    }
    w.runtime(["delete", "--force", sleeper.id()]).ok();
}

/// CVE-2019-5736.
#[test]
fn runtime_s_own_file_is_out_of_reach() {
    needs!(Root);
    let w = World::new();
    let b = w.bundle("b", &["/proc/self/exe", "--version"]);
    create(&w, &b);
    let state = w.runtime(["state", b.id()]).ok().json();
    let exe = format!("/proc/{}/exe", state["pid"]);
    assert!(statvfs(exe.as_str()).unwrap().flags().contains(FsFlags::ST_RDONLY));
    w.runtime(["delete", "--force", b.id()]).ok();
}

/// CVE-2025-31133: what masks a file is the null device, whatever the image calls so.
#[test]
fn null_device_of_the_image_masks_nothing() {
    let w = World::new();
    let dev = w.path("dev");
    fs::create_dir(&dev).unwrap();
    symlink("/proc/sys/kernel/core_pattern", dev.join("null")).unwrap();
    let b = w.bundle("b", &["stat", "-c", "%t:%T", "/proc/keys"]);
    let b = b.with(
        "/mounts",
        json!([
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "bind", "source": dev, "options": ["bind"]},
        ]),
    );
    let b = b.with("/linux/maskedPaths", json!(["/proc/keys"]));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("1:3");
}

/// CVE-2026-41579, CVE-2026-47766.
#[test]
fn dev_behind_a_link_stays_inside_the_root() {
    let w = World::new();
    let outside = w.path("outside");
    fs::create_dir(&outside).unwrap();
    let b = w.bundle("b", &["true"]);
    let _ = fs::remove_dir_all(b.rootfs("dev"));
    symlink(&outside, b.rootfs("dev")).unwrap();
    let b = b.with("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]));
    let _ = w.runtime(["run", "-b", b.path(), b.id()]);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "a device was made outside");
}

/// CVE-2019-19921, CVE-2025-52881: nothing may stand between us and procfs.
#[test]
fn mount_over_a_part_of_proc_is_refused() {
    let w = World::new();
    let from = w.path("from");
    fs::create_dir(&from).unwrap();
    for place in ["/proc/self/attr", "/proc/sys", "/proc/../proc/thread-self"] {
        let b = w.bundle(&place.replace('/', "-"), &["true"]);
        let b = b.and(
            "/mounts",
            json!({"destination": place, "type": "bind", "source": from, "options": ["bind"]}),
        );
        w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("/proc/");
    }
    let b = w.bundle("whole", &["true"]);
    let b = b.and(
        "/mounts",
        json!({"destination": "/proc", "type": "bind", "source": from, "options": ["bind"]}),
    );
    w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("/proc");
}

/// What waits for `start` can be looked into by a process with CAP_SYS_PTRACE that joins it.
#[test]
fn created_container_holds_nothing_of_the_host() {
    needs!(Root);
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    create(&w, &b);
    let pid = w.runtime(["state", b.id()]).ok().json()["pid"].as_i64().unwrap();
    let more: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten()
        .filter(|fd| fd.file_name().to_string_lossy().parse::<u32>().unwrap() > 2)
        .map(|fd| fs::read_link(fd.path()).unwrap().to_string_lossy().into_owned())
        .filter(|to| !to.starts_with("socket:") && !to.contains("/exec."))
        .collect();
    w.runtime(["delete", "--force", b.id()]).ok();
    assert_eq!(more, Vec::<String>::new());
}
