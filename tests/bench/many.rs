//! The cost of listing as there is more to list: `ps -a` and `images` with few and with many.

use std::fs;
use std::time::Instant;

use e2e::{Cmd, World};

use crate::daily::{Engine, engines};
use crate::measure::cost;
use crate::peers::{Docker, release};

pub fn bench(rounds: usize, count: u32) {
    let w = World::new();
    let docker = Docker::start(&w);
    let engines = engines(&w, docker.as_ref());
    listing(rounds, count, &engines, "ps -a", &["ps", "-aq"], |cmd, i| {
        let name = format!("many-{i}");
        cmd(&["create", "--name", &name, "--network", "none", "busybox", "true"])
    });
    let tar = w.path("tiny.tar");
    listing(rounds, count, &engines, "images", &["images", "-q"], |cmd, i| {
        let file = w.path("tiny");
        fs::write(&file, i.to_string()).unwrap();
        Cmd::new("tar").arg("-cf").arg(&tar).arg("-C").arg(w.path("")).arg("tiny").run().ok();
        cmd(&["import", &tar.display().to_string(), &format!("many:{i}")])
    });
    for (_, cmd) in &engines {
        let all = cmd(&["ps", "-aq"]).run().ok().lines();
        let mut args = vec!["rm"];
        args.extend(all.iter().map(String::as_str));
        cmd(&args).limit(600).run().ok();
    }
    release(&w, "podman");
}

/// `list`, before and after `count` more were made.
fn listing(
    rounds: usize,
    count: u32,
    engines: &[Engine<'_>],
    title: &str,
    list: &[&str],
    make: impl Fn(&dyn Fn(&[&str]) -> Cmd, u32) -> Cmd,
) {
    let few = medians(rounds, engines, list);
    let mut making = Vec::new();
    for (_, cmd) in engines {
        let before = cmd(list).run().ok().lines().len();
        let began = Instant::now();
        for i in 0..count {
            make(cmd, i).run().ok();
        }
        making.push(began.elapsed().as_secs_f64() * 1e3 / f64::from(count));
        assert_eq!(cmd(list).run().ok().lines().len(), before + count as usize, "{title}");
    }
    let many = medians(rounds, engines, list);
    println!("\n{title}, with {count} more, {rounds} rounds in turn");
    println!(
        "{:<12}{:>14}{:>14}{:>16}{:>14}",
        "", "few ms", "many ms", "µs for each", "to make, ms"
    );
    for (i, (name, _)) in engines.iter().enumerate() {
        let slope = (many[i] - few[i]) * 1e3 / f64::from(count);
        println!("{name:<12}{:>14.2}{:>14.2}{slope:>16.2}{:>14.2}", few[i], many[i], making[i]);
    }
}

/// The median wall time of a command of each engine, in ms.
fn medians(rounds: usize, engines: &[Engine<'_>], args: &[&str]) -> Vec<f64> {
    let mut times = vec![Vec::new(); engines.len()];
    for round in 0..=rounds {
        for turn in 0..engines.len() {
            let which = (turn + round) % engines.len();
            let (cost, _) = cost(&(engines[which].1)(args));
            if round > 0 {
                times[which].push(cost.wall.as_secs_f64() * 1e3);
            }
        }
    }
    let middle = |mut t: Vec<f64>| {
        t.sort_by(f64::total_cmp);
        t[t.len() / 2]
    };
    times.into_iter().map(middle).collect()
}
