//! More of what a hostile container, or bad luck, can do to a runtime.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};

use e2e::bundle::Bundle;
use e2e::{Cmd, Ordinary, World, needs};
use serde_json::json;

use super::lifecycle::{create, status, wait_for};

fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Puts the host's null device right, whatever a failing case has done to it.
struct Null;

impl Drop for Null {
    fn drop(&mut self) {
        let _ = fs::set_permissions("/dev/null", fs::Permissions::from_mode(0o666));
        let _ = std::os::unix::fs::chown("/dev/null", Some(0), Some(0));
    }
}

/// Root inside must not get at the inode of the host's null device: with its mode
/// everybody outside would lose it. It comes in as a standard stream and as a mask.
#[test]
fn null_device_of_the_host_is_out_of_reach() {
    let w = World::new();
    let _mended = Null;
    let script = "for f in /proc/self/fd/0 /proc/self/fd/1 /proc/keys /proc/timer_list; do \
        chmod 1666 $f; done; exit 0";
    let b = w.bundle("b", &["sh", "-c", script]);
    let b = b.with("/linux/maskedPaths", json!(["/proc/keys", "/proc/timer_list"]));
    let b = b.with(
        "/process/capabilities",
        json!({"bounding": ["CAP_CHOWN", "CAP_FOWNER"], "effective": ["CAP_CHOWN", "CAP_FOWNER"],
            "permitted": ["CAP_CHOWN", "CAP_FOWNER"]}),
    );
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null </dev/null", "sh"];
    w.runtime_cmd(["run", "-b", b.path(), b.id()]).under(quiet).run().ok();
    assert_eq!(mode("/dev/null"), 0o666, "run");
    let b = b.with("/process/args", json!(["sleep", "100"]));
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    w.runtime_cmd(["exec", b.id(), "sh", "-c", script]).under(quiet).run().ok();
    w.runtime(["delete", "--force", b.id()]).ok();
    assert_eq!(mode("/dev/null"), 0o666, "exec");
    // What masks still reads as nothing, and takes what is written.
    let b = b.with("/process/args", json!(["sh", "-c", "cat /proc/keys; echo x >/proc/keys"]));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("");
}

/// Arguments need not be text.
#[test]
fn argument_that_is_not_text_is_no_reason_to_panic() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let w = World::new();
    let odd = OsStr::from_bytes(b"\xff");
    let words = [OsStr::new("kill"), OsStr::new("x"), odd];
    let said = w.runtime(words).refused().err();
    assert!(!said.contains("panicked"), "{said}");
    // Not even where they are to be written down.
    let trace = w.path("trace");
    let words =
        [OsStr::new("--trace"), trace.as_os_str(), OsStr::new("kill"), OsStr::new("x"), odd];
    let said = w.runtime(words).refused().err();
    assert!(!said.contains("panicked"), "{said}");
    assert!(std::fs::read_to_string(trace).unwrap().contains("kill"));
}

/// A delete that waited for another's must not take what has the id since.
#[test]
fn delete_that_waited_leaves_the_next_container_of_that_name_alone() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "100"]);
    create(&w, &b);
    w.runtime(["kill", b.id(), "KILL"]).ok();
    wait_for(&w, b.id(), "stopped");
    let (dir, aside) = (w.runtime_root().join(b.id()), w.runtime_root().join("aside"));
    let held = File::open(&dir).unwrap();
    held.lock().unwrap();
    let waiting = w.runtime_cmd(["delete", b.id()]).start();
    let pid = waiting.id().to_string();
    e2e::until("delete waits for the lock", || {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|l| l.contains("->") && l.split_whitespace().any(|word| word == pid))
    });
    // Somebody else's delete and create, as far as the waiting one can tell.
    fs::rename(&dir, &aside).unwrap();
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    drop(held);
    let done = waiting.wait_with_output().unwrap();
    assert!(!done.status.success(), "a running container was deleted");
    assert_eq!(status(&w, b.id()), "running");
    w.runtime(["delete", "--force", b.id()]).ok();
    fs::remove_dir_all(aside).unwrap();
}

