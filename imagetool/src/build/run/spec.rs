//! A RUN's container → config.json: docker's defaults, as `dhow run` has them.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Capabilities, Linux, LinuxBuilder, LinuxCapabilities, LinuxCapabilitiesBuilder,
    LinuxCpuBuilder, LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder,
    LinuxDeviceType, LinuxMemoryBuilder, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType,
    LinuxResources, LinuxResourcesBuilder, Mount, MountBuilder, PosixRlimit, PosixRlimitBuilder,
    PosixRlimitType, ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};

use super::{Container, Limits, Namespace};
use crate::bundle::config::{MASKED, MOUNTS, READONLY};
use crate::bundle::user::User;
use crate::bundle::{caps, seccomp};
use crate::error::{Error, Result};
use crate::rootless;

/// What a container has beside what the build says of it.
pub(super) struct Around {
    /// Who `user` is in its root.
    pub user: User,
    /// Its network.
    pub namespace: Namespace,
    /// Its cgroup.
    pub cgroup: String,
    /// /etc/hosts and the like: what is bound where.
    pub files: Vec<(PathBuf, &'static str)>,
    /// Where the container's mounts come from, in their order.
    pub sources: Vec<Source>,
}

/// Where one of the container's mounts comes from.
pub(super) enum Source {
    /// The directory at this path.
    Directory(PathBuf),
    /// The file, or what else isn't a directory.
    File(PathBuf),
    /// New memory, of so many bytes at most.
    Memory(u64),
}

/// The container's config.json.
pub(super) fn spec(container: &Container<'_>, around: &Around) -> Result<Spec> {
    let rlimits = container.limits.ulimits.iter().map(rlimit).collect::<Result<Vec<_>>>()?;
    let built = build(container, around, rlimits);
    let mut spec = built.map_err(|e| Error::invalid("RUN's container", e))?;
    rootless::adapt(&mut spec, !container.limits.cgroup_parent.is_empty())?;
    Ok(spec)
}

fn build(
    container: &Container<'_>,
    around: &Around,
    rlimits: Vec<PosixRlimit>,
) -> Result<Spec, OciSpecError> {
    let identity = UserBuilder::default()
        .uid(around.user.uid)
        .gid(around.user.gid)
        .additional_gids(around.user.additional_gids.clone())
        .build()?;
    let cwd = if container.cwd.is_empty() { "/" } else { &container.cwd };
    let process = ProcessBuilder::default()
        .terminal(false)
        .user(identity)
        .args(container.argv.clone())
        .env(environment(&container.env, &around.user))
        .cwd(cwd)
        .capabilities(capabilities(container.insecure, around.user.uid)?)
        .rlimits(rlimits)
        .no_new_privileges(false)
        .build()?;
    let root = RootBuilder::default().path(container.root.path()).readonly(false).build()?;
    SpecBuilder::default()
        .version("1.0.2")
        .root(root)
        .hostname(&container.hostname)
        .process(process)
        .mounts(mounts(container, around)?)
        .linux(linux(container, around)?)
        .build()
}

/// CVE: 2021-3602, 2026-57231: nothing of our own environment, and no variable without a value, which
/// a runtime could fill in from its own.
fn environment(wanted: &[String], user: &User) -> Vec<String> {
    let proper = |v: &&String| v.find('=').is_some_and(|at| at > 0) && !v.contains('\0');
    let name = |v: &str| v.split('=').next().unwrap_or_default().to_owned();
    let mut env: Vec<String> = Vec::new();
    for variable in wanted.iter().filter(proper) {
        // The last of a name holds: a secret's value over an ENV's.
        match env.iter_mut().find(|old| name(old) == name(variable)) {
            Some(old) => old.clone_from(variable),
            None => env.push(variable.clone()),
        }
    }
    if !env.iter().any(|v| v.starts_with("HOME=")) && !user.home.is_empty() {
        env.push(format!("HOME={}", user.home));
    }
    env
}

/// CVE: 2022-29162 and its kind: the inheritable and ambient sets stay empty.
fn capabilities(insecure: bool, uid: u32) -> Result<LinuxCapabilities, OciSpecError> {
    // Those that we can give.
    let ours = |at: &usize| dhow_kernel::caps::bounded(*at as u8).unwrap_or(false);
    let every = (0..dhow_kernel::caps::NAMES.len()).filter(ours);
    let known: Vec<&str> = if insecure {
        every.map(|at| dhow_kernel::caps::NAMES[at]).collect()
    } else {
        caps::DEFAULT.to_vec()
    };
    let set: Capabilities =
        known.iter().filter_map(|name| name.strip_prefix("CAP_")?.parse().ok()).collect();
    let effective = if uid == 0 { set.clone() } else { Capabilities::new() };
    LinuxCapabilitiesBuilder::default()
        .bounding(set)
        .effective(effective.clone())
        .permitted(effective)
        .inheritable(Capabilities::new())
        .ambient(Capabilities::new())
        .build()
}

fn rlimit((name, soft, hard): &(String, i64, i64)) -> Result<PosixRlimit> {
    let bad = |why: &dyn std::fmt::Display| Error::usage("ulimit", name, why);
    let kind = serde_json::Value::from(format!("RLIMIT_{}", name.to_ascii_uppercase()));
    let kind: PosixRlimitType = serde_json::from_value(kind).map_err(|e| bad(&e))?;
    // -1 is RLIM_INFINITY in either sign.
    let limit = PosixRlimitBuilder::default().typ(kind).soft(*soft as u64).hard(*hard as u64);
    limit.build().map_err(|e| bad(&e))
}

fn mounts(container: &Container<'_>, around: &Around) -> Result<Vec<Mount>, OciSpecError> {
    let shm = match container.limits.shm_size {
        0 => "size=65536k".to_owned(),
        bytes => format!("size={bytes}"),
    };
    let mut all = Vec::new();
    for (to, typ, source, options) in MOUNTS {
        let options =
            options.replace("size=65536k", if to == "/dev/shm" { &shm } else { "size=65536k" });
        let written = container.insecure && to.starts_with("/sys");
        let access = |o: &str| if written && o == "ro" { "rw" } else { o }.to_owned();
        let options = options.split(',').map(access).collect();
        all.push(mount(Path::new(to), typ, Path::new(source), options)?);
    }
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    for (source, to) in &around.files {
        // As BuildKit has it: a RUN can't change what isn't its layer's.
        all.push(mount(Path::new(to), "bind", source, words(&["bind", "rprivate", "ro"]))?);
    }
    let mut own = Vec::new();
    for (wanted, source) in container.mounts.iter().zip(&around.sources) {
        let to = Path::new(&wanted.target);
        own.push(match source {
            Source::Directory(path) => {
                // "ro" alone leaves the mounts below the source writable.
                let more: &[&str] = if wanted.readonly { &["ro", "rro"] } else { &[] };
                mount(to, "bind", path, words(&[&["rbind", "rprivate"], more].concat()))?
            }
            // crun opens what is recursive as a directory.
            Source::File(path) => {
                let more: &[&str] = if wanted.readonly { &["ro"] } else { &[] };
                mount(to, "bind", path, words(&[&["bind", "rprivate"], more].concat()))?
            }
            Source::Memory(bytes) => {
                let mut options = words(&["nosuid", "mode=1777"]);
                if *bytes != 0 {
                    options.push(format!("size={bytes}"));
                }
                if wanted.readonly {
                    options.push("ro".to_owned());
                }
                mount(to, "tmpfs", Path::new("tmpfs"), options)?
            }
        });
    }
    // Parents first, so that a mount doesn't hide one made before it; the last of equals stays.
    own.sort_by_key(|m| m.destination().components().count());
    all.retain(|old| !own.iter().any(|new| new.destination() == old.destination()));
    all.extend(own);
    Ok(all)
}

fn mount(to: &Path, typ: &str, source: &Path, options: Vec<String>) -> Result<Mount, OciSpecError> {
    MountBuilder::default().destination(to).typ(typ).source(source).options(options).build()
}

fn linux(container: &Container<'_>, around: &Around) -> Result<Linux, OciSpecError> {
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces(&around.namespace)?)
        .resources(resources(container.limits, container.insecure)?)
        .cgroups_path(&around.cgroup)
        .masked_paths(Vec::new())
        .readonly_paths(Vec::new());
    if container.insecure {
        linux = linux.devices(devices()?);
    } else {
        linux = linux
            .seccomp(seccomp::profile(&caps::DEFAULT))
            .masked_paths(MASKED.map(String::from).to_vec())
            .readonly_paths(READONLY.map(String::from).to_vec());
        if !matches!(around.namespace, Namespace::Host) {
            linux = linux.sysctl(sysctls());
        }
    }
    linux.build()
}

