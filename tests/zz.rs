//! The last case: it waits for all others (cases start in the order of their names), then compares
//! the machine with what it was before the first.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use e2e::{Registry, leaks};

/// Threads that run cases bear the cases' names, cut to 15 bytes.
fn cases_running() -> Vec<String> {
    let ours = ["build::", "imagetool::", "runtime::", "shim::"];
    let names = fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = names.filter_map(|t| fs::read_to_string(t.path().join("comm")).ok());
    names.filter(|n| ours.iter().any(|o| n.starts_with(o))).collect()
}

#[test]
fn nothing_is_left_on_the_machine() {
    let until = Instant::now() + Duration::from_mins(5);
    while !cases_running().is_empty() {
        assert!(Instant::now() < until, "still running: {:?}", cases_running());
        thread::sleep(Duration::from_millis(50));
    }
    Registry::remove_files();
    // Others may be at work on this machine; on CI's nobody is, so there everything new counts.
    let strict = std::env::var_os("CI").is_some();
    let ours = |line: &String| {
        let named = format!("dhow-e2e-{}-", std::process::id());
        strict || line.starts_with("device") || line.contains(&named)
    };
    let left = || leaks::grown().into_iter().filter(ours).collect::<Vec<_>>();
    let until = Instant::now() + Duration::from_secs(30);
    while !left().is_empty() && Instant::now() < until {
        thread::sleep(Duration::from_millis(50));
    }
    assert!(left().is_empty(), "the suite left behind:\n  {}", left().join("\n  "));
}
