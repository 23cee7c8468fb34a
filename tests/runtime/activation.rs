//! NOTIFY_SOCKET and socket activation: what a service manager and a container tell each other.

use std::os::unix::net::UnixDatagram;

use e2e::bundle::Bundle;
use e2e::manager::Manager;
use e2e::{World, needs};
use serde_json::json;

use super::lifecycle::wait_for;

const QUIET: [&str; 4] = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];

/// What the container would do at /run/notify/notify.sock, done on the host's side of the mount.
fn say(w: &World, b: &Bundle, text: &str) {
    let path = w.runtime_root().join(b.id()).join("notify/notify.sock");
    e2e::until("the socket is there", || path.exists());
    UnixDatagram::unbound().unwrap().send_to(text.as_bytes(), path).unwrap();
}

#[test]
fn ready_of_a_started_container_is_passed_on_with_its_pid_and_a_barrier() {
    let w = World::new();
    let manager = Manager::new(&w);
    let look = "until test -S $NOTIFY_SOCKET; do sleep 0.05; done; echo $NOTIFY_SOCKET >/seen; \
        touch /run/notify/x 2>/dev/null || echo read-only >>/seen; exec sleep 1000";
    let b = w.bundle("b", &["sh", "-c", look]);
    let create = w.runtime_cmd(["create", "-b", b.path(), b.id()]).under(QUIET);
    create.env("NOTIFY_SOCKET", manager.path()).run().ok();
    let start = w.runtime_cmd(["start", b.id()]).env("NOTIFY_SOCKET", manager.path());
    std::thread::scope(|s| {
        let starting = s.spawn(|| start.run());
        say(&w, &b, "STATUS=loading");
        say(&w, &b, "STATUS=loaded\nREADY=1\n");
        let pid = w.runtime(["state", b.id()]).ok().json()["pid"].to_string();
        assert_eq!(manager.heard(), "READY=1\n");
        assert_eq!(manager.heard(), format!("MAINPID={pid}\n"));
        assert_eq!(manager.heard(), "BARRIER=1");
        starting.join().unwrap().ok();
    });
    e2e::until("it has looked", || {
        let seen = std::fs::read_to_string(b.rootfs("seen")).unwrap_or_default();
        seen == "/run/notify/notify.sock\nread-only\n"
    });
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn ready_in_the_foreground_names_the_runtime_which_still_forwards_signals() {
    let w = World::new();
    let manager = Manager::new(&w);
    let b =
        w.bundle("b", &["sh", "-c", "trap 'exit 5' TERM; touch /up; while :; do sleep 0.05; done"]);
    let run = w.runtime_cmd(["run", "-b", b.path(), b.id()]).env("NOTIFY_SOCKET", manager.path());
    let mut child = run.start();
    say(&w, &b, "READY=1");
    assert_eq!(manager.heard(), "READY=1\n");
    assert_eq!(manager.heard(), format!("MAINPID={}\n", child.id()));
    e2e::until("the trap is set", || b.rootfs("up").exists());
    w.cmd("kill").args(["-TERM", &child.id().to_string()]).run().ok();
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn container_that_ends_without_being_ready_is_not_waited_for() {
    let w = World::new();
    let manager = Manager::new(&w);
    let b = w.bundle("b", &["true"]);
    let run = w.runtime_cmd(["run", "-b", b.path(), b.id()]).env("NOTIFY_SOCKET", manager.path());
    run.limit(20).run().ok();
    let run =
        w.runtime_cmd(["run", "-d", "-b", b.path(), b.id()]).env("NOTIFY_SOCKET", manager.path());
    run.under(QUIET).limit(20).run().ok();
    wait_for(&w, b.id(), "stopped");
    w.runtime(["delete", b.id()]).ok();
}

#[test]
fn manager_that_is_gone_is_no_reason_to_leave_a_container() {
    let w = World::new();
    let gone = w.path("gone.sock");
    let b = w.bundle("b", &["sh", "-c", "test -S $NOTIFY_SOCKET && echo up"]);
    let run = w.runtime_cmd(["run", "-b", b.path(), b.id()]).env("NOTIFY_SOCKET", &gone);
    run.run().ok().out_is("up").err_has("connect to NOTIFY_SOCKET").err_has("gone.sock");
    let create = w.runtime_cmd(["create", "-b", b.path(), b.id()]).under(QUIET);
    create.env("NOTIFY_SOCKET", &gone).run().ok();
    let start = w.runtime_cmd(["start", b.id()]).env("NOTIFY_SOCKET", &gone);
    start.limit(20).run().ok().err_has("connect to NOTIFY_SOCKET");
    wait_for(&w, b.id(), "stopped");
    w.runtime(["delete", b.id()]).ok();
}

#[test]
fn activated_sockets_are_handed_over_before_the_preserved_ones() {
    let w = World::new();
    let look = "echo $LISTEN_FDS $LISTEN_PID $$; cat <&3; cat <&4";
    let b = w.bundle("b", &["sh", "-c", look]).with("/process/env", json!(["PATH=/bin"]));
    let pass = ["sh", "-c", "exec 3<$0 4<$1; shift; exec \"$@\""];
    let (first, second) = (w.path("first"), w.path("second"));
    std::fs::write(&first, "one\n").unwrap();
    std::fs::write(&second, "two\n").unwrap();
    let files = [first.to_str().unwrap(), second.to_str().unwrap()];
    let run = ["run", "--preserve-fds", "1", "-b", b.path(), b.id()];
    let run = w.runtime_cmd(run).env("LISTEN_FDS", "1");
    run.under(pass.into_iter().chain(files)).run().ok().out_is("1 1 1\none\ntwo");
}

/// Of 3 to 22 the caller has but 5.
fn but_five(w: &World) -> [String; 4] {
    let held = w.path("held");
    std::fs::write(&held, "").unwrap();
    let shut = (3..23).map(|fd| format!("exec {fd}<&-; ")).collect::<Vec<_>>().concat();
    let script = format!("{shut}exec 5<{}; exec \"$@\"", held.display());
    ["bash", "-c", &script, "bash"].map(str::to_owned)
}

#[test]
fn descriptor_of_the_runtimes_own_is_never_taken_for_one_to_preserve() {
    let w = World::new();
    let look = "ls /proc/self/fd | sort -n | tr '\\n' ' '";
    let [log, trace] = ["log", "trace"].map(|name| w.path(name).to_string_lossy().into_owned());
    let all = ["--debug", "--log", &log, "--trace", &trace];
    let run = |words: &[&str]| {
        let done = w.runtime_cmd(all.iter().chain(words)).under(but_five(&w)).run().ok();
        // 3 is ls's own, of the directory that it lists.
        done.out_is("0 1 2 3 5");
    };
    let b = w.bundle("b", &["sh", "-c", look]);
    run(&["run", "--preserve-fds", "20", "-b", b.path(), b.id()]);

    let b = w.bundle("c", &["sleep", "1000"]);
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];
    let create = ["create", "--preserve-fds", "20", "-b", b.path(), b.id()];
    let create = w.runtime_cmd(all.iter().chain(&create)).under(quiet);
    create.under(but_five(&w)).run().ok();
    w.runtime(["start", b.id()]).ok();
    let pid = w.runtime(["state", b.id()]).ok().json()["pid"].to_string();
    e2e::until("the program runs", || {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
    });
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let mut fds: Vec<_> = fds.map(|fd| fd.file_name().into_string().unwrap()).collect();
    fds.sort();
    assert_eq!(fds, ["0", "1", "2", "5"]);
    run(&["exec", "--preserve-fds", "20", b.id(), "sh", "-c", look]);
    // Where it goes on as another process: CAP_SYS_PTRACE may look into it.
    let cap = ["exec", "--cap", "CAP_SYS_PTRACE", "--preserve-fds", "20"];
    run(&[&cap[..], &[b.id(), "sh", "-c", look]].concat());
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn more_descriptors_than_there_can_be_are_refused() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    for (count, words) in [("4294967295", "no more than"), ("4000", "ulimit -n")] {
        let few = ["sh", "-c", "ulimit -n 1000; exec \"$@\"", "sh"];
        let run = w.runtime_cmd(["run", "--preserve-fds", count, "-b", b.path(), b.id()]);
        run.under(few).run().refused().err_has(words);
    }
}

#[test]
fn socket_activation_may_name_descriptors_that_are_not_there() {
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "echo $LISTEN_FDS $LISTEN_PID; ls /proc/self/fd"]);
    let b = b.with("/process/env", json!(["PATH=/bin"]));
    let run = w.runtime_cmd(["run", "-b", b.path(), b.id()]).env("LISTEN_FDS", "9");
    run.under(but_five(&w)).run().ok().out_is("9 1\n0\n1\n2\n3\n5");
}

#[test]
fn container_that_waits_for_its_start_holds_no_descriptor_of_the_callers() {
    needs!(Root);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let held = w.path("held");
    std::fs::write(&held, "").unwrap();
    let open = format!("exec 3<{0} 9<{0}; exec \"$@\" >/dev/null 2>&1 </dev/null", held.display());
    for (preserve, left) in [("0", 0), ("1", 1)] {
        let create = ["create", "--preserve-fds", preserve, "-b", b.path(), b.id()];
        w.runtime_cmd(create).under(["sh", "-c", &open, "sh"]).run().ok();
        let pid = w.runtime(["state", b.id()]).ok().json()["pid"].to_string();
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let ours = fds.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == held));
        assert_eq!(ours.count(), left);
        w.runtime(["delete", "-f", b.id()]).ok();
    }
}
