//! Many containers, and clients and monitors killed at any moment: nothing leaks, nothing is
//! lost, and what `ps` says is so.
//!
//! `DHOW_LIVES` and `DHOW_ALIVE` say how many (20 and 40 unless set; 300 and 200 is the promise).

use std::collections::BTreeSet;
use std::fs;
use std::process::Child;
use std::time::Duration;

use e2e::{World, leaks, needs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

fn count(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Knuth's generator: a failure can be run again by its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// The monitors of this world, those that are still starting too.
fn monitors(w: &World) -> Vec<Pid> {
    let root = w.root();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|&b| b == 0).skip(1);
        words.next() == Some(b"__monitor")
            && words.next() == Some(root.as_os_str().as_encoded_bytes())
    });
    ours.map(Pid::from_raw).collect()
}

fn kill_one(pids: &[Pid], chance: &mut Chance) {
    if let Some(pid) = pids.get(chance.below(pids.len().max(1) as u64) as usize) {
        let _ = kill(*pid, Signal::SIGKILL);
    }
}

/// What `ps` says runs, does; what it says has ended, has.
fn ps_is_true(w: &World, doing: &str) {
    let ids = w.dhow_cmd(["ps", "-aq", "--no-trunc"]).limit(60).run().ok().lines();
    for id in ids {
        // A monitor that is about to write what it has seen has a moment for it.
        e2e::until(&format!("{doing}: what is said of {id} is so"), || {
            let Some(state) = state(w, &id) else { return true };
            let pid = state["Pid"].as_i64().unwrap();
            let group = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            let lives = pid > 0 && group.contains(&id);
            let known = ["created", "running", "restarting", "exited"];
            assert!(known.iter().any(|word| state["Status"] == *word), "{doing}: {state}");
            (state["Status"] == "running") == lives
        });
    }
}

/// What `inspect` says of its state; nothing when it is gone.
fn state(w: &World, id: &str) -> Option<Value> {
    let said = w.dhow_cmd(["inspect", "-f", "{{json .State}}", id]).limit(60).run();
    let gone = said.err().contains("no such object") || said.err().contains("No such");
    assert!(said.code == 0 || gone, "{said}");
    serde_json::from_slice(&said.stdout).ok()
}

fn spawn(w: &World, args: &[&str]) -> Child {
    w.dhow_cmd(args).start()
}

#[test]
fn clients_and_monitors_killed_at_random_points_of_many_lives() {
    needs!(Speed);
    let w = World::new();
    w.pull("busybox");
    let seed = std::process::id().into();
    println!("seed {seed}");
    let mut chance = Chance(seed);
    for life in 0..count("DHOW_LIVES", 20) {
        let name = w.id(&format!("life{life}"));
        let start: &[&str] = match chance.below(6) {
            0 => &["run", "-d"],
            1 => &["run", "--rm"],
            2 => &["run", "-d", "--rm"],
            3 => &["run", "-d", "-t"],
            4 => &["run", "-d", "--init", "--health-cmd", "true", "--health-interval", "20ms"],
            _ => &["run", "-d", "--restart", "on-failure:2"],
        };
        let script = ["sleep 0.05", "sleep 1000", "echo x; exit 3"][chance.below(3) as usize];
        let line = [start, &["--name", &name, "busybox", "sh", "-c", script]].concat();
        let mut client = spawn(&w, &line);
        std::thread::sleep(Duration::from_millis(chance.below(60)));
        match chance.below(4) {
            0 => drop(client.kill()),
            1 => kill_one(&monitors(&w), &mut chance),
            2 => {
                let verb =
                    [&["stop", "-t", "0"][..], &["exec"], &["restart", "-t", "0"], &["rm", "-f"]];
                let verb = verb[chance.below(4) as usize];
                let more: &[&str] = if verb[0] == "exec" { &["true"] } else { &[] };
                let mut other = spawn(&w, &[verb, &[&name], more].concat());
                std::thread::sleep(Duration::from_millis(chance.below(20)));
                drop(other.kill());
                kill_one(&monitors(&w), &mut chance);
                other.wait().unwrap();
            }
            _ => {
                drop(client.kill());
                kill_one(&monitors(&w), &mut chance);
            }
        }
        ps_is_true(&w, &format!("seed {seed}, life {life}, {line:?}"));
        drop(client.kill());
        client.wait().unwrap();
        if life % 8 == 7 {
            remove_all(&w);
        }
    }
    remove_all(&w);
    // What is half made when its maker is killed goes with the next that is made.
    w.dhow(["run", "--rm", "busybox", "echo", "sound"]).ok().out_is("sound");
    e2e::until("all has ended", || monitors(&w).is_empty());
    w.dhow(["ps", "-a"]).ok();
    for place in ["containers", "names", "tmp"] {
        let names = fs::read_dir(w.root().join(place)).unwrap().flatten().map(|e| e.file_name());
        // Downloads of images have a place of their own there.
        let left: Vec<_> = names.filter(|name| name != "partial").collect();
        assert!(left.is_empty(), "seed {seed}: {left:?}");
    }
    // KERNEL: who was killed has no name any more, and still its locks.
    e2e::until(&format!("seed {seed}: no lock is left"), || {
        w.dhow(["ps", "-a"]).ok();
        fs::read_dir(w.run_dir().join("monitors")).unwrap().next().is_none()
    });
    e2e::until("no process is left", || leaks::processes(w.name(), &BTreeSet::new()).is_empty());
}

