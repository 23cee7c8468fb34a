//! Kills and failures at each step of a network's work: the next command mends what a kill left, and
//! a failure leaves nothing.
//!
//! strace(1) strikes at the nth call of a kind. By hand, `DHOW_LONG=1`: every call there is;
//! `DHOW_CALL=sendto`: of one kind alone.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use e2e::{Wires, World, needs, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::crash::monitors;
use super::net_tools::{address, at, from_within, listens, mirror};

/// The calls by which networks are made and unmade.
const CALLS: [&str; 8] =
    ["sendto", "sendmsg", "setns", "bind", "socket", "flock", "rename", "unlinkat"];

/// Every how many calls one is struck; of the few bind(2)s, each.
fn stride(call: &str) -> usize {
    if call == "bind" || std::env::var_os("DHOW_LONG").is_some() { 1 } else { 7 }
}

/// `strace` that does `what` at the `nth` call of `call`, in each process; what it saw is in `log`.
fn strace(w: &World, call: &str, what: &str, nth: usize) -> Vec<String> {
    let inject = format!("inject={call}:{what}:when={nth}");
    let trace = format!("trace={call}");
    let log = w.path("strace").display().to_string();
    ["strace", "-f", "-o", &log, "-e", &trace, "-e", &inject].map(str::to_owned).to_vec()
}

/// Whether it struck.
fn struck(w: &World) -> bool {
    let log = fs::read_to_string(w.path("strace")).unwrap();
    log.contains("INJECTED") || log.contains("+++ killed by SIGKILL")
}

/// Kills, and waits until it is dead: before that it has its locks and ports.
pub(super) fn end(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    until("it is dead", || !Path::new(&format!("/proc/{pid}")).exists());
}

/// Nothing of any container is there. KERNEL: a namespace's devices go a moment after its last process.
#[track_caller]
fn clean(w: &World, when: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let left = w.wires().left(&w.run_dir());
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "{when}:\n  {}", left.join("\n  "));
        thread::sleep(Duration::from_millis(5));
    }
}

/// Does something under strace for every call of each kind, until there are no more.
fn at_each_step(w: &World, what: &str, mut body: impl FnMut(&str, Vec<String>)) {
    let mut strikes = 0;
    // Files that can't be renamed or removed are another matter, and flock(2) doesn't fail.
    let files = ["flock", "rename", "unlinkat"];
    let calls = CALLS.into_iter().filter(|call| what == "signal=KILL" || !files.contains(call));
    let only = std::env::var("DHOW_CALL");
    let calls =
        calls.filter(|call| only.as_deref().is_ok_and(|only| only == *call) || only.is_err());
    for (first, call) in calls.enumerate() {
        for nth in (1 + first % stride(call)..).step_by(stride(call)) {
            let title = format!("{what} at {call} number {nth}");
            body(&title, strace(w, call, what, nth));
            if !struck(w) {
                break;
            }
            strikes += 1;
        }
    }
    println!("{what}: {strikes} strikes");
    assert!(strikes > 3, "{strikes} strikes are few: strace misses what networks are made by");
}

#[test]
fn a_kill_at_any_step_of_a_start_is_mended_by_the_next_command() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "pier"]).ok();
    let run = ["run", "-d", "--name", "mm", "-p", "8080:7", "--network", "pier"];
    at_each_step(&w, "signal=KILL", |title, strace| {
        let ran = w.dhow_cmd(run.iter().chain(&["busybox", "sleep", "0.05"])).under(strace).run();
        let listed = w.dhow_cmd(["ps", "-a"]).limit(30).run().ok();
        let removed = w.dhow(["rm", "-f", "mm"]);
        clean(&w, &format!("{title}: {ran}{listed}{removed}"));
    });
    mirror(&w, "mm", &["-p", "8080:7", "--network", "pier"]);
    w.wires().client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8080));
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

#[test]
fn a_container_that_ends_while_its_monitor_is_replaced_gives_back_what_it_had() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "pier"]).ok();
    let run = ["run", "-d", "--name", "mm", "-p", "8080:7", "--network", "pier"];
    w.dhow(run.iter().chain(&["busybox", "sleep", "1000"])).ok();
    let id = w.dhow(["inspect", "-f", "{{.Id}}", "mm"]).ok().out();
    let file = w.root().join("containers").join(id).join("state.json");
    let state = || serde_json::from_slice::<Value>(&fs::read(&file).unwrap()).unwrap();
    let (first, init) = (state()["monitor_pid"].clone(), state()["pid"].as_i64().unwrap() as i32);
    end(monitors(&w)[0]);
    // The next one has found it alive, and is held up for a second as soon as it has said so.
    let slow = ["strace", "-f", "-o", "/dev/null", "-e", "inject=rename:delay_exit=1000000"];
    let mut list = w.dhow_cmd(["ps"]).under(slow).start();
    until("it is there", || state()["monitor_pid"] != first);
    kill(Pid::from_raw(init), Signal::SIGKILL).unwrap();
    assert!(list.wait().unwrap().success());
    until("its end is known", || w.dhow(["ps", "-q"]).ok().out().is_empty());
    clean(&w, "after its end");
    w.dhow(["rm", "mm"]).ok();
    w.dhow(["network", "rm", "pier"]).ok();
}

