//! Bundles for the runtime tests: busybox's root and a plain config.json to change.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{Cmd, fixtures, mode};

/// A bundle on disk and the id its container is to have.
pub struct Bundle {
    dir: PathBuf,
    id: String,
    /// `config.json`; call [`Bundle::write`] after changing it.
    pub config: Value,
}

impl Bundle {
    /// A bundle with a copy of busybox's root that runs `args`.
    pub fn new(dir: PathBuf, id: &str, args: &[&str]) -> Self {
        fs::create_dir_all(&dir).unwrap();
        let rootfs = dir.join("rootfs");
        Cmd::new("cp").arg("-a").arg(fixtures::busybox_root()).arg(&rootfs).run().ok();
        let bundle = Self { dir, id: id.to_owned(), config: plain_config(id, args) };
        bundle.write();
        bundle
    }

    /// The bundle's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The bundle's directory as text.
    pub fn path(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A path in the root file system.
    pub fn rootfs(&self, below: &str) -> PathBuf {
        self.dir.join("rootfs").join(below)
    }

    /// Sets one place of config.json (a JSON pointer) and writes it. Objects on the way are made.
    #[must_use]
    pub fn with(mut self, pointer: &str, value: Value) -> Self {
        let mut place = &mut self.config;
        for key in pointer.trim_start_matches('/').split('/') {
            place = match place {
                Value::Array(items) => {
                    let at: usize = key.parse().unwrap();
                    &mut items[at]
                }
                other => &mut other[key],
            };
        }
        *place = value;
        self.write();
        self
    }

    /// Adds to an array of config.json and writes it.
    #[must_use]
    pub fn and(mut self, pointer: &str, value: Value) -> Self {
        self.config.pointer_mut(pointer).unwrap().as_array_mut().unwrap().push(value);
        self.write();
        self
    }

    /// Writes config.json.
    pub fn write(&self) {
        let text = serde_json::to_vec_pretty(&self.config).unwrap();
        fs::write(self.dir.join("config.json"), text).unwrap();
    }
}

/// What `runc spec` writes, in short: every namespace but user, docker's capabilities.
pub fn plain_config(id: &str, args: &[&str]) -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mount = |to: &str, kind: &str, options: &[&str]| json!({"destination": to, "type": kind, "source": kind, "options": options});
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs"},
        "hostname": "box",
        "mounts": [
            mount("/proc", "proc", &[]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "cgroup"},
            ],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                "/proc/sysrq-trigger"],
        },
    });
    config["linux"]["cgroupsPath"] = mode().cgroups_path(id).into();
    if mode().is_rootless() {
        for_user(&mut config);
    }
    config
}

/// The same for uid 1000, who has one id: root of a user namespace, to which gid 5 isn't mapped.
pub fn for_user(config: &mut Value) {
    let one = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let linux = &mut config["linux"];
    (linux["uidMappings"], linux["gidMappings"]) = (one.clone(), one);
    linux["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    for mount in config["mounts"].as_array_mut().unwrap() {
        mount["options"].as_array_mut().unwrap().retain(|o| o != "gid=5");
    }
}
