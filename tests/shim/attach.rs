//! Several clients on one container: all see, all may type, none holds it up.

use std::io::{Read, Write};
use std::process::{Child, Stdio};

use e2e::{World, needs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::lifecycle::field;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

/// A client on pipes.
fn joined(w: &World, args: &[&str]) -> Child {
    let mut command = w.dhow_cmd(args).command();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32)
}

/// Reads from a client until `part` came.
#[track_caller]
fn expect(from: &mut impl Read, part: &str) -> String {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(part.as_bytes()) {
        let n = from.read(&mut byte).unwrap();
        assert_eq!(n, 1, "it ended: {:?}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

#[test]
fn all_see_the_output_and_all_may_type() {
    let w = world();
    let name = w.id("c");
    let script = "while read line; do echo got $line; echo err $line >&2; done; echo over; exit 3";
    w.dhow(["run", "-d", "-i", "--name", &name, "busybox", "sh", "-c", script]).ok();
    let mut clients: Vec<Child> = (0..3).map(|_| joined(&w, &["attach", &name])).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        // Whoever has heard its own word is there.
        writeln!(client.stdin.as_ref().unwrap(), "{n}").unwrap();
        expect(client.stdout.as_mut().unwrap(), &format!("got {n}\n"));
    }
    writeln!(clients[0].stdin.as_ref().unwrap(), "last").unwrap();
    for client in &mut clients {
        expect(client.stdout.as_mut().unwrap(), "got last\n");
        expect(client.stderr.as_mut().unwrap(), "err last\n");
    }
    // The end of a client's stdin is not the container's, nor is the client's own end.
    drop(clients[0].stdin.take());
    clients[1].kill().unwrap();
    clients[1].wait().unwrap();
    writeln!(clients[2].stdin.as_ref().unwrap(), "more").unwrap();
    expect(clients[0].stdout.as_mut().unwrap(), "got more\n");
    assert_eq!(field(&w, &name, "/State/Running"), true);
    w.dhow(["kill", &name]).ok();
    assert_eq!(clients[0].wait().unwrap().code(), Some(137));
    assert_eq!(clients[2].wait().unwrap().code(), Some(137));
    w.dhow(["rm", &name]).ok();
}

#[test]
fn a_stopped_client_holds_up_neither_the_container_nor_the_others() {
    needs!(Speed);
    let w = world();
    let name = w.id("c");
    let script = "read go; seq 1000000; touch /done; read end";
    w.dhow([
        "run",
        "-d",
        "-i",
        "--log-driver",
        "none",
        "--name",
        &name,
        "busybox",
        "sh",
        "-c",
        script,
    ])
    .ok();
    let mut stopped = joined(&w, &["attach", &name]);
    let mut quick = joined(&w, &["attach", &name]);
    e2e::until("both are there", || {
        let events = std::fs::read_to_string(w.root().join("events")).unwrap();
        events.matches("\"Action\":\"attach\"").count() >= 2
    });
    kill(pid(&stopped), Signal::SIGSTOP).unwrap();
    writeln!(quick.stdin.as_ref().unwrap(), "go").unwrap();
    expect(quick.stdout.as_mut().unwrap(), "\n1000000\n");
    w.dhow_cmd(["exec", &name, "ls", "/done"]).limit(20).run().ok();
    // It has lost nothing, either.
    kill(pid(&stopped), Signal::SIGCONT).unwrap();
    let all = expect(stopped.stdout.as_mut().unwrap(), "\n1000000\n");
    assert_eq!(all.lines().count(), 1_000_000);
    writeln!(quick.stdin.as_ref().unwrap(), "end").unwrap();
    assert_eq!(quick.wait().unwrap().code(), Some(0));
    assert_eq!(stopped.wait().unwrap().code(), Some(0));
    w.dhow(["rm", &name]).ok();
}

#[test]
fn a_run_that_is_stopped_does_not_hold_its_container_up() {
    needs!(Speed);
    let w = world();
    let name = w.id("c");
    let script = "touch /begun; sleep 1; seq 300000; touch /done; sleep 1000";
    let mut run = joined(&w, &["run", "--name", &name, "busybox", "sh", "-c", script]);
    e2e::until("it has begun", || w.dhow(["exec", &name, "ls", "/begun"]).code == 0);
    kill(pid(&run), Signal::SIGSTOP).unwrap();
    e2e::until("it has written all", || w.dhow(["exec", &name, "ls", "/done"]).code == 0);
    kill(pid(&run), Signal::SIGCONT).unwrap();
    let all = expect(run.stdout.as_mut().unwrap(), "\n300000\n");
    assert_eq!(all.lines().count(), 300_000);
    w.dhow(["rm", "-f", &name]).ok();
    run.wait().unwrap();
}

#[test]
fn keys_leave_it_running_with_docker_s_codes() {
    let w = world();
    let name = w.id("c");
    let mut t = w.dhow_pty(["run", "-it", "--name", &name, "busybox"]);
    t.expect("# ");
    t.send("\x10\x11");
    t.expect("read escape sequence");
    assert_eq!(t.wait(), 0);
    let mut t = w.dhow_pty(["attach", &name]);
    t.send("echo $((20+22))\n");
    t.expect("42");
    t.send("\x10\x11");
    t.expect("read escape sequence");
    assert_eq!(t.wait(), 1);
    assert_eq!(field(&w, &name, "/State/Running"), true);
    let mut t = w.dhow_pty(["attach", "--detach-keys", "a,b", &name]);
    t.send("ab");
    assert_eq!(t.wait(), 1);
    // The user's own, where nothing else was said.
    std::fs::create_dir_all(w.path("home/.docker")).unwrap();
    std::fs::write(w.path("home/.docker/config.json"), r#"{"detachKeys": "ctrl-e,e"}"#).unwrap();
    let mut t = w.dhow_pty(["attach", &name]);
    t.send("\x05e");
    t.expect("read escape sequence");
    assert_eq!(t.wait(), 1);
    w.dhow(["attach", "--detach-keys", "abc", &name]).code(1).err_has("Invalid escape keys (abc)");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn who_attaches_sees_the_prompt_drawn_anew() {
    let w = world();
    let name = w.id("c");
    let script = "trap 'echo size $(stty size)' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut t = w.dhow_pty(["run", "-it", "--name", &name, "busybox", "sh", "-c", script]);
    t.expect("ready");
    t.send("\x10\x11");
    assert_eq!(t.wait(), 0);
    // A terminal of the same size.
    let mut t = w.dhow_pty(["attach", &name]);
    t.expect("size 24 80");
    t.send("\x10\x11");
    assert_eq!(t.wait(), 1);
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn no_stdin_and_no_signals() {
    let w = world();
    let name = w.id("c");
    let script = "trap 'echo heard; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    w.dhow(["run", "-d", "-i", "--name", &name, "busybox", "sh", "-c", script]).ok();
    e2e::until("it is ready", || w.dhow(["logs", &name]).out().contains("ready"));
    let attached = |count: usize| {
        e2e::until("it is attached", || {
            let events = std::fs::read_to_string(w.root().join("events")).unwrap();
            events.matches("\"Action\":\"attach\"").count() == count
        });
    };
    // Signals that are handed on come by a descriptor, and so are blocked (proc(5)).
    let hands_on = |child: &Child| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap();
        u64::from_str_radix(mask, 16).unwrap() >> (Signal::SIGTERM as i32 - 1) & 1 == 1
    };
    let mut quiet = joined(&w, &["attach", "--no-stdin", "--sig-proxy=false", &name]);
    attached(1);
    assert!(!hands_on(&quiet));
    kill(pid(&quiet), Signal::SIGTERM).unwrap();
    assert!(quiet.wait().unwrap().code().is_none(), "it is ended by its signal");
    assert_eq!(field(&w, &name, "/State/Running"), true);
    let mut loud = joined(&w, &["attach", "--no-stdin", &name]);
    attached(2);
    e2e::until("it hands signals on", || hands_on(&loud));
    kill(pid(&loud), Signal::SIGTERM).unwrap();
    assert_eq!(loud.wait().unwrap().code(), Some(5));
    w.dhow(["rm", &name]).ok();
}

#[test]
fn start_attached_and_run_with_chosen_streams() {
    let w = world();
    let name = w.id("c");
    w.dhow(["create", "-i", "--name", &name, "busybox", "cat"]).ok();
    for flags in [&["-a", "-i"][..], &["-i"]] {
        let start = [&["start"], flags, &[&*name]].concat();
        w.dhow_cmd(start).stdin("hi\n").run().ok().out_is("hi");
    }
    let other = w.id("other");
    w.dhow(["create", "--name", &other, "busybox", "true"]).ok();
    w.dhow(["start", "-a", &name, &other])
        .code(1)
        .err_has("you cannot start and attach multiple containers at once");
    w.dhow(["start", &name, &other]).ok().out_is(&format!("{name}\n{other}"));
    w.dhow(["start", &name, "no-such"]).code(1).out_is(&name).err_has("No such container: no-such");
    w.dhow(["wait", &other]).ok();
    w.dhow(["attach", &other])
        .code(1)
        .err_has("You cannot attach to a stopped container, start it first");
    w.dhow(["rm", "-f", &name, &other]).ok();
    let script = "cat; echo err >&2; echo out";
    let run = |flags: &[&str]| {
        let run = [&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat();
        let done = w.dhow_cmd(run).stdin("in\n").run().ok();
        (done.out(), done.err())
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(run(&["-a", "stdout"]), pair("out", ""));
    assert_eq!(run(&["-a", "stderr"]), pair("", "err"));
    assert_eq!(run(&["-i", "-a", "stdin", "-a", "stdout"]), pair("in\nout", ""));
    assert_eq!(run(&["-i", "-a", "stdin"]), pair("", ""));
    w.dhow(["run", "-a", "what", "busybox"])
        .code(125)
        .err_has("valid streams are STDIN, STDOUT and STDERR");
}
