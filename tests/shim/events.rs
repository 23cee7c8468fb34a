//! `events`: what happened and what happens, in docker's words.

use std::io::{BufRead, BufReader};

use e2e::World;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

/// Everything of the world's journal, as `TYPE ACTION`.
fn told(w: &World, filter: &[&str]) -> Vec<String> {
    let mut args = vec!["events", "--until", "0", "--format", "{{.Type}} {{.Action}}"];
    args.extend(filter.iter().flat_map(|f| ["--filter", f]));
    w.dhow(args).ok().lines()
}

#[test]
fn a_containers_life_is_told_as_docker_tells_it() {
    let w = world();
    let (name, volume) = (w.id("c"), w.id("v"));
    let mount = format!("{volume}:/data");
    w.dhow(["run", "-d", "--name", &name, "-v", &mount, "busybox", "sleep", "1000"]).ok();
    w.dhow(["exec", &name, "sh", "-c", "exit 3"]).code(3);
    w.dhow(["kill", &name]).ok();
    w.dhow(["wait", &name]).ok();
    w.dhow(["rm", &name]).ok();
    w.dhow(["volume", "rm", &volume]).ok();
    // As dockerd 28.5.2 tells of the same, but for the networks that dhow hasn't.
    let docker = [
        "volume create",
        "container create",
        "volume mount",
        "container start",
        "container exec_create: sh -c exit 3",
        "container exec_start: sh -c exit 3",
        "container exec_die",
        "container kill",
        "volume unmount",
        "container die",
        "container destroy",
        "volume destroy",
    ];
    assert_eq!(told(&w, &["type=container", "type=volume"]), docker);
    let die = "{{.Actor.Attributes.exitCode}} {{.From}} {{.Actor.Attributes.name}}";
    let args = ["events", "--until", "0", "--filter", "event=die", "--format", die];
    w.dhow(args).ok().out_is(&format!("137 busybox {name}"));
    let kills =
        ["events", "--until", "0", "-f", "event=kill", "--format", "{{json .Actor.Attributes}}"];
    w.dhow(kills)
        .ok()
        .out_is(&format!("{{\"image\":\"busybox\",\"name\":\"{name}\",\"signal\":\"9\"}}"));
}

#[test]
fn a_foreground_that_removes_itself_and_a_restart() {
    let w = world();
    let name = w.id("c");
    w.dhow(["run", "--rm", "--name", &name, "busybox", "true"]).ok();
    let life = ["create", "attach", "start", "die", "destroy"].map(|a| format!("container {a}"));
    assert_eq!(told(&w, &[&format!("container={name}")]), life);
    let again = w.id("again");
    w.dhow(["run", "-d", "--name", &again, "busybox", "sleep", "1000"]).ok();
    w.dhow(["restart", "-t", "0", &again]).ok();
    w.dhow(["rename", &again, &w.id("new")]).ok();
    w.dhow(["rm", "-f", &w.id("new")]).ok();
    let mut life = told(&w, &[&format!("container={again}")]);
    life.retain(|line| line != "container kill"); // one or two, by how fast sleep ends
    let want = ["create", "start", "die", "stop", "start", "restart"];
    assert_eq!(life, want.map(|a| format!("container {a}")));
    let args = ["events", "--until", "0", "-f", "event=rename", "--format"];
    let old = [&args[..], &["{{.Actor.Attributes.oldName}}"]].concat();
    w.dhow(old).ok().out_is(&format!("/{again}"));
}

#[test]
fn events_follow_until_a_signal_and_lose_nothing() {
    let w = world();
    let mut child = w.dhow_cmd(["events", "-f", "event=create", "-f", "event=destroy"]).start();
    let pid = Pid::from_raw(child.id() as i32);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // It may not have begun to read yet: what is told then is told of the first that it saw.
    let first = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !first.load(std::sync::atomic::Ordering::SeqCst) {
                let name = w.id(&format!("early{n}"));
                w.dhow(["create", "--name", &name, "busybox"]).ok();
                w.dhow(["rm", &name]).ok();
                n += 1;
            }
        });
        lines.next().unwrap().unwrap();
        first.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    for n in 0..20 {
        let name = w.id(&format!("late{n}"));
        w.dhow(["create", "--name", &name, "busybox"]).ok();
        w.dhow(["rm", &name]).ok();
    }
    let mut seen = Vec::new();
    while seen.len() < 40 {
        let line = lines.next().unwrap().unwrap();
        if line.contains("late") {
            seen.push(line);
        }
    }
    for (n, line) in seen.iter().enumerate() {
        let name = w.id(&format!("late{}", n / 2));
        let what = if n % 2 == 0 { " container create " } else { " container destroy " };
        assert!(line.contains(what) && line.contains(&format!("name={name})")), "{n}: {line}");
    }
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(!child.wait().unwrap().success());
}

#[test]
fn events_end_at_until_and_say_what_they_cannot_read() {
    let w = world();
    w.dhow_cmd(["events", "--until", "-1s"]).limit(20).run().ok();
    w.dhow(["events", "--since", "2s", "--until", "10s"]).code(1).err_has("cannot be after");
    let soon = w.dhow(["events", "--since", "soon"]).code(1);
    soon.err_has("failed to parse value as time or duration: \"soon\"");
    w.dhow(["events", "--filter", "bad"])
        .code(125)
        .err_has("bad format of filter (expected name=value)");
    w.dhow(["events", "--format", "{{.Foo", "--until", "0"]).code(64);
    w.dhow(["system", "events", "--until", "0", "--filter", "type=network"]).ok().out_is("");
}

#[test]
fn a_monitor_killed_with_its_container_still_has_its_end_told() {
    let w = world();
    let name = w.id("c");
    w.dhow(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]).ok();
    let container = super::lifecycle::field(&w, &name, "/State/Pid").as_i64().unwrap() as i32;
    for pid in super::killed::monitors(&w).into_iter().chain([container]) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    e2e::until("dhow sees its end", || {
        super::lifecycle::field(&w, &name, "/State/Running") == false
    });
    assert_eq!(told(&w, &["event=die"]), ["container die"]);
    w.dhow(["rm", "-f", &name]).ok();
}
