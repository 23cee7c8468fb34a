//! [`Container`] → [`Plan`]: everything init will do, decided, in order, without touching anything.

#[cfg(test)]
mod hostile;
pub mod phase;
pub mod print;

use std::ffi::CString;

use crate::error::{Error, Result};
use crate::seccomp::Filter;
use crate::validate::annotation;
use crate::validate::hook::{Hook, Hooks};
use crate::validate::linux::{Device, NetDevice, default_devices, ns};
use crate::validate::mount::{Attributes, Kind, Mount, attr};
use crate::validate::process::Process;
use crate::validate::spec::IdMapping;
use crate::validate::{Container, linux::Namespaces};
pub use phase::Phase;

/// How the container's root becomes `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pivot {
    /// pivot_root(2).
    Pivot,
    /// `--no-pivot`: the root is moved over `/`, for roots that sit on a ramfs.
    Move,
    /// Without a mount namespace there is only chroot(2); the mounts are made in the caller's.
    Chroot,
}

/// How namespaces come to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spaces {
    /// CLONE_NEW* given to clone3.
    pub clone: u64,
    /// Made by init's maker for its children only: the time namespace.
    pub time: bool,
    /// Joined for children only: a pid namespace. By init's maker or, where no user namespace keeps
    /// those in it from looking into it, by a process that init is the last child of.
    pub pid: Option<CString>,
    /// Joined by init, or by the in-between process, in this order.
    pub join: Vec<(u64, CString)>,
    /// Whether the in-between process makes the user namespace, for init to start in it.
    pub made_user: bool,
    /// Whether an in-between process is init's maker.
    ///
    /// KERNEL: user_namespaces(7): a namespace belongs to the user namespace
    /// of its maker, and joining one needs privilege over its owner's. So what
    /// the host owns is joined before a user namespace is entered or made, and
    /// what the user namespace is to own is made after.
    pub relay: bool,
    /// Unshared by init itself once it is in its cgroup.
    ///
    /// KERNEL: cgroup_namespaces(7): the root is the maker's cgroup.
    pub cgroup: bool,
    /// There is a user namespace, made or joined: init becomes its root.
    pub user: bool,
}

impl Spaces {
    /// Whether processes of others may look into init once it is among them.
    pub const fn seen(&self) -> bool {
        self.pid.is_some() && !self.user
    }
}

/// All that init performs.
#[derive(Debug)]
pub struct Plan {
    /// The steps.
    pub phases: Vec<Phase>,
    /// Namespaces.
    pub spaces: Spaces,
    /// Lines of uid_map for the parent to write; empty without a new user namespace.
    pub uid_map: Vec<IdMapping>,
    /// Lines of gid_map.
    pub gid_map: Vec<IdMapping>,
    /// Network devices for the parent to move.
    pub net_devices: Vec<NetDevice>,
    /// Lines of timens_offsets.
    pub time_offsets: String,
    /// Name of the session keyring, or `None` to keep the caller's.
    pub keyring: Option<CString>,
    /// When and where the process runs.
    pub schedule: crate::validate::schedule::Schedule,
    /// The root on the host.
    pub rootfs: CString,
    /// Whether it ends read-only.
    pub readonly: bool,
    /// MS_* of the root.
    pub propagation: (u64, bool),
    /// How it becomes `/`.
    pub pivot: Pivot,
    /// Mounts in order.
    pub mounts: Vec<Mount>,
    /// Mounts that become read-only only once all is in them: `/dev`, and every tmpfs.
    pub late_readonly: Vec<CString>,
    /// Device nodes; `bind` says that they are bound from the host.
    pub devices: Vec<Device>,
    /// Whether devices are bound from the host, as a user namespace demands.
    pub bind_devices: bool,
    /// Symbolic links: where, and what they say.
    pub links: Vec<(CString, CString)>,
    /// createContainer hooks.
    pub create_container: Vec<Hook>,
    /// startContainer hooks.
    pub start_container: Vec<Hook>,
    /// Hooks that the parent runs: whether init must wait for them.
    pub runtime_hooks: bool,
    /// Host name, or empty.
    pub hostname: String,
    /// Domain name, or empty.
    pub domainname: String,
    /// Sysctls: path below /proc, value.
    pub sysctls: Vec<(CString, Vec<u8>)>,
    /// Masked paths.
    pub masked_paths: Vec<CString>,
    /// Read-only paths.
    pub readonly_paths: Vec<CString>,
    /// The system call filter.
    pub filter: Option<Filter>,
    /// The process.
    pub process: Process,
}

/// What the command line adds to the config.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
}

