//! One answer beside the other.

use std::fmt::Write;

use super::cases::{Case, Group};
use super::play::{Answer, on_dhow, recorded};
use super::shape;

/// How a case went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As docker.
    Equal,
    /// Not as docker, on purpose: the reason.
    Differs(String),
    /// Not as docker, for now: what is waited for.
    Waits(String),
    /// Neither.
    Wrong(String),
}

/// Plays a group on dhow: each case's name and how it went.
pub fn compare(group: &Group) -> Vec<(String, Outcome)> {
    let docker = recorded(group);
    let ours = on_dhow(group);
    let judge = |(case, ours): (&Case, &Answer)| {
        let outcome = match docker.get(&case.name) {
            None => Outcome::Wrong("not recorded: run `make oracle`".to_owned()),
            Some(theirs) => judge(case, theirs, ours),
        };
        (case.name.clone(), outcome)
    };
    group.cases.iter().zip(&ours).map(judge).collect()
}

fn judge(case: &Case, theirs: &Answer, ours: &Answer) -> Outcome {
    let mut wrong = String::new();
    if theirs.code != ours.code {
        let _ = writeln!(wrong, "exit code: docker {}, dhow {}", theirs.code, ours.code);
    }
    let sorted = |text: &str| {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    if case.shape {
        wrong += &shape::unlike(&theirs.stdout, &ours.stdout, &case.lacks, &case.adds);
    } else if case.sorted && sorted(&theirs.stdout) == sorted(&ours.stdout) {
    } else if theirs.stdout != ours.stdout {
        let _ = writeln!(wrong, "stdout, docker:\n{}stdout, dhow:\n{}", theirs.stdout, ours.stdout);
    }
    if !heard(&theirs.stderr, &ours.stderr, case.says.as_deref()) {
        let _ = writeln!(wrong, "stderr, docker:\n{}stderr, dhow:\n{}", theirs.stderr, ours.stderr);
    }
    match (&case.differs, &case.waits, wrong.is_empty()) {
        (None, _, true) => Outcome::Equal,
        (Some(why), _, false) => Outcome::Differs(why.clone()),
        (None, Some(what), false) => Outcome::Waits(what.clone()),
        (Some(_), _, true) => Outcome::Wrong("is equal: !differs is out of date".to_owned()),
        (None, None, false) => Outcome::Wrong(format!("$ {}\n{wrong}", case.script)),
    }
}

/// Whether dhow's one line says what docker's does; it may say more: what to do.
fn heard(theirs: &str, ours: &str, says: Option<&str>) -> bool {
    if theirs.is_empty() || ours.is_empty() {
        return theirs.is_empty() == ours.is_empty();
    }
    match says {
        Some(part) => theirs.contains(part) && ours.contains(part),
        None => theirs.lines().all(|line| ours.contains(line)),
    }
}
