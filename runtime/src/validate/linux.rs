//! `linux`: namespaces, id maps, devices, sysctls and the rest.

use std::ffi::CString;
use std::fmt::Write;

use crate::error::{Error, Result};
use crate::validate::pointer::escaped;
use crate::validate::{cstring, mount, spec};

/// A kind of namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The spec's word.
    pub word: &'static str,
    /// Its name under /proc/PID/ns.
    pub proc: &'static str,
    /// CLONE_NEW*.
    pub flag: u64,
}

const NEWTIME: u64 = 0x80;

/// All kinds, in the order they are joined: user first where it must be, mount last.
pub const KINDS: [Kind; 8] = [
    Kind { word: "user", proc: "user", flag: libc::CLONE_NEWUSER as u64 },
    Kind { word: "ipc", proc: "ipc", flag: libc::CLONE_NEWIPC as u64 },
    Kind { word: "uts", proc: "uts", flag: libc::CLONE_NEWUTS as u64 },
    Kind { word: "network", proc: "net", flag: libc::CLONE_NEWNET as u64 },
    Kind { word: "pid", proc: "pid", flag: libc::CLONE_NEWPID as u64 },
    Kind { word: "cgroup", proc: "cgroup", flag: libc::CLONE_NEWCGROUP as u64 },
    Kind { word: "time", proc: "time", flag: NEWTIME },
    Kind { word: "mount", proc: "mnt", flag: libc::CLONE_NEWNS as u64 },
];

/// CLONE_NEW* bits under names that say what they are.
pub mod ns {
    #![allow(missing_docs)]
    pub const USER: u64 = libc::CLONE_NEWUSER as u64;
    pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
    pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
    pub const NET: u64 = libc::CLONE_NEWNET as u64;
    pub const PID: u64 = libc::CLONE_NEWPID as u64;
    pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    pub const TIME: u64 = super::NEWTIME;
    pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
}

/// Which namespaces are made and which are joined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// CLONE_NEW* of those made.
    pub new: u64,
    /// Those joined, in the order of [`KINDS`].
    pub join: Vec<Join>,
}

/// A namespace that is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// CLONE_NEW*.
    pub flag: u64,
    /// Its path.
    pub path: CString,
    /// Position in `linux.namespaces`, for messages.
    pub index: usize,
}

impl Namespaces {
    /// Whether the container has its own of this kind, made or joined.
    pub fn has(&self, flag: u64) -> bool {
        self.new & flag != 0 || self.joins(flag)
    }

    /// The path of the one of this kind that it joins.
    pub fn path(&self, flag: u64) -> Option<&CString> {
        self.join.iter().find(|join| join.flag == flag).map(|join| &join.path)
    }

    /// Whether it joins one of this kind.
    pub fn joins(&self, flag: u64) -> bool {
        self.path(flag).is_some()
    }
}

/// One device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where, relative to the root.
    pub path: CString,
    /// S_IFCHR, S_IFBLK or S_IFIFO.
    pub kind: u32,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Reads `linux.namespaces`.
