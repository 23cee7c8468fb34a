//! `mounts`: the option table of the spec, read into flags.
//!
//! SPEC: config.md §Mounts, Linux mount options.

use std::ffi::CString;

use crate::error::{Error, Result};
use crate::validate::{cstring, spec};

/// MOUNT_ATTR_* (linux/mount.h).
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 1;
    /// No set-user-id.
    pub const NOSUID: u64 = 2;
    /// No device nodes.
    pub const NODEV: u64 = 4;
    /// No execution.
    pub const NOEXEC: u64 = 8;
    /// The field that holds one of the access time modes; relatime is 0.
    pub const ATIME: u64 = 0x70;
    /// No access times.
    pub const NOATIME: u64 = 0x10;
    /// Every access time.
    pub const STRICTATIME: u64 = 0x20;
    /// No access times of directories.
    pub const NODIRATIME: u64 = 0x80;
    /// Symbolic links aren't followed.
    pub const NOSYMFOLLOW: u64 = 0x0020_0000;
}

/// Attributes to set and clear, as mount_setattr(2) takes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear.
    pub clear: u64,
}

impl Attributes {
    fn apply(&mut self, set: u64, clear: u64) {
        self.set = (self.set & !clear) | set;
        self.clear = (self.clear & !set) | clear;
    }
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A part of the host's tree.
    Bind {
        /// Its path on the host, absolute.
        source: CString,
        /// With all that is mounted below.
        recursive: bool,
    },
    /// A new instance of a file system.
    New {
        /// Its type.
        fstype: CString,
        /// Its source, for the mount table or as a device.
        source: CString,
        /// Its options: `key` or `key=value`.
        options: Vec<(CString, Option<CString>)>,
        /// tmpfs starts with a copy of what it covers.
        copy_up: bool,
    },
    /// The container's own control groups.
    Cgroup,
}

/// One entry of `mounts`, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where, relative to the root (no leading slash, may be empty).
    pub target: CString,
    /// What.
    pub kind: Kind,
    /// Attributes of the mount itself.
    pub attributes: Attributes,
    /// Attributes of it and all below (`rro`, `rnosuid`…).
    pub recursive: Attributes,
    /// Propagation changes in order: MS_* and whether recursive.
    pub propagation: Vec<(u64, bool)>,
    /// Position in `mounts`, for messages.
    pub index: usize,
}