/// Ports below 1024 and ping for every user, as `dhow run` has it.
fn sysctls() -> std::collections::HashMap<String, String> {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    [
        pair("net.ipv4.ip_unprivileged_port_start", "0"),
        pair("net.ipv4.ping_group_range", "0 2147483647"),
    ]
    .into()
}

fn namespaces(network: &Namespace) -> Result<Vec<LinuxNamespace>, OciSpecError> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    let own = [Mount, Pid, Ipc, Uts, Cgroup];
    let mut all = own
        .map(|kind| LinuxNamespaceBuilder::default().typ(kind).build())
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let network = match network {
        Namespace::Host => return Ok(all),
        Namespace::New => LinuxNamespaceBuilder::default().typ(Network),
        Namespace::Of(fd) => LinuxNamespaceBuilder::default().typ(Network).path(handle(fd)),
    };
    all.push(network.build()?);
    Ok(all)
}

/// A path to one of our descriptors.
fn handle(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd()))
}

/// docker's default rules; null, zero, full, random, urandom, tty, ptmx and terminals.
const DEVICES: [(LinuxDeviceType, Option<i64>, Option<i64>, &str); 10] = [
    (LinuxDeviceType::C, None, None, "m"),
    (LinuxDeviceType::B, None, None, "m"),
    (LinuxDeviceType::C, Some(1), Some(3), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(5), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(7), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(8), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(9), "rwm"),
    (LinuxDeviceType::C, Some(5), Some(0), "rwm"),
    (LinuxDeviceType::C, Some(5), Some(2), "rwm"),
    (LinuxDeviceType::C, Some(136), None, "rwm"),
];

