//! `mounts`: each entry read into what is mounted, where, and with which flags.
//!
//! SPEC: config.md §Mounts.

mod options;

use std::ffi::CString;

use crate::error::{Error, Result};
use crate::validate::spec::IdMapping;
use crate::validate::{cstring, spec};
pub use options::{Flags, superblock_flag};
use options::{Meaning, meaning};

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
    /// What is mounted there already, with other flags.
    Remount {
        /// Only the mount's own flags change, not its file system's.
        bind: bool,
        /// Options of the file system: `key` or `key=value`.
        options: Vec<(CString, Option<CString>)>,
    },
    /// The container's own control groups.
    Cgroup,
}

/// By which ids a bind shows the files of its source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Ids {
    /// By those they have.
    #[default]
    Same,
    /// By others: `idmap`, or with all that is mounted below, `ridmap`.
    Mapped {
        /// Which.
        by: Mapping,
        /// With all that is mounted below.
        recursive: bool,
    },
}

/// Where an id map comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapping {
    /// Lines of uid_map and gid_map.
    Lines(Vec<IdMapping>, Vec<IdMapping>),
    /// The user namespace at this path.
    Space(CString),
}

/// What a bind makes of a symbolic link that is its source or its target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Links {
    /// It stands for what it leads to.
    #[default]
    Followed,
    /// It is what is meant: `src-nofollow`, `dest-nofollow`.
    Themselves {
        /// The source.
        source: bool,
        /// The target.
        target: bool,
    },
    /// A source that is one is made anew instead of mounted: `copy-symlink`.
    Copied,
}

/// One entry of `mounts`, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where, relative to the root (no leading slash, may be empty).
    pub target: CString,
    /// What.
    pub kind: Kind,
    /// By which ids.
    pub ids: Ids,
    /// What links at its ends mean.
    pub links: Links,
    /// The options about the mount itself, as asked.
    pub flags: Flags,
    /// What they come to.
    pub attributes: Attributes,
    /// Attributes of it and all below (`rro`, `rnosuid`…).
    pub recursive: Attributes,
    /// Propagation changes in order: MS_* and whether recursive.
    pub propagation: Vec<(u64, bool)>,
    /// Position in `mounts`, for messages.
    pub index: usize,
}

/// What reading a mount needs to know of the rest.
#[derive(Debug)]
pub struct Around<'a> {
    /// What relative bind sources start from.
    pub bundle: &'a str,
    /// `root.path`, absolute.
    pub rootfs: &'a str,
    /// `linux.mountLabel`.
    pub label: &'a str,
    /// The id map of the container's user namespace, if it has one.
    pub users: Option<Mapping>,
}

/// An entry's options, sorted by what they mean.
#[derive(Default)]
struct Asked {
    flags: Flags,
    recursive: Attributes,
    propagation: Vec<(u64, bool)>,
    bind: Option<bool>,
    remount: bool,
    copy_up: bool,
    ids: Option<bool>,
    source_itself: bool,
    target_itself: bool,
    copy_link: bool,
    data: Vec<(CString, Option<CString>)>,
    /// Which option was the first that only the file system understands.
    first_data: usize,
}

impl Asked {
    fn read(index: usize, mount: &spec::Mount<'_>) -> Result<Self> {
        let mut out = Self { bind: (&*mount.kind == "bind").then_some(false), ..Self::default() };
        for (n, option) in mount.options.iter().enumerate() {
            let place = || format!("/mounts/{index}/options/{n}");
            match meaning(option) {
                Meaning::Flag { clear, flag } => out.flags.apply(clear, flag),
                Meaning::Recursive { set, clear } => out.recursive.apply(set, clear),
                Meaning::Propagation(flag, deep) => out.propagation.push((flag, deep)),
                Meaning::Bind { recursive } => {
                    out.bind = Some(recursive || out.bind == Some(true));
                }
                Meaning::Remount => out.remount = true,
                Meaning::CopyUp => out.copy_up = true,
                Meaning::Ids { recursive } => out.ids = Some(recursive),
                Meaning::SourceItself => out.source_itself = true,
                Meaning::TargetItself => out.target_itself = true,
                Meaning::CopyLink => out.copy_link = true,
                Meaning::Nothing => {}
                Meaning::Data => {
                    if out.data.is_empty() {
                        out.first_data = n;
                    }
                    out.data.extend(data(option, place)?);
                }
            }
        }
        Ok(out)
    }