#[test]
fn a_failure_at_any_step_of_a_start_leaves_nothing() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "pier"]).ok();
    let run = ["run", "--rm", "-p", "8080:7", "--network", "pier", "busybox", "true"];
    for error in ["error=ENOSPC", "error=EPERM"] {
        at_each_step(&w, error, |title, strace| {
            let done = w.dhow_cmd(run).under(strace).run();
            assert!(!done.err().contains("panicked"), "{title}: {done}");
            assert!(done.code != 0 || done.err().is_empty(), "{title}: {done}");
            let left = w.dhow(["ps", "-aq"]).ok().out();
            assert!(left.is_empty(), "{title}: {done}");
            // Was it the undoing that failed, the next container's is left.
            if !w.wires().left(&w.run_dir()).is_empty() {
                w.dhow(run).ok();
            }
            clean(&w, title);
        });
    }
    w.dhow(run).ok();
    w.dhow(["network", "rm", "pier"]).ok();
}

/// A monitor that is struck while it does what a client asks of it.
fn struck_while(w: &World, what: &str, mut body: impl FnMut(), mut after: impl FnMut(&str)) {
    let id = w.dhow(["inspect", "-f", "{{.Id}}", "mm"]).ok().out();
    at_each_step(w, what, |title, strace| {
        w.dhow(["start", "mm"]).ok();
        listens(w, "mm");
        // Not that of the life before, which may still have flows to forget.
        let monitor = super::streams::monitor(w, &id);
        let attach = [&strace[1..], &["-p".to_owned(), monitor.to_string()]].concat();
        let mut tracer = w.cmd("strace").args(attach).start();
        let status = format!("/proc/{monitor}/status");
        until("strace is there", || {
            fs::read_to_string(&status)
                .unwrap()
                .lines()
                .any(|l| l.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
        });
        body();
        after(title);
        let _ = kill(Pid::from_raw(tracer.id() as i32), Signal::SIGTERM);
        tracer.wait().unwrap();
    });
}

#[test]
fn a_kill_at_any_step_of_an_end_is_mended_by_the_next_command() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "pier"]).ok();
    let create = ["create", "--name", "mm", "-p", "8080:7", "--network", "pier", "mirror"];
    w.dhow(create).ok();
    let stop = || drop(w.dhow_cmd(["stop", "-t", "1", "mm"]).limit(30).run());
    struck_while(&w, "signal=KILL", stop, |title| {
        let state = ["inspect", "-f", "{{.State.Running}}", "mm"];
        until("it has ended", || w.dhow(state).ok().out() == "false");
        clean(&w, title);
    });
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

#[test]
fn a_kill_at_any_step_of_connect_is_mended_by_the_next_command() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "pier"]).ok();
    w.dhow(["create", "--name", "mm", "-p", "8080:7", "mirror"]).ok();
    let connect = || drop(w.dhow_cmd(["network", "connect", "pier", "mm"]).limit(30).run());
    struck_while(&w, "signal=KILL", connect, |title| {
        // Either it is in it, or it can be.
        let list = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
        let networks = w.dhow(["inspect", "-f", list, "mm"]).ok().out();
        assert!(networks.contains("bridge"), "{title}: {networks}");
        if !networks.contains("pier") {
            w.dhow(["network", "connect", "pier", "mm"]).ok();
        }
        let seen = w.wires().client.ask("tcp", &at(Wires::SERVER, 8080));
        assert_eq!(seen.ok().as_deref(), Some(Wires::CLIENT), "{title}");
        w.dhow(["network", "disconnect", "pier", "mm"]).ok();
        w.dhow(["stop", "-t", "1", "mm"]).ok();
        clean(&w, title);
    });
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

#[test]
fn a_killed_monitors_container_is_reached_again_after_the_next_command() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "pier"]).ok();
    let ports = ["--network", "pier", "-p", "8080:7", "-p", "127.0.0.1:8081:7/udp"];
    mirror(&w, "mm", &ports);
    mirror(&w, "pp", &["--network", "pier"]);
    let (own, other) = (address(&w, "mm"), address(&w, "pp"));
    monitors(&w).into_iter().for_each(end);
    // What rules lead goes on without a monitor.
    w.wires().client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8080));
    w.dhow(["ps"]).ok();
    let wires = w.wires();
    until("loopback is served", || wires.server.ask("udp", "127.0.0.1:8081").is_ok());
    wires.client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8080));
    until("names are answered", || from_within(&w, "pp", "mm", 7) == Some(other.clone()));
    until("both ways", || from_within(&w, "mm", "pp", 7) == Some(own.clone()));
    w.dhow(["run", "--rm", "-p", "8080:7", "mirror"]).code(125).err_has("8080");
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

