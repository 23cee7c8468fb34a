//! Key for key, in the same order, what runc 1.5 prints; see `tests/oracle/runc-1.5/README.md`.

use std::fs;

use e2e::{World, needs};
use serde_json::{Value, json};

use super::lifecycle::create;

/// Every key with its depth, in order, of JSON in lines.
fn keys(text: &str) -> Vec<&str> {
    let key = |line: &&str| line.trim_start().starts_with('"') && line.contains("\": ");
    text.lines().filter(key).filter_map(|line| line.split("\": ").next()).collect()
}

#[test]
fn spec_is_runc_s_but_for_the_host_name() {
    needs!(Machine);
    let w = World::new();
    let unified = ",\n\t\t\t{\n\t\t\t\t\"type\": \"cgroup\"\n\t\t\t}";
    for (flags, theirs) in [
        (&[][..], include_str!("../oracle/runc-1.5/spec.json")),
        (&["--rootless"], include_str!("../oracle/runc-1.5/spec-rootless.json")),
    ] {
        let dir = w.path("b");
        fs::create_dir(&dir).unwrap();
        w.runtime(["spec", "-b", dir.to_str().unwrap()].iter().chain(flags)).ok().out_is("");
        let ours = fs::read_to_string(dir.join("config.json")).unwrap().replace(unified, "");
        assert_eq!(ours, theirs.replace("\"hostname\": \"runc\"", "\"hostname\": \"dhow\""));
        fs::remove_dir_all(&dir).unwrap();
    }
}

#[test]
fn features_have_runc_s_keys_in_its_order_and_all_that_it_lists() {
    needs!(Machine);
    let w = World::new();
    let theirs = include_str!("../oracle/runc-1.5/features.json");
    let done = w.runtime(["features"]).ok();
    let ours = String::from_utf8(done.stdout.clone()).unwrap();
    let own = |key: &&str| !key.contains("org.opencontainers.runc") && !key.contains("io.github");
    let plain = |text| keys(text).into_iter().filter(own).collect::<Vec<_>>();
    assert_eq!(plain(&ours), plain(theirs), "ours left, runc's right");
    let (ours, theirs): (Value, Value) = (done.json(), serde_json::from_str(theirs).unwrap());
    for list in [
        "/hooks",
        "/mountOptions",
        "/linux/namespaces",
        "/linux/capabilities",
        "/linux/seccomp/actions",
        "/linux/seccomp/operators",
        "/linux/seccomp/supportedFlags",
        "/linux/memoryPolicy/modes",
        "/linux/memoryPolicy/flags",
    ] {
        let [ours, theirs] = [&ours, &theirs].map(|all| all.pointer(list).unwrap());
        let lacks = |word: &&Value| !ours.as_array().unwrap().contains(word);
        let missing: Vec<_> = theirs.as_array().unwrap().iter().filter(lacks).collect();
        assert!(missing.is_empty(), "{list} lacks {missing:?}");
    }
}

/// runc's recorded text, with the values of ours where they are of this run.
fn as_ours(theirs: &str, theirs_item: &Value, item: &Value) -> String {
    ["id", "pid", "bundle", "created", "ociVersion"].iter().fold(theirs.to_owned(), |text, key| {
        let plain = |value: &Value| value.to_string().trim_matches('"').to_owned();
        text.replace(&plain(&theirs_item[key]), &plain(&item[key]))
    })
}

#[test]
fn state_and_list_are_runc_s_to_the_byte() {
    needs!(Machine);
    let w = World::new();
    let b = w
        .bundle("b", &["sleep", "1000"])
        .with("/annotations", json!({"org.example.zebra": "<a & b>", "org.example.ant": "1"}));
    create(&w, &b);
    w.runtime(["start", b.id()]).ok();
    let state = w.runtime(["state", b.id()]).ok();
    let theirs = include_str!("../oracle/runc-1.5/state.json");
    let recorded: Value = serde_json::from_str(theirs).unwrap();
    let item = state.json();
    assert_eq!(String::from_utf8_lossy(&state.stdout), as_ours(theirs, &recorded, &item));
    let list = w.runtime(["list", "--format=json"]).ok();
    let theirs = include_str!("../oracle/runc-1.5/list.json");
    assert_eq!(String::from_utf8_lossy(&list.stdout), as_ours(theirs, &recorded, &item));
    let table = w.runtime(["list"]).ok();
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let theirs = as_ours(include_str!("../oracle/runc-1.5/list.txt"), &recorded, &item);
    assert_eq!(words(&table.out()), words(&theirs));
    w.runtime(["delete", "-f", b.id()]).ok();
}

#[test]
fn an_empty_list_is_runc_s_and_a_missing_root_is_told() {
    needs!(Machine);
    let w = World::new();
    let missing = w.runtime(["list"]).refused();
    missing.err_has("open ").err_has("no such file or directory");
    fs::create_dir(w.runtime_root()).unwrap();
    let header = "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n";
    assert_eq!(String::from_utf8(w.runtime(["list"]).ok().stdout).unwrap(), header);
    w.runtime(["list", "-f", "json"]).ok().out_is("null");
    w.runtime(["list", "-q"]).ok().out_is("");
    w.runtime(["list", "-f", "xml"]).refused().err_has("invalid format option");
}