    fn links(&self) -> std::result::Result<Links, &'static str> {
        let (source, target) = (self.source_itself, self.target_itself);
        let themselves = source || target;
        if (themselves || self.copy_link) && (self.bind.is_none() || self.remount) {
            return Err("src-nofollow, dest-nofollow and copy-symlink are for binds");
        }
        match (self.copy_link, themselves) {
            (true, true) => Err("copy-symlink excludes src-nofollow and dest-nofollow"),
            (true, false) => Ok(Links::Copied),
            (false, true) => Ok(Links::Themselves { source, target }),
            (false, false) => Ok(Links::Followed),
        }
    }
}

/// Where something is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As [`Mount::target`].
    pub path: CString,
    /// A link there is what is meant: `dest-nofollow`.
    pub itself: bool,
}

/// Of entry `index` of `mounts` only where it is.
pub fn target(index: usize, mount: &spec::Mount<'_>, rootfs: &str) -> Result<Target> {
    let at = || format!("/mounts/{index}/destination");
    if mount.destination.is_empty() {
        return Err(Error::config(at(), "must be set"));
    }
    let path = cstring(&inside(&mount.destination, rootfs), at)?;
    let itself = mount.options.iter().any(|o| matches!(meaning(o), Meaning::TargetItself));
    Ok(Target { path, itself })
}

/// Reads entry `index` of `mounts`; what is odd about it, and goes, is added to `warnings`.
pub fn read(
    index: usize,
    mount: &spec::Mount<'_>,
    around: &Around<'_>,
    warnings: &mut Vec<String>,
) -> Result<Mount> {
    let at = |field: &str| format!("/mounts/{index}/{field}");
    let Target { path: target, .. } = target(index, mount, around.rootfs)?;
    // SPEC: config.md §Mounts: deprecated, and relative to /.
    if !mount.destination.starts_with('/') {
        let path = &*mount.destination;
        warnings.push(format!("{}: {path:?} is not absolute: taken from /", at("destination")));
    }
    let mut asked = Asked::read(index, mount)?;
    if asked.bind.is_some() && !asked.data.is_empty() {
        // DIFFERS: runc refuses the mount; crun says nothing.
        let place = at(&format!("options/{}", asked.first_data));
        warnings.push(format!("{place}: a bind has no options of a file system: left out"));
        asked.data.clear();
    }
    // DIFFERS: runc lets nothing over the root; crun, a bind.
    if target.is_empty() && (asked.bind.is_none() || asked.remount) {
        return Err(Error::config(at("destination"), "only a bind may be the root itself"));
    }
    let ids = ids(index, mount, &asked, around)?;
    let links = asked.links().map_err(|why| Error::config(at("options"), why))?;
    let kind = kind(index, mount, &target, &mut asked, around)?;
    let attributes = match kind {
        Kind::New { .. } => asked.flags.fresh(),
        Kind::Bind { .. } | Kind::Remount { .. } | Kind::Cgroup => asked.flags.over(),
    };
    Ok(Mount {
        target,
        kind,
        ids,
        links,
        flags: asked.flags,
        attributes,
        recursive: asked.recursive,
        propagation: asked.propagation,
        index,
    })
}

