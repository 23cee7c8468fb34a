//! How containers come to their end: stop, restart, kill, wait, rm, and ten of each at once.

use std::time::{Duration, Instant};

use e2e::{Cmd, Done, World, needs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::lifecycle::field;

const DEAF: &str = "trap '' TERM; touch /ready; while :; do sleep 0.05; done";

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

/// Runs `script` with these flags of `run -d`, and waits until it made /ready.
fn ready(w: &World, short: &str, flags: &[&str], script: &str) -> String {
    let name = w.id(short);
    let run = [&["run", "-d", "--name", &name], flags, &["busybox", "sh", "-c", script]].concat();
    w.dhow(run).ok();
    e2e::until("it is ready", || w.dhow(["exec", &name, "ls", "/ready"]).code == 0);
    name
}

fn code(w: &World, name: &str) -> i64 {
    field(w, name, "/State/ExitCode").as_i64().unwrap()
}

fn took(act: impl FnOnce()) -> Duration {
    let began = Instant::now();
    act();
    began.elapsed()
}

/// The same ten times at once.
fn at_once(w: &World, args: &[&str]) -> Vec<Done> {
    std::thread::scope(|s| {
        let all: Vec<_> = (0..10).map(|_| s.spawn(|| w.dhow_cmd(args).limit(30).run())).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[test]
fn stop_takes_signal_and_time_from_the_flag_then_the_container() {
    let w = world();
    let script = "trap 'exit 4' USR1; trap 'exit 5' USR2; trap '' TERM; touch /ready; \
                  while :; do sleep 0.05; done";
    let name = ready(&w, "c", &["--stop-signal", "USR1", "--stop-timeout", "60"], script);
    w.dhow(["stop", &name]).ok().out_is(&name);
    assert_eq!(code(&w, &name), 4);
    w.dhow(["start", &name]).ok();
    e2e::until("it is ready", || w.dhow(["exec", &name, "ls", "/ready"]).code == 0);
    w.dhow(["stop", "-s", "SIGUSR2", &name]).ok();
    assert_eq!(code(&w, &name), 5);
    w.dhow(["rm", &name]).ok();
    let deaf = ready(&w, "deaf", &["--stop-timeout", "1"], DEAF);
    let time = took(|| drop(w.dhow(["stop", &deaf]).ok()));
    assert!(time >= Duration::from_secs(1) && time < Duration::from_secs(9), "{time:?}");
    assert_eq!(code(&w, &deaf), 137);
    // Stopping what has ended is fine.
    w.dhow(["stop", &deaf]).ok().out_is(&deaf);
    w.dhow(["stop", "-s", "WHAT", &deaf]).code(1).err_has("invalid signal: WHAT");
    w.dhow(["stop", "no-such", &deaf]).code(1).out_is(&deaf).err_has("No such container: no-such");
    w.dhow(["rm", &deaf]).ok();
    w.dhow(["run", "--stop-signal", "WHAT", "busybox"]).code(125).err_has("invalid signal: WHAT");
}

#[test]
fn an_image_s_stop_signal_is_the_container_s() {
    let w = world();
    let tar = w.path("files.tar");
    let name = w.id("from");
    w.dhow(["create", "--name", &name, "busybox", "true"]).ok();
    w.dhow(["export", "-o", tar.to_str().unwrap(), &name]).ok();
    w.dhow(["rm", &name]).ok();
    let import = ["import", "-c", "STOPSIGNAL SIGUSR1", tar.to_str().unwrap(), "polite"];
    w.dhow(import).ok();
    let script = "trap 'exit 6' USR1; touch /ready; while :; do sleep 0.05; done";
    w.dhow(["run", "-d", "--name", &name, "polite", "/bin/sh", "-c", script]).ok();
    e2e::until("it is ready", || w.dhow(["exec", &name, "ls", "/ready"]).code == 0);
    w.dhow(["stop", "-t", "60", &name]).ok();
    assert_eq!(code(&w, &name), 6);
    w.dhow(["rm", &name]).ok();
}

#[test]
fn restart_stops_and_starts_whatever_it_was() {
    let w = world();
    let script = "echo life; trap 'exit 0' USR1; touch /ready; while :; do sleep 0.05; done";
    let name = ready(&w, "c", &[], script);
    let pid = field(&w, &name, "/State/Pid");
    w.dhow(["restart", "-s", "USR1", "-t", "60", &name]).ok().out_is(&name);
    assert_ne!(field(&w, &name, "/State/Pid"), pid);
    w.dhow(["stop", "-t", "0", &name]).ok();
    w.dhow(["restart", &name]).ok();
    assert_eq!(field(&w, &name, "/State/Running"), true);
    e2e::until("it said so", || w.dhow(["logs", &name]).ok().lines().len() == 3);
    w.dhow(["restart", "-t", "0", "no-such"]).code(1).err_has("No such container: no-such");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn wait_waits_for_several_and_prints_each_code() {
    let w = world();
    let (a, b) = (w.id("a"), w.id("b"));
    w.dhow(["run", "-d", "--name", &a, "busybox", "sh", "-c", "sleep 0.5; exit 3"]).ok();
    w.dhow(["run", "-d", "--name", &b, "busybox", "sh", "-c", "sleep 0.2; exit 4"]).ok();
    w.dhow(["wait", &a, &b]).ok().out_is("3\n4");
    w.dhow(["wait", &a, "no-such"]).code(1).out_is("3").err_has("No such container: no-such");
    w.dhow(["rm", &a, &b]).ok();
    w.dhow(["create", "--name", &a, "busybox", "true"]).ok();
    w.dhow(["wait", &a]).ok().out_is("0");
    w.dhow(["rm", &a]).ok();
}

#[test]
fn rename_in_docker_s_words() {
    let w = world();
    let (a, b) = (w.id("a"), w.id("b"));
    w.dhow(["run", "-d", "--name", &a, "busybox", "sleep", "1000"]).ok();
    w.dhow(["create", "--name", &b, "busybox", "true"]).ok();
    let taken = format!("Conflict. The container name \"/{b}\" is already in use by container");
    w.dhow(["rename", &a, &b]).code(1).err_has("Error when allocating new name: ").err_has(&taken);
    w.dhow(["rename", &a, &a])
        .code(1)
        .err_has("Renaming a container with the same name as its current name");
    w.dhow(["rename", &a, &format!("/{a}")])
        .code(1)
        .err_has("Renaming a container with the same name as its current name");
    w.dhow(["rename", &a, "a/b"]).code(1).err_has("only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
    let slash = format!("/{b}");
    w.dhow(["rm", &slash]).ok().out_is(&slash);
    w.dhow(["create", "--name", &slash, "busybox", "true"]).ok();
    w.dhow(["inspect", "-f", "{{.Name}}", &slash]).ok().out_is(&slash);
    w.dhow(["rename", &a, ""]).code(1).err_has("Neither old nor new names may be empty");
    w.dhow(["rename", "no-such", &a]).code(1).err_has("No such container: no-such");
    let c = w.id("c");
    w.dhow(["rename", &a, &c]).ok().out_is("");
    assert_eq!(field(&w, &c, "/State/Running"), true);
    w.dhow(["exec", &a, "true"]).code(1);
    w.dhow(["exec", &c, "true"]).ok();
    // The old name is free.
    w.dhow(["rename", &b, &a]).ok();
    w.dhow(["rm", "-f", &a, &c]).ok();
}

#[test]
fn rm_refuses_what_runs_and_takes_volumes_along() {
    let w = world();
    let name = w.id("c");
    w.dhow(["run", "-d", "-v", "/data", "--name", &name, "busybox", "sleep", "1000"]).ok();
    let volume = field(&w, &name, "/Mounts/0/Name").as_str().unwrap().to_owned();
    let refusal = format!(
        "cannot remove container \"{name}\": container is running: stop the container before \
         removing or force remove"
    );
    w.dhow(["rm", &name]).code(1).err_has(&refusal);
    w.dhow(["rm", "-l", &name]).refused();
    w.dhow(["rm", "-f", "-v", &name, "no-such"])
        .ok()
        .out_is(&name)
        .err_has("No such container: no-such");
    w.dhow(["volume", "inspect", &volume]).code(1);
    w.dhow(["run", "-d", "-v", "/data", "--name", &name, "busybox", "true"]).ok();
    let volume = field(&w, &name, "/Mounts/0/Name").as_str().unwrap().to_owned();
    w.dhow(["wait", &name]).ok();
    w.dhow(["rm", &name]).ok();
    w.dhow(["volume", "inspect", &volume]).ok();
    w.dhow(["rm", "no-such"]).code(1).err_has("No such container: no-such");
}

#[test]
fn ten_at_once_on_one_name() {
    let w = world();
    let name = w.id("c");
    let made = at_once(&w, &["run", "-d", "--name", &name, "busybox", "sleep", "1000"]);
    assert_eq!(made.iter().filter(|done| done.code == 0).count(), 1);
    let taken = format!("Conflict. The container name \"/{name}\" is already in use by container");
    for done in made {
        if done.code != 0 {
            done.code(125).err_has(&taken);
        }
    }
    assert_eq!(w.dhow(["ps", "-aq"]).ok().lines().len(), 1, "the others left nothing");
    for verb in [&["stop", "-t", "0"][..], &["start"], &["restart", "-t", "0"], &["start"]] {
        for done in at_once(&w, &[verb, &[&*name]].concat()) {
            let fine = done.code == 0 && done.out() == name;
            // Who restarts may find that another has just started it.
            assert!(fine || verb[0] == "restart", "{done}");
        }
    }
    assert_eq!(field(&w, &name, "/State/Running"), true);
    let removed = at_once(&w, &["rm", "-f", &name]);
    assert!(removed.iter().any(|done| done.code == 0 && done.out() == name));
    for done in removed {
        let late =
            done.err().contains("No such container") || done.err().contains("already in progress");
        assert!(done.out() == name || late, "{done}");
    }
    w.dhow(["ps", "-aq"]).ok().out_is("");
    let (a, b) = (w.id("a"), w.id("b"));
    w.dhow(["create", "--name", &a, "busybox", "true"]).ok();
    let renamed = at_once(&w, &["rename", &a, &b]);
    assert_eq!(renamed.iter().filter(|done| done.code == 0).count(), 1);
    w.dhow(["rm", &b]).ok().out_is(&b);
}

#[test]
fn what_the_caller_ignores_the_container_does_not() {
    let w = world();
    let name = w.id("c");
    let ignoring = ["sh", "-c", "trap '' HUP INT QUIT TERM USR1 PIPE CHLD; exec \"$@\"", "sh"];
    let ignored = |done: Done| {
        let text = done.ok().out();
        let line = text.lines().find(|line| line.starts_with("SigIgn")).unwrap().to_owned();
        u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap()
    };
    let status = ["busybox", "cat", "/proc/self/status"];
    let run = w.dhow_cmd([&["run", "--rm"][..], &status].concat());
    assert_eq!(ignored(run.under(ignoring).run()), 0);
    let run = w.dhow_cmd(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]);
    run.under(ignoring).run().ok();
    assert_eq!(ignored(w.dhow(["exec", &name, "cat", "/proc/1/status"])), 0);
    let exec = w.dhow_cmd(["exec", &name, "cat", "/proc/self/status"]);
    assert_eq!(ignored(exec.under(ignoring).run()), 0);
    w.dhow(["rm", "-f", &name]).ok();
}

/// `rm -f` is told of a container that runs never, however often others start it.
#[test]
fn rm_f_wins_against_those_who_start() {
    let w = World::new();
    w.pull("busybox");
    for _ in 0..6 {
        w.dhow(["create", "--name", "one", "busybox", "true"]).ok();
        std::thread::scope(|scope| {
            for verb in [&["start"][..], &["restart", "-t", "0"], &["start", "-a"]] {
                let w = &w;
                scope.spawn(move || {
                    let done = w.dhow([verb, &["one"]].concat());
                    assert!(!done.err().contains("monitor"), "{done}");
                    assert!(!done.err().contains("cannot remove"), "{done}");
                });
            }
            scope.spawn(|| w.dhow(["rm", "-f", "one"]).ok());
        });
        w.dhow(["ps", "-aq"]).ok().out_is("");
    }
}

/// Who comes in just as a container ends is told so, in docker's words, whatever failed first.
fn told_of_the_end(verbs: &[&[&str]]) {
    let w = World::new();
    w.pull("busybox");
    let known =
        ["No such container", "is not running", "Could not find the file", "stopped container"];
    for n in 0..12 {
        let pause = format!("sleep 0.0{n}");
        w.dhow(["run", "-d", "--rm", "--name", "one", "busybox", "sh", "-c", &pause]).ok();
        for verb in verbs {
            let done = w.dhow(*verb);
            let err = done.err();
            assert!(err.is_empty() || known.iter().any(|word| err.contains(word)), "{done}");
        }
        w.dhow(["wait", "one"]);
        e2e::until("it is gone", || w.dhow(["ps", "-aq"]).ok().out().is_empty());
    }
}

#[test]
fn who_comes_in_as_a_container_ends_is_told_so() {
    told_of_the_end(&[
        &["exec", "one", "true"],
        &["cp", "one:/bin/sh", "-"],
        &["commit", "one", "picture"],
        &["top", "one"],
        &["exec", "-d", "one", "true"],
    ]);
}

#[test]
fn who_looks_in_or_changes_something_as_a_container_ends_is_told_so() {
    told_of_the_end(&[
        &["update", "--cpu-shares", "512", "one"],
        &["diff", "one"],
        &["export", "one"],
        &["stats", "--no-stream", "one"],
        &["attach", "--no-stdin", "one"],
    ]);
    told_of_the_end(&[
        &["attach", "--no-stdin", "one"],
        &["export", "one"],
        &["update", "--cpu-shares", "512", "one"],
        &["kill", "one"],
    ]);
    told_of_the_end(&[&["logs", "-f", "one"], &["stop", "one"], &["restart", "one"]]);
}

/// `logs -f` said that it can't watch a directory.
#[test]
fn bug_who_follows_the_log_of_what_is_just_removed_was_told_of_a_directory() {
    needs!(Machine);
    let w = world();
    let name = ready(&w, "c", &[], "touch /ready; sleep 1000");
    let late = "inject=inotify_add_watch:delay_enter=2000000";
    let under = ["strace", "-f", "-o", "/dev/null", "-e", "trace=inotify_add_watch", "-e", late];
    std::thread::scope(|scope| {
        let logs = scope.spawn(|| w.dhow_cmd(["logs", "-f", &name]).under(under).run());
        std::thread::sleep(Duration::from_millis(700));
        w.dhow(["rm", "-f", &name]).ok();
        let done = logs.join().unwrap();
        // On a machine with much to do it is removed too late to be seen.
        assert!(done.code == 0 || done.err().contains("No such container"), "{done}");
    });
}

/// A first process gives up its namespaces some time before it has ended: here a command that was
/// executed beside it holds it in between, as who waits for it, a process beside its client, is stopped.
#[test]
fn a_container_on_its_way_out_is_not_running() {
    let w = world();
    let name = ready(&w, "c", &[], "touch /ready /made; sleep 1000");
    let mut exec = w.dhow_cmd(["exec", &name, "sh", "-c", "touch /beside; sleep 1000"]).start();
    e2e::until("it is beside", || w.dhow(["exec", &name, "ls", "/beside"]).code == 0);
    let children =
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", exec.id())).unwrap();
    let keeper = Pid::from_raw(children.trim().parse().unwrap());
    kill(keeper, Signal::SIGSTOP).unwrap();
    let init = field(&w, &name, "/State/Pid").as_i64().unwrap() as i32;
    kill(Pid::from_raw(init), Signal::SIGKILL).unwrap();
    e2e::until("it has no namespaces", || {
        std::fs::read_link(format!("/proc/{init}/ns/mnt")).is_err()
    });
    assert_eq!(field(&w, &name, "/State/Pid"), init, "it has not ended");
    let gone = format!("container {name} is not running");
    w.dhow(["exec", &name, "true"]).code(1).err_has(&gone);
    w.dhow(["exec", "-d", &name, "true"]).code(1).err_has(&gone);
    w.dhow(["top", &name]).code(1).err_has(&gone);
    w.dhow(["pause", &name]).code(1).err_has(&gone);
    w.dhow(["update", "--cpu-shares", "512", &name]).ok();
    w.dhow(["commit", &name, "picture"]).ok();
    std::thread::scope(|scope| {
        // Its files are there again when it has ended.
        let copy = scope.spawn(|| w.dhow(["cp", &format!("{name}:/made"), "-"]));
        kill(keeper, Signal::SIGCONT).unwrap();
        copy.join().unwrap().ok();
    });
    assert_eq!(exec.wait().unwrap().code(), Some(137));
    w.dhow(["wait", &name]).ok().out_is("137");
    w.dhow(["rm", &name]).ok();
    assert_eq!(w.dhow(["run", "--rm", "picture", "ls", "/made"]).ok().out(), "/made");
}

/// Its state in /proc is that of its first thread then, a zombie's: `stop` and `kill` held it for
/// ended, sent nothing, and waited for its end.
#[test]
fn bug_container_whose_first_thread_ends_could_not_be_stopped() {
    needs!(Machine);
    let w = world();
    let source = e2e::workspace().join("tests/runtime/first.c");
    let first = w.path("first");
    let compile = Cmd::new("cc").args(["-O1", "-static", "-pthread", "-o"]);
    compile.arg(&first).arg(source).run().ok();
    let name = w.id("c");
    let bind = format!("{}:/first", first.display());
    w.dhow(["run", "-d", "--name", &name, "-v", &bind, "busybox", "/first"]).ok();
    for end in [&["stop", "-t", "0"][..], &["kill"], &["rm", "-f"]] {
        let pid = field(&w, &name, "/State/Pid");
        let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        e2e::until("its first thread ends", || stat().contains(") Z "));
        w.dhow_cmd(end).arg(&name).limit(30).run().ok();
        e2e::until("it has ended", || stat().is_empty());
        if end[0] != "rm" {
            assert_eq!(code(&w, &name), 137);
            w.dhow(["start", &name]).ok();
        }
    }
}
