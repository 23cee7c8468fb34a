//! `features`: what this runtime does, for programs to read.
//!
//! SPEC: features.md. Absent is "unknown", so what isn't done is said.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cgroup;
use crate::seccomp;
use crate::validate::{SPEC_VERSION, annotation, capability, schedule};

/// The JSON that `features` prints.
pub fn features() -> String {
    let mut out = Vec::new();
    let style = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut out, style);
    // A struct of strings, into memory: neither can fail.
    Features::default().serialize(&mut writer).unwrap_or_default();
    String::from_utf8(out).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: &'static [&'static str],
    mount_options: &'static [&'static str],
    linux: Linux,
    annotations: BTreeMap<&'static str, &'static str>,
    potentially_unsafe_config_annotations: [&'static str; UNSAFE_ANNOTATIONS.len()],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: &'static [&'static str],
    capabilities: &'static [&'static str],
    cgroup: Cgroup,
    seccomp: Seccomp,
    apparmor: Enabled,
    selinux: Enabled,
    intel_rdt: IntelRdt,
    memory_policy: MemoryPolicy,
    mount_extensions: MountExtensions,
    net_devices: Enabled,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: &'static [&'static str],
    operators: &'static [&'static str],
    archs: &'static [&'static str],
    known_flags: &'static [&'static str],
    supported_flags: Vec<&'static str>,
}

#[derive(Serialize)]
struct IntelRdt {
    enabled: bool,
    schemata: bool,
    monitoring: bool,
}

#[derive(Serialize)]
struct MemoryPolicy {
    modes: [&'static str; schedule::MEMORY_MODES.len()],
    flags: [&'static str; schedule::MEMORY_FLAGS.len()],
}

#[derive(Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

/// Annotations of a config that change what this runtime does to the host.
///
/// SPEC: features-linux.md: one that ends with a dot stands for all that begin with it.
///
/// DIFFERS: from runc: `bundle` is a word like others here.
const UNSAFE_ANNOTATIONS: [&str; 4] =
    ["org.criu.config", cgroup::PROPERTIES, annotation::KEEP_GROUPS, annotation::KNOWN_CALLS];

const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"];

/// What [`crate::validate::mount`] reads as an option of its own, sorted.
#[rustfmt::skip]
const MOUNT_OPTIONS: [&str; 65] = [
    "async", "atime", "bind", "copy-symlink", "defaults", "dest-nofollow", "dev", "diratime", "dirsync", "exec", "idmap", "iversion",
    "lazytime", "loud", "mand", "noatime", "nodev", "nodiratime", "noexec", "noiversion",
    "nolazytime", "nomand", "norelatime", "nostrictatime", "nosuid", "nosymfollow", "private",
    "ratime", "rbind", "rdev", "rdiratime", "relatime", "remount", "rexec", "ridmap", "rnoatime", "rnodev",
    "rnodiratime", "rnoexec", "rnorelatime", "rnostrictatime", "rnosuid", "rnosymfollow", "ro",
    "rprivate", "rrelatime", "rro", "rrw", "rshared", "rslave", "rstrictatime", "rsuid",
    "rsymfollow", "runbindable", "rw", "shared", "silent", "slave", "src-nofollow", "strictatime", "suid",
    "symfollow", "sync", "tmpcopyup", "unbindable",
];

impl Default for Features {
    fn default() -> Self {
        Self {
            oci_version_min: "1.0.0",
            oci_version_max: SPEC_VERSION,
            hooks: &HOOKS,
            mount_options: &MOUNT_OPTIONS,
            linux: Linux {
                namespaces: &NAMESPACES,
                capabilities: &capability::NAMES,
                cgroup: Cgroup {
                    v1: true,
                    v2: true,
                    systemd: true,
                    systemd_user: true,
                    rdma: true,
                },
                seccomp: Seccomp {
                    enabled: true,
                    actions: &seccomp::ACTIONS,
                    operators: &seccomp::OPERATORS,
                    archs: &seccomp::ARCHITECTURES,
                    known_flags: &seccomp::FLAGS,
                    supported_flags: seccomp::supported_flags(),
                },
                apparmor: Enabled { enabled: true },
                selinux: Enabled { enabled: true },
                intel_rdt: IntelRdt { enabled: true, schemata: true, monitoring: true },
                memory_policy: MemoryPolicy {
                    modes: schedule::MEMORY_MODES.map(|(word, _)| word),
                    flags: schedule::MEMORY_FLAGS.map(|(word, _)| word),
                },
                mount_extensions: MountExtensions { idmap: Enabled { enabled: true } },
                net_devices: Enabled { enabled: true },
            },
            annotations: BTreeMap::from([
                ("io.github.dhow.checkpoint.enabled", "true"),
                ("io.github.dhow.version", env!("CARGO_PKG_VERSION")),
            ]),
            potentially_unsafe_config_annotations: UNSAFE_ANNOTATIONS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_have_no_nulls_and_are_what_is_read() {
        let text = features();
        assert!(!text.contains("null"));
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["ociVersionMax"], "1.3.0");
        assert_eq!(read["linux"]["seccomp"]["actions"].as_array().unwrap().len(), 9);
        assert_eq!(read["linux"]["capabilities"][0], "CAP_CHOWN");
    }

    #[test]
    fn mount_options_are_read_as_options_and_not_handed_to_the_file_system() {
        use crate::validate::mount::{Around, Kind, Mapping, read};
        for option in MOUNT_OPTIONS {
            let json = format!(
                r#"{{"destination":"/x","type":"tmpfs","source":"/s","options":["{option}"]}}"#
            );
            let users = Some(Mapping::Space(c"/u".to_owned()));
            let around = Around { bundle: "/b", rootfs: "/b/r", label: "", users };
            // Those of binds alone.
            let json = ["idmap", "nofollow", "symlink"].iter().fold(json, |json, end| {
                json.replace(&format!("{end}\""), &format!("{end}\",\"bind\""))
            });
            let mount =
                read(0, &serde_json::from_str(&json).unwrap(), &around, &mut Vec::new()).unwrap();
            if let Kind::New { options, .. } = mount.kind {
                let superblock = ["dirsync", "lazytime", "mand", "sync"].contains(&option);
                assert_eq!(options.is_empty(), !superblock, "{option}");
            }
        }
    }

    #[test]
    fn lists_are_sorted() {
        assert!(MOUNT_OPTIONS.is_sorted());
        assert!(NAMESPACES.is_sorted());
    }
}
