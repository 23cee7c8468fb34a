//! The machine goes down and comes up: what runs again, and what doesn't.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use e2e::{World, leaks, needs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::lifecycle::field;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

fn begin(w: &World, short: &str, policy: &str, script: &str) -> String {
    let name = w.id(short);
    let run = ["run", "-d", "--restart", policy, "--name", &name, "busybox", "sh", "-c", script];
    w.dhow(run).ok();
    name
}

fn status(w: &World, name: &str) -> String {
    field(w, name, "/State/Status").as_str().unwrap().to_owned()
}

/// As if the power went and came back: no process, no cgroup, an empty RUN, another boot id.
fn reboot(w: &World) {
    let records = || fs::read_dir(w.root().join("containers")).unwrap().flatten();
    let ids: BTreeSet<String> =
        records().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    e2e::until("all processes are gone", || {
        let all = leaks::processes(w.name(), &ids);
        for (pid, _) in &all {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        all.is_empty()
    });
    e2e::until("all cgroups are gone", || {
        let all = leaks::cgroups_of(w.name(), &ids);
        for group in all.iter().rev() {
            let _ = fs::remove_dir(group);
        }
        all.is_empty()
    });
    fs::remove_dir_all(w.run_dir()).unwrap();
    for entry in records() {
        let path = entry.path().join("state.json");
        let Ok(bytes) = fs::read(&path) else { continue };
        let mut state: Value = serde_json::from_slice(&bytes).unwrap();
        state["boot_id"] = "00000000-0000-0000-0000-000000000000".into();
        fs::write(&path, state.to_string()).unwrap();
    }
}

#[test]
fn system_start_begins_what_its_policy_wants_and_nothing_else() {
    let w = world();
    let forever = "sleep 1000";
    let always = begin(&w, "always", "always", forever);
    let halted = begin(&w, "halted", "always", forever);
    let unless = begin(&w, "unless", "unless-stopped", forever);
    let stopped = begin(&w, "stopped", "unless-stopped", forever);
    let failing = begin(&w, "failing", "on-failure", forever);
    let fine = begin(&w, "fine", "on-failure", "exit 0");
    let plain = begin(&w, "plain", "no", forever);
    let fresh = w.id("fresh");
    w.dhow(["create", "--restart", "always", "--name", &fresh, "busybox", "true"]).ok();
    w.dhow(["stop", "-t", "0", &halted, &stopped]).ok();
    w.dhow(["wait", &fine]).ok();
    reboot(&w);
    // Looking at them starts none, and tells the truth.
    assert_eq!(w.dhow(["ps", "-q"]).ok().lines().len(), 0);
    assert_eq!(status(&w, &always), "exited");
    let started = w.dhow(["system", "start"]).ok().lines();
    let started: BTreeSet<&str> = started.iter().map(String::as_str).collect();
    assert_eq!(started, BTreeSet::from([&*always, &*halted, &*unless, &*failing]));
    for name in [&always, &halted, &unless, &failing] {
        assert_eq!(status(&w, name), "running", "{name}");
    }
    for (name, is) in
        [(&stopped, "exited"), (&fine, "exited"), (&plain, "exited"), (&fresh, "created")]
    {
        assert_eq!(status(&w, name), is, "{name}");
    }
    w.dhow(["system", "start"]).ok().out_is("");
    w.dhow(["rm", "-f", &always, &halted, &unless, &stopped, &failing, &fine, &plain, &fresh]).ok();
}

#[test]
fn system_stop_is_not_the_user_s_stop() {
    let w = world();
    let unless =
        begin(&w, "unless", "unless-stopped", "trap 'exit 0' TERM; while :; do sleep 0.1; done");
    let plain = begin(&w, "plain", "no", "trap 'exit 0' TERM; while :; do sleep 0.1; done");
    let began = Instant::now();
    assert_eq!(w.dhow(["system", "stop"]).ok().lines().len(), 2);
    assert!(began.elapsed() < Duration::from_secs(9), "they hear their signal");
    assert_eq!((status(&w, &unless), status(&w, &plain)), ("exited".into(), "exited".into()));
    w.dhow(["system", "start"]).ok().out_is(&unless);
    w.dhow(["stop", "-t", "0", &unless]).ok();
    w.dhow(["system", "start"]).ok().out_is("");
    w.dhow(["rm", &unless, &plain]).ok();
}

#[test]
fn many_come_up_side_by_side_and_those_that_lean_on_others_after_them() {
    needs!(Speed);
    let w = world();
    let base = begin(&w, "base", "always", "sleep 1000");
    let mut names = vec![base.clone()];
    for n in 0..3 {
        let name = w.id(&format!("leaning{n}"));
        let network = format!("container:{base}");
        let run = ["run", "-d", "--restart", "always", "--network", &network, "--name", &name];
        w.dhow(run.iter().chain(&["busybox", "sleep", "1000"])).ok();
        names.push(name);
    }
    names.extend((0..20).map(|n| begin(&w, &format!("many{n}"), "unless-stopped", "sleep 1000")));
    reboot(&w);
    // Two at once: each container is begun once.
    let both = std::thread::scope(|s| {
        let one = || w.dhow(["system", "start"]).ok().lines().len();
        let (a, b) = (s.spawn(one), s.spawn(one));
        (a.join().unwrap(), b.join().unwrap())
    });
    assert!(both.0.max(both.1) <= names.len());
    for name in &names {
        assert_eq!(status(&w, name), "running", "{name}");
    }
    w.dhow(["rm".to_owned(), "-f".to_owned()].into_iter().chain(names)).ok();
}

/// Another command is writing down what the reboot made of it, or starts it: who believes it to run
/// would start what leans on it, and not it.
#[test]
fn what_ran_before_the_reboot_does_not_run_whoever_has_its_lock() {
    let w = world();
    let base = begin(&w, "base", "always", "sleep 1000");
    let leaning = w.id("leaning");
    let network = format!("container:{base}");
    let run = ["run", "-d", "--restart", "always", "--network", &network, "--name", &leaning];
    w.dhow(run.iter().chain(&["busybox", "sleep", "1000"])).ok();
    let id = field(&w, &base, "/Id").as_str().unwrap().to_owned();
    reboot(&w);
    let dir = w.run_dir().join("monitors").join(id);
    fs::create_dir_all(&dir).unwrap();
    let lock = fs::File::create(dir.join("lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(status(&w, &base), "exited");
    std::thread::scope(|s| {
        let started = s.spawn(|| w.dhow(["system", "start"]).ok().lines().len());
        // It is seen at work, on what leans on nobody.
        e2e::until("it is at work", || {
            let all = leaks::processes(w.name(), &BTreeSet::new());
            all.iter().any(|(_, line)| line.contains("system"))
        });
        drop(lock);
        assert_eq!(started.join().unwrap(), 2);
    });
    assert_eq!(status(&w, &leaning), "running");
    w.dhow(["rm", "-f", &leaning, &base]).ok();
}

#[test]
fn a_reboot_that_keeps_run_is_seen_by_the_boot_id() {
    let w = world();
    let name = begin(&w, "c", "always", "sleep 1000");
    let copy = w.path("run-before");
    w.cmd("cp").args(["-a"]).arg(w.run_dir()).arg(&copy).run().ok();
    reboot(&w);
    fs::rename(&copy, w.run_dir()).unwrap();
    assert_eq!(status(&w, &name), "exited");
    w.dhow(["system", "start"]).ok().out_is(&name);
    w.dhow(["rm", "-f", &name]).ok();
}

/// Who joins another's namespaces, or is linked to it, ends before it.
#[test]
fn system_stop_ends_who_needs_another_first() {
    let w = world();
    let slow = "trap 'sleep 0.5; exit 0' TERM; while :; do sleep 0.1; done";
    let quick = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let below = begin(&w, "below", "always", quick);
    let name = w.id("above");
    let mode = format!("container:{below}");
    let run = ["run", "-d", "--name", &name, "--network", &mode, "busybox", "sh", "-c", slow];
    w.dhow(run).ok();
    w.dhow(["update", "--restart", "no", &below]).ok();
    let stopped = w.dhow(["system", "stop"]).ok().lines();
    assert_eq!(stopped, [name.clone(), below.clone()]);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64().to_string();
    let events = ["events", "--since", "0", "--until", &now, "--filter", "event=die"];
    let told = w.dhow([&events[..], &["--format", "{{.Actor.Attributes.name}}"]].concat()).ok();
    assert_eq!(told.lines(), [name.clone(), below.clone()]);
    w.dhow(["rm", "-f", &name, &below]).ok();
}

#[test]
fn the_unit_names_this_program_and_these_directories() {
    let w = world();
    let unit = w.dhow(["system", "unit"]).ok().out();
    let dhow = fs::canonicalize(e2e::program("dhow")).unwrap();
    let line = format!(
        "ExecStart=-{} --root {} --run {} system start",
        dhow.display(),
        w.root().display(),
        w.run_dir().display()
    );
    assert!(unit.contains(&line), "{unit}");
    // It makes directories of the machine's.
    let asks = !e2e::mode().is_rootless();
    if asks && w.cmd("sh").args(["-c", "command -v systemd-analyze"]).run().code == 0 {
        let path = w.path("dhow.service");
        fs::write(&path, &unit).unwrap();
        w.cmd("systemd-analyze").args(["verify", "--man=no"]).arg(&path).run().ok();
    }
}
