//! What a config asks of the host, checked before anything is made.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::error::{Error, Result};
use crate::validate::Container;
use crate::validate::linux::{Join, KINDS, ns};
use crate::validate::mount::{Ids, Mapping};
use crate::validate::mount::{Kind, Mount, attr};
use crate::validate::process::Process;
use crate::validate::spec::IdMapping;

/// The first thing that isn't as the config has it.
pub fn check(c: &Container<'_>) -> Result<()> {
    faults(c).next().map_or(Ok(()), Err)
}

/// The root must be there, and the namespaces and security modules that are asked for.
pub fn faults<'a>(c: &'a Container<'_>) -> impl Iterator<Item = Error> + 'a {
    let spaces = c.namespaces.join.iter().map(namespace);
    let rest =
        [joined_maps, privileged, sysctls, |c: &Container<'_>| labels(&c.process, "/process")];
    let rest = rest.into_iter().map(move |look| look(c));
    std::iter::once_with(move || root(c)).chain(spaces).chain(rest).filter_map(Result::err)
}

/// The root must be a directory.
fn root(c: &Container<'_>) -> Result<()> {
    let rootfs = c.rootfs.to_string_lossy();
    match std::fs::metadata(&*rootfs) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(Error::config("/root/path", format!("{rootfs} is not a directory"))),
        Err(e) => {
            let errno = crate::init::protocol::errno_of(&e);
            let why = format!("invalid rootfs: stat {rootfs}: {}", crate::error::describe(errno));
            Err(Error::config("/root/path", why))
        }
    }
}

/// SPEC: config-linux.md §Namespaces: a path must be of a namespace of that type.
fn namespace(join: &Join) -> Result<()> {
    let path = join.path.to_string_lossy();
    let wrong = |why: String| {
        Error::config(format!("/linux/namespaces/{}/path", join.index), format!("{path} {why}"))
    };
    let word = |flag: u64| KINDS.iter().find(|kind| kind.flag == flag).map_or("", |k| k.word);
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let fd = open(join.path.as_c_str(), flags, Mode::empty())
        .map_err(|e| wrong(format!("can't be opened: {}", crate::error::describe(e))))?;
    match dhow_kernel::space::kind(fd.as_fd()) {
        Ok(kind) if kind == join.flag => Ok(()),
        Ok(kind) => {
            let (is, wanted) = (word(kind), word(join.flag));
            Err(wrong(format!("is a {is} namespace, not {wanted}")))
        }
        Err(_) => Err(wrong("is not a namespace".to_owned())),
    }
}

/// As runc: engines that join a user namespace may say its maps again, but no others.
fn joined_maps(c: &Container<'_>) -> Result<()> {
    let Some(path) = c.namespaces.path(ns::USER) else { return Ok(()) };
    if c.uid_map.is_empty() && c.gid_map.is_empty() {
        return Ok(());
    }
    let (uids, gids) = crate::init::parent::joined_maps(path)?;
    let same = |a: &[IdMapping], b: &[IdMapping]| {
        let sorted = |list: &[IdMapping]| {
            let mut list = list.to_vec();
            list.sort_by_key(|m| m.container);
            list
        };
        sorted(a) == sorted(b)
    };
    for (said, real, field) in
        [(&c.uid_map, uids, "uidMappings"), (&c.gid_map, gids, "gidMappings")]
    {
        if !same(said, &real) {
            let why = "user namespaces enabled, but both namespace path and non-matching mapping \
                       specified -- you may only provide one";
            return Err(Error::config(format!("/linux/{field}"), why));
        }
    }
    Ok(())
}

/// KERNEL: mount_setattr(2): only the file system's own root may id-map it; rtnetlink(7): only
/// the network namespace's own root may give a device away.
fn privileged(c: &Container<'_>) -> Result<()> {
    let idmapped = c.mounts.iter().find(|m| m.ids != Ids::Same);
    if (idmapped.is_none() && c.net_devices.is_empty()) || nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let (pointer, what) = match idmapped {
        Some(m) => (format!("/mounts/{}/uidMappings", m.index), "id-mapped mounts"),
        None => ("/linux/netDevices".to_owned(), "network devices"),
    };
    Err(Error::config(pointer, format!("{what} are not supported for rootless containers")))
}