/// The container was killed along with its monitor: an address, a port and a name wait for nobody.
#[test]
fn what_killed_containers_had_can_be_had_again() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "--subnet", "10.9.0.0/29", "pier"]).ok();
    for round in 0..4 {
        let flags = ["--network", "pier", "--ip", "10.9.0.3", "-p", "8080:7"];
        let name = format!("mm{round}");
        mirror(&w, &name, &flags);
        let pid = w.dhow(["inspect", "-f", "{{.State.Pid}}", &name]).ok().out();
        let pid: i32 = pid.parse().unwrap();
        for pid in monitors(&w).into_iter().chain([pid]) {
            end(pid);
        }
    }
    w.dhow(["network", "inspect", "-f", "{{len .Containers}}", "pier"]).ok().out_is("0");
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

/// The power goes: no process, no device, no rule and nothing in RUN is there afterwards. (The boot
/// id stays, as nobody but the kernel changes it.)
#[test]
fn after_a_reboot_all_is_made_again() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "pier"]).ok();
    let flags = ["--restart", "always", "--network", "pier", "-p", "8080:7"];
    mirror(&w, "mm", &flags);
    mirror(&w, "dd", &["-p", "8081:7"]);
    for name in ["mm", "dd"] {
        let pid = w.dhow(["inspect", "-f", "{{.State.Pid}}", name]).ok().out();
        let ours = monitors(&w);
        for pid in ours.into_iter().chain([pid.parse().unwrap()]) {
            end(pid);
        }
    }
    let wires = w.wires();
    wires.server.nft("flush ruleset");
    for device in wires.server.devices() {
        if !["lo", "eth0"].contains(&device.as_str()) {
            w.server(["ip", "link", "del", &device]);
        }
    }
    fs::remove_dir_all(w.run_dir()).unwrap();
    w.dhow(["network", "ls"]).ok().out_has("pier");
    w.dhow(["system", "start"]).ok();
    let (to, other) = (at(Wires::SERVER, 8080), at(Wires::SERVER, 8081));
    until("it serves again", || wires.client.ask("tcp", &to).is_ok());
    wires.client.is_seen_as(Wires::CLIENT, "tcp", &to);
    w.dhow(["start", "dd"]).ok();
    until("this, too", || wires.client.ask("tcp", &other).is_ok());
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

/// What dhow turned forwarding on for needs its guard as long as that is on; else no table is left.
#[test]
fn no_device_is_left_when_the_last_network_is_gone_and_no_table_but_the_guard() {
    needs!(Root, Nftables);
    for forwards in ["1", "0"] {
        let w = World::wired();
        let server = &w.wires().server;
        server.set_sysctl("ipv4/ip_forward", forwards);
        server.set_sysctl("ipv6/conf/all/forwarding", forwards);
        w.dhow(["network", "create", "pier"]).ok();
        w.dhow(["run", "--rm", "--network", "pier", "-p", "8080:7", "busybox", "true"]).ok();
        w.dhow(["network", "rm", "pier"]).ok();
        let rules = server.ruleset();
        let rules: Vec<_> = rules.iter().filter(|entry| entry.get("rule").is_some()).collect();
        assert_eq!(rules.is_empty(), forwards == "1", "{rules:#?}");
        until("only the uplink is left", || server.devices() == ["lo", "eth0"]);
    }
}

/// Killed while it connected, after the container had its interface and before any state told of it.
#[test]
fn an_interface_that_its_container_renamed_goes_with_what_a_killed_monitor_left() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "pier"]).ok();
    mirror(&w, "mm", &["--cap-add", "NET_ADMIN"]);
    w.dhow(["network", "connect", "pier", "mm"]).ok();
    let hide = "ip link set eth1 down && ip link set eth1 name mine && ip link set mine up";
    w.dhow(["exec", "mm", "sh", "-c", hide]).ok();
    monitors(&w).into_iter().for_each(end);
    let dir = fs::read_dir(w.root().join("containers")).unwrap().next().unwrap().unwrap();
    let path = dir.path().join("state.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    state["endpoints"].as_array_mut().unwrap().pop().unwrap();
    fs::write(&path, state.to_string()).unwrap();
    until("taken away", || w.dhow(["exec", "mm", "ip", "link", "show", "mine"]).code == 2);
    w.dhow(["exec", "mm", "ip", "link", "show", "eth0"]).ok();
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

/// A network that a container joined while it ran goes with it like those of its start.
#[test]
fn what_was_connected_is_given_back_when_all_were_killed() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "pier"]).ok();
    mirror(&w, "mm", &["-p", "8080:7"]);
    let monitor = monitors(&w);
    mirror(&w, "pp", &["--network", "pier"]);
    w.dhow(["network", "connect", "pier", "mm"]).ok();
    let pid = w.dhow(["inspect", "-f", "{{.State.Pid}}", "mm"]).ok().out();
    for pid in monitor.into_iter().chain([pid.parse().unwrap()]) {
        end(pid);
    }
    w.dhow(["inspect", "-f", "{{.State.Running}}", "mm"]).ok().out_is("false");
    w.dhow(["exec", "pp", "nslookup", "mm"]).code(1);
    w.dhow(["rm", "-f", "pp"]).ok();
    clean(&w, "all were killed");
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}