/// What one option means.
enum Meaning {
    Attr { set: u64, clear: u64 },
    Recursive { set: u64, clear: u64 },
    Propagation(u64, bool),
    Bind { recursive: bool },
    Superblock(&'static str),
    CopyUp,
    Nothing,
    Refused(&'static str),
    Data,
}

/// The table of one-mount attributes; the recursive ones are these with an `r`.
fn attribute(option: &str) -> Option<(u64, u64)> {
    use attr::*;
    Some(match option {
        "ro" => (RDONLY, 0),
        "rw" => (0, RDONLY),
        "nosuid" => (NOSUID, 0),
        "suid" => (0, NOSUID),
        "nodev" => (NODEV, 0),
        "dev" => (0, NODEV),
        "noexec" => (NOEXEC, 0),
        "exec" => (0, NOEXEC),
        "nodiratime" => (NODIRATIME, 0),
        "diratime" => (0, NODIRATIME),
        "noatime" => (NOATIME, ATIME),
        "strictatime" => (STRICTATIME, ATIME),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => (0, ATIME),
        "nosymfollow" => (NOSYMFOLLOW, 0),
        "symfollow" => (0, NOSYMFOLLOW),
        _ => return None,
    })
}

fn meaning(option: &str) -> Meaning {
    if let Some((set, clear)) = attribute(option) {
        return Meaning::Attr { set, clear };
    }
    let recursive = option.strip_prefix('r').unwrap_or_default();
    if let Some((set, clear)) = attribute(recursive) {
        return Meaning::Recursive { set, clear };
    }
    match option {
        "bind" => Meaning::Bind { recursive: false },
        "rbind" => Meaning::Bind { recursive: true },
        "shared" => Meaning::Propagation(libc::MS_SHARED, false),
        "rshared" => Meaning::Propagation(libc::MS_SHARED, true),
        "private" => Meaning::Propagation(libc::MS_PRIVATE, false),
        "rprivate" => Meaning::Propagation(libc::MS_PRIVATE, true),
        "slave" => Meaning::Propagation(libc::MS_SLAVE, false),
        "rslave" => Meaning::Propagation(libc::MS_SLAVE, true),
        "unbindable" => Meaning::Propagation(libc::MS_UNBINDABLE, false),
        "runbindable" => Meaning::Propagation(libc::MS_UNBINDABLE, true),
        "sync" => Meaning::Superblock("sync"),
        "dirsync" => Meaning::Superblock("dirsync"),
        "lazytime" => Meaning::Superblock("lazytime"),
        "mand" => Meaning::Superblock("mand"),
        "tmpcopyup" => Meaning::CopyUp,
        // What the kernel does anyway, or once did and no longer has.
        "defaults" | "async" | "nolazytime" | "nomand" | "silent" | "loud" | "acl" | "noacl"
        | "iversion" | "noiversion" => Meaning::Nothing,
        "idmap" | "ridmap" => Meaning::Refused("idmapped mounts come with a later release"),
        "remount" => Meaning::Refused("a container starts with nothing to remount"),
        _ => Meaning::Data,
    }
}

/// Reads entry `index` of `mounts`; `bundle` is what relative bind sources start from.
pub fn read(index: usize, mount: &spec::Mount<'_>, bundle: &str, label: &str) -> Result<Mount> {
    let at = |field: &str| format!("/mounts/{index}/{field}");
    if mount.destination.is_empty() {
        return Err(Error::config(at("destination"), "must be set"));
    }
    if !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        let why = "idmapped mounts come with a later release";
        return Err(Error::unsupported(at("uidMappings"), why));
    }
    let target = cstring(&normal(&mount.destination), || at("destination"))?;
    if target.is_empty() {
        return Err(Error::config(at("destination"), "must not be the root itself"));
    }
    let mut out = Mount {
        target,
        kind: Kind::Cgroup,
        attributes: Attributes::default(),
        recursive: Attributes::default(),
        propagation: Vec::new(),
        index,
    };
    let mut bind = (&*mount.kind == "bind").then_some(false);
    let mut options = Vec::new();
    let mut copy_up = false;
    for (n, option) in mount.options.iter().enumerate() {
        let place = || at(&format!("options/{n}"));
        match meaning(option) {
            Meaning::Attr { set, clear } => out.attributes.apply(set, clear),
            Meaning::Recursive { set, clear } => out.recursive.apply(set, clear),
            Meaning::Propagation(flag, deep) => out.propagation.push((flag, deep)),
            Meaning::Bind { recursive } => bind = Some(recursive),
            Meaning::Superblock(name) => options.push((cstring(name, place)?, None)),
            Meaning::CopyUp => copy_up = true,
            Meaning::Nothing => {}
            Meaning::Refused(why) => return Err(Error::unsupported(place(), why)),
            Meaning::Data => options.extend(data(option, place)?),
        }
    }
    out.kind = match (bind, &*mount.kind) {
        (Some(recursive), _) => {
            check_proc(&out.target, true).map_err(|why| Error::config(at("destination"), why))?;
            let source = bind_source(&mount.source, bundle, || at("source"))?;
            Kind::Bind { source, recursive }
        }
        (None, "cgroup" | "cgroup2") => Kind::Cgroup,
        (None, "") => return Err(Error::config(at("type"), "must be set, or options say bind")),
        (None, fstype) => {
            if fstype != "proc" {
                check_proc(&out.target, false)
                    .map_err(|why| Error::config(at("destination"), why))?;
            }
            if !label.is_empty() && matches!(fstype, "tmpfs" | "mqueue" | "devpts") {
                let value = cstring(label, || "/linux/mountLabel".to_owned())?;
                options.push((c"context".to_owned(), Some(value)));
            }
            let fstype = cstring(fstype, || at("type"))?;
            let source = cstring(&mount.source, || at("source"))?;
            Kind::New { fstype, source, options, copy_up }
        }
    };
    Ok(out)
}

/// An option that isn't in the table is the file system's own; commas split it as mount(8) does.
fn data(option: &str, place: impl Fn() -> String) -> Result<Vec<(CString, Option<CString>)>> {
    // A quoted value (an SELinux context) may hold commas of its own.
    let whole = option.contains('"').then(|| option.replace('"', ""));
    let parts: Vec<&str> = match &whole {
        Some(option) => vec![option],
        None => option.split(',').filter(|part| !part.is_empty()).collect(),
    };
    parts
        .into_iter()
        .map(|part| match part.split_once('=') {
            Some((key, value)) => Ok((cstring(key, &place)?, Some(cstring(value, &place)?))),
            None => Ok((cstring(part, &place)?, None)),
        })
        .collect()
}

fn bind_source(source: &str, bundle: &str, place: impl Fn() -> String) -> Result<CString> {
    if source.is_empty() {
        return Err(Error::config(place(), "must be set for a bind mount"));
    }
    // SPEC: config.md §Mounts: a relative source of a bind is relative to the bundle.
    if source.starts_with('/') {
        return cstring(source, place);
    }
    cstring(&format!("{bundle}/{source}"), place)
}

/// Lexically cleans an absolute or relative path into one without a leading slash.
///
/// The kernel resolves it once more inside the root, links and all; this only
/// makes `/proc/` and `/../proc` one name.
pub fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// CVE: 2019-16884, 2019-19921: what lies over /proc decides where labels and
/// sysctls go. Only these files may be covered (what lxcfs and engines do).
fn check_proc(target: &CString, bind: bool) -> std::result::Result<(), String> {
    const ALLOWED: [&str; 12] = [
        "cpuinfo",
        "diskstats",
        "meminfo",
        "stat",
        "swaps",
        "uptime",
        "loadavg",
        "slabinfo",
        "net/dev",
        "sys/kernel/ns_last_pid",
        "sys/crypto/fips_enabled",
        "scsi",
    ];
    let Ok(target) = target.to_str() else { return Ok(()) };
    if target == "proc" {
        // A bind of the host's /proc is how rootless containers get one; init checks that it is one.
        return if bind { Ok(()) } else { Err("only proc itself may be mounted there".into()) };
    }
    match target.strip_prefix("proc/") {
        Some(inside) if !ALLOWED.contains(&inside) => {
            Err(format!("nothing may be mounted over /proc/{inside}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::spec::Text;

    fn with(kind: &'static str, options: &[&'static str]) -> Result<Mount> {
        let text = |s: &'static str| Text(s.into());
        let mount = spec::Mount {
            destination: text("/x"),
            kind: text(kind),
            source: text("src"),
            options: options.iter().map(|o| text(o)).collect(),
            ..Default::default()
        };
        read(3, &mount, "/bundle", "")
    }

    #[test]
    fn a_later_option_overrides_an_earlier_one() {
        let m = with("tmpfs", &["ro", "nosuid", "rw", "noatime", "strictatime"]).unwrap();
        assert_eq!(m.attributes.set, attr::NOSUID | attr::STRICTATIME);
        assert_eq!(m.attributes.clear, attr::RDONLY | attr::ATIME);
    }

    #[test]
    fn recursive_options_are_kept_apart() {
        let m = with("none", &["rbind", "rro", "rprivate", "rrelatime"]).unwrap();
        assert_eq!(m.recursive.set, attr::RDONLY);
        assert_eq!(m.recursive.clear, attr::ATIME);
        assert_eq!(m.propagation, [(libc::MS_PRIVATE, true)]);
        let source = c"/bundle/src".to_owned();
        assert_eq!(m.kind, Kind::Bind { source, recursive: true });
    }

    #[test]
    fn what_is_not_in_the_table_goes_to_the_file_system() {
        let Kind::New { options, .. } = with("tmpfs", &["size=1k,mode=755", "huge"]).unwrap().kind
        else {
            panic!("not a new mount")
        };
        assert_eq!(options.len(), 3);
        assert_eq!(options[0], (c"size".to_owned(), Some(c"1k".to_owned())));
    }

    #[test]
    fn idmap_is_refused_by_name() {
        let e = with("bind", &["idmap"]).unwrap_err().to_string();
        assert!(e.contains("/mounts/3/options/0"), "{e}");
    }

    #[test]
    fn proc_is_covered_only_where_lxcfs_does() {
        assert!(check_proc(&c"proc/cpuinfo".to_owned(), true).is_ok());
        assert!(check_proc(&c"proc/self/attr".to_owned(), true).is_err());
        assert!(check_proc(&c"proc".to_owned(), false).is_err());
        assert!(check_proc(&c"process".to_owned(), false).is_ok());
    }

    #[test]
    fn paths_are_cleaned_lexically() {
        assert_eq!(normal("/../a/./b//c/.."), "a/b");
    }
}
