//! The benchmark: dhow beside the programs it has to beat, on the same machine, in turn.
//!
//! `bench [runtime|runtimes|run|pull|daily|many|memory|image|scale|net|build|files]… [--rounds N] [--count N]
//! [--cpus LIST]` (the first four by default; `image:pull` and so on are parts of `image`, `scale:only` is
//! the row of `--count` files). With `--cpus`, contenders run on those processors alone (taskset(1)'s
//! list), their servers anywhere. Every round runs each contender once, in an order that moves on by one,
//! so that what else the machine does hits all alike. Wall time is the command's own; CPU time is that
//! of everything it started, also what it left behind (the benchmark is the subreaper and waits for
//! it). Before anything is measured, each contender's output and what it leaves on disk are checked to
//! be the same.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop where it is")]

mod build;
mod daily;
mod image;
mod many;
mod measure;
mod memory;
mod net;
mod peers;
mod pull;
mod run;
mod runtime;
mod runtimes;
mod scale;

use std::env;

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        // These two are for the benchmark itself.
        Some("--peak") => std::process::exit(measure::peak_of(&words[1], &words[2..])),
        Some("--tar") => return scale::tar(words[1].parse().unwrap()),
        _ => {}
    }
    let (mut rounds, mut count) = (None, None);
    let mut parts = Vec::new();
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => rounds = args.next().and_then(|n| n.parse().ok()),
            "--count" => count = args.next().and_then(|n| n.parse().ok()),
            "--cpus" => measure::confine(args.next().unwrap_or_default()),
            part if image::PARTS.contains(&part) => parts.push(arg),
            "runtime" | "runtime-v1" | "runtimes" | "runtimes-v1" | "run" | "pull" | "daily"
            | "many" | "memory" | "scale" | "scale:only" | "net" | "build" | "files" => {
                parts.push(arg);
            }
            other => {
                eprintln!("bench: unknown argument {other}; see tests/bench/main.rs");
                std::process::exit(2);
            }
        }
    }
    if parts.is_empty() {
        parts = ["runtime", "run", "pull", "daily"].map(str::to_owned).to_vec();
    }
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    for part in parts {
        match part.as_str() {
            "runtime" => runtime::both(rounds.unwrap_or(60)),
            "runtimes" => runtimes::bench(rounds.unwrap_or(30)),
            "runtimes-v1" => runtimes::without_v2(rounds.unwrap_or(30)),
            "runtime-v1" => runtime::without_v2(rounds.unwrap_or(60)),
            "run" => run::bench(rounds.unwrap_or(20)),
            "daily" => daily::bench(rounds.unwrap_or(20)),
            "many" => many::bench(rounds.unwrap_or(10), count.unwrap_or(1000)),
            part if image::PARTS.contains(&part) => image::bench(part, rounds.unwrap_or(3)),
            "scale" => scale::bench(count.unwrap_or(100_000).into(), false),
            "scale:only" => scale::bench(count.unwrap_or(100_000).into(), true),
            "net" => net::bench(rounds.unwrap_or(20)),
            "build" => build::bench(rounds.unwrap_or(7)),
            "files" => build::many_files(rounds.unwrap_or(3)),
            "memory" => memory::bench(count.unwrap_or(200) as usize),
            _ => pull::bench(rounds.unwrap_or(5)),
        }
    }
}