fn rules(insecure: bool) -> Result<Vec<LinuxDeviceCgroup>, OciSpecError> {
    let all = LinuxDeviceCgroupBuilder::default().allow(insecure).access("rwm").build()?;
    let mut rules = vec![all];
    if insecure {
        return Ok(rules);
    }
    for (typ, major, minor, access) in DEVICES {
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(true)
            .set_typ(Some(typ))
            .set_major(major)
            .set_minor(minor)
            .set_access(Some(access.to_owned()));
        rules.push(rule);
    }
    Ok(rules)
}

/// What `--security=insecure` has beyond a container's own: BuildKit's list.
fn devices() -> Result<Vec<LinuxDevice>, OciSpecError> {
    const MORE: [(&str, i64, i64); 6] = [
        ("/dev/kmsg", 1, 11),
        ("/dev/cuse", 10, 203),
        ("/dev/fuse", 10, 229),
        ("/dev/kvm", 10, 232),
        ("/dev/net/tun", 10, 200),
        ("/dev/loop-control", 10, 237),
    ];
    const LOOPS: i64 = 8;
    let device = |path: &str, typ, major: i64, minor: i64| {
        LinuxDeviceBuilder::default().path(path).typ(typ).major(major).minor(minor).build()
    };
    let more =
        MORE.iter().map(|&(path, major, minor)| device(path, LinuxDeviceType::C, major, minor));
    let loops = (0..LOOPS).map(|n| device(&format!("/dev/loop{n}"), LinuxDeviceType::B, 7, n));
    more.chain(loops).collect()
}

fn resources(limits: &Limits, insecure: bool) -> Result<LinuxResources, OciSpecError> {
    let resources = LinuxResourcesBuilder::default().devices(rules(insecure)?);
    let mut resources = resources.build()?;
    if limits.memory != 0 {
        // As docker: twice the memory when only memory was said.
        let swap = match limits.memory_swap {
            0 => limits.memory.saturating_mul(2),
            swap => swap,
        };
        let memory = LinuxMemoryBuilder::default().limit(limits.memory).swap(swap).build()?;
        resources.set_memory(Some(memory));
    }
    let mut cpu = LinuxCpuBuilder::default().build()?;
    let some = |n: i64| (n != 0).then_some(n);
    let text = |s: &String| (!s.is_empty()).then(|| s.clone());
    cpu.set_shares(some(limits.cpu_shares).map(|n| n as u64))
        .set_period(some(limits.cpu_period).map(|n| n as u64))
        .set_quota(some(limits.cpu_quota))
        .set_cpus(text(&limits.cpuset_cpus))
        .set_mems(text(&limits.cpuset_mems));
    if cpu != LinuxCpuBuilder::default().build()? {
        resources.set_cpu(Some(cpu));
    }
    Ok(resources)
}
