//! `dhow run --rm` beside `podman run --rm --network none`, on the same image.

use e2e::World;

use crate::measure::{Contender, race};

/// podman with a state of its own below the world's directory, on the same disk as dhow's.
pub fn podman(w: &World, root: &str) -> e2e::Cmd {
    let conf = w.path("containers.conf");
    let limits = "[containers]\ndefault_ulimits=[\"nofile=1024:1024\",\"nproc=1024:1024\"]\n";
    std::fs::write(&conf, limits).unwrap();
    w.cmd("podman")
        .args(["--cgroup-manager=cgroupfs", "--events-backend=none", "--storage-driver=overlay"])
        .args(["--runtime", "/usr/sbin/runc"])
        .arg("--root")
        .arg(w.path(format!("{root}/root")))
        .arg("--runroot")
        .arg(w.path(format!("{root}/run")))
        .arg("--tmpdir")
        .arg(w.path(format!("{root}/tmp")))
        .env("CONTAINERS_CONF", conf)
}

/// Undoes the mount podman keeps on its storage.
pub fn release(w: &World, root: &str) {
    w.cmd("umount").arg(w.path(format!("{root}/root/overlay"))).run();
}

pub fn bench(rounds: usize) {
    let w = World::new();
    w.pull("busybox");
    let from = format!("oci:{}:busybox", e2e::fixtures::layout().display());
    let id = podman(&w, "podman").args(["pull", "-q", &from]).run().ok().out();
    podman(&w, "podman").args(["tag", &id, "busybox"]).run().ok();
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
