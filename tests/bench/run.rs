//! `dhow run --rm` beside `podman run --rm --network none`, on the same image.

use e2e::World;

use crate::measure::{Contender, race};
use crate::peers::{podman, podman_with_busybox, release};

pub fn bench(rounds: usize) {
    let w = World::new();
    w.pull("busybox");
    podman_with_busybox(&w);
    let echo = ["busybox", "echo", "afloat"];
    let dhow = w.dhow_cmd(["run", "--rm"].iter().chain(&echo));
    let parent = w.cgroup_parent();
    let podman_run = podman(&w, "podman").args(["run", "--rm", "--network", "none"]);
    let podman_run = podman_run.args(["--cgroup-parent", &parent]).args(echo);
    let contenders = [Contender::new("dhow run", dhow), Contender::new("podman run", podman_run)];
    race("run --rm busybox echo", rounds, &contenders);
    w.dhow(["ps", "-aq"]).ok().out_is("");
    podman(&w, "podman").args(["ps", "-aq"]).run().ok().out_is("");
    release(&w, "podman");
}
