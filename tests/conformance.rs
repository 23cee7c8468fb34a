//! The clause table: each entry names tests that exist, a section that exists, and a status.

use std::process::Command;

use e2e::clauses;

#[test]
fn every_clause_has_a_section_a_status_and_tests_that_exist() {
    let list = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let names: Vec<String> =
        list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect();
    assert!(names.iter().any(|name| name.starts_with("conformance::")));
    let faults = clauses::faults(&clauses::read(), &names);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