/// CVE-2019-16884: an image can't choose the name of a mount, but what the name leads to.
#[test]
fn mount_over_proc_by_a_link_of_the_image_is_refused() {
    let w = World::new();
    let from = w.path("from");
    fs::create_dir(&from).unwrap();
    for (link, place) in [("/proc", "/way"), ("proc", "/way/sys"), ("/proc/self", "/way/attr")] {
        for kind in ["bind", "tmpfs"] {
            let b = w.bundle(&format!("{}{kind}", place.replace('/', "-")), &["true"]);
            symlink(link, b.rootfs("way")).unwrap();
            let options = if kind == "bind" { json!(["bind"]) } else { json!([]) };
            let b = b.and(
                "/mounts",
                json!({"destination": place, "type": kind, "source": from, "options": options}),
            );
            w.runtime(["run", "-b", b.path(), b.id()]).refused().err_has("leads to /proc");
        }
    }
}

/// Who shares the root has given /proc another name, once it was mounted.
#[test]
fn bug_mount_over_proc_by_a_link_was_judged_by_the_name_of_proc() {
    needs!(Root);
    let w = World::new();
    let from = w.path("from");
    fs::create_dir(&from).unwrap();
    let b = w.bundle("b", &["ls", "/real/sys"]);
    symlink("/real/sys", b.rootfs("way")).unwrap();
    fs::create_dir(b.rootfs("much")).unwrap();
    for n in 0..3000 {
        fs::write(b.rootfs(&format!("much/{n}")), "").unwrap();
    }
    let tmpfs = |at: &str| json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]});
    let bind = json!({"destination": "/way", "type": "bind", "source": from, "options": ["bind"]});
    let b = b.and("/mounts", tmpfs("/mark")).and("/mounts", tmpfs("/much")).and("/mounts", bind);
    let exchanged = std::thread::scope(|threads| {
        let exchange = threads.spawn(|| {
            // Made after /proc was mounted.
            e2e::until("it mounts", || b.rootfs("mark").exists());
            fs::rename(b.rootfs("proc"), b.rootfs("real"))
                .and_then(|()| fs::create_dir(b.rootfs("proc")))
        });
        w.runtime(["run", "-b", b.path(), b.id()]).refused();
        exchange.join().unwrap()
    });
    exchanged.unwrap();
}

/// A procfs elsewhere, that config.json has there, may be covered: by name.
#[test]
fn mount_over_another_procfs_goes_by_its_name() {
    needs!(Root);
    let w = World::new();
    let from = w.path("from");
    fs::write(&from, "other").unwrap();
    let b = w.bundle("b", &["cat", "/inner/proc/version"]);
    let proc = json!({"destination": "/inner/proc", "type": "proc", "source": "proc"});
    let bind = json!({"destination": "/inner/proc/version", "type": "bind", "source": from,
        "options": ["bind"]});
    let b = b.and("/mounts", proc).and("/mounts", bind);
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("other");
}

/// A process may call itself by bytes that are no text; it is the same process.
#[test]
fn container_whose_name_is_not_text_can_be_seen_and_ended() {
    let w = World::new();
    let b =
        w.bundle("b", &["sh", "-c", "printf '\\377x' >/proc/self/comm; echo >/said; sleep 1000"]);
    super::lifecycle::create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    e2e::until("it has another name", || b.rootfs("said").exists());
    w.runtime(["state", b.id()]).ok().out_has("\"running\"");
    w.runtime(["exec", b.id(), "true"]).ok();
    w.runtime(["delete", "--force", b.id()]).ok();
    w.runtime(["state", b.id()]).refused();
}

/// What a container mounts where the host sees it need not have a name that is text.
#[test]
fn mount_whose_name_is_not_text_keeps_no_container_from_its_start() {
    needs!(Root);
    let w = World::new();
    let b = w.bundle("b", &["echo", "here"]);
    let program = e2e::program("dhow-runtime");
    let script = "d=\"$1/$(printf '\\377')\"; mkdir \"$d\"; mount -t tmpfs x \"$d\"; shift; \"$@\"";
    let words = ["-m", "sh", "-ec", script, "sh"];
    let root = w.runtime_root();
    w.cmd("unshare")
        .args(words)
        .arg(w.path(""))
        .arg(program)
        .arg("--root")
        .arg(root)
        .args(["run", "-b", b.path(), b.id()])
        .run()
        .ok()
        .out_is("here");
}

