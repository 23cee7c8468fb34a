//! What people type all day, beside podman and, where it is installed, dockerd: a short container, a
//! long one begun and ended, `exec`, `ps`, `images`, `inspect`. dockerd works in a daemon: what it
//! burns is in no client's CPU time, so of docker only the wall time compares.

use e2e::{Cmd, Registry, World};

use crate::measure::{Contender, race};
use crate::peers::{Docker, podman, podman_with_busybox, release};

/// An engine's name and its command line.
pub type Engine<'a> = (&'static str, Box<dyn Fn(&[&str]) -> Cmd + 'a>);

/// dhow and whoever of its peers is here, each with busybox.
pub fn engines<'a>(w: &'a World, docker: Option<&'a Docker<'a>>) -> Vec<Engine<'a>> {
    w.pull("busybox");
    w.dhow(["rmi", &format!("{}/busybox:latest", Registry::open().host())]).ok();
    podman_with_busybox(w);
    let mut all: Vec<Engine<'a>> = vec![
        ("dhow", Box::new(|args| w.dhow_cmd(args))),
        ("podman", Box::new(|args| podman(w, "podman").args(args))),
    ];
    if let Some(docker) = docker {
        all.push(("docker", Box::new(|args| docker.cmd().args(args))));
    }
    all
}

/// One command of every engine.
fn each<'a>(engines: &[Engine<'a>], args: &[&str]) -> Vec<Contender<'a>> {
    engines.iter().map(|(name, cmd)| Contender::new(name, cmd(args))).collect()
}

/// `-d`, `stop -t 0` and `rm` as one command line.
const LIFE: &str = "\"$@\" run -d --name LIFE --network none --cgroup-parent PARENT busybox sleep 600 >/dev/null &&
    \"$@\" stop -t 0 LIFE >/dev/null && \"$@\" rm LIFE";

pub fn bench(rounds: usize) {
    let w = World::new();
    let docker = Docker::start(&w);
    let engines = engines(&w, docker.as_ref());
    let parent = w.cgroup_parent();
    let rest = ["--network", "none", "--cgroup-parent", &parent, "busybox"];
    let run = |first: &[&str], last: &[&str]| {
        let all: Vec<&str> = first.iter().chain(&rest).chain(last).copied().collect();
        each(&engines, &all)
    };

    race("run --rm busybox true", rounds, &run(&["run", "--rm"], &["true"]));
    let script = LIFE.replace("LIFE", "bench").replace("PARENT", &parent);
    let life = engines
        .iter()
        .map(|(name, cmd)| Contender::new(name, cmd(&[]).under(["sh", "-c", &script, "sh"])));
    race("run -d, stop -t 0, rm", rounds, &life.collect::<Vec<_>>());

    for contender in run(&["run", "-d", "--name", "alive"], &["sleep", "600"]) {
        (contender.cmd)(0).run().ok();
    }
    race("exec true", rounds, &each(&engines, &["exec", "alive", "true"]));
    race("ps", rounds, &each(&engines, &["ps", "--format", "{{.Names}}"]));
    race("images", rounds, &each(&engines, &["images", "--format", "{{.Tag}}"]));
    let state = ["inspect", "--format", "{{.State.Status}}", "alive"];
    race("inspect", rounds, &each(&engines, &state));
    for (_, cmd) in &engines {
        cmd(&["rm", "-f", "alive"]).run().ok();
        cmd(&["ps", "-aq"]).run().ok().out_is("");
    }
    release(&w, "podman");
}
