//! The engines that dhow is measured against, each with a state of its own below the world's directory.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use e2e::{Cmd, World, fixtures, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// podman, on the same disk as dhow.
pub fn podman(w: &World, root: &str) -> Cmd {
    let conf = w.path("containers.conf");
    let limits = "[containers]\ndefault_ulimits=[\"nofile=1024:1024\",\"nproc=1024:1024\"]\n";
    fs::write(&conf, limits).unwrap();
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

/// podman with busybox as `busybox`.
pub fn podman_with_busybox(w: &World) -> Cmd {
    let from = format!("oci:{}:busybox", fixtures::layout().display());
    let id = podman(w, "podman").args(["pull", "-q", &from]).run().ok().out();
    podman(w, "podman").args(["untag", &id]).run().ok();
    podman(w, "podman").args(["tag", &id, "busybox"]).run().ok();
    podman(w, "podman")
}

/// dockerd, with its containerd, until the value is dropped. It has no bridge and writes no rules.
pub struct Docker<'a> {
    w: &'a World,
    daemon: Child,
}

impl<'a> Docker<'a> {
    /// Started, with busybox as `busybox`; nothing where it isn't installed.
    pub fn start(w: &'a World) -> Option<Self> {
        let installed = |name: &str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
        };
        if !["docker", "dockerd", "containerd"].iter().all(|name| installed(name)) {
            return None;
        }
        let dir = w.path("docker");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("daemon.json"), "{}").unwrap();
        let log = fs::File::create(dir.join("log")).unwrap();
        let daemon = w
            .cmd("dockerd")
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"])
            .args(["--storage-driver=overlay2", "--cgroup-parent", &w.cgroup_parent()])
            .arg("--config-file")
            .arg(dir.join("daemon.json"))
            .arg("--data-root")
            .arg(dir.join("root"))
            .arg("--exec-root")
            .arg(dir.join("run"))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .args(["-H", &socket(&dir)])
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let docker = Self { w, daemon };
        until("dockerd answers", || docker.cmd().arg("version").run().code == 0);
        let archive = w.path("busybox.tar");
        let from = format!("oci:{}:busybox", fixtures::layout().display());
        let to = format!("docker-archive:{}:busybox:latest", archive.display());
        w.cmd("skopeo").args(["copy", "-q", &from, &to]).run().ok();
        docker.cmd().args(["load", "-q", "-i"]).arg(&archive).run().ok();
        Some(docker)
    }

    /// The client.
    pub fn cmd(&self) -> Cmd {
        self.w.cmd("docker").env("DOCKER_HOST", socket(&self.w.path("docker")))
    }
}

fn socket(dir: &Path) -> String {
    format!("unix://{}/socket", dir.display())
}

impl Drop for Docker<'_> {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.daemon.id() as i32), Signal::SIGTERM);
        let _ = self.daemon.wait();
        for mount in e2e::leaks::mounts(self.w.name()).iter().rev() {
            let place = mount.split(' ').nth(4).unwrap_or_default();
            if place.contains("/docker/") {
                self.w.cmd("umount").args(["-l", place]).run();
            }
        }
    }
}