/// All that is there goes, at the latest when it is removed twice: one may just be born.
fn remove_all(w: &World) {
    e2e::until("all are removed", || {
        let ids = w.dhow(["ps", "-aq"]).ok().lines();
        if !ids.is_empty() {
            w.dhow_cmd(["rm".to_owned(), "-f".to_owned()].into_iter().chain(ids)).limit(60).run();
        }
        monitors(w).is_empty() && w.dhow(["ps", "-aq"]).ok().out().is_empty()
    });
}

/// Private bytes of a process, as its monitor's promise counts them.
fn private(pid: i64) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let of = |line: &str| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
    text.lines().filter(|line| line.starts_with("Private_")).map(of).sum::<u64>() * 1024
}

#[test]
fn many_alive_at_once_each_with_a_monitor_under_a_mebibyte() {
    needs!(Speed);
    let w = World::new();
    w.pull("busybox");
    let most = count("DHOW_ALIVE", 40);
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|s| {
        for _ in 0..16 {
            s.spawn(|| {
                while next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < most {
                    let run = ["run", "-d", "--health-cmd", "true", "busybox", "sleep", "100000"];
                    w.dhow_cmd(run).run().ok();
                }
            });
        }
    });
    assert_eq!(w.dhow(["ps", "-q"]).ok().lines().len(), most);
    let states = fs::read_dir(w.root().join("containers")).unwrap().flatten().map(|entry| {
        let bytes = fs::read(entry.path().join("state.json")).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()
    });
    let sizes: Vec<u64> = states.map(|s| private(s["monitor_pid"].as_i64().unwrap())).collect();
    let (largest, mean) = (sizes.iter().max().unwrap(), sizes.iter().sum::<u64>() / most as u64);
    println!("{most} monitors: private memory {mean} bytes on average, {largest} at most");
    assert!(*largest < 1 << 20, "{largest} bytes");
    let ids = w.dhow(["ps", "-q"]).ok().lines();
    w.dhow_cmd(["rm".to_owned(), "-f".to_owned()].into_iter().chain(ids)).run().ok();
}

#[test]
fn rm_happens_when_client_and_monitor_have_died() {
    needs!(Speed);
    let w = World::new();
    w.pull("busybox");
    let name = w.id("c");
    let mut client =
        spawn(&w, &["run", "--rm", "-v", "/data", "--name", &name, "busybox", "sleep", "3"]);
    let gone = || fs::read_dir(w.root().join("containers")).unwrap().count() == 0;
    e2e::until("it runs", || w.dhow(["exec", &name, "true"]).code == 0);
    client.kill().unwrap();
    client.wait().unwrap();
    e2e::until("it has removed itself", gone);
    e2e::until("its volume, too", || w.dhow(["volume", "ls", "-q"]).ok().out().is_empty());
    // With its monitor gone too, the next look removes it.
    let mut client = spawn(&w, &["run", "--rm", "--name", &name, "busybox", "sleep", "3"]);
    e2e::until("it runs", || w.dhow(["exec", &name, "true"]).code == 0);
    client.kill().unwrap();
    client.wait().unwrap();
    for pid in monitors(&w) {
        kill(pid, Signal::SIGKILL).unwrap();
    }
    e2e::until("it has ended and is gone", || {
        w.dhow(["ps", "-a"]).ok();
        gone()
    });
}