pub fn namespaces(list: &[spec::Namespace<'_>]) -> Result<Namespaces> {
    let mut out = Namespaces::default();
    for (n, wanted) in list.iter().enumerate() {
        let at = |field: &str| format!("/linux/namespaces/{n}/{field}");
        let Some(kind) = KINDS.iter().find(|kind| kind.word == &*wanted.kind) else {
            let why = format!("unknown namespace {:?}", &*wanted.kind);
            return Err(Error::config(at("type"), why));
        };
        if out.has(kind.flag) {
            let why = format!("namespace {} is listed twice", kind.word);
            return Err(Error::config(at("type"), why));
        }
        if wanted.path.is_empty() {
            out.new |= kind.flag;
        } else if wanted.path.starts_with('/') {
            let path = cstring(&wanted.path, || at("path"))?;
            out.join.push(Join { flag: kind.flag, path, index: n });
        } else {
            return Err(Error::config(at("path"), "must be an absolute path"));
        }
    }
    let order = |flag: u64| KINDS.iter().position(|kind| kind.flag == flag);
    out.join.sort_by_key(|join| order(join.flag));
    Ok(out)
}

/// Checks the id maps against the namespaces.
pub fn id_maps(linux: &spec::Linux<'_>, namespaces: &Namespaces) -> Result<()> {
    let mapped = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
    if mapped && !namespaces.has(ns::USER) {
        let why = "needs a user namespace in /linux/namespaces";
        return Err(Error::config("/linux/uidMappings", why));
    }
    Ok(())
}

/// The id map of the container's user namespace, for mounts that ask for it.
pub fn users(linux: &spec::Linux<'_>, namespaces: &Namespaces) -> Option<mount::Mapping> {
    if namespaces.new & ns::USER != 0 {
        let (uids, gids) = (linux.uid_mappings.clone(), linux.gid_mappings.clone());
        return Some(mount::Mapping::Lines(uids, gids));
    }
    namespaces.path(ns::USER).map(|path| mount::Mapping::Space(path.clone()))
}

/// Reads `linux.devices`, after the six that every container has.
pub fn devices(list: &[spec::Device<'_>]) -> Result<Vec<Device>> {
    list.iter().enumerate().map(|(n, device)| one_device(n, device)).collect()
}

fn one_device(n: usize, device: &spec::Device<'_>) -> Result<Device> {
    let at = |field: &str| format!("/linux/devices/{n}/{field}");
    let kind = match &*device.kind {
        "c" | "u" => libc::S_IFCHR,
        "b" => libc::S_IFBLK,
        "p" => libc::S_IFIFO,
        other => return Err(Error::config(at("type"), format!("unknown type {other:?}"))),
    };
    if !device.path.starts_with('/') {
        return Err(Error::config(at("path"), "must be an absolute path"));
    }
    let part = |value: i64, field: &str| {
        u32::try_from(value).map_err(|_| Error::config(at(field), "must be a device number"))
    };
    Ok(Device {
        path: cstring(&mount::normal(&device.path), || at("path"))?,
        kind,
        major: part(device.major, "major")?,
        minor: part(device.minor, "minor")?,
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    })
}

/// A network device of the runtime's that goes to the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name here.
    pub name: String,
    /// Its name there, or a template with `%d` for one.
    pub inside: String,
}

impl NetDevice {
    /// Whether the kernel chooses the name.
    pub fn template(&self) -> bool {
        self.inside.contains("%d")
    }
}

/// Reads `linux.netDevices`.
pub fn net_devices(linux: &spec::Linux<'_>, namespaces: &Namespaces) -> Result<Vec<NetDevice>> {
    if !linux.net_devices.is_empty() && !namespaces.has(ns::NET) {
        let why = "unable to move network devices without a NET namespace";
        return Err(Error::config("/linux/netDevices", why));
    }
    let read = |(name, device): (&spec::Text<'_>, &spec::NetDevice<'_>)| {
        let inside = if device.name.is_empty() { name } else { &device.name };
        for (word, field) in [(name, ""), (inside, "/name")] {
            if !device_name(word, field.is_empty()) {
                let pointer = format!("/linux/netDevices/{}{field}", escaped(name));
                let why = format!("invalid network device name {:?}", &**word);
                return Err(Error::config(pointer, why));
            }
        }
        Ok(NetDevice { name: name.to_string(), inside: inside.to_string() })
    };
    linux.net_devices.iter().map(read).collect()
}

/// KERNEL: dev_valid_name() in net/core/dev.c; a `%` only in a template's one `%d`.
fn device_name(name: &str, plain: bool) -> bool {
    let letters = if plain { name.to_owned() } else { name.replacen("%d", "", 1) };
    !matches!(name, "" | "." | "..")
        && name.len() < libc::IFNAMSIZ
        && !letters
            .contains(|c: char| matches!(c, '/' | ':' | '%' | '\0') || c.is_ascii_whitespace())
}

/// The devices that every container has: config-linux.md §Default Devices.
pub fn default_devices() -> [Device; 6] {
    let node = |path: &std::ffi::CStr, major, minor| Device {
        path: path.to_owned(),
        kind: libc::S_IFCHR,
        major,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
    };
    [
        node(c"dev/null", 1, 3),
        node(c"dev/zero", 1, 5),
        node(c"dev/full", 1, 7),
        node(c"dev/random", 1, 8),
        node(c"dev/urandom", 1, 9),
        node(c"dev/tty", 5, 0),
    ]
}

/// Reads `linux.sysctl`: path below /proc/sys, and value. Only what a namespace of its own holds.
pub fn sysctls(
    linux: &spec::Linux<'_>,
    namespaces: &Namespaces,
    domainname: &str,
) -> Result<Vec<(CString, Vec<u8>)>> {
    let mut out = Vec::with_capacity(linux.sysctl.len());
    for (name, value) in &linux.sysctl {
        let pointer = || format!("/linux/sysctl/{}", escaped(name));
        let path = sysctl_path(name);
        let need = match sysctl_namespace(&path) {
            Ok(need) => need,
            Err(why) => return Err(Error::config(pointer(), why)),
        };
        if !namespaces.has(need) {
            let word = KINDS.iter().find(|kind| kind.flag == need).map_or("", |kind| kind.word);
            let why = format!("sysctl {:?} is not allowed without a {word} namespace", &**name);
            return Err(Error::config(pointer(), why));
        }
        // DIFFERS: from runc, where the sysctl wins without a word; crun refuses it too.
        let other = path == "kernel/domainname" && !domainname.is_empty() && **value != *domainname;
        if other {
            let why = format!("{:?} is not what /domainname says: {domainname:?}", &**value);
            return Err(Error::config(pointer(), why));
        }
        out.push((cstring(&format!("sys/{path}"), pointer)?, value.as_bytes().to_vec()));
    }
    Ok(out)
}

/// `a.b.c` or `a/b/c` as a path; in the dotted form a slash stands for a dot in a name.
fn sysctl_path(name: &str) -> String {
    let (dot, slash) = (name.find('.'), name.find('/'));
    let dotted = dot.is_some_and(|d| slash.is_none_or(|s| d < s));
    if !dotted {
        return name.trim_matches('/').to_owned();
    }
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    name.chars().map(swap).collect()
}

fn sysctl_namespace(path: &str) -> std::result::Result<u64, String> {
    const IPC: [&str; 10] = [
        "kernel/msgmax",
        "kernel/msgmnb",
        "kernel/msgmni",
        "kernel/sem",
        "kernel/shmall",
        "kernel/shmmax",
        "kernel/shmmni",
        "kernel/shm_rmid_forced",
        "kernel/msg_next_id",
        "kernel/sem_next_id",
    ];
    if path.split('/').any(|part| part.is_empty() || part == "..") {
        return Err("is not a path below /proc/sys".into());
    }
    match path {
        "kernel/hostname" => Err("use /hostname instead".into()),
        "kernel/domainname" => Ok(ns::UTS),
        p if IPC.contains(&p) || p.starts_with("fs/mqueue/") => Ok(ns::IPC),
        p if p.starts_with("net/") => Ok(ns::NET),
        p if p.starts_with("user/") => Ok(ns::USER),
        _ => Err("is not in a separate kernel namespace: it would change the host".into()),
    }
}

/// Reads `linux.rootfsPropagation` into MS_* flags and whether recursive.
pub fn root_propagation(word: &str) -> Result<(u64, bool)> {
    Ok(match word {
        "" | "rslave" => (libc::MS_SLAVE, true),
        "slave" => (libc::MS_SLAVE, false),
        "private" => (libc::MS_PRIVATE, false),
        "rprivate" => (libc::MS_PRIVATE, true),
        "shared" => (libc::MS_SHARED, false),
        "rshared" => (libc::MS_SHARED, true),
        "unbindable" => (libc::MS_UNBINDABLE, false),
        "runbindable" => (libc::MS_UNBINDABLE, true),
        other => {
            let why = format!("unknown propagation {other:?}");
            return Err(Error::config("/linux/rootfsPropagation", why));
        }
    })
}

/// Reads `linux.personality` into personality(2)'s number.
pub fn personality(p: &spec::Personality<'_>) -> Result<u64> {
    if !p.flags.is_empty() {
        let why = "no flags are defined by the specification yet; leave it empty";
        return Err(Error::unsupported("/linux/personality/flags", why));
    }
    match &*p.domain {
        "LINUX" => Ok(0),
        "LINUX32" => Ok(8),
        other => {
            let why = format!("unknown domain {other:?}");
            Err(Error::config("/linux/personality/domain", why))
        }
    }
}

/// Reads `linux.timeOffsets` into the lines of /proc/PID/timens_offsets.
pub fn time_offsets(linux: &spec::Linux<'_>, namespaces: &Namespaces) -> Result<String> {
    let mut out = String::new();
    for (clock, offset) in &linux.time_offsets {
        if !matches!(&**clock, "monotonic" | "boottime") {
            let why = "only monotonic and boottime have offsets";
            return Err(Error::config(format!("/linux/timeOffsets/{}", escaped(clock)), why));
        }
        // Into a string: this can't fail.
        let _ = writeln!(out, "{} {} {}", &**clock, offset.secs, offset.nanosecs);
    }
    if !out.is_empty() && namespaces.new & ns::TIME == 0 {
        let why = "needs a new time namespace in /linux/namespaces";
        return Err(Error::config("/linux/timeOffsets", why));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_pointer_is_escaped() {
        let spaces = Namespaces::default();
        let linux: spec::Linux<'_> = serde_json::from_str(r#"{"sysctl":{"a~/b":"1"}}"#).unwrap();
        let e = sysctls(&linux, &spaces, "").unwrap_err().to_string();
        assert!(e.contains("/linux/sysctl/a~0~1b:"), "{e}");
        let linux = r#"{"timeOffsets":{"a/b":{}}}"#;
        let e = time_offsets(&serde_json::from_str(linux).unwrap(), &spaces).unwrap_err();
        assert!(e.to_string().contains("/linux/timeOffsets/a~1b:"), "{e}");
    }

    fn names(json: &str) -> Result<Namespaces> {
        namespaces(&serde_json::from_str::<Vec<spec::Namespace>>(json).unwrap())
    }

    #[test]
    fn namespaces_are_joined_in_order_and_never_twice() {
        let n =
            names(r#"[{"type":"mount","path":"/m"},{"type":"ipc","path":"/i"},{"type":"pid"}]"#)
                .unwrap();
        let join = |flag, path: &std::ffi::CStr, index| Join { flag, path: path.to_owned(), index };
        assert_eq!(n.join, [join(ns::IPC, c"/i", 1), join(ns::MOUNT, c"/m", 0)]);
        assert_eq!(n.new, ns::PID);
        assert!(names(r#"[{"type":"pid"},{"type":"pid"}]"#).is_err());
        assert!(names(r#"[{"type":"pid","path":"rel"}]"#).is_err());
        assert!(names(r#"[{"type":"moon"}]"#).is_err());
    }

    #[test]
    fn a_network_device_has_a_name_that_the_kernel_takes() {
        assert!(device_name("eth0", true) && device_name("eth%d", false));
        for bad in ["", ".", "a/b", "a:b", "a b", "abcdefghijklmnop", "eth%d"] {
            assert!(!device_name(bad, true), "{bad}");
        }
        assert!(!device_name("a%d%d", false) && !device_name("a%s", false));
    }

    #[test]
    fn a_domain_name_is_said_once_or_twice_the_same() {
        let spaces = Namespaces { new: ns::UTS, ..Namespaces::default() };
        let json = r#"{"sysctl":{"kernel.domainname":"a"}}"#;
        let linux: spec::Linux<'_> = serde_json::from_str(json).unwrap();
        assert_eq!(sysctls(&linux, &spaces, "").unwrap().len(), 1);
        assert_eq!(sysctls(&linux, &spaces, "a").unwrap().len(), 1);
        let e = sysctls(&linux, &spaces, "b").unwrap_err().to_string();
        assert!(e.contains("/linux/sysctl/kernel.domainname:"), "{e}");
    }

    #[test]
    fn a_sysctl_must_belong_to_a_namespace() {
        assert_eq!(sysctl_namespace("net/ipv4/ip_forward"), Ok(ns::NET));
        assert_eq!(sysctl_namespace("kernel/shmmax"), Ok(ns::IPC));
        assert!(sysctl_namespace("kernel/core_pattern").is_err());
        assert!(sysctl_namespace("net/../kernel/core_pattern").is_err());
    }

    #[test]
    fn both_ways_of_writing_a_sysctl_are_read() {
        assert_eq!(sysctl_path("net.ipv4.conf.eth0/1.rp_filter"), "net/ipv4/conf/eth0.1/rp_filter");
        assert_eq!(sysctl_path("net/ipv4/conf/eth0.1/x"), "net/ipv4/conf/eth0.1/x");
    }
}