/// What is wrong is said, however long it is.
#[test]
fn name_that_is_too_long_is_said_shortened_by_create_and_start() {
    let w = World::new();
    let long = format!("/{}", "x".repeat(20_000));
    let b = w.bundle("b", &[&long]);
    w.runtime(["create", "-b", b.path(), b.id()]).refused().err_has("file name too long");
    let b = w.bundle("c", &["true"]).with("/hooks/startContainer", json!([{"path": long}]));
    super::lifecycle::create(&w, &b);
    w.runtime(["start", b.id()]).refused().err_has("file name too long");
    w.runtime(["delete", "--force", b.id()]).ok();
}

/// CAP_SYS_PTRACE, without a user namespace: /proc/PID/root and /proc/PID/fd of whoever enters.
/// The container has it, or a process has it that was added by `exec`.
#[test]
fn process_that_enters_a_container_shows_it_nothing_of_the_host() {
    needs!(Root);
    let w = World::new();
    let secret = w.path("secret");
    fs::write(&secret, "of the host").unwrap();
    let look = "while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] && continue; \
        [ $p = /proc/$$ ] && continue; \
        cat $p/root$0; for f in $p/fd/*; do cat $f/1/root$0 $f/../../../../..$0; done; \
        done 2>/dev/null; : >/looks; done >/seen";
    let look = ["sh", "-c", look, secret.to_str().unwrap()];
    let names = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"];
    for by_exec in [false, true] {
        let b = w.bundle("b", if by_exec { &["sleep", "1000"] } else { &look });
        let caps = if by_exec { &names[1..] } else { &names };
        let sets = json!({"bounding": caps, "permitted": caps, "effective": caps});
        let b = b.with("/process/capabilities", sets);
        create(&w, &b);
        w.runtime(["start", b.id()]).ok();
        if by_exec {
            let quiet = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];
            let exec = ["exec", "-d", "--cap", names[0], b.id()];
            w.runtime_cmd(exec.iter().chain(&look)).under(quiet).run().ok();
        }
        e2e::until("it looks", || b.rootfs("looks").exists());
        for _ in 0..80 {
            w.runtime(["exec", b.id(), "true"]).ok();
        }
        let seen = fs::read_to_string(b.rootfs("seen")).unwrap();
        w.runtime(["delete", "--force", b.id()]).ok();
        assert_eq!(seen, "", "by exec: {by_exec}");
        fs::remove_dir_all(b.dir()).unwrap();
    }
}

/// A container that stops whoever enters it as early as it can, and looks into it.
fn peeking(w: &World, b: Bundle) -> Bundle {
    let secret = w.path("secret");
    fs::write(&secret, "of the host").unwrap();
    let names = json!(["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_KILL"]);
    let sets = json!({"bounding": names, "permitted": names, "effective": names});
    let source = e2e::workspace().join("tests/runtime/peek.c");
    Cmd::new("cc").args(["-O1", "-static", "-o"]).arg(b.rootfs("peek")).arg(source).run().ok();
    b.with("/process/args", json!(["/peek", secret])).with("/process/capabilities", sets)
}

/// Enters it again and again.
fn peeked<'a>(b: &Bundle, runtime: impl Fn(&[&str]) -> Cmd + 'a) {
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];
    runtime(&["run", "-d", "-b", b.path(), b.id()]).under(quiet).run().ok();
    e2e::until("it looks", || b.rootfs("looks").exists());
    for _ in 0..if std::env::var_os("DHOW_LONG").is_some() { 1000 } else { 15 } {
        runtime(&["exec", b.id(), "/peek"]).run().ok();
    }
    let seen = fs::metadata(b.rootfs("seen")).unwrap().len();
    runtime(&["delete", "--force", b.id()]).run().ok();
    assert_eq!(seen, 0, "it has seen the host's file");
}

#[test]
fn process_that_is_stopped_while_it_enters_shows_nothing_of_the_host() {
    needs!(Machine);
    let w = World::new();
    let b = peeking(&w, w.bundle("b", &[]));
    peeked(&b, |words| w.runtime_cmd(words));
    // The host's root is the container's, too.
    let one = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    let b = peeking(&w, w.bundle("c", &[])).and("/linux/namespaces", json!({"type": "user"}));
    let b = b.with("/linux/uidMappings", one.clone()).with("/linux/gidMappings", one);
    peeked(&b, |words| w.runtime_cmd(words));
}

