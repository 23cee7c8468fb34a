//! `docker record [GROUP…]`: asks a dockerd and keeps its answers. `docker count [GROUP…]`: plays
//! the cases on dhow and says how many are equal.
#![allow(clippy::unwrap_used, reason = "a tool for developers")]

use e2e::docker::{Outcome, compare, groups, record};

fn main() {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_default();
    let picked: Vec<String> = args.collect();
    let mut groups = groups();
    groups.retain(|g| picked.is_empty() || picked.contains(&g.name));
    match what.as_str() {
        "record" => groups.iter().for_each(|group| {
            record(group);
            println!("{}: {} cases recorded", group.name, group.cases.len());
        }),
        "count" => count(&groups),
        _ => panic!("docker record|count [GROUP…]"),
    }
}

fn count(groups: &[e2e::docker::Group]) {
    let (mut equal, mut all) = (0, 0);
    for group in groups {
        let outcomes = compare(group);
        let same = outcomes.iter().filter(|o| o.1 == Outcome::Equal).count();
        println!("{}: {same} of {} equal", group.name, outcomes.len());
        for (case, outcome) in &outcomes {
            match outcome {
                Outcome::Equal => {}
                Outcome::Differs(why) => println!("  on purpose: {case}: {why}"),
                Outcome::Waits(what) => println!("  waits: {case}: {what}"),
                Outcome::Wrong(how) => println!("  WRONG: {case}\n{how}"),
            }
        }
        equal += same;
        all += outcomes.len();
    }
    println!("{equal} of {all} equal");
}