/// Who is to own the container's group: the user of its process, as the host knows them, when
/// the container has a view of its own of the groups and may write to it. None when that is us.
///
/// SPEC: config-linux.md §Cgroup ownership.
pub fn group_owner(c: &Container<'_>) -> Option<u32> {
    let shows = |m: &Mount| matches!(m.kind, Kind::Cgroup) && *m.target == *c"sys/fs/cgroup";
    let writable = |m: &Mount| m.attributes.set & attr::RDONLY == 0;
    if c.namespaces.new & ns::CGROUP == 0 || !c.mounts.iter().any(|m| shows(m) && writable(m)) {
        return None;
    }
    let uid = c.process.uid;
    let owner = if c.namespaces.has(ns::USER) {
        let map = c
            .uid_map
            .iter()
            .find(|map| uid.checked_sub(map.container).is_some_and(|offset| offset < map.size))?;
        map.host.checked_add(uid - map.container)?
    } else {
        uid
    };
    (owner != nix::unistd::geteuid().as_raw()).then_some(owner)
}

/// A network namespace that is joined may be our own: its sysctls are then the host's.
fn sysctls(c: &Container<'_>) -> Result<()> {
    let joined = c.namespaces.path(ns::NET);
    let net = c.sysctls.iter().find(|(path, _)| path.to_bytes().starts_with(b"sys/net/"));
    let (Some(path), Some((name, _))) = (joined, net) else { return Ok(()) };
    let place = |path: &std::ffi::CStr| nix::sys::stat::stat(path).map(|s| (s.st_dev, s.st_ino));
    let theirs = place(path)
        .map_err(|e| Error::system("invalid netns path: stat", path.to_string_lossy(), e))?;
    if place(c"/proc/self/ns/net") == Ok(theirs) {
        let name = name.to_string_lossy().trim_start_matches("sys/").replace('/', ".");
        let why = format!("sysctl {name:?} not allowed in host network namespace");
        return Err(Error::config(format!("/linux/sysctl/{name}"), why));
    }
    Ok(())
}

/// A new user namespace without maps has the caller's ids, each by its own number, as crun
/// does it; a caller without privilege is root in it.
///
/// DIFFERS: runc refuses it; config-linux.md has the maps optional.
pub fn own_maps(c: &mut Container<'_>) -> Result<()> {
    if c.namespaces.new & ns::USER == 0 {
        return Ok(());
    }
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let maps = [(&mut c.uid_map, "uid", uid.as_raw()), (&mut c.gid_map, "gid", gid.as_raw())];
    for (map, word, own) in maps {
        if !map.is_empty() {
            continue;
        }
        *map = if uid.is_root() {
            let mut lines = crate::init::parent::caller_map(&format!("{word}_map"))?;
            for line in &mut lines {
                line.host = line.container;
            }
            lines
        } else {
            vec![IdMapping { container: 0, host: own, size: 1 }]
        };
        c.warnings.push(format!("/linux/{word}Mappings: not set: the caller's own ids are used"));
    }
    for m in &mut c.mounts {
        if let Ids::Mapped { by: Mapping::Lines(uids, gids), .. } = &mut m.ids {
            uids.extend(uids.is_empty().then_some(&c.uid_map).into_iter().flatten());
            gids.extend(gids.is_empty().then_some(&c.gid_map).into_iter().flatten());
        }
    }
    Ok(())
}

/// A mount label that nothing would read is left out, as crun does.
pub fn unlabelled(c: &mut Container<'_>) {
    let label = |key: &CString| key.as_c_str() == c"context";
    let mut labelled = Vec::new();
    for m in &mut c.mounts {
        if let Kind::New { options, .. } = &mut m.kind {
            labelled.extend(options.iter().any(|(key, _)| label(key)).then_some(options));
        }
    }
    if labelled.is_empty() || selinux() {
        return;
    }
    for options in labelled {
        options.retain(|(key, _)| !label(key));
    }
    let why = "mount labels are left out: SELinux is disabled or not supported here";
    c.warnings.push(why.to_owned());
}

/// As runc: a label that nothing would enforce is refused.
pub fn labels(p: &Process, at: &str) -> Result<()> {
    if !p.apparmor.is_empty() && p.apparmor != "unconfined" && !apparmor() {
        let why = "apparmor: config provided but apparmor not supported";
        return Err(Error::config(format!("{at}/apparmorProfile"), why));
    }
    if !p.selinux.is_empty() && !selinux() {
        let why = "selinux label is specified in config, but selinux is disabled or not supported";
        return Err(Error::config(format!("{at}/selinuxLabel"), why));
    }
    Ok(())
}

fn selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

fn apparmor() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|t| t.starts_with(b"Y"))
}