fn kind(
    index: usize,
    mount: &spec::Mount<'_>,
    target: &CString,
    asked: &mut Asked,
    around: &Around<'_>,
) -> Result<Kind> {
    let at = |field: &str| format!("/mounts/{index}/{field}");
    let cover = |why| Error::config(at("destination"), why);
    let options = std::mem::take(&mut asked.data);
    if asked.remount {
        check_proc(target, true).map_err(cover)?;
        return Ok(Kind::Remount { bind: asked.bind.is_some(), options });
    }
    match (asked.bind, &*mount.kind) {
        (Some(recursive), _) => {
            check_proc(target, true).map_err(cover)?;
            let source = bind_source(&mount.source, around.bundle, || at("source"))?;
            Ok(Kind::Bind { source, recursive })
        }
        (None, "cgroup" | "cgroup2") => Ok(Kind::Cgroup),
        (None, "") => Err(Error::config(at("type"), "must be set, or options say bind")),
        (None, fstype) => {
            if fstype != "proc" {
                check_proc(target, false).map_err(cover)?;
            }
            let mut all = Vec::new();
            for word in asked.flags.superblock(!VIRTUAL.contains(&fstype)) {
                all.push((cstring(word, || at("options"))?, None));
            }
            all.extend(options);
            // As runc: these two hold no files of the container's.
            if !around.label.is_empty() && !matches!(fstype, "proc" | "sysfs") {
                let value = cstring(around.label, || "/linux/mountLabel".to_owned())?;
                all.push((c"context".to_owned(), Some(value)));
            }
            let fstype = cstring(fstype, || at("type"))?;
            let source = cstring(&mount.source, || at("source"))?;
            Ok(Kind::New { fstype, source, options: all, copy_up: asked.copy_up })
        }
    }
}

/// File systems for which a read-only mount is enough: nothing of theirs is on a device.
const VIRTUAL: [&str; 5] = ["tmpfs", "proc", "sysfs", "devpts", "mqueue"];

