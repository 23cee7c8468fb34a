//! `plan` and `--trace`: what is to be done, and what was, with its microseconds.

use std::fs;
use std::path::Path;

use e2e::{Cmd, World, needs};
use serde_json::{Value, json};

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn steps<'a>(lines: &'a [Value], by: &str) -> Vec<&'a str> {
    lines.iter().filter(|l| l["by"] == by).map(|l| l["step"].as_str().unwrap()).collect()
}

fn traced(w: &World, file: &Path, args: &[&str]) -> Cmd {
    w.runtime_cmd(["--trace", file.to_str().unwrap()]).args(args)
}

#[test]
fn what_the_plan_says_is_what_the_trace_shows() {
    needs!(Root);
    let w = World::new();
    let file = w.path("trace");
    let b = w.bundle("b", &["echo", "fine"]);
    let hook = |path: &str| json!([{"path": path, "args": ["true"]}]);
    let b = b
        .with("/hooks", json!({"createRuntime": hook("/bin/true"), "poststop": hook("/bin/true")}));
    let b = b.with("/linux/resources/memory", json!({"limit": 100_000_000}));
    let plan = w.runtime(["plan", "-b", b.path(), "--format", "json", b.id()]).ok();
    let plan: Vec<Value> = serde_json::from_slice(&plan.stdout).unwrap();
    assert!(!w.runtime_root().exists() && !file.exists());
    traced(&w, &file, &["run", "-b", b.path(), b.id()]).run().ok().out_is("fine");
    let trace = lines(&file);
    // Init's side: the same steps in the same order, and the same is done in each.
    let init = |lines: &[Value]| -> Vec<(Value, Value)> {
        let init = lines.iter().filter(|line| line["by"] == "init");
        let none = json!([]);
        init.map(|l| (l["step"].clone(), l.get("does").unwrap_or(&none).clone())).collect()
    };
    assert_eq!(init(&plan), init(&trace));
    let groups =
        |lines: &[Value]| lines.iter().find(|l| l["step"] == "groups").unwrap()["does"].clone();
    let hooks = |lines: &[Value]| {
        lines.iter().find(|l| l["step"] == "hooks" && l["by"] == "parent").unwrap()["does"].clone()
    };
    assert_eq!(hooks(&plan), hooks(&trace));
    assert_eq!(groups(&plan), groups(&trace));
    assert!(groups(&plan).to_string().contains("100000000"), "{plan:?}");
    let parent = steps(&trace, "parent");
    let wanted = [
        "begin",
        "read",
        "validate",
        "host",
        "plan",
        "reserve",
        "record",
        "groups",
        "sources",
        "clone",
        "hooks",
        "bring",
        "record",
        "go",
        "poststart",
        "wait",
        "groups",
        "remove",
        "poststop",
        "end",
    ];
    assert_eq!(parent, wanted);
    // Microseconds from the start of the command: init's only grow; the parent's steps hold others.
    let at = |by: &str| -> Vec<u64> {
        trace.iter().filter(|l| l["by"] == by).map(|l| l["at"].as_u64().unwrap()).collect()
    };
    let (init, parent) = (at("init"), at("parent"));
    assert!(init.is_sorted() && parent.iter().max() == parent.last(), "{trace:?}");
    assert!(parent.last() < Some(&120_000_000), "{trace:?}");
    for line in trace.iter().filter(|l| l["step"] == "hooks" && l["by"] == "parent") {
        assert!(line["took"].as_u64() > Some(100), "it starts a program: {line}");
    }
    // As text: phases, mounts, ids, groups, hooks, environment.
    let text = w.runtime(["plan", "-b", b.path(), b.id()]).ok();
    for part in [
        "groups (parent)\n",
        "\nmounts\n  new proc on /proc",
        "\n  uid 0 gid 0",
        "\n  arg echo",
        "memory.limit_in_bytes",
        "\n  env PATH=",
        "createRuntime /bin/true",
        " pid mount",
    ] {
        let other = part.replace("memory.limit_in_bytes", "memory.max");
        let told = text.out();
        let found = told.contains(part) || told.contains(&other);
        assert!(found, "{part} is not in\n{told}");
    }
}

#[test]
fn create_start_exec_and_delete_each_add_to_the_trace() {
    let w = World::new();
    let file = w.path("trace");
    let b = w.bundle("b", &["sleep", "1000"]);
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        // A filter that would end a process that goes on to write.
        {"names": ["writev"], "action": "SCMP_ACT_KILL_PROCESS"}]});
    let b = b.with("/linux/seccomp", filter);
    let quiet = ["sh", "-c", "exec \"$@\" >/dev/null 2>&1 </dev/null", "sh"];
    traced(&w, &file, &["create", "-b", b.path(), b.id()]).under(quiet).run().ok();
    // Init says that it is ready first, and then writes so.
    e2e::until("init is ready", || steps(&lines(&file), "init").last() == Some(&"ready"));
    let created = lines(&file);
    traced(&w, &file, &["start", b.id()]).run().ok();
    let started = lines(&file);
    assert_eq!(steps(&started[created.len()..], "parent"), ["begin", "go", "end"]);
    assert_eq!(steps(&started, "init")[steps(&created, "init").len()..], ["start", "seccomp"]);
    traced(&w, &file, &["exec", b.id(), "echo", "in"]).run().ok().out_is("in");
    let all = lines(&file);
    assert_eq!(
        steps(&all[started.len()..], "exec"),
        ["namespaces", "session", "credentials", "capabilities", "ready", "start", "seccomp"]
    );
    traced(&w, &file, &["delete", "--force", b.id()]).run().ok();
    let deleted = lines(&file);
    let wanted = ["begin", "kill", "groups", "remove", "poststop", "end"];
    assert_eq!(steps(&deleted[all.len()..], "parent"), wanted);
}

#[test]
fn a_trace_that_cannot_be_written_is_refused_before_anything_is_made() {
    let w = World::new();
    let b = w.bundle("b", &["true"]);
    let done = traced(&w, Path::new("/no/such/dir/t"), &["create", "-b", b.path(), b.id()]).run();
    let _ = done.refused().err_has("/no/such/dir/t");
    assert!(!w.runtime_root().exists());
}
