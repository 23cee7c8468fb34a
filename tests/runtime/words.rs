//! verb × condition → the words that engines match on, and the exit code: what runc 1.5 says, as
//! recorded by hand on the same conditions. Ours may say more: on what, why, what to do.

use std::fs;

use e2e::{World, needs};

use super::lifecycle::{create, wait_for};

/// A condition, what is typed (`<id>` stands for the container's), runc's exit code, runc's words.
type Row = (&'static str, i32, &'static str);

const MISSING: [Row; 13] = [
    ("state <id>", 1, "container does not exist"),
    ("start <id>", 1, "container does not exist"),
    ("kill <id>", 1, "container does not exist"),
    ("kill --all <id> KILL", 1, "container does not exist"),
    ("delete <id>", 1, "container does not exist"),
    ("delete --force <id>", 0, ""),
    ("pause <id>", 1, "container does not exist"),
    ("resume <id>", 1, "container does not exist"),
    ("ps <id>", 1, "container does not exist"),
    ("update <id>", 1, "container does not exist"),
    ("events --stats <id>", 1, "container does not exist"),
    ("exec <id> true", 255, "container does not exist"),
    ("create --bundle /no/such <id>", 1, "no such file or directory"),
];

/// DIFFERS: `delete` of a created one needs `--force` here, as the specification has it.
const CREATED: [Row; 7] = [
    ("create <id>", 1, "container with given ID already exists"),
    ("run <id>", 1, "container with given ID already exists"),
    ("resume <id>", 1, "container not paused"),
    ("kill <id> FOO", 1, "unknown signal \"FOO\""),
    ("kill <id> 0", 0, ""),
    ("exec <id> echo in a created one", 0, ""),
    ("exec <id>", 255, "exec args cannot be empty"),
];

const RUNNING: [Row; 15] = [
    ("start <id>", 1, "cannot start an already running container"),
    ("delete <id>", 1, "cannot delete container <id> that is not stopped: running"),
    ("resume <id>", 1, "container not paused"),
    ("kill <id> 0", 0, ""),
    ("update <id>", 0, ""),
    ("update --memory foo <id>", 1, "invalid size: 'foo'"),
    ("update -r /no/such <id>", 1, "/no/such: no such file or directory"),
    ("ps -f xml <id>", 1, "invalid format option"),
    ("ps <id> -o cmd", 1, "couldn't find PID field in ps output"),
    ("exec <id> nosuch", 255, "exec: \"nosuch\": executable file not found in $PATH"),
    ("exec <id> /no/such", 255, "exec: \"/no/such\": stat /no/such: no such file or directory"),
    ("exec <id> /etc/passwd", 255, "exec: \"/etc/passwd\": permission denied"),
    ("exec -p /no/such <id>", 255, "open /no/such: no such file or directory"),
    ("exec -dt <id> true", 255, "will detach without setting console socket"),
    ("exec -dt --console-socket /no/such <id> true", 255, "/no/such: no such file or directory"),
];

const PAUSED: [Row; 6] = [
    ("pause <id>", 1, "container not running"),
    ("start <id>", 1, "cannot start a container in the paused state"),
    ("delete <id>", 1, "cannot delete container <id> that is not stopped: paused"),
    ("exec <id> true", 255, "cannot exec in a paused container (use --ignore-paused to override)"),
    ("kill <id> 0", 0, ""),
    ("state <id>", 0, ""),
];

const STOPPED: [Row; 11] = [
    ("kill <id> KILL", 1, "container not running"),
    ("kill <id> 0", 1, "container not running"),
    ("kill --all <id> KILL", 0, ""),
    ("start <id>", 1, "cannot start a container that has stopped"),
    ("exec <id> true", 255, "cannot exec in a stopped container"),
    ("pause <id>", 1, "container not running"),
    ("resume <id>", 1, "container not paused"),
    ("update --memory 10m <id>", 1, "container not running"),
    ("events --stats <id>", 1, "container with id <id> is not running"),
    ("state <id>", 0, ""),
    ("ps -f json <id>", 0, ""),
];

const IDS: [Row; 5] = [
    ("state a/b", 1, "invalid container ID format"),
    ("state ..", 1, "invalid container ID format"),
    ("create a@b", 1, "invalid container ID format"),
    ("delete --force a/b", 1, "invalid container ID format"),
    ("--root / list", 1, "Option --root argument should not be set to /"),
];

/// Types each row, and looks at standard error and the log: both have the words.
#[track_caller]
fn all(w: &World, bundle: &str, id: &str, rows: &[Row]) {
    let log = w.path("log.json");
    for (line, code, words) in rows {
        let line = line.replace("<id>", id);
        let mut args: Vec<&str> = line.split(' ').collect();
        if matches!(args[0], "create" | "run") {
            args.extend(["-b", bundle].iter().take(if line.contains("--bundle") { 0 } else { 2 }));
        }
        let flags = ["--log", log.to_str().unwrap(), "--log-format", "json"];
        let done = w.runtime(flags.iter().chain(&args)).code(*code);
        if *code == 0 {
            continue;
        }
        let words = words.replace("<id>", id);
        assert!(done.err().contains(&words), "no {words:?} in {done}");
        assert_eq!(done.err().lines().count(), 1, "{done}");
        let text = fs::read_to_string(&log).unwrap();
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["msg"], done.err());
    }
}

#[test]
fn runc_s_words_and_exit_codes_for_every_condition() {
    needs!(Root);
    let w = World::new();
    fs::create_dir(w.runtime_root()).unwrap();
    let b = w.bundle("b", &["sleep", "1000"]);
    let (bundle, id) = (b.path(), b.id());
    all(&w, bundle, id, &MISSING);
    create(&w, &b);
    all(&w, bundle, id, &CREATED);
    w.runtime(["start", id]).ok();
    all(&w, bundle, id, &RUNNING);
    w.runtime(["pause", id]).ok();
    all(&w, bundle, id, &PAUSED);
    w.runtime(["resume", id]).ok();
    w.runtime(["kill", id, "KILL"]).ok();
    wait_for(&w, id, "stopped");
    all(&w, bundle, id, &STOPPED);
    w.runtime(["ps", "-f", "json", id]).ok().out_is("null");
    w.runtime(["delete", id]).ok();
    all(&w, bundle, id, &IDS);
}

#[test]
fn root_in_somebody_s_user_namespace_keeps_containers_in_their_directory() {
    needs!(Root);
    let w = World::new();
    let own = w.path("xdg");
    fs::create_dir_all(own.join("dhow-runtime/junk")).unwrap();
    // A directory without a record isn't listed; with `--force` it goes.
    let delete = |user: &str, under: &[&str]| {
        let delete = w.cmd(e2e::program("dhow-runtime")).args(["delete", "--force", "junk"]);
        delete.env("XDG_RUNTIME_DIR", &own).env("USER", user).under(under).run().ok();
        own.join("dhow-runtime/junk").exists()
    };
    assert!(delete("someone", &["env"]), "the machine's root");
    assert!(delete("root", &["unshare", "-Ur"]), "root's own user namespace");
    assert!(!delete("someone", &["unshare", "-Ur"]), "another's");
}