/// An ordinary user enters the container's users before the process is made: its ids are the
/// container's own, and it could be looked into until it said otherwise.
#[test]
fn bug_process_that_enters_an_ordinary_user_s_container_could_be_looked_into() {
    needs!(Machine);
    let w = World::new();
    let ann = Ordinary::new(&w, false);
    let root = w.path("rt/runtime").display().to_string();
    let b = peeking(&w, super::rootless::bundle(&w, "b", &[]));
    let one = json!([{"containerID": 0, "hostID": ann.uid(), "size": 1}]);
    let b = b.with("/linux/uidMappings", one.clone()).with("/linux/gidMappings", one);
    let owner = format!("{0}:{0}", ann.uid());
    w.cmd("chown").args(["-hR", &owner]).arg(b.dir()).run().ok();
    peeked(&b, |words| ann.cmd(["dhow-runtime", "--root", &root].iter().chain(words)));
}

/// CVE-2019-19921: another container that has the same root can do so at any time; a hook does it at
/// the worst one.
#[test]
fn bug_masks_missed_a_proc_that_was_exchanged_for_another_meanwhile() {
    let w = World::new();
    let look = "head -c1 /real/version; (: >>/real/sys/kernel/domainname) 2>&- && echo open; true";
    let b = w.bundle("b", &["sh", "-c", look]);
    fs::create_dir(b.rootfs("fake")).unwrap();
    let exchange = format!("cd {} && mv proc real && mv fake proc", b.rootfs("").display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", exchange]}]);
    let b = b.with("/hooks", json!({"createRuntime": hook}));
    let b = b.with("/linux/maskedPaths", json!(["/proc/version"]));
    w.runtime(["run", "-b", b.path(), b.id()]).ok().out_is("");
}

/// CVE-2019-5736: a container keeps the handle until the host's mount is writable again.
#[test]
fn bug_program_on_a_read_only_mount_of_the_host_was_taken_for_a_sealed_copy() {
    needs!(Root);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "100"]);
    let own = w.path("program");
    fs::copy(e2e::program("dhow-runtime"), &own).unwrap();
    // Of the mount that it runs from nothing may be found in any namespace.
    let own = own.to_str().unwrap();
    let script = "mount --bind $0 $0; mount -o remount,bind,ro $0; \
        $0 --root $1 create -b $2 $3 >/dev/null 2>&1 </dev/null; readlink /proc/$($0 --root $1 state $3 | \
        sed -n 's/.*\"pid\": \\([0-9]*\\).*/\\1/p')/exe";
    let args = ["--mount", "--propagation", "private", "sh", "-c", script, own];
    let root = w.runtime_root();
    let done = w.cmd("unshare").args(args).arg(&root).args([b.path(), b.id()]).run().ok();
    w.runtime(["delete", "--force", b.id()]).ok();
    done.out_is("/");
}

/// Its state in /proc is that of its first thread then, a zombie's: it counted as stopped, and could
/// neither be killed nor deleted.
#[test]
fn bug_container_whose_first_thread_ends_could_not_be_ended() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["/first"]);
    let source = e2e::workspace().join("tests/runtime/first.c");
    let compile = Cmd::new("cc").args(["-O1", "-static", "-pthread", "-o"]);
    compile.arg(b.rootfs("first")).arg(source).run().ok();
    for way in [&["kill", b.id(), "KILL"][..], &["delete", "--force", b.id()]] {
        create(&w, &b);
        w.runtime(["start", b.id()]).ok();
        let pid = w.runtime(["state", b.id()]).ok().json()["pid"].clone();
        let stat = format!("/proc/{pid}/stat");
        e2e::until("its first thread ends", || fs::read_to_string(&stat).unwrap().contains(") Z "));
        assert_eq!(super::lifecycle::status(&w, b.id()), "running");
        w.runtime(["delete", b.id()]).refused();
        w.runtime(way).ok();
        if way[0] == "kill" {
            super::lifecycle::wait_for(&w, b.id(), "stopped");
            w.runtime(["delete", b.id()]).ok();
        }
        w.runtime(["state", b.id()]).refused();
    }
}
