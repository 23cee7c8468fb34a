//! The smaller verbs: spec, list, ps, features, version.

use std::fs;

use e2e::{World, needs};

use super::lifecycle::create;

#[test]
fn spec_writes_a_config_that_runs_and_never_overwrites() {
    needs!(Cgroupfs, Root);
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    fs::remove_file(b.dir().join("config.json")).unwrap();
    w.runtime(["spec", "-b", b.path()]).ok();
    let text = fs::read_to_string(b.dir().join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["process"]["args"], serde_json::json!(["sh"]));
    w.runtime(["spec", "-b", b.path()]).refused();
    config["process"]["terminal"] = false.into();
    config["linux"]["cgroupsPath"] = format!("/{}", b.id()).into();
    fs::write(b.dir().join("config.json"), config.to_string()).unwrap();
    let run = w.runtime_cmd(["run", "-b", b.path(), b.id()]);
    run.stdin("echo from the shell\n").run().ok().out_is("from the shell");
}

#[test]
fn list_as_table_ids_and_json() {
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    create(&w, &b);
    w.runtime(["list", "-q"]).ok().out_is(b.id());
    let list = w.runtime(["list", "--format", "json"]).ok().json();
    assert_eq!(list[0]["id"], b.id());
    assert_eq!(list[0]["status"], "created");
    assert_eq!(list[0]["bundle"], b.path());
    let table = w.runtime(["list"]).ok();
    assert!(table.lines()[0].starts_with("ID"), "{table}");
    assert!(table.lines()[1].contains("created"), "{table}");
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn ps_names_the_processes_of_the_container() {
    needs!(FullKernel);
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "sleep 1001 & sleep 1002; true"]);
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    let pids = || w.runtime(["ps", "--format", "json", b.id()]).ok().json();
    e2e::until("both sleep", || pids().as_array().unwrap().len() == 3);
    let table = w.runtime(["ps", b.id()]).ok();
    assert!(table.out().contains("sleep 1001") && table.out().contains("PID"), "{table}");
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn features_are_the_specifications_json() {
    let w = World::new();
    let features = w.runtime(["features"]).ok().json();
    assert!(features["ociVersionMax"].as_str().unwrap().starts_with("1."));
    let list = |p: &str| features.pointer(p).unwrap().as_array().unwrap().clone();
    assert!(list("/hooks").contains(&"startContainer".into()));
    assert!(list("/mountOptions").contains(&"rbind".into()));
    assert!(list("/linux/namespaces").contains(&"user".into()));
    assert!(list("/linux/capabilities").contains(&"CAP_SYS_ADMIN".into()));
    assert_eq!(features["linux"]["seccomp"]["enabled"], true);
}

#[test]
fn version_is_told_as_engines_expect_it() {
    let w = World::new();
    let version = w.runtime(["--version"]).ok().out();
    let lines: Vec<&str> = version.lines().collect();
    assert!(lines.iter().any(|l| l.starts_with("spec: 1.")), "{version}");
}

#[test]
fn programs_are_static() {
    for name in ["dhow", "dhow-image", "dhow-runtime"] {
        let path = e2e::program(name);
        assert!(!e2e::elf::needs_loader(&path), "{} names an interpreter", path.display());
    }
}
