//! What a hostile image, or a process inside, tries on the host through dhow.

use std::fs;
use std::os::unix::fs::PermissionsExt;

#[cfg(target_arch = "x86_64")]
use e2e::Cmd;
use e2e::{World, needs};

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

/// CVE: 2026-31431 needs an AF_ALG socket, and there are many ways to ask for one: by the
/// calls of 32-bit programs, and with bits that the kernel doesn't look at but a filter does.
#[test]
#[cfg(target_arch = "x86_64")]
fn refused_calls_are_refused_however_they_are_made() {
    needs!(Machine);
    let w = world();
    let program = w.path("syscalls");
    let source = e2e::workspace().join("tests/shim/syscalls.c");
    Cmd::new("cc")
        .args(["-O1", "-static", "-nostdlib", "-no-pie", "-fno-stack-protector", "-o"])
        .arg(&program)
        .arg(source)
        .run()
        .ok();
    let volume = format!("{}:/syscalls:ro", program.display());
    let said = w.dhow(["run", "--rm", "-v", &volume, "busybox", "/syscalls"]).ok();
    for line in said.lines() {
        let wanted = if line.starts_with("unknown") { "-38" } else { "-1" };
        assert!(line.ends_with(&format!(" {wanted}")), "{line}");
    }
    assert_eq!(said.lines().len(), 11);
}

/// CVE-2024-9676 and its kind, by a process inside that has mknod: `exec -u` reads the
/// container's passwd from outside, where the devices group doesn't hold.
#[test]
fn exec_by_name_opens_no_device_and_waits_for_no_pipe() {
    let w = world();
    let id = w.dhow(["run", "-d", "busybox", "sleep", "1000"]).ok().out();
    // An ordinary user's container makes no device.
    let makes = ["mkfifo /etc/passwd", "mknod /etc/passwd c 240 77"];
    for make in makes.into_iter().take(if e2e::mode().is_rootless() { 1 } else { 2 }) {
        let script = format!("rm -f /etc/passwd; {make}");
        w.dhow(["exec", &id, "sh", "-c", &script]).ok();
        let refused = w.dhow_cmd(["exec", "-u", "root", &id, "true"]).limit(20).run().refused();
        let _ = refused.err_has("no regular file");
    }
    w.dhow(["rm", "-f", &id]).ok();
}

/// What a container without stdin has there is no way to the host's null device.
#[test]
fn mode_of_the_hosts_null_device_cannot_be_changed() {
    needs!(Root);
    let w = world();
    let mode = || fs::metadata("/dev/null").unwrap().permissions().mode() & 0o7777;
    let before = mode();
    let script = "for f in /proc/self/fd/0 /proc/keys /proc/timer_list; do chmod 1666 $f; done; :";
    w.dhow(["run", "--rm", "busybox", "sh", "-c", script]).ok();
    let id = w.dhow(["run", "-d", "busybox", "sleep", "1000"]).ok().out();
    w.dhow(["exec", &id, "sh", "-c", script]).ok();
    w.dhow(["rm", "-f", &id]).ok();
    let after = mode();
    fs::set_permissions("/dev/null", fs::Permissions::from_mode(before)).unwrap();
    assert_eq!(after, before);
}

/// Whatever the umask of who types, a volume's directory is for the container's users.
#[test]
fn volumes_are_open_to_the_containers_users_under_any_umask() {
    let w = world();
    let strict = ["sh", "-c", "umask 077; exec \"$@\"", "sh"];
    let run = ["run", "--rm", "-u", "1000", "-v", "cargo:/cargo", "busybox", "ls", "/cargo"];
    w.dhow_cmd(run).under(strict).run().ok();
    w.dhow(["volume", "rm", "cargo"]).ok();
}