/// SPEC: config.md §POSIX-platform Mounts and the options `idmap` and `ridmap`.
fn ids(index: usize, mount: &spec::Mount<'_>, asked: &Asked, around: &Around<'_>) -> Result<Ids> {
    let (uids, gids) = (&mount.uid_mappings, &mount.gid_mappings);
    let refused =
        |field: &str, why: &str| Err(Error::config(format!("/mounts/{index}/{field}"), why));
    if asked.ids.is_none() && uids.is_empty() && gids.is_empty() {
        return Ok(Ids::Same);
    }
    if asked.bind.is_none() || asked.remount {
        return refused("options", "id-mapped mounts are only supported for bind-mounts");
    }
    let by = match (uids.is_empty(), gids.is_empty(), &around.users) {
        (false, false, _) => Mapping::Lines(uids.clone(), gids.clone()),
        (true, true, Some(users)) => users.clone(),
        (true, true, None) => {
            let why = "id-mapped mounts must have both uid and gid mappings specified, \
                       or the container a user namespace whose mappings they get";
            return refused("uidMappings", why);
        }
        (true, false, _) => return refused("uidMappings", "must be set where gidMappings are"),
        (false, true, _) => return refused("gidMappings", "must be set where uidMappings are"),
    };
    Ok(Ids::Mapped { by, recursive: asked.ids == Some(true) })
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

/// A destination in the root. As runc: one that begins with the root's own path is below it.
fn inside(destination: &str, rootfs: &str) -> String {
    let (path, root) = (normal(destination), normal(rootfs));
    let below = path.strip_prefix(&root).filter(|_| !root.is_empty());
    match below.and_then(|below| below.strip_prefix('/')) {
        Some(below) => below.to_owned(),
        None => path,
    }
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
    const AROUND: Around<'_> =
        Around { bundle: "/bundle", rootfs: "/bundle/root", label: "", users: None };

    fn entry(json: &str, around: &Around<'_>) -> Result<Mount> {
        read(3, &serde_json::from_str(json).unwrap(), around, &mut Vec::new())
    }

    fn with(kind: &str, options: &[&str]) -> Result<Mount> {
        let json = serde_json::json!({
            "destination": "/x", "type": kind, "source": "src", "options": options});
        entry(&json.to_string(), &AROUND)
    }

    #[test]
    fn a_later_option_overrides_an_earlier_one() {
        let m = with("tmpfs", &["ro", "nosuid", "rw", "noatime", "strictatime"]).unwrap();
        assert_eq!(m.attributes.set, attr::NOSUID | attr::STRICTATIME);
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
    fn what_is_odd_about_a_mount_is_warned_of() {
        let json = r#"{"destination":"x","source":"/s","options":["bind","size=1k"]}"#;
        let mut warnings = Vec::new();
        let m = read(3, &serde_json::from_str(json).unwrap(), &AROUND, &mut warnings).unwrap();
        assert_eq!((m.target, warnings.len()), (c"x".to_owned(), 2));
        assert!(warnings[0].starts_with("/mounts/3/destination"), "{warnings:?}");
        assert!(warnings[1].starts_with("/mounts/3/options/1"), "{warnings:?}");
    }

    #[test]
    fn idmap_takes_the_mounts_own_maps_or_the_user_namespaces() {
        let users = || Mapping::Space(c"/users".to_owned());
        let around = Around { users: Some(users()), ..AROUND };
        let bind = |rest: &str| format!(r#"{{"destination":"/x","source":"/s",{rest}}}"#);
        let line = r#"[{"containerID":0,"hostID":5,"size":1}]"#;
        let both = format!(r#""options":["bind"],"uidMappings":{line},"gidMappings":{line}"#);
        let own = IdMapping { container: 0, host: 5, size: 1 };
        let by = Mapping::Lines(vec![own], vec![own]);
        let m = entry(&bind(&both), &around).unwrap();
        assert_eq!(m.ids, Ids::Mapped { by, recursive: false });
        let m = entry(&bind(r#""options":["rbind","ridmap"]"#), &around).unwrap();
        assert_eq!(m.ids, Ids::Mapped { by: users(), recursive: true });
        for (rest, field) in [
            (r#""options":["bind","idmap"]"#.to_owned(), "uidMappings"),
            (format!(r#""options":["bind"],"uidMappings":{line}"#), "gidMappings"),
            (format!(r#""options":["bind"],"gidMappings":{line}"#), "uidMappings"),
            (r#""type":"tmpfs","options":["idmap"]"#.to_owned(), "options"),
        ] {
            let e = entry(&bind(&rest), &AROUND).unwrap_err().to_string();
            assert!(e.contains(&format!("/mounts/3/{field}")), "{rest}: {e}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_options_make_reading_panic(
            options in proptest::collection::vec(".{0,12}|r?(no)?(ro|bind|atime|idmap|x=,\"y)", 0..5),
            kind in "bind|tmpfs|proc|cgroup|",
            destination in "[/.a-z]{0,20}",
        ) {
            let json = serde_json::json!({
                "destination": destination, "type": kind, "source": "s", "options": options});
            let _ = entry(&json.to_string(), &AROUND);
        }
    }

    #[test]
    fn a_remount_changes_what_is_there() {
        let m = with("tmpfs", &["remount", "ro", "size=1k"]).unwrap();
        let Kind::Remount { bind: false, options } = &m.kind else { panic!("{m:?}") };
        assert_eq!(options.len(), 1);
        let m = with("none", &["remount", "bind", "ro"]).unwrap();
        assert_eq!(m.kind, Kind::Remount { bind: true, options: Vec::new() });
    }

    #[test]
    fn what_links_mean_is_said_of_binds_and_once() {
        let links = |options: &[&str]| with("bind", options).map(|m| m.links);
        let target = Links::Themselves { source: false, target: true };
        assert_eq!(links(&["dest-nofollow"]).unwrap(), target);
        assert_eq!(links(&["copy-symlink"]).unwrap(), Links::Copied);
        let e = links(&["copy-symlink", "src-nofollow"]).unwrap_err().to_string();
        assert!(e.contains("/mounts/3/options"), "{e}");
        assert!(with("tmpfs", &["copy-symlink"]).is_err());
        assert!(with("bind", &["remount", "src-nofollow"]).is_err());
    }

    #[test]
    fn proc_is_covered_only_where_lxcfs_does() {
        assert!(check_proc(&c"proc/cpuinfo".to_owned(), true).is_ok());
        assert!(check_proc(&c"proc/self/attr".to_owned(), true).is_err());
        assert!(check_proc(&c"proc".to_owned(), false).is_err());
        assert!(check_proc(&c"process".to_owned(), false).is_ok());
    }

    #[test]
    fn a_destination_may_begin_with_the_roots_own_path() {
        assert_eq!(inside("/b/root/mnt/", "/b/root"), "mnt");
        assert_eq!(inside("/b/rootmnt", "/b/root"), "b/rootmnt");
        assert_eq!(inside("/b/mnt", "/"), "b/mnt");
    }

    #[test]
    fn paths_are_cleaned_lexically() {
        assert_eq!(normal("/../a/./b//c/.."), "a/b");
    }
}
