//! What goes in and out of a container, whole, whoever dies meanwhile.

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use e2e::{World, needs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const MUCH: u64 = 100_000_000;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

/// The monitor of a container, by its own word.
pub fn monitor(w: &World, id: &str) -> Pid {
    let path = w.root().join("containers").join(id).join("state.json");
    let state: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    Pid::from_raw(state["monitor_pid"].as_i64().unwrap() as i32)
}

#[test]
fn a_hundred_megabytes_come_out_whole() {
    needs!(Speed);
    let w = world();
    let script = format!("yes 'all hands on deck' | head -c {MUCH}");
    let sum = |cmd: e2e::Cmd| cmd.run().ok().out();
    let whole = sum(w.cmd("sh").args(["-c", &format!("{script} | md5sum")]));
    let run = w.dhow_cmd(["run", "--rm", "--log-driver", "none", "busybox", "sh", "-c", &script]);
    let got = sum(run.under(["sh", "-c", "\"$@\" | md5sum", "sh"]));
    assert_eq!(got, whole);
}

#[test]
fn a_hundred_megabytes_go_in_whole() {
    needs!(Speed);
    let w = world();
    let path = w.path("much");
    let file = File::create(&path).unwrap();
    file.set_len(MUCH).unwrap();
    let mut run = w.dhow_cmd(["run", "--rm", "-i", "busybox", "md5sum"]).command();
    let done = run.stdin(File::open(&path).unwrap()).stdout(Stdio::piped()).output().unwrap();
    let whole = w.cmd("md5sum").arg(&path).run().ok().out();
    assert_eq!(String::from_utf8_lossy(&done.stdout)[..32], whole[..32]);
}

#[test]
fn a_slow_reader_loses_nothing() {
    needs!(Speed);
    let w = world();
    let run = w.dhow_cmd(["run", "--rm", "busybox", "seq", "300000"]);
    let slow = run.under(["sh", "-c", "\"$@\" | (sleep 1; tail -n 1)", "sh"]);
    slow.run().ok().out_is("300000");
}

#[test]
fn what_exec_leaves_in_the_background_holds_nobody_up() {
    let w = world();
    let name = w.id("c");
    w.dhow(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]).ok();
    let began = Instant::now();
    for _ in 0..10 {
        let exec = ["exec", &name, "sh", "-c", "sleep 500 & echo started"];
        w.dhow_cmd(exec).limit(60).run().ok().out_is("started");
    }
    assert!(began.elapsed() < Duration::from_secs(400));
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn run_and_logs_go_on_when_the_monitor_is_killed() {
    let w = world();
    let name = w.id("c");
    let script = "for i in $(seq 20); do echo line $i; \
                  if [ $i = 9 ]; then until [ -e /gate/open ]; do sleep 0.1; done; fi; done; exit 9";
    std::fs::create_dir(w.path("gate")).unwrap();
    let gate = format!("{}:/gate", w.path("gate").display());
    let run = w.dhow_cmd(["run", "-v", &gate, "--name", &name, "busybox", "sh", "-c", script]);
    let mut run = run.command();
    let run = run.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    e2e::until("it has begun", || w.dhow(["logs", &name]).out().contains("line 2"));
    let mut logs = w.dhow_cmd(["logs", "-f", &name]).command();
    let logs = logs.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let id = super::lifecycle::field(&w, &name, "/Id").as_str().unwrap().to_owned();
    let killed = monitor(&w, &id);
    kill(killed, Signal::SIGKILL).unwrap();
    // What a container says as it ends is lost where nobody has taken over by then.
    e2e::until("somebody has taken over", || monitor(&w, &id) != killed);
    std::fs::write(w.path("gate/open"), "").unwrap();
    let whole: String = (1..=20).map(|n| "line ".to_owned() + &n.to_string() + "\n").collect();
    let (run, logs) = (run.wait_with_output().unwrap(), logs.wait_with_output().unwrap());
    assert_eq!(String::from_utf8_lossy(&run.stdout), whole);
    assert_eq!(String::from_utf8_lossy(&logs.stdout), whole);
    w.dhow(["rm", &name]).ok();
    // KERNEL: PIDFD_GET_INFO: before 6.15 nobody but its parent surely hears how a process ended.
    needs!(Linux(6, 15));
    assert_eq!(run.status.code(), Some(9));
}

#[test]
fn a_killed_client_leaves_the_container_alone() {
    let w = world();
    let name = w.id("c");
    let script = "echo ready; cat; echo end of input; sleep 0.3; exit 4";
    let mut run =
        w.dhow_cmd(["run", "-i", "--name", &name, "busybox", "sh", "-c", script]).command();
    let mut run = run.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    e2e::until("it is ready", || w.dhow(["logs", &name]).out().contains("ready"));
    run.kill().unwrap();
    run.wait().unwrap();
    w.dhow(["wait", &name]).ok().out_is("4");
    w.dhow(["logs", &name]).ok().out_is("ready\nend of input");
    w.dhow(["rm", &name]).ok();
}

#[test]
fn left_by_keys_and_joined_again() {
    let w = world();
    let name = w.id("c");
    let mut t = w.dhow_pty(["run", "-it", "--name", &name, "busybox", "sh"]);
    t.expect("# ");
    t.send("MARK=kept\n");
    t.expect("# ");
    t.send("\x10\x11");
    assert_eq!(t.wait(), 0);
    let mut t = w.dhow_pty(["attach", &name]);
    t.send("echo $MARK-$((1+1))\n");
    t.expect("kept-2");
    t.send("exit 6\n");
    assert_eq!(t.wait(), 6);
    w.dhow(["rm", &name]).ok();
}

#[test]
fn restart_policies() {
    let w = world();
    let name = w.id("c");
    let flags = ["run", "-d", "--restart", "on-failure:2", "--name", &name, "busybox"];
    w.dhow(flags.iter().chain(&["sh", "-c", "echo life; exit 5"])).ok();
    e2e::until("it has had three lives", || w.dhow(["logs", &name]).ok().lines().len() == 3);
    e2e::until("it has ended", || super::lifecycle::field(&w, &name, "/State/Status") == "exited");
    assert_eq!(super::lifecycle::field(&w, &name, "/State/ExitCode"), 5);
    w.dhow(["rm", &name]).ok();
    let flags = ["run", "-d", "--restart", "always", "--name", &name, "busybox"];
    w.dhow(flags.iter().chain(&["sh", "-c", "echo life"])).ok();
    e2e::until("it lives again", || w.dhow(["logs", &name]).ok().lines().len() >= 3);
    w.dhow(["stop", &name]).ok();
    assert_eq!(super::lifecycle::field(&w, &name, "/State/Status"), "exited");
    w.dhow(["rm", &name]).ok();
}
