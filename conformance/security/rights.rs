//! Capabilities.

use e2e::Done;
use serde_json::json;

use crate::scene::{Scene, Verdict};

const LOOK: [&str; 3] = ["grep", "Cap", "/proc/self/status"];

/// The sets that must be empty and aren't.
fn filled(done: Done, sets: &[&str]) -> Option<String> {
    let done = done.ok();
    let filled = done.lines().into_iter().find(|line| {
        let (set, bits) = line.split_once(":\t").unwrap();
        sets.contains(&set) && bits.bytes().any(|b| b != b'0')
    });
    filled.map(|line| line.replace('\t', " "))
}

fn verdict(found: Option<String>, by: &str) -> Verdict {
    found.map_or(Verdict::Safe, |set| Verdict::Flawed(format!("{by}: {set}")))
}

pub fn of_run(s: &Scene) -> Verdict {
    let b = s.bundle(&LOOK);
    verdict(filled(s.run(&b), &["CapInh", "CapAmb"]), "run")
}

pub fn of_exec(s: &Scene) -> Verdict {
    let b = s.bundle(&["sleep", "100"]);
    s.start(&b);
    if let Some(set) = filled(s.exec(&b, &LOOK), &["CapInh", "CapAmb"]) {
        return Verdict::Flawed(format!("exec: {set}"));
    }
    let more = s.cmd(["exec", "--cap", "CAP_NET_RAW", b.id()].iter().chain(&LOOK)).run();
    verdict(filled(more, &["CapInh", "CapAmb"]), "exec --cap")
}

/// What the config gives to root, a plain user may not have.
pub fn of_users(s: &Scene) -> Verdict {
    let sets = ["CapInh", "CapPrm", "CapEff", "CapAmb"];
    let user = json!({"uid": 1000, "gid": 1000});
    let b = s.another("c", &LOOK).with("/process/user", user);
    if let Some(set) = filled(s.run(&b), &sets) {
        return Verdict::Flawed(format!("run: {set}"));
    }
    let b = s.bundle(&["sleep", "100"]);
    s.start(&b);
    let done = s.cmd(["exec", "--user", "1000:1000", b.id()].iter().chain(&LOOK)).run();
    verdict(filled(done, &sets), "exec --user")
}