/// What stays with the parent.
#[derive(Debug)]
pub struct Rest {
    /// All hooks.
    pub hooks: Hooks,
    /// `ociVersion`.
    pub version: String,
    /// Annotations.
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// Decides everything.
pub fn plan(id: &str, c: Container<'_>, options: Options) -> Result<(Plan, Rest)> {
    let filter = match &c.seccomp {
        Some(profile) => {
            if annotation::is_on(&c.annotations, annotation::KNOWN_CALLS) {
                crate::seccomp::all_known(profile)?;
            }
            crate::seccomp::compile(profile)?
        }
        None => None,
    };
    if options.no_pivot && c.propagation.0 == libc::MS_PRIVATE {
        let why = "rootfsPropagation of [r]private is not safe without pivot_root";
        return Err(Error::config("/linux/rootfsPropagation", why));
    }
    let spaces = spaces(&c.namespaces);
    let hooks = c.hooks;
    let runtime_hooks = !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty();
    let facts = phase::Facts {
        network: c.namespaces.new & ns::NET != 0,
        hooks: runtime_hooks || !hooks.create_container.is_empty(),
        console: c.process.terminal,
        schedule: !c.schedule.is_empty(),
        filter: filter.is_some(),
        nnp: c.process.no_new_privileges,
        early: filter.as_ref().is_some_and(|f| f.listener.is_some())
            || !hooks.start_container.is_empty(),
        seen: spaces.seen(),
        fits: spaces.seen() && phase::fits(filter.as_ref(), &c.process),
    };
    let (mounts, late_readonly) = mounts(c.mounts);
    // A /dev bound from elsewhere is used as it is.
    let own_dev = !mounts
        .iter()
        .any(|m| m.target.as_c_str() == c"dev" && matches!(m.kind, Kind::Bind { .. }));
    // A user namespace that is joined has its maps.
    let made_user = c.namespaces.new & ns::USER != 0;
    let (uid_map, gid_map) = if made_user { (c.uid_map, c.gid_map) } else { Default::default() };
    let keyring =
        (!options.no_new_keyring).then(|| CString::new(format!("_ses.{id}")).unwrap_or_default());
    let plan = Plan {
        phases: phase::phases(facts),
        bind_devices: spaces.user,
        spaces,
        uid_map,
        gid_map,
        net_devices: c.net_devices,
        time_offsets: c.time_offsets,
        keyring,
        schedule: c.schedule,
        rootfs: c.rootfs,
        readonly: c.readonly,
        propagation: c.propagation,
        pivot: match (c.namespaces.has(ns::MOUNT), options.no_pivot) {
            (false, _) => Pivot::Chroot,
            (true, true) => Pivot::Move,
            (true, false) => Pivot::Pivot,
        },
        mounts,
        late_readonly,
        devices: if own_dev { devices(c.devices) } else { Vec::new() },
        links: if own_dev { links() } else { Vec::new() },
        create_container: hooks.create_container.clone(),
        start_container: hooks.start_container.clone(),
        runtime_hooks,
        hostname: c.hostname,
        domainname: c.domainname,
        sysctls: c.sysctls,
        masked_paths: once(c.masked_paths),
        readonly_paths: c.readonly_paths,
        filter,
        process: c.process,
    };
    let rest = Rest { hooks, version: c.version, annotations: c.annotations };
    Ok((plan, rest))
}

fn spaces(n: &Namespaces) -> Spaces {
    let (user, time) = (n.new & ns::USER != 0, n.new & ns::TIME != 0);
    let joins = n.join.iter().filter(|join| join.flag != ns::PID);
    let relay = n.joins(ns::USER) || (user && (time || !n.join.is_empty()));
    let beside = ns::CGROUP | ns::TIME | if relay { ns::USER } else { 0 };
    Spaces {
        clone: n.new & !beside,
        time,
        pid: n.path(ns::PID).cloned(),
        join: joins.map(|join| (join.flag, join.path.clone())).collect(),
        made_user: relay && user,
        relay,
        cgroup: n.new & ns::CGROUP != 0,
        user: n.has(ns::USER),
    }
}

/// A read-only `/dev` must stay writable until its nodes and the console are made; a tmpfs, until
/// it has the mount points of what comes into it.
fn mounts(mut mounts: Vec<Mount>) -> (Vec<Mount>, Vec<CString>) {
    let mut late = Vec::new();
    for m in &mut mounts {
        let Kind::New { fstype, .. } = &m.kind else { continue };
        let waits = m.target.as_c_str() == c"dev" || fstype.as_c_str() == c"tmpfs";
        if waits && m.attributes.set & attr::RDONLY != 0 {
            m.attributes = Attributes { set: m.attributes.set & !attr::RDONLY, ..m.attributes };
            late.push(m.target.clone());
        }
    }
    (mounts, late)
}

/// Each path once: a second mask would only lie over the first.
fn once(paths: Vec<CString>) -> Vec<CString> {
    let mut out = Vec::with_capacity(paths.len());
    for path in paths {
        if !out.contains(&path) {
            out.push(path);
        }
    }
    out
}

/// The default devices, then the config's; of two with one path the config's stays.
fn devices(asked: Vec<Device>) -> Vec<Device> {
    let mut all: Vec<Device> =
        default_devices().into_iter().filter(|d| !asked.iter().any(|a| a.path == d.path)).collect();
    // /dev/ptmx is a link into the container's own devpts, whatever the config says of it.
    all.extend(asked.into_iter().filter(|d| d.path.as_c_str() != c"dev/ptmx"));
    all
}

/// SPEC: runtime-linux.md §Dev symbolic links; config-linux.md §Default Devices for ptmx.
fn links() -> Vec<(CString, CString)> {
    [
        (c"dev/fd", c"/proc/self/fd"),
        (c"dev/stdin", c"/proc/self/fd/0"),
        (c"dev/stdout", c"/proc/self/fd/1"),
        (c"dev/stderr", c"/proc/self/fd/2"),
        (c"dev/ptmx", c"pts/ptmx"),
    ]
    .map(|(at, to)| (at.to_owned(), to.to_owned()))
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::{container, parse};

    fn planned(edit: impl Fn(&mut serde_json::Value)) -> Plan {
        let mut config = serde_json::json!({
            "ociVersion": "1.0.2", "root": {"path": "r"},
            "process": {"args": ["sh"], "cwd": "/"},
            "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]}
        });
        edit(&mut config);
        let text = config.to_string();
        let c = container(parse(&text).unwrap(), "/b").unwrap();
        plan("x", c, Options::default()).unwrap().0
    }

    #[test]
    fn a_read_only_dev_is_sealed_after_its_nodes() {
        let p = planned(|c| {
            c["mounts"] = serde_json::json!([
                {"destination": "/dev", "type": "tmpfs", "source": "t", "options": ["ro"]}]);
        });
        assert_eq!(p.mounts[0].attributes.set & attr::RDONLY, 0);
        assert_eq!(p.late_readonly, [c"dev".to_owned()]);
    }

    #[test]
    fn a_path_is_masked_once_and_ptmx_stays_a_link() {
        let p = planned(|c| {
            c["linux"]["maskedPaths"] = serde_json::json!(["/a", "/b", "/a/", "b"]);
            c["linux"]["devices"] = serde_json::json!([
                {"type": "c", "path": "/dev/ptmx", "major": 5, "minor": 2}]);
        });
        assert_eq!(p.masked_paths, [c"a".to_owned(), c"b".to_owned()]);
        assert_eq!(p.devices.len(), default_devices().len());
    }

    #[test]
    fn a_bound_dev_gets_no_nodes() {
        let p = planned(|c| {
            c["mounts"] = serde_json::json!([
                {"destination": "/dev", "source": "/dev", "options": ["rbind"]}]);
        });
        assert!(p.devices.is_empty() && p.links.is_empty());
    }

    #[test]
    fn a_device_of_the_config_replaces_the_default() {
        let p = planned(|c| {
            c["linux"]["devices"] = serde_json::json!([
                {"type": "c", "path": "/dev/null", "major": 1, "minor": 3, "fileMode": 0o600}]);
        });
        let null: Vec<_> = p.devices.iter().filter(|d| d.path.as_c_str() == c"dev/null").collect();
        assert_eq!((null.len(), null[0].mode), (1, 0o600));
    }

    #[test]
    fn joining_a_user_namespace_takes_a_relay_and_a_pid_namespace_the_parent() {
        let p = planned(|c| {
            c["linux"]["namespaces"] = serde_json::json!([
                {"type": "mount"}, {"type": "user", "path": "/u"}, {"type": "pid", "path": "/p"}]);
        });
        assert!(p.spaces.relay && p.spaces.user);
        assert_eq!(p.spaces.pid, Some(c"/p".to_owned()));
        assert_eq!(p.spaces.join, [(ns::USER, c"/u".to_owned())]);
    }

    #[test]
    fn a_new_user_namespace_owns_a_time_namespace_that_is_made_after_it() {
        let p = planned(|c| {
            let map = serde_json::json!([{"containerID": 0, "hostID": 5, "size": 1}]);
            c["linux"]["uidMappings"] = map.clone();
            c["linux"]["gidMappings"] = map;
            c["linux"]["namespaces"] =
                serde_json::json!([{"type": "mount"}, {"type": "user"}, {"type": "time"}]);
        });
        assert!(p.spaces.relay && p.spaces.made_user && p.spaces.time);
        assert_eq!((p.spaces.clone, p.uid_map.len()), (ns::MOUNT, 1));
    }

    #[test]
    fn the_cgroup_namespace_is_never_cloned() {
        let p = planned(|c| {
            c["linux"]["namespaces"] = serde_json::json!([{"type": "mount"}, {"type": "cgroup"}]);
        });
        assert_eq!(p.spaces.clone, ns::MOUNT);
        assert!(p.spaces.cgroup);
    }
}
