//! An image config becomes a runtime config. SPEC: image-spec conversion.md.
//!
//! The image is hostile input and never an authority over the host: its labels become
//! annotations, but not those that runtimes and engines act upon. The fields are those
//! that runc 1.1 knows.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Capabilities, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxDeviceCgroupBuilder,
    LinuxNamespaceBuilder, LinuxNamespaceType, LinuxResourcesBuilder, Mount, MountBuilder,
    ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};

use super::user::User;
use super::{caps, seccomp};
use crate::config::ImageConfig;
use crate::error::{Error, Result};
use crate::layer::name::Name;

/// Docker's PATH where an image sets none.
pub const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Docker's masked paths.
pub const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/kernel/debug",
];

/// Docker's read-only paths.
pub const READONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Docker's default mounts: destination, type, source, options.
pub const MOUNTS: [(&str, &str, &str, &str); 7] = [
    ("/proc", "proc", "proc", "nosuid,noexec,nodev"),
    ("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
    ("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
    ("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
    ("/sys/fs/cgroup", "cgroup", "cgroup", "ro,nosuid,noexec,nodev"),
    ("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
    ("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
];

/// Prefixes of annotations that runtimes or engines obey. From an image they are ignored.
/// CVE: 2026-53488, 2026-53492 (labels and CDI requests that reached the host).
const RESERVED: [&str; 14] = [
    "run.oci.",
    "org.systemd.property.",
    "org.criu.",
    "org.opencontainers.runc.",
    "io.kubernetes.",
    "io.containerd.",
    "io.katacontainers.",
    "io.podman.",
    "io.crun.",
    "io.container.",
    "cdi.k8s.io/",
    "module.wasm.image/",
    "com.docker.",
    "dhow.",
];

/// What `unpack` may be told about the container.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A terminal for the process.
    pub terminal: bool,
    /// The process's additional groups are those alone that list its user, as umoci has it, and not
    /// the primary one as well, as docker has it. Without it there a program with the set-group-id
    /// bit is rid of the primary group (CVE-2023-25173): for who wants umoci's bundles to the letter.
    pub only_listed: bool,
}

/// The runtime config of a container of this image, in a bundle whose root is `rootfs`.
pub fn config(image: &ImageConfig, user: &User, options: &Options) -> Result<Spec> {
    build(image, user, options).map_err(|e| Error::invalid("image config", e))
}

fn build(image: &ImageConfig, user: &User, options: &Options) -> Result<Spec, OciSpecError> {
    let run = &image.config;
    let mut args: Vec<String> = run.entrypoint.clone().unwrap_or_default();
    args.extend(run.cmd.clone().unwrap_or_default());
    if args.is_empty() {
        args.push("sh".into());
    }
    let cwd = if run.working_dir.starts_with('/') {
        run.working_dir.clone()
    } else {
        format!("/{}", run.working_dir)
    };
    let capabilities: Capabilities = caps::DEFAULT
        .iter()
        .filter_map(|name| name.trim_start_matches("CAP_").parse().ok())
        .collect();
    let capabilities = LinuxCapabilitiesBuilder::default()
        .bounding(capabilities.clone())
        .effective(capabilities.clone())
        .permitted(capabilities)
        .inheritable(Capabilities::new()) // CVE: 2022-29162
        .ambient(Capabilities::new())
        .build()?;
    let mut identity = UserBuilder::default().uid(user.uid).gid(user.gid);
    let primary = usize::from(options.only_listed);
    let groups = user.additional_gids.get(primary..).unwrap_or_default();
    if !groups.is_empty() {
        identity = identity.additional_gids(groups);
    }
    let identity = identity.build()?;
    let process = ProcessBuilder::default()
        .terminal(options.terminal)
        .user(identity)
        .args(args)
        .env(environment(&run.env, user))
        .cwd(cwd)
        .capabilities(capabilities)
        .rlimits(Vec::new())
        .no_new_privileges(false)
        .build()?;
    let root = RootBuilder::default().path("rootfs").readonly(false).build()?;
    let mut spec = SpecBuilder::default()
        .version("1.0.2")
        .root(root)
        .process(process)
        .mounts(mounts(&run.volumes)?)
        .linux(linux()?)
        .annotations(annotations(image))
        .build()?;
    spec.set_hostname(None);
    Ok(spec)
}

fn linux() -> Result<oci_spec::runtime::Linux, OciSpecError> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    let namespaces = [Pid, Network, Ipc, Uts, Mount, Cgroup]
        .into_iter()
        .map(|kind| LinuxNamespaceBuilder::default().typ(kind).build())
        .collect::<Result<Vec<_>, _>>()?;
    let deny = LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build()?;
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces)
        .resources(LinuxResourcesBuilder::default().devices(vec![deny]).build()?)
        .seccomp(seccomp::profile(&caps::DEFAULT))
        .masked_paths(MASKED.map(String::from).to_vec())
        .readonly_paths(READONLY.map(String::from).to_vec())
        .build()?;
    linux.set_devices(None);
    Ok(linux)
}

/// Docker's mounts, and one for each of the image's volumes.
///
/// SPEC: conversion.md: what is written there should not go into the root. umoci's mounts: an
/// empty file system in memory. DIFFERS: none where docker's mounts are, or the root itself.
fn mounts(volumes: &BTreeSet<String>) -> Result<Vec<Mount>, OciSpecError> {
    let mount = |destination: &str, typ: &str, source: &str, options: &str| {
        let options: Vec<String> = options.split(',').map(String::from).collect();
        let mount = MountBuilder::default().destination(destination).typ(typ).source(source);
        mount.options(options).build()
    };
    let standard = MOUNTS.iter().map(|&(to, typ, source, options)| mount(to, typ, source, options));
    let places: BTreeSet<String> = volumes.iter().filter_map(|v| volume(v)).collect();
    let own = places.iter().map(|to| mount(to, "tmpfs", "none", "rw,nosuid,nodev,noexec,relatime"));
    standard.chain(own).collect()
}

/// A volume's clean path; `None` if no mount can be there.
fn volume(text: &str) -> Option<String> {
    let name = Name::clean(text.as_bytes()).ok().filter(|name| !name.is_root())?;
    let path = format!("/{}", std::str::from_utf8(name.as_bytes()).ok()?);
    let taken = MOUNTS.iter().any(|(to, ..)| Path::new(&path).starts_with(to));
    (!taken).then_some(path)
}

/// The image's variables, and docker's PATH, HOME and TERM where it sets none. TERM is there without
/// a terminal as well, as umoci has it: a bundle may get one later.
/// CVE: 2026-57231: a variable without "=" would be filled in from the host's; left out.
fn environment(image: &[String], user: &User) -> Vec<String> {
    let proper = |v: &&String| v.find('=').is_some_and(|at| at > 0) && !v.contains('\0');
    let mut env: Vec<String> = image.iter().filter(proper).cloned().collect();
    let mut default = |text: String| {
        let name = &text[..=text.find('=').unwrap_or(0)];
        if !env.iter().any(|v| v.starts_with(name)) {
            env.push(text);
        }
    };
    default(PATH.into());
    if !user.home.is_empty() {
        default(format!("HOME={}", user.home));
    }
    default("TERM=xterm".into());
    env
}

fn annotations(image: &ImageConfig) -> HashMap<String, String> {
    let ports: Vec<&str> = image.config.exposed_ports.iter().map(String::as_str).collect();
    let implied = [
        ("os", image.os.clone()),
        ("architecture", image.architecture.clone()),
        ("variant", image.variant.clone()),
        ("author", image.author.clone()),
        ("created", image.created.clone().unwrap_or_default()),
        ("stopSignal", image.config.stop_signal.clone()),
        ("exposedPorts", ports.join(",")),
    ];
    let mut all: HashMap<String, String> = implied
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value))
        .collect();
    // SPEC: conversion.md: a label takes precedence over what the config implies.
    let labels = image.config.labels.iter().filter(|(key, _)| {
        !key.is_empty() && !RESERVED.iter().any(|prefix| key.starts_with(prefix))
    });
    all.extend(labels.map(|(key, value)| (key.clone(), value.clone())));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(json: &str) -> ImageConfig {
        ImageConfig::parse(json.as_bytes(), "test").unwrap()
    }

    fn user() -> User {
        User { uid: 5, gid: 6, additional_gids: vec![6, 7], home: "/h".into() }
    }

    fn json(text: &str) -> serde_json::Value {
        serde_json::to_value(config(&image(text), &user(), &Options::default()).unwrap()).unwrap()
    }

    #[test]
    fn the_config_says_how_to_run_it() {
        let c = json(
            r#"{"architecture":"amd64","os":"linux","created":"2020-01-01T00:00:00Z","config":{
            "Entrypoint":["/e"],"Cmd":["a","b"],"WorkingDir":"w","StopSignal":"SIGINT",
            "Env":["A=1","LEAK","=x","HOME=/mine"],"ExposedPorts":{"80/tcp":{},"53/udp":{}}}}"#,
        );
        assert_eq!(c["process"]["args"], serde_json::json!(["/e", "a", "b"]));
        assert_eq!(
            c["process"]["env"],
            serde_json::json!(["A=1", "HOME=/mine", PATH, "TERM=xterm"])
        );
        assert_eq!(c["process"]["cwd"], "/w");
        assert_eq!(c["process"]["user"]["additionalGids"], serde_json::json!([6, 7]));
        assert_eq!(c["process"]["capabilities"]["inheritable"], serde_json::json!([]));
        assert_eq!(c["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 14);
        let a = &c["annotations"];
        assert_eq!(a["org.opencontainers.image.exposedPorts"], "53/udp,80/tcp");
        assert_eq!(a["org.opencontainers.image.stopSignal"], "SIGINT");
        assert_eq!(a["org.opencontainers.image.architecture"], "amd64");
        assert!(a.get("org.opencontainers.image.author").is_none());
        assert!(c.get("hostname").is_none() && c.get("hooks").is_none());
        assert_eq!(c["root"]["path"], "rootfs");
        assert_eq!(c["process"]["terminal"], false);
    }

    #[test]
    fn labels_that_runtimes_obey_are_ignored() {
        let c = json(
            r#"{"config":{"Labels":{"a":"1","org.systemd.property.X":"1","run.oci.hooks.stdout":"/x",
            "io.kubernetes.cri.y":"1","cdi.k8s.io/z":"1","org.criu.config":"/x",
            "org.opencontainers.image.os":"mine"}}}"#,
        );
        let a = c["annotations"].as_object().unwrap();
        assert_eq!((a.len(), &a["a"]), (2, &"1".into()));
        assert_eq!(a["org.opencontainers.image.os"], "mine");
    }

    #[test]
    fn volumes_get_a_mount_that_stays_inside() {
        let c = json(
            r#"{"config":{"Volumes":{"/data":{},"v/../w":{},"../up":{},"/":{},"/proc":{},"/dev/x":{}}}}"#,
        );
        let mounts = c["mounts"].as_array().unwrap();
        let own: Vec<_> = mounts[MOUNTS.len()..].iter().map(|m| &m["destination"]).collect();
        assert_eq!(own, ["/data", "/w"]);
        assert_eq!(mounts[MOUNTS.len()]["type"], "tmpfs");
    }

    #[test]
    fn what_the_image_sets_stands_and_an_unknown_home_is_not_made_up() {
        let image = image(r#"{"config":{"Env":["TERM=dumb"]}}"#);
        let nobody = User { home: String::new(), ..user() };
        let spec = config(&image, &nobody, &Options { terminal: true, only_listed: true }).unwrap();
        let spec = serde_json::to_value(spec).unwrap();
        assert_eq!(spec["process"]["env"], serde_json::json!(["TERM=dumb", PATH]));
        assert_eq!(spec["process"]["user"]["additionalGids"], serde_json::json!([7]));
        let alone = User { additional_gids: vec![6], ..nobody };
        let spec = config(&image, &alone, &Options { terminal: true, only_listed: true }).unwrap();
        let spec = serde_json::to_value(spec).unwrap();
        assert!(spec["process"]["user"].get("additionalGids").is_none());
    }

    #[test]
    fn an_empty_config_runs_a_shell_at_the_root() {
        let c = json("{}");
        assert_eq!(c["process"]["args"], serde_json::json!(["sh"]));
        assert_eq!(c["process"]["cwd"], "/");
    }
}
