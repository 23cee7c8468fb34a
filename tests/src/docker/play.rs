//! A group of cases played on docker or on dhow.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::panic::{catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::cases::{Group, folder};
use super::normal::Normal;
use crate::{Cmd, World, fixtures, program};

/// What a script said, without what its run alone decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its exit code.
    pub code: i32,
    /// What it wrote.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// Comes before every script.
const PRELUDE: &str = "
until_ok() { n=0; until \"$@\" >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 400 ] || { echo waited in vain: \"$@\" >&2; return 1; }; sleep 0.05; done; }
state() { [ \"$(docker inspect -f '{{.State.Status}}' \"$1\")\" = \"$2\" ]; }
";

fn script(cmd: Cmd, text: &str, dir: &Path) -> Cmd {
    cmd.args(["-c", &format!("{PRELUDE}{text}")])
        .cwd(dir)
        .env("IMAGES", fixtures::archives())
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .without_env("NO_COLOR")
        .without_env("DOCKER_CONTEXT")
}

/// Plays all cases, in order.
fn play(group: &Group, normal: &Normal, dir: &Path, cmd: impl Fn() -> Cmd) -> Vec<Answer> {
    let setup = script(cmd(), &format!("set -e\n{}", group.setup), dir).run();
    assert!(setup.code == 0, "{}.cases: the setup failed\n{setup}", group.name);
    let mut answers = Vec::new();
    for case in &group.cases {
        let done = script(cmd(), &case.script, dir).run();
        let [stdout, stderr] = [&done.stdout, &done.stderr].map(|b| String::from_utf8_lossy(b));
        let (stdout, stderr) = normal.both(&stdout, &stderr);
        answers.push(Answer { code: done.code, stdout, stderr });
    }
    answers
}

/// dhow under docker's name, in a world of its own.
pub(super) fn on_dhow(group: &Group) -> Vec<Answer> {
    let w = if group.wired { World::wired() } else { World::new() };
    let dir = w.path("case");
    let bin = w.path("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir_all(&dir).unwrap();
    symlink(program("dhow"), bin.join("docker")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let normal = Normal::new(&dir, &[w.root(), w.run_dir()]);
    let answers = play(group, &normal, &dir, || w.cmd("sh").env("PATH", &path));
    w.remove_all();
    answers
}

/// Plays a group on the dockerd that `$DHOW_ORACLE` names, which must be empty, and keeps what it says.
pub fn record(group: &Group) {
    let host = std::env::var("DHOW_ORACLE").expect("set DHOW_ORACLE=unix:///…, an empty dockerd's");
    let dir = tempfile::Builder::new().prefix("dhow-oracle-").tempdir().unwrap();
    let at = dir.path().join("case");
    fs::create_dir(&at).unwrap();
    let cmd = |program: &str| {
        Cmd::new(program)
            .env("DOCKER_HOST", &host)
            .env("HOME", dir.path())
            .without_env("DOCKER_CONFIG")
    };
    let docker = |args: &[&str]| cmd("docker").args(args).run();
    let nothing = docker(&["ps", "-aq"]).ok().out() + &docker(&["images", "-q"]).ok().out();
    assert!(nothing.is_empty(), "the dockerd at {host} is not empty: it is somebody's");
    let root = PathBuf::from(docker(&["info", "-f", "{{.DockerRootDir}}"]).ok().out());
    // Its sandboxes lie beside its data, if anywhere near.
    let roots = [root.with_file_name("exec"), root];
    let answers = catch_unwind(|| play(group, &Normal::new(&at, &roots), &at, || cmd("sh")));
    sweep(&docker);
    let answers = answers.unwrap_or_else(|failure| resume_unwind(failure));
    let version =
        docker(&["version", "--format", "{{.Client.Version}} {{.Server.Version}}"]).ok().out();
    keep(group, &version, &answers);
}

/// Takes away what the cases have made.
fn sweep(docker: &dyn Fn(&[&str]) -> crate::Done) {
    for (list, remove) in [
        (&["ps", "-aq"][..], &["rm", "-f"][..]),
        (&["volume", "ls", "-q"], &["volume", "rm"]),
        (&["network", "ls", "-q", "--filter", "type=custom"], &["network", "rm"]),
        (&["images", "-aq"], &["rmi", "-f"]),
    ] {
        let found = docker(list).ok().lines();
        let mut names: Vec<&str> = found.iter().map(String::as_str).collect();
        names.dedup();
        if !names.is_empty() {
            docker(&[remove, &names].concat());
        }
    }
}

fn file(group: &str) -> PathBuf {
    folder().join("recorded").join(format!("{group}.json"))
}

fn keep(group: &Group, version: &str, answers: &[Answer]) {
    let (client, server) = version.split_once(' ').unwrap();
    let cases: serde_json::Map<String, Value> = group
        .cases
        .iter()
        .zip(answers)
        .map(|(case, a)| {
            let lines =
                |text: &str| text.split_inclusive('\n').map(Value::from).collect::<Vec<_>>();
            let said = json!({"run": case.script.lines().collect::<Vec<_>>(), "code": a.code,
                "stdout": lines(&a.stdout), "stderr": lines(&a.stderr)});
            (case.name.clone(), said)
        })
        .collect();
    let all = json!({"docker": {"client": client, "server": server}, "cases": cases});
    fs::write(file(&group.name), format!("{all:#}\n")).unwrap();
}

/// What docker said to each case of a group.
pub fn recorded(group: &Group) -> BTreeMap<String, Answer> {
    let text = fs::read_to_string(file(&group.name)).unwrap_or_default();
    let all: Value = serde_json::from_str(&text).unwrap_or_default();
    let joined = |v: &Value, between: &str| {
        let lines = v.as_array().into_iter().flatten().filter_map(Value::as_str);
        lines.collect::<Vec<_>>().join(between)
    };
    let mut answers = BTreeMap::new();
    for case in &group.cases {
        let said = &all["cases"][&case.name];
        // Another script by the same name: it has to be asked again.
        if joined(&said["run"], "\n") == case.script {
            let code = said["code"].as_i64().unwrap() as i32;
            let [stdout, stderr] = ["stdout", "stderr"].map(|k| joined(&said[k], ""));
            answers.insert(case.name.clone(), Answer { code, stdout, stderr });
        }
    }
    answers
}
