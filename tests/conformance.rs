//! The clause table: each entry names tests that exist, a section that exists, and a status. The
//! tables of hosts: each cell names cases that exist, or says why there are none.

use std::process::Command;

use e2e::{clauses, hosts};

fn cases() -> Vec<String> {
    let list = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let names: Vec<String> =
        list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect();
    assert!(names.iter().any(|name| name.starts_with("conformance::")));
    names
}

#[test]
fn every_cell_of_the_tables_of_hosts_names_a_case_that_exists_or_a_reason() {
    let faults = hosts::faults(&hosts::read(), &cases());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_kind_of_hostile_image_names_a_case_that_exists() {
    let page = std::fs::read_to_string(e2e::workspace().join("docs/hostile.md")).unwrap();
    let faults = hosts::faults(&page, &cases());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_clause_has_a_section_a_status_and_tests_that_exist() {
    let names = cases();
    let faults = clauses::faults(&clauses::read(), &names);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
