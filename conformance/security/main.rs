//! The security scoreboard: what has gone wrong in runtimes, tried on the one in `$RUNTIME`.
//!
//! `security [PART]…` tries all cases of the [`table`], or those whose row, name or class holds a
//! PART, and ends with 1 where one is flawed. `--planted` tries them on a runtime with the flaw, which
//! each case has to see. `--write` puts ours, crun's and runc's verdicts into `docs/security.md`.
#![allow(clippy::unwrap_used, reason = "a check that cannot go on should stop where it is")]

mod amounts;
mod calls;
mod descriptors;
mod ends;
mod exposure;
mod groups;
mod inside;
mod links;
mod masks;
mod planted;
mod procfs;
mod program;
mod report;
mod rights;
mod scene;
mod shapes;
mod table;
mod targets;
mod users;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::{env, fs};

use e2e::{Cmd, WITHOUT_V2};

use scene::{Target, Verdict};
use table::{Case, TABLE};

/// Says that the mount namespace is one that crun can live with.
const APART: &str = "SECURITY_WITHOUT_V2";

/// How often a planted flaw may be missed before it counts.
const RACES: usize = 10;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("inside") => return inside::run(&args[1..]),
        Some("planted") => planted::run(&args[1..]),
        Some("--write") => return report::write(),
        Some("--help" | "-h") => {
            println!("usage: [RUNTIME=PROGRAM] security [--planted] [PART]… | --write");
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let (flags, parts): (Vec<_>, Vec<_>) = args.into_iter().partition(|arg| arg.starts_with('-'));
    if let Some(flag) = flags.iter().find(|flag| !["--planted", "--lines"].contains(&flag.as_str()))
    {
        eprintln!("security: unknown flag {flag}; see --help");
        return ExitCode::from(2);
    }
    let has = |flag: &str| flags.iter().any(|f| f == flag);
    let runtime = runtime();
    without_v2(&runtime);
    let wanted = |case: &&Case| parts.is_empty() || parts.iter().any(|part| case.holds(part));
    let cases: Vec<&Case> = TABLE.iter().filter(wanted).collect();
    if cases.is_empty() {
        eprintln!("security: no case has {} in its row, name or class", parts.join(", "));
        return ExitCode::from(2);
    }
    // A case that cannot go on says why in its verdict.
    std::panic::set_hook(Box::new(|_| ()));
    let verdicts = cases.iter().map(|case| {
        let planted = has("--planted");
        let target = Target::new(&runtime, planted.then_some(case.name));
        // An exchange comes at the right moment by luck: a planted flaw is looked for again.
        let mut tries = (1..=RACES).map(|_| scene::judge(case, &target));
        let flawed = |verdict: &Verdict| matches!(verdict, Verdict::Flawed(_));
        let first = tries.next().unwrap();
        let again = planted && matches!(first, Verdict::Safe);
        let found = if again { tries.find(flawed) } else { None };
        (*case, found.unwrap_or(first))
    });
    report::print(&runtime, verdicts, has("--planted"), has("--lines"))
}

/// Its path: a case may run a copy.
fn runtime() -> String {
    let Some(asked) = env::var_os("RUNTIME") else {
        return e2e::program("dhow-runtime").to_string_lossy().into_owned();
    };
    let path = env::var_os("PATH").unwrap_or_default();
    // Joined to an absolute path, a directory of PATH goes; one that has none is looked for there.
    let places = env::split_paths(&path).map(|dir| dir.join(&asked));
    let found = places.into_iter().find(|place| place.is_file());
    let found = found.unwrap_or_else(|| panic!("there is no {}", asked.display()));
    found.to_string_lossy().into_owned()
}

/// crun refuses a machine that has v2's hierarchy beside v1's: for it, all is done once more where
/// that one isn't mounted.
fn without_v2(runtime: &str) {
    let version = Cmd::new(runtime).arg("--version").run();
    if !version.out().starts_with("crun")
        || env::var_os(APART).is_some()
        || !fs::exists("/sys/fs/cgroup/unified").unwrap()
    {
        return;
    }
    let mut command = Command::new(WITHOUT_V2[0]);
    command.args(&WITHOUT_V2[1..]).arg(env::current_exe().unwrap()).args(env::args_os().skip(1));
    panic!("cannot run unshare: {}", command.env(APART, "1").exec());
}
