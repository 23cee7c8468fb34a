//! dhow under docker's name beside what docker has said to the same: `tests/docker`.

use e2e::docker::{Outcome, compare, groups};
use e2e::needs;

fn plays(name: &str) {
    needs!(Machine);
    let group = groups().into_iter().find(|g| g.name == name).unwrap();
    let outcomes = compare(&group);
    let wrong: Vec<String> = outcomes
        .iter()
        .filter_map(|(case, outcome)| match outcome {
            Outcome::Wrong(how) => Some(format!("== {name}: {case}\n{how}")),
            _ => None,
        })
        .collect();
    let equal = outcomes.iter().filter(|o| o.1 == Outcome::Equal).count();
    println!("{name}: {equal} of {} equal", outcomes.len());
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), outcomes.len(), wrong.join("\n"));
}

macro_rules! play {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            plays(stringify!($name));
        })*

        /// A case file that nobody plays would hold nothing.
        #[test]
        fn every_case_file_is_played() {
            let names: Vec<String> = groups().into_iter().map(|g| g.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

play! {
    errors
    events
    files
    flags
    images
    inspect
    life
    limits
    logs
    more
    network
    ports
    ps
    refused_flags
    system
    templates
    volume
}
