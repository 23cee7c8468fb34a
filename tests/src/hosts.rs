//! The tables of `docs/hosts.md`: each cell names a case that is there, a run, or a reason.

use std::fs;

use crate::workspace;

/// What else than a case shows something.
const RUNS: [&str; 4] = ["`make test`", "`make package`", "run.sh", "qemu.sh"];

/// The page.
pub fn read() -> String {
    fs::read_to_string(workspace().join("docs/hosts.md")).unwrap()
}

/// What isn't so: a cell without proof or reason, a case that no test is, a note that isn't there.
/// Looked at are the tables of kinds of hosts, which root is one of, and the columns "shown by". `tests` are all of them, by their whole names.
pub fn faults(page: &str, tests: &[String]) -> Vec<String> {
    let notes: Vec<&str> =
        page.lines().filter_map(|line| line.split_once(". ")).map(|(n, _)| n).collect();
    let mut faults = Vec::new();
    let mut heading: Option<Vec<&str>> = None;
    for line in page.lines() {
        let Some(cells) = cells(line) else {
            heading = None;
            continue;
        };
        let Some(titles) = &heading else {
            heading = Some(cells);
            continue;
        };
        if cells.iter().all(|cell| cell.chars().all(|c| c == '-')) {
            continue;
        }
        let of_hosts = titles.iter().any(|title| title.contains("(root)"));
        for (title, cell) in titles.iter().zip(&cells).skip(1) {
            if of_hosts || *title == "shown by" {
                let found = faults_of(cell, &notes, tests);
                faults
                    .extend(found.into_iter().map(|why| format!("{} | {title}: {why}", cells[0])));
            }
        }
    }
    faults
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

fn faults_of(cell: &str, notes: &[&str], tests: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    let number = note(cell);
    if !number.is_empty() && !notes.contains(&number.as_str()) {
        faults.push(format!("there is no note {number}"));
    }
    let named = cases(cell);
    for case in &named {
        if !tests.iter().any(|test| is(test, case)) {
            faults.push(format!("no test is `{case}`"));
        }
    }
    // The same as its neighbour.
    let is_reason = cell.starts_with('—') && !number.is_empty() || cell.starts_with("the same");
    let is_run = RUNS.iter().any(|run| cell.contains(run));
    if named.is_empty() && !is_reason && !is_run {
        faults.push("neither a case nor a reason".to_owned());
    }
    faults
}

/// The number in small figures at a cell's end.
fn note(cell: &str) -> String {
    let figure = |c| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().position(|small| small == c);
    cell.chars().filter_map(figure).map(|n| n.to_string()).collect()
}

/// What stands in backquotes and could be a case or a module of cases.
fn cases(cell: &str) -> Vec<&str> {
    let words = cell.split('`').skip(1).step_by(2);
    let part = |part: &str| {
        let name = part.trim_end_matches('…');
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    words.filter(|word| word.split("::").all(part)).collect()
}

/// Whether a case is meant: by its whole name or its last parts, a module for all in it, or as far as
/// the three dots.
fn is(test: &str, case: &str) -> bool {
    let open = case.ends_with('…');
    let case = case.trim_end_matches('…');
    let from = |start: &str| {
        start
            .strip_prefix(case)
            .is_some_and(|rest| open || rest.is_empty() || rest.starts_with("::"))
    };
    from(test) || test.split_once("::").is_some_and(|(_, below)| from(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_a_case_that_is_there_a_run_or_a_reason() {
        let tests = ["runtime::limits::memory_is_held".to_owned(), "shim::guest::x".to_owned()];
        let faults = |row: &str| {
            let page = format!(
                "| | v1 (root) |\n|---|---|\n{row}\n\n1. Why.\n\n| a | b |\n|---|---|\n| c | d |\n"
            );
            faults(&page, &tests)
        };
        for good in [
            "`limits`",
            "`limits::memory_…`, x",
            "`shim::guest` (long)",
            "run.sh",
            "— ¹",
            "the same¹",
        ] {
            assert_eq!(faults(&format!("| m | {good} |")), Vec::<String>::new(), "{good}");
        }
        for (bad, why) in [
            ("`limit`", "no test is `limit`"),
            ("`limits::memory`", "no test is"),
            ("`limits`, `gone::x`", "no test is `gone::x`"),
            ("yes", "neither"),
            ("—", "neither"),
            ("— ²", "no note 2"),
        ] {
            let found = faults(&format!("| m | {bad} |"));
            assert!(
                found.iter().any(|f| f.starts_with("m | v1 (root): ") && f.contains(why)),
                "{found:?}"
            );
        }
        let shown = "| what | shown by |\n|---|---|\n| a | `gone` |\n";
        assert_eq!(super::faults(shown, &tests), ["a | shown by: no test is `gone`"]);
    }
}
