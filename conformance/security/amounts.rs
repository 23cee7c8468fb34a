//! What stays of what has ended.

use std::fs;

use crate::scene::{Scene, Verdict, flawed_if};

/// Processes that work at this world's state.
fn at_work(s: &Scene) -> Vec<String> {
    let root = s.w.runtime_root().display().to_string();
    let lines = fs::read_dir("/proc").unwrap().flatten();
    let lines = lines.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&root)).collect()
}

/// Each leaves a process in the container, which holds none of its streams.
pub fn execs(s: &Scene) -> Verdict {
    let b = s.bundle(&["sleep", "100"]);
    s.start(&b);
    for _ in 0..15 {
        let left = "sleep 1000 >/dev/null 2>&1 </dev/null &";
        let done = s.exec(&b, &["sh", "-c", left]);
        if done.code == 137 {
            return Verdict::Flawed("exec does not end".to_owned());
        }
        assert!(done.code == 0, "{done}");
    }
    let left = at_work(s);
    flawed_if(!left.is_empty(), format!("{} processes stay", left.len()))
}
