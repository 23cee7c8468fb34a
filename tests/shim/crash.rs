//! A monitor killed at any instant of a start: the next command works, and nothing stays behind.

use std::time::Duration;

use e2e::{World, needs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The monitors of this world, those that are still starting too.
pub(super) fn monitors(w: &World) -> Vec<i32> {
    let root = w.root();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|&b| b == 0).skip(1);
        words.next() == Some(b"__monitor")
            && words.next() == Some(root.as_os_str().as_encoded_bytes())
    })
    .collect()
}

#[test]
fn monitor_killed_at_any_instant_of_a_start() {
    needs!(Speed);
    let w = World::new();
    w.pull("busybox");
    for (n, milliseconds) in (2..60).step_by(3).enumerate() {
        let terminal: &[&str] = if n % 4 == 3 { &["-t"] } else { &[] };
        let run = ["run", "-d"].iter().chain(terminal).chain(&["busybox", "sleep", "0.05"]);
        let mut run = w.dhow_cmd(run).start();
        std::thread::sleep(Duration::from_millis(milliseconds));
        for pid in monitors(&w) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        run.wait().unwrap();
        w.dhow_cmd(["ps", "-a"]).limit(20).run().ok();
    }
    e2e::until("all have ended", || w.dhow(["ps", "-q"]).ok().out().is_empty());
    let ids = w.dhow(["ps", "-aq"]).ok().lines();
    w.dhow(["rm".to_owned(), "-f".to_owned()].into_iter().chain(ids)).ok();
    w.dhow(["run", "--rm", "busybox", "echo", "sound"]).ok().out_is("sound");
}
