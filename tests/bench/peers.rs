//! The engines that dhow is measured against, each with a state of its own below the world's directory.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use e2e::{Cmd, Space, World, fixtures, until};
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

/// podman with networks: netavark if it is in the PATH, else what it finds; its state of networks,
/// which has one place on a machine, is in a mount namespace of its own.
pub fn podman_wired(w: &World, space: &Space) -> Cmd {
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<_> = std::env::split_paths(&dirs).collect();
    dirs.insert(0, "/usr/lib/podman".into());
    let backend =
        if dirs.iter().any(|dir| dir.join("netavark").is_file()) { "netavark" } else { "cni" };
    let cmd = podman(w, "podman");
    let limits = fs::read_to_string(w.path("containers.conf")).unwrap();
    let nets = w.path("nets");
    let conf = format!(
        "{limits}[engine]\nhelper_binaries_dir={dirs:?}\n[network]\nnetwork_config_dir='{}'\nnetwork_backend='{backend}'\n",
        nets.display()
    );
    fs::write(w.path("wired.conf"), conf).unwrap();
    cmd.env("CONTAINERS_CONF", w.path("wired.conf")).space(Some(space))
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

/// buildah, on the same disk as dhow.
pub fn buildah(w: &World) -> Cmd {
    w.cmd("buildah")
        .args(["--storage-driver=overlay", "--root"])
        .arg(w.path("buildah/root"))
        .arg("--runroot")
        .arg(w.path("buildah/run"))
}

/// dockerd, with its containerd, until the value is dropped.
pub struct Docker<'a> {
    w: &'a World,
    daemon: Child,
    space: Option<Space>,
}

impl<'a> Docker<'a> {
    /// Started, with busybox as `busybox`; nothing where it isn't installed. It has no bridge and
    /// writes no rules.
    pub fn start(w: &'a World) -> Option<Self> {
        Self::launch(w, None)
    }

    /// The same on a machine of its own, with a bridge.
    pub fn wired(w: &'a World, space: &Space) -> Option<Self> {
        Self::launch(w, Some(space))
    }

    fn launch(w: &'a World, space: Option<&Space>) -> Option<Self> {
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
        let bare = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-masq=false"];
        let cmd = w.cmd("dockerd").space(space);
        let cmd = if space.is_some() { cmd } else { cmd.args(bare) };
        let cmd = cmd
            .args(["--storage-driver=overlay2", "--cgroup-parent", &w.cgroup_parent()])
            .arg("--config-file")
            .arg(dir.join("daemon.json"))
            .arg("--data-root")
            .arg(dir.join("root"))
            .arg("--exec-root")
            .arg(dir.join("run"))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .args(["-H", &socket(&dir)]);
        let mut command = cmd.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let daemon = cmd.spawn(&mut command);
        let docker = Self { w, daemon, space: space.cloned() };
        until("dockerd answers", || docker.cmd().arg("version").run().code == 0);
        docker.load(&fixtures::layout(), "busybox");
        Some(docker)
    }

    /// Brings an image of a layout to it.
    pub fn load(&self, layout: &Path, name: &str) {
        let archive = self.w.path(format!("{name}.tar"));
        let from = format!("oci:{}:{name}", layout.display());
        let to = format!("docker-archive:{}:{name}:latest", archive.display());
        self.w.cmd("skopeo").args(["--insecure-policy", "copy", "-q", &from, &to]).run().ok();
        self.cmd().args(["load", "-q", "-i"]).arg(&archive).run().ok();
    }

    /// The client.
    pub fn cmd(&self) -> Cmd {
        let socket = socket(&self.w.path("docker"));
        self.w.cmd("docker").env("DOCKER_HOST", socket).space(self.space.as_ref())
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
