//! `dhow-runtime run` beside `crun run` and `runc run`, on one busybox bundle.

use std::env;
use std::fs;

use e2e::bundle::Bundle;
use e2e::{Cmd, WITHOUT_V2, World};

use crate::measure::{Contender, race};

/// As the machine is; then, where crun can take part, without the hybrid's v2 hierarchy.
pub fn both(rounds: usize) {
    let unified = fs::exists("/sys/fs/cgroup/unified").unwrap();
    race_of(if unified { "run echo, as the machine is" } else { "run echo" }, rounds, !unified);
    if unified {
        // crun refuses the hybrid. All of them run once more in a mount namespace without it.
        let again = Cmd::new(env::current_exe().unwrap());
        let again = again.args(["runtime-v1", "--rounds", &rounds.to_string()]).under(WITHOUT_V2);
        let status = again.command().status();
        assert!(status.unwrap().success());
    }
}

/// In the mount namespace without the v2 hierarchy.
pub fn without_v2(rounds: usize) {
    race_of("run echo, without the v2 hierarchy", rounds, true);
}

fn race_of(title: &str, rounds: usize, with_crun: bool) {
    let w = World::new();
    let bundle = w.bundle("bench", &["echo", "afloat"]);
    let run = |cmd: Cmd, b: &Bundle| cmd.args(["run", "-b", b.path(), b.id()]);
    let peer = |name: &str| run(w.cmd(name).arg("--root").arg(w.path(name)), &bundle);
    let mut contenders = vec![Contender::new("dhow-runtime", run(w.runtime_cmd([""; 0]), &bundle))];
    if with_crun {
        contenders.push(Contender::new("crun", peer("crun")));
    }
    contenders.push(Contender::new("runc", peer("runc")));
    race(title, rounds, &contenders);
    for root in ["runtime", "crun", "runc"] {
        let left = fs::read_dir(w.path(root)).into_iter().flatten().count();
        assert_eq!(left, 0, "{root} left state behind");
    }
}
