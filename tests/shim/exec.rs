//! exec in a running container.

use std::process::Stdio;

use e2e::{World, needs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn running(w: &World) -> String {
    w.pull("busybox");
    let name = w.id("c");
    w.dhow(["run", "-d", "--name", &name, "-e", "FIRST=yes", "busybox", "sleep", "1000"]).ok();
    name
}

#[test]
fn exec_output_exit_code_and_flags() {
    let w = World::new();
    let name = running(&w);
    let done = w.dhow(["exec", &name, "sh", "-c", "echo in; echo err >&2; exit 6"]);
    assert_eq!(done.code(6).out_is("in").err(), "err");
    let flags = ["exec", "-u", "mate", "-w", "/tmp", "-e", "SECOND=too", &name];
    let script = ["sh", "-c", "id -un; pwd; echo $FIRST $SECOND"];
    w.dhow(flags.iter().chain(&script)).ok().out_is("mate\n/tmp\nyes too");
    w.dhow_cmd(["exec", "-i", &name, "cat"]).stdin("through\n").run().ok().out_is("through");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn exec_of_what_is_not_there() {
    let w = World::new();
    let name = running(&w);
    w.dhow(["exec", &name, "no-such-command"]).code(127).err_has("no-such-command");
    w.dhow(["exec", &name, "/etc"]).code(126);
    w.dhow(["kill", &name]).ok();
    w.dhow(["wait", &name]).ok();
    w.dhow(["exec", &name, "true"]).code(1).err_has("not running");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn exec_detached() {
    let w = World::new();
    let name = running(&w);
    w.dhow(["exec", "-d", &name, "touch", "/made"]).ok();
    e2e::until("the file is made", || w.dhow(["exec", &name, "ls", "/made"]).code == 0);
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn exec_on_a_terminal() {
    let w = World::new();
    let name = running(&w);
    let mut t = w.dhow_pty(["exec", "-it", &name, "sh"]);
    t.expect("# ");
    t.send("tty; stty size\n");
    t.expect("/dev/pts/");
    t.expect("24 80");
    t.resize(40, 132);
    t.expect("# ");
    t.send("sleep 0.3; stty size\n");
    t.expect("40 132");
    t.send("exit 12\n");
    assert_eq!(t.wait(), 12);
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn exec_detached_with_a_terminal_has_one_and_is_listed_while_it_runs() {
    let w = World::new();
    let name = running(&w);
    let ids = || super::lifecycle::field(&w, &name, "/ExecIDs");
    assert!(ids().is_null());
    let script = "tty >/tty; head -c 100000 /dev/zero; echo $$ >/written; exec sleep 1000";
    w.dhow(["exec", "-d", "-t", &name, "sh", "-c", script]).ok().out_is("");
    // Nobody looks at the terminal, and it does not fill up.
    e2e::until("it has written", || w.dhow(["exec", &name, "ls", "/written"]).code == 0);
    w.dhow(["exec", &name, "cat", "/tty"]).ok().out_is("/dev/pts/0");
    let listed = ids();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0].as_str().unwrap().len(), 64);
    w.dhow(["exec", &name, "sh", "-c", "kill $(cat /written)"]).ok();
    e2e::until("none is listed", || ids().is_null());
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn exec_detached_fails_at_once_when_the_command_is_not_there() {
    let w = World::new();
    let name = running(&w);
    w.dhow(["exec", "-d", &name, "no-such-command"]).code(1).err_has("not found");
    w.dhow(["exec", "-d", &name, "false"]).ok();
    w.dhow(["exec", "-w", "/no/such", &name, "true"]).code(127);
    w.dhow(["rm", "-f", &name]).ok();
    w.dhow(["create", "--name", &name, "busybox", "true"]).ok();
    w.dhow(["exec", "-d", &name, "true"]).code(1).err_has("is not running");
    w.dhow(["rm", &name]).ok();
}

#[test]
fn many_that_leave_children_behind_cost_neither_descriptors_nor_memory() {
    needs!(Speed);
    let w = World::new();
    w.pull("busybox");
    let name = w.id("c");
    let run = ["run", "-d", "--name", &name, "--pids-limit", "-1", "busybox", "sleep", "1000"];
    let id = w.dhow(run).ok().out();
    let monitor = super::streams::monitor(&w, &id);
    let descriptors = || std::fs::read_dir(format!("/proc/{monitor}/fd")).unwrap().count();
    let memory = || {
        let text = std::fs::read_to_string(format!("/proc/{monitor}/statm")).unwrap();
        text.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
    };
    let exec = |flags: &[&str]| {
        let command = [&*name, "sh", "-c", "sleep 500 & exit 0"];
        w.dhow_cmd(["exec"].iter().chain(flags).chain(&command)).limit(20).run().ok();
    };
    let mine = || super::lifecycle::field(&w, &name, "/ExecIDs").is_null();
    (0..5).for_each(|_| ["-d", "-dt"].iter().for_each(|flags| exec(&[flags])));
    e2e::until("they have ended", mine);
    let (files, pages) = (descriptors(), memory());
    for _ in 0..25 {
        for flags in [&[][..], &["-i"], &["-d"], &["-d", "-t"]] {
            exec(flags);
        }
    }
    e2e::until("they have ended", mine);
    assert!(descriptors() <= files, "{files} descriptors before, {} after", descriptors());
    assert!(memory() <= pages + 16, "{pages} pages before, {} after", memory());
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn exec_privileged_has_all_capabilities_and_signals_show_in_the_code() {
    let w = World::new();
    let name = running(&w);
    let effective = |flags: &[&str]| {
        let command = [&*name, "grep", "CapEff", "/proc/self/status"];
        let line = w.dhow(["exec"].iter().chain(flags).chain(&command)).ok().out();
        u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap().count_ones()
    };
    assert_eq!(effective(&[]), 14);
    assert!(effective(&["--privileged"]) > 35);
    assert_eq!(effective(&["--privileged", "-u", "1"]), 0);
    w.dhow(["exec", &name, "sh", "-c", "kill -9 $$"]).code(137);
    std::fs::write(w.path("vars"), "# no\nA=file\nB=file\n").unwrap();
    let vars = ["exec", "--env-file", "vars", "-e", "B=flag", &name, "sh", "-c", "echo $A $B"];
    w.dhow(vars).ok().out_is("file flag");
    w.dhow(["exec", "--env-file", "nowhere", &name, "true"]).code(1).err_has("nowhere");
    w.dhow(["exec", "-u", "nobody-here", &name, "true"]).code(1).err_has("nobody-here");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn exec_is_left_by_keys_of_one_s_own() {
    let w = World::new();
    let name = running(&w);
    let mut t = w.dhow_pty(["exec", "-it", "--detach-keys", "ctrl-x,q", &name, "sh"]);
    t.expect("# ");
    t.send("\x18q");
    t.expect("read escape sequence");
    assert_eq!(t.wait(), 1);
    let bad = ["exec", "--detach-keys", "abc", &name, "true"];
    w.dhow(bad).code(1).err_has("Invalid escape keys (abc) provided");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn exec_into_what_is_paused_is_refused() {
    let w = World::new();
    let name = running(&w);
    w.dhow(["pause", &name]).ok();
    w.dhow(["exec", &name, "true"]).code(1).err_has("is paused, unpause the container before exec");
    w.dhow(["attach", &name]).code(1).err_has("You cannot attach to a paused container");
    w.dhow(["start", &name]).code(1).err_has("cannot start a paused container");
    w.dhow(["unpause", &name]).ok();
    w.dhow(["exec", &name, "true"]).ok();
    w.dhow(["rm", "-f", &name]).ok();
}

/// The first process of a container waits until nobody is left in its pid namespace, whoever waits for them.
#[test]
fn bug_a_stopped_client_of_exec_held_its_container_s_end_up() {
    let w = World::new();
    let name = running(&w);
    let script = ["sh", "-c", "echo $$ >/pid; read never; exec sleep 1000"];
    let mut client = w.dhow_cmd(["exec", "-i", &name].iter().chain(&script)).command();
    let mut client =
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    e2e::until("it runs", || w.dhow(["exec", &name, "test", "-s", "/pid"]).code == 0);
    let pid = Pid::from_raw(client.id() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    w.dhow_cmd(["stop", "-t", "0", &name]).limit(20).run().ok();
    w.dhow_cmd(["rm", &name]).limit(20).run().ok();
    // It hears how its process ended when it goes on.
    kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(client.wait().unwrap().code(), Some(137));
}

#[test]
fn a_killed_client_of_exec_leaves_its_process_and_nobody_beside_it() {
    let w = World::new();
    let name = running(&w);
    let script = ["sh", "-c", "echo $$ >/pid; exec sleep 1000"];
    let mut client = w.dhow_cmd(["exec", &name].iter().chain(&script)).command();
    let mut client = client.stdout(Stdio::piped()).spawn().unwrap();
    e2e::until("it runs", || w.dhow(["exec", &name, "test", "-s", "/pid"]).code == 0);
    let beside = || {
        let children = format!("/proc/{0}/task/{0}/children", client.id());
        let children = std::fs::read_to_string(children).unwrap();
        children.trim().parse::<u32>().unwrap()
    };
    let keeper = beside();
    client.kill().unwrap();
    client.wait().unwrap();
    e2e::until("it has gone", || !std::path::Path::new(&format!("/proc/{keeper}/cwd")).exists());
    w.dhow(["exec", &name, "sh", "-c", "kill -0 $(cat /pid)"]).ok();
    w.dhow(["rm", "-f", &name]).ok();
}
