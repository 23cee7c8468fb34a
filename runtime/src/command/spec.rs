//! `spec`: a config.json to start from, the one runc writes.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::Serialize;

use crate::cgroup;
use crate::error::{Error, Result};

/// Writes a bundle's config.json; refuses to overwrite one.
pub fn write(path: &Path, rootless: bool) -> Result<()> {
    let shown = path.display().to_string();
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            return Err(Error::rule(format!("{shown}: file exists: remove it first")));
        }
        Err(e) => return Err(Error::io("create", shown, &e)),
    };
    file.write_all(text(rootless).as_bytes()).map_err(|e| Error::io("write", shown, &e))
}

/// The text of that config.json.
pub fn text(rootless: bool) -> String {
    let mut spec = Spec::default();
    if cgroup::is_unified() {
        spec.linux.namespaces.push(Namespace { kind: "cgroup" });
    }
    if rootless {
        spec.make_rootless(nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    }
    let mut out = Vec::new();
    let style = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut writer = serde_json::Serializer::with_formatter(&mut out, style);
    // A struct of strings and numbers, into memory: neither can fail.
    spec.serialize(&mut writer).unwrap_or_default();
    String::from_utf8(out).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    oci_version: &'static str,
    process: Process,
    root: Root,
    hostname: &'static str,
    mounts: Vec<Mount>,
    linux: Linux,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    terminal: bool,
    user: User,
    args: [&'static str; 1],
    env: [&'static str; 2],
    cwd: &'static str,
    capabilities: Capabilities,
    rlimits: [Rlimit; 1],
    no_new_privileges: bool,
}

#[derive(Serialize)]
struct User {
    uid: u32,
    gid: u32,
}

#[derive(Serialize)]
struct Capabilities {
    bounding: [&'static str; 3],
    effective: [&'static str; 3],
    permitted: [&'static str; 3],
}

#[derive(Serialize)]
struct Rlimit {
    #[serde(rename = "type")]
    kind: &'static str,
    hard: u64,
    soft: u64,
}

#[derive(Serialize)]
struct Root {
    path: &'static str,
    readonly: bool,
}

#[derive(Serialize)]
struct Mount {
    destination: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid_mappings: Option<[Mapping; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid_mappings: Option<[Mapping; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
    namespaces: Vec<Namespace>,
    masked_paths: [&'static str; 10],
    readonly_paths: [&'static str; 5],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    #[serde(rename = "containerID")]
    container: u32,
    #[serde(rename = "hostID")]
    host: u32,
    size: u32,
}

#[derive(Serialize)]
struct Resources {
    devices: [Device; 1],
}

#[derive(Serialize)]
struct Device {
    allow: bool,
    access: &'static str,
}

#[derive(Serialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: &'static str,
}

const CAPABILITIES: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

impl Default for Process {
    fn default() -> Self {
        Self {
            terminal: true,
            user: User { uid: 0, gid: 0 },
            args: ["sh"],
            env: [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ],
            cwd: "/",
            capabilities: Capabilities {
                bounding: CAPABILITIES,
                effective: CAPABILITIES,
                permitted: CAPABILITIES,
            },
            rlimits: [Rlimit { kind: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
            no_new_privileges: true,
        }
    }
}

impl Default for Linux {
    fn default() -> Self {
        let namespaces = ["pid", "network", "ipc", "uts", "mount"];
        Self {
            uid_mappings: None,
            gid_mappings: None,
            resources: Some(Resources { devices: [Device { allow: false, access: "rwm" }] }),
            namespaces: namespaces.map(|kind| Namespace { kind }).into(),
            masked_paths: [
                "/proc/acpi",
                "/proc/asound",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/sys/firmware",
                "/proc/scsi",
            ],
            readonly_paths: [
                "/proc/bus",
                "/proc/fs",
                "/proc/irq",
                "/proc/sys",
                "/proc/sysrq-trigger",
            ],
        }
    }
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            oci_version: "1.3.0",
            process: Process::default(),
            root: Root { path: "rootfs", readonly: true },
            // DIFFERS: runc says "runc".
            hostname: "dhow",
            mounts: mounts(),
            linux: Linux::default(),
        }
    }
}

fn mounts() -> Vec<Mount> {
    let mount = |destination, kind, source, options: &[&'static str]| Mount {
        destination,
        kind,
        source,
        options: options.to_vec(),
    };
    let shut = &["nosuid", "noexec", "nodev"][..];
    vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", "shm", &[shut, &["mode=1777", "size=65536k"]].concat()),
        mount("/dev/mqueue", "mqueue", "mqueue", shut),
        mount("/sys", "sysfs", "sysfs", &[shut, &["ro"]].concat()),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &[shut, &["relatime", "ro"]].concat()),
    ]
}

impl Spec {
    /// What a user without privileges can have: a user namespace with one id,
    /// the host's network and its /sys, no resources.
    fn make_rootless(&mut self, uid: u32, gid: u32) {
        self.linux.namespaces.retain(|namespace| namespace.kind != "network");
        self.linux.namespaces.push(Namespace { kind: "user" });
        self.linux.uid_mappings = Some([Mapping { container: 0, host: uid, size: 1 }]);
        self.linux.gid_mappings = Some([Mapping { container: 0, host: gid, size: 1 }]);
        self.linux.resources = None;
        for mount in &mut self.mounts {
            if mount.destination == "/sys" {
                (mount.kind, mount.source) = ("none", "/sys");
                mount.options = vec!["rbind", "nosuid", "noexec", "nodev", "ro"];
            }
            mount.options.retain(|option| !option.starts_with("gid="));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_is_valid_and_restrictive() {
        let spec: oci_spec::runtime::Spec = serde_json::from_str(&text(false)).unwrap();
        assert_eq!(spec.version(), "1.3.0");
        assert!(spec.root().as_ref().unwrap().readonly().unwrap());
        let process = spec.process().as_ref().unwrap();
        assert_eq!(process.args().as_ref().unwrap(), &["sh"]);
        assert!(process.no_new_privileges().unwrap());
        let linux = spec.linux().as_ref().unwrap();
        assert_eq!(linux.masked_paths().as_ref().unwrap().len(), 10);
        assert!(linux.uid_mappings().is_none());
    }

    #[test]
    fn rootless_spec_has_a_user_namespace_and_no_network() {
        let text = text(true);
        let spec: serde_json::Value = serde_json::from_str(&text).unwrap();
        let kinds: Vec<&str> = spec["linux"]["namespaces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|namespace| namespace["type"].as_str().unwrap())
            .collect();
        assert!(kinds.contains(&"user") && !kinds.contains(&"network"));
        assert_eq!(spec["linux"]["uidMappings"][0]["size"], 1);
        assert_eq!(spec["mounts"][5]["source"], "/sys");
        assert!(spec["linux"]["resources"].is_null());
        assert!(!text.contains("gid=5"));
    }

    #[test]
    fn existing_config_is_not_overwritten() {
        let bundle = tempfile::tempdir().unwrap();
        write(&bundle.path().join("config.json"), false).unwrap();
        let fault = write(&bundle.path().join("config.json"), false).unwrap_err().to_string();
        assert!(fault.ends_with("file exists: remove it first"), "{fault}");
        let fault = write(Path::new("/nowhere/config.json"), false).unwrap_err().to_string();
        assert!(fault.starts_with("create /nowhere/config.json: "), "{fault}");
    }
}
