//! `mounts`, each made detached and attached to a descriptor inside the root.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use dhow_kernel::fd::Loose;
use dhow_kernel::mount::{self as kernel, Tree};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, readlinkat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::symlinkat;

use super::child::Context;
use super::fault::{Because, Cause, Done};
use super::mounted::Mounted;
use super::pids::Pids;
use super::protocol::{Link, Message};
use super::root::{Found, Root, shown, split};
use super::{cgroup, copy_up, pivot, procfs};
use crate::cgroup::Mounts;
use crate::plan::Plan;
use crate::validate::mount::{Attributes, Ids, Kind, Links, Mount, attr, superblock_flag};

type Options = [(CString, Option<CString>)];

/// What of a bind mount only the outside can give.
#[derive(Debug, Default)]
pub enum Source {
    /// Nothing: it is opened here.
    #[default]
    Here,
    /// The tree itself, whose flags the container may not take off.
    Tree(OwnedFd),
    /// It is opened here; this user namespace is its id map.
    Users(OwnedFd),
    /// Only what the link that it is says.
    Link(CString),
    /// It is opened here, and the outside gives it its id map.
    Asked,
}

/// Performs them in order.
pub fn perform(plan: &Plan, c: &mut Context) -> Done {
    for (n, mount) in plan.mounts.iter().enumerate() {
        let source = c.sources.get_mut(n).map(std::mem::take).unwrap_or_default();
        let root = c.root()?;
        let late = plan.late_readonly.contains(&mount.target);
        let own = (c.cgroups.as_ref(), &c.mounted, c.pids.as_ref());
        let made = one(root, mount, source, &c.link, own, late)
            .and_then(|made| come_back_to(root, mount, made, late))
            .map_err(|mut cause| {
                cause.subject = format!("{} (/mounts/{})", cause.subject, mount.index);
                cause
            })?;
        if !matches!(mount.kind, Kind::Remount { .. }) {
            c.mounted.cover(&mount.target);
        }
        if let Some(made) = made {
            c.mounted.hold(&mount.target, made, is_kernels(&mount.kind));
        }
        if mount.target.is_empty() {
            c.root = Some(pivot::reopened(&plan.rootfs)?);
        }
    }
    Ok(())
}

/// Whether it is made as a file system in which all names are the kernel's.
fn is_kernels(kind: &Kind) -> bool {
    matches!(kind, Kind::New { fstype, .. } if [c"proc", c"sysfs"].contains(&fstype.as_c_str()))
}

/// The handle on what is sealed or hidden later, in part or as a whole.
fn come_back_to(root: &Root, m: &Mount, made: Option<Loose>, late: bool) -> Done<Option<Loose>> {
    let magic = match &m.kind {
        Kind::New { fstype, .. } if fstype.as_c_str() == c"proc" => PROC_SUPER_MAGIC,
        Kind::New { fstype, .. } if fstype.as_c_str() == c"sysfs" => SYSFS_MAGIC,
        _ => return Ok(made.filter(|_| late || [c"proc", c"sys"].contains(&m.target.as_c_str()))),
    };
    if made.is_some() {
        return Ok(made);
    }
    // A procfs can be listed by it.
    let how = if magic == PROC_SUPER_MAGIC { OFlag::O_DIRECTORY } else { OFlag::O_PATH };
    let there = root.open_plain(&m.target, how);
    let there = there.and_then(|fd| fstatfs(&fd).map(|stat| (fd, stat.filesystem_type())));
    match there {
        Ok((fd, kind)) if kind == magic => {
            // Not said in `short`, where it would be the file system's as well.
            let late = Attributes { set: m.attributes.set & attr::RDONLY, clear: 0 };
            dress(fd.as_fd(), late, false).because("mount_setattr", shown(&m.target))?;
            Ok(Some(fd))
        }
        // CVE: 2019-19921: somebody who shares the root exchanges names in it.
        _ => {
            let path = String::from_utf8_lossy(&shown(&m.target)).into_owned();
            Err(Cause::rule(format!("{path} became something else while it was mounted")))
        }
    }
}

/// Gives a handle on what is mounted, where there is one; `wanted` says that there must be.
fn one(
    root: &Root,
    m: &Mount,
    source: Source,
    link: &Link,
    (cgroups, mounted, pids): (Option<&Mounts>, &Mounted, Option<&Pids>),
    wanted: bool,
) -> Done<Option<Loose>> {
    if !matches!(m.kind, Kind::New { .. } | Kind::Cgroup) {
        root.forget();
    }
    match &m.kind {
        Kind::Bind { source: path, recursive } => {
            match source {
                Source::Tree(tree) => return bind(root, m, tree, true).map(Some),
                Source::Link(text) => return copy_link(root, m, &text).map(|()| None),
                Source::Here | Source::Users(_) | Source::Asked => {}
            }
            if let Some(text) = link_to_copy(m, path)? {
                return copy_link(root, m, &text).map(|()| None);
            }
            let tree = source_of(m, path, *recursive)?;
            match source {
                Source::Users(users) => {
                    idmap(m, tree.as_fd(), users.as_fd()).because(IDMAP, unsupported(path))?;
                }
                Source::Asked => {
                    let index = m.index as u32;
                    link.send_with(&Message::Idmap(index), tree.as_fd())
                        .and_then(|()| link.expect(&Message::Idmapped))
                        .because("have the runtime id-map", path.to_bytes())?;
                }
                Source::Here | Source::Tree(_) | Source::Link(_) => {}
            }
            bind(root, m, tree, false).map(Some)
        }
        Kind::Remount { bind, options } => remount(root, m, *bind, options).map(|()| None),
        Kind::New { fstype, source, options, copy_up } => {
            let copy_up = *copy_up;
            let it = New { root, m, fstype, source, options, copy_up, wanted, context: None };
            let pids = pids.filter(|_| fstype.as_c_str() == c"proc");
            pids.map_or_else(|| new(&it), |pids| pids.procfs(&it))
        }
        Kind::Cgroup => {
            let sysfs = mounted.find(&m.target).filter(|(held, _)| held.kernels);
            let sysfs = sysfs.map(|(held, way)| (&held.root, way));
            if sysfs.is_none() {
                root.forget();
            }
            cgroup::attach(cgroups, root, m, sysfs).map(|()| None)
        }
    }
}

/// A detached copy of a part of the host's tree.
pub fn tree(path: &CStr, recursive: bool) -> Done<OwnedFd> {
    let how = if recursive { Tree::CloneRecursive } else { Tree::Clone };
    kernel::open_tree(AT_FDCWD, path, how).because("open the bind source", path.to_bytes())
}

/// As [`tree`], of a bind's source, which may be a link itself.
pub fn source_of(m: &Mount, path: &CStr, recursive: bool) -> Done<OwnedFd> {
    if !matches!(m.links, Links::Themselves { source: true, .. }) {
        return tree(path, recursive);
    }
    let how = if recursive { Tree::CloneRecursive } else { Tree::Clone };
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty())
        .and_then(|fd| kernel::open_tree(fd.as_fd(), c"", how))
        .because("open the bind source", path.to_bytes())
}

/// What the link says that is copied instead of mounted, if it is one.
pub fn link_to_copy(m: &Mount, path: &CStr) -> Done<Option<CString>> {
    if m.links != Links::Copied {
        return Ok(None);
    }
    match readlinkat(AT_FDCWD, path) {
        Ok(text) => Ok(Some(CString::new(text.into_vec()).unwrap_or_default())),
        // No link.
        Err(Errno::EINVAL) => Ok(None),
        Err(errno) => Err(errno).because("read the link", path.to_bytes()),
    }
}

/// Makes the link; one that is there already and says the same will do.
fn copy_link(root: &Root, m: &Mount, text: &CStr) -> Done {
    let (parent, name) = split(&m.target);
    let parent = root.directory(&parent)?;
    match symlinkat(text, &parent, name.as_c_str()) {
        Err(Errno::EEXIST) => match readlinkat(&parent, name.as_c_str()) {
            Ok(there) if there.as_encoded_bytes() == text.to_bytes() => Ok(()),
            _ => Err(Errno::EEXIST),
        },
        other => other,
    }
    .because("copy the link to", shown(&m.target))
}

/// The call that fails when a tree can't be id-mapped.
pub const IDMAP: &str = "failed to set MOUNT_ATTR_IDMAP on";

/// What it failed on, and what is mostly the reason.
pub fn unsupported(path: &CStr) -> String {
    format!("{} (does its file system support it?)", path.to_string_lossy())
}

/// Gives a detached tree the id map of a user namespace.
pub fn idmap(m: &Mount, tree: BorrowedFd<'_>, users: BorrowedFd<'_>) -> nix::Result<()> {
    let Ids::Mapped { recursive, .. } = m.ids else { return Ok(()) };
    let attributes = kernel::Attributes {
        set: kernel::IDMAP,
        userns_fd: users.as_raw_fd() as u64,
        ..Default::default()
    };
    kernel::set_attributes(tree, &attributes, recursive)
}

/// Attaches a detached tree as a bind mount, and gives it back; `locked` says that its flags must
/// stay.
pub fn bind(root: &Root, m: &Mount, tree: OwnedFd, locked: bool) -> Done<Loose> {
    let tree = Loose::from(tree);
    let directory = is_directory(tree.as_fd()).because("stat", "the bind source")?;
    let target = target_of(root, m, directory)?;
    procfs::guard_bind(m, tree.as_fd())?;
    procfs::guard_link(root, m, target.as_fd())?;
    dress_bind(m, tree.as_fd(), locked)?;
    dress(tree.as_fd(), m.recursive, true).because("mount_setattr", shown(&m.target))?;
    spread(&m.propagation, tree.as_fd()).because("mount_setattr", shown(&m.target))?;
    kernel::move_mount(tree.as_fd(), target.as_fd()).because("mount", shown(&m.target))?;
    Ok(tree)
}

fn target_of(root: &Root, m: &Mount, directory: bool) -> Done<Loose> {
    if matches!(m.links, Links::Themselves { target: true, .. }) {
        match root.open(&m.target, OFlag::O_PATH | OFlag::O_NOFOLLOW) {
            Err(Errno::ENOENT) => {}
            other => return other.because("open", shown(&m.target)),
        }
    }
    if directory { root.directory(&m.target) } else { root.file(&m.target) }
}

/// Sets a bind's flags. Those that came from another user namespace can't be taken off.
fn dress_bind(m: &Mount, mount: BorrowedFd<'_>, locked: bool) -> Done {
    if m.attributes == Attributes::default() {
        return Ok(());
    }
    if !locked {
        match dress(mount, m.attributes, false) {
            Err(Errno::EPERM) => {}
            other => return other.because("mount_setattr", shown(&m.target)),
        }
    }
    let has = fstatvfs(mount).because("statfs", shown(&m.target))?.flags();
    // KERNEL: statfs(2): the bits are mount(2)'s but for this one.
    let relative = if has.contains(FsFlags::ST_RELATIME) { libc::MS_RELATIME } else { 0 };
    let has = (has - FsFlags::ST_RELATIME).bits() | relative;
    let kept = m
        .flags
        .over_locked(has)
        .map_err(|why| Cause::new(&format!("{why} of"), shown(&m.target), Errno::EPERM))?;
    dress(mount, kept, false).because("mount_setattr", shown(&m.target))
}

/// `remount`: other flags for what is mounted there.
fn remount(root: &Root, m: &Mount, bind: bool, options: &Options) -> Done {
    let mount = root.open(&m.target, OFlag::O_PATH).because("open", shown(&m.target))?;
    procfs::guard_link(root, m, mount.as_fd())?;
    if !bind {
        let fs = kernel::fspick(mount.as_fd()).because("remount", shown(&m.target))?;
        let words = m.flags.reconfigured();
        let change = |fs: BorrowedFd<'_>| -> nix::Result<()> {
            for word in words {
                let word = CString::new(word).unwrap_or_default();
                kernel::fsconfig_flag(fs, &word)?;
            }
            set_options(fs, options)?;
            kernel::fsconfig_reconfigure(fs)
        };
        change(fs.as_fd()).map_err(|errno| {
            let subject = [shown(&m.target), complaint(fs.as_fd()).into_bytes()].concat();
            Cause::new("remount", subject, errno)
        })?;
    }
    dress_bind(m, mount.as_fd(), false)?;
    dress(mount.as_fd(), m.recursive, true).because("mount_setattr", shown(&m.target))?;
    spread(&m.propagation, mount.as_fd()).because("mount_setattr", shown(&m.target))
}

/// A new instance of a file system, and where it is to be.
#[derive(Clone, Copy)]
pub struct New<'a> {
    pub root: &'a Root,
    pub m: &'a Mount,
    pub fstype: &'a CStr,
    pub source: &'a CStr,
    pub options: &'a Options,
    pub copy_up: bool,
    /// Whether there is to be a handle on it.
    pub wanted: bool,
    /// What opens the context that it is made of, if this process may not.
    pub context: Option<&'a dyn Fn() -> Done<OwnedFd>>,
}

/// Mounts it; `None` where there is no handle on it, which there mostly is if it is `wanted`.
pub fn new(new: &New<'_>) -> Done<Option<Loose>> {
    let New { root, m, fstype, source, options, copy_up, wanted, context } = *new;
    let (target, found) = target(root, m, fstype)?;
    // What was made just now, or is what it is called, is on no procfs that it isn't named for.
    if found == Found::Linked {
        procfs::guard_link(root, m, target.as_fd())?;
    }
    let there = found != Found::New;
    // What is mounted somewhere else, by names that are no links, covers nothing that is kept.
    if found == Found::Linked || there && !root.is_beside(&m.target) {
        root.forget();
    }
    let inherits = fstype == c"tmpfs" && there;
    let mode = (inherits && !options.iter().any(|(key, _)| key.as_c_str() == c"mode"))
        .then(|| fstat(&target).map(|s| s.st_mode & 0o7777))
        .transpose()
        .because("stat", shown(&m.target))?;
    if options.iter().any(|(_, value)| value.as_ref().is_some_and(|v| v.count_bytes() > LONGEST)) {
        return long(root, m, fstype, source, options, &target).map(|()| None);
    }
    if !wanted
        && !copy_up
        && context.is_none()
        && short(m, fstype, source, options, mode, target.as_fd())
    {
        if fstype == c"tmpfs" {
            root.mounted_empty(&m.target);
        }
        return Ok(None);
    }
    let fs = context.map(|open| open()).transpose()?;
    let made = match make(fs, fstype, source, options, mode, m.attributes.set) {
        Err((Errno::EPERM, _)) if fstype == c"sysfs" && is_sysfs(c"/sys") => {
            return host_sysfs(m, target.as_fd()).map(Some);
        }
        other => other.map(Loose::from).map_err(|(errno, why)| failed(m, fstype, errno, &why))?,
    };
    if copy_up {
        copy_up::perform(root, &m.target, made.as_fd())?;
    }
    dress(made.as_fd(), m.recursive, true).because("mount_setattr", shown(&m.target))?;
    spread(&m.propagation, made.as_fd()).because("mount_setattr", shown(&m.target))?;
    kernel::move_mount(made.as_fd(), target.as_fd()).because("mount", shown(&m.target))?;
    Ok(Some(made))
}

fn is_sysfs(path: &CStr) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|s| s.filesystem_type() == SYSFS_MAGIC)
}

/// KERNEL: sysfs shows a network namespace, and is mounted anew only by who owns that: root of
/// a user namespace beside the host's network doesn't. As crun: the host's then, here never to
/// be written to; whole, since what lies over parts of it may not be uncovered.
///
/// DIFFERS: runc gives the kernel's error.
fn host_sysfs(m: &Mount, target: BorrowedFd<'_>) -> Done<Loose> {
    let tree = tree(c"/sys", true)?;
    let all = Attributes { set: m.attributes.set | m.recursive.set | attr::RDONLY, clear: 0 };
    dress(tree.as_fd(), all, true).because("mount_setattr", shown(&m.target))?;
    spread(&[(libc::MS_SLAVE, true)], tree.as_fd())
        .and_then(|()| spread(&m.propagation, tree.as_fd()))
        .because("mount_setattr", shown(&m.target))?;
    kernel::move_mount(tree.as_fd(), target).because("mount", shown(&m.target))?;
    Ok(Loose::from(tree))
}

/// Mounts it by mount(2) alone, where that can say all there is to say: one call for seven or
/// more. False when it can't, or fails, for only the other way tells why.
fn short(
    m: &Mount,
    fstype: &CStr,
    source: &CStr,
    options: &Options,
    mode: Option<u32>,
    target: BorrowedFd<'_>,
) -> bool {
    // Of those of the kernel's own there is a handle soon.
    let late = if is_kernels(&m.kind) { attr::RDONLY } else { 0 };
    let Some(flags) = words(m.attributes.set & !late) else { return false };
    if m.recursive != Attributes::default() || !m.propagation.is_empty() {
        return false;
    }
    let mut data = mode.map(|mode| format!("mode={mode:o}").into_bytes()).unwrap_or_default();
    for (key, value) in options {
        let value = value.as_deref().map(CStr::to_bytes);
        let text =
            [key.to_bytes(), &b"="[..usize::from(value.is_some())], value.unwrap_or_default()];
        // What separates them, and what quotes that.
        if text[0].iter().chain(text[2]).any(|b| b",\"'\\".contains(b)) {
            return false;
        }
        data.extend(&b","[..usize::from(!data.is_empty())]);
        data.extend(text.concat());
    }
    // KERNEL: mount(2): a page of it, with its end.
    if data.len() >= 4096 {
        return false;
    }
    let data = (!data.is_empty()).then_some(data.as_slice());
    mount(Some(source), held(target).as_str(), Some(fstype), flags, data).is_ok()
}

/// What is held, as a path in the host's procfs: the mount point itself, wherever it is by now.
fn held(target: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", target.as_raw_fd())
}

/// mount(2)'s flags for attributes. Not for read-only, which there is the file system's as well.
fn words(set: u64) -> Option<MsFlags> {
    const KNOWN: [(u64, MsFlags); 3] = [
        (attr::NOSUID, MsFlags::MS_NOSUID),
        (attr::NODEV, MsFlags::MS_NODEV),
        (attr::NOEXEC, MsFlags::MS_NOEXEC),
    ];
    let mut left = set;
    let mut flags = MsFlags::empty();
    for (bit, flag) in KNOWN {
        if left & bit != 0 {
            flags |= flag;
            left &= !bit;
        }
    }
    match left {
        // KERNEL: mount(2): relatime is what it does without being told.
        0 => Some(flags),
        attr::STRICTATIME => Some(flags | MsFlags::MS_STRICTATIME),
        _ => None,
    }
}

/// KERNEL: fsconfig(2) takes no longer value; overlay's lowerdir often is.
const LONGEST: usize = 255;

/// A new instance by mount(2), which takes a page of options.
fn long(
    root: &Root,
    m: &Mount,
    fstype: &CStr,
    source: &CStr,
    options: &Options,
    target: &Loose,
) -> Done {
    let text = |(key, value): &(CString, Option<CString>)| match value {
        Some(value) => [key.to_bytes(), b"=", value.to_bytes()].concat(),
        None => key.to_bytes().to_vec(),
    };
    // KERNEL: before they have an fs_context (overlay: 6.5), file systems know these as flags only.
    let flag = |(key, _): &(CString, Option<CString>)| superblock_flag(key.to_bytes());
    let flags = MsFlags::from_bits_retain(options.iter().filter_map(flag).fold(0, |a, b| a | b));
    let rest = options.iter().filter(|option| flag(option).is_none());
    let data = rest.map(text).collect::<Vec<_>>().join(&b',');
    let place = held(target.as_fd());
    mount(Some(source), place.as_str(), Some(fstype), flags, Some(data.as_slice()))
        .map_err(|errno| failed(m, fstype, errno, ""))?;
    let made = root.open(&m.target, OFlag::O_PATH).because("open", shown(&m.target))?;
    dress(made.as_fd(), m.attributes, false).because("mount_setattr", shown(&m.target))?;
    dress(made.as_fd(), m.recursive, true).because("mount_setattr", shown(&m.target))?;
    spread(&m.propagation, made.as_fd()).because("mount_setattr", shown(&m.target))
}

fn failed(m: &Mount, fstype: &CStr, errno: Errno, why: &str) -> Cause {
    // KERNEL: fs/namespace.c, mount_too_revealing(): what a namespace's owner hides stays hidden.
    let why = match (fstype == c"proc", errno) {
        (true, Errno::EPERM) => {
            " (where a container hides parts of /proc, the kernel allows none without: start that one with systempaths=unconfined)"
        }
        _ => why,
    };
    let subject = format!(
        "type {} on {}{why}",
        fstype.to_string_lossy(),
        String::from_utf8_lossy(&shown(&m.target))
    );
    Cause::new("mount", subject, errno)
}

/// The mount point, and how it was found.
fn target(root: &Root, m: &Mount, fstype: &CStr) -> Done<(Loose, Found)> {
    let real = fstype == c"proc" || fstype == c"sysfs";
    if real && let Ok(plain) = root.open_plain(&m.target, OFlag::O_PATH | OFlag::O_DIRECTORY) {
        return Ok((plain, Found::Plain));
    }
    let (target, there) = root.directory_or_new(&m.target)?;
    // CVE: 2023-27561, 2019-19921: /proc and /sys are where everyone writes
    // believing them real; a link there would move them.
    if real {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let plain = root.open_plain(&m.target, flags).map_err(|_| {
            let (what, path) = (fstype.to_string_lossy(), shown(&m.target));
            let path = String::from_utf8_lossy(&path).into_owned();
            Cause::rule(format!(
                "filesystem {what:?} must be mounted on ordinary directory, and {path} is a link"
            ))
        })?;
        return Ok((plain, there));
    }
    Ok((target, there))
}

/// A tmpfs of our own, not attached yet.
pub fn tmpfs(options: &Options, attributes: u64) -> Result<OwnedFd, (Errno, String)> {
    make(None, c"tmpfs", c"tmpfs", options, Some(0o755), attributes)
}

/// fsopen, if there is no context yet, to fsmount. An error comes with the kernel's own words, where it has some.
fn make(
    context: Option<OwnedFd>,
    fstype: &CStr,
    source: &CStr,
    options: &Options,
    mode: Option<u32>,
    attributes: u64,
) -> Result<OwnedFd, (Errno, String)> {
    let fs = context.map_or_else(|| kernel::fsopen(fstype), Ok);
    let fs = fs.map(Loose::from).map_err(|errno| (errno, String::new()))?;
    configure(fs.as_fd(), source, options, mode)
        .and_then(|()| kernel::fsmount(fs.as_fd(), attributes))
        .map_err(|errno| (errno, complaint(fs.as_fd())))
}

fn configure(
    fs: BorrowedFd<'_>,
    source: &CStr,
    options: &Options,
    mode: Option<u32>,
) -> nix::Result<()> {
    if !source.is_empty() {
        kernel::fsconfig_string(fs, c"source", source)?;
    }
    if let Some(mode) = mode {
        let text = CString::new(format!("{mode:o}")).unwrap_or_default();
        kernel::fsconfig_string(fs, c"mode", &text)?;
    }
    set_options(fs, options)?;
    kernel::fsconfig_create(fs)
}

fn set_options(fs: BorrowedFd<'_>, options: &Options) -> nix::Result<()> {
    options.iter().try_for_each(|(key, value)| match value {
        Some(value) => kernel::fsconfig_string(fs, key, value),
        None => kernel::fsconfig_flag(fs, key),
    })
}

/// KERNEL: fsopen(2): reading the context gives its log, one line a read.
fn complaint(fs: BorrowedFd<'_>) -> String {
    let mut line = [0u8; 256];
    match nix::unistd::read(fs, &mut line) {
        Ok(n) => format!(" ({})", String::from_utf8_lossy(&line[..n]).trim()),
        Err(_) => String::new(),
    }
}

/// Sets and clears attributes, if there are any.
pub fn dress(mount: BorrowedFd<'_>, a: Attributes, recursive: bool) -> nix::Result<()> {
    if a == Attributes::default() {
        return Ok(());
    }
    kernel::set_attributes(mount, &attributes(a), recursive)
}

/// As the kernel wants them.
pub fn attributes(a: Attributes) -> kernel::Attributes {
    // KERNEL: mount_setattr(2): to set one access time mode the whole field must be cleared.
    let times = if (a.set | a.clear) & attr::ATIME == 0 { 0 } else { attr::ATIME };
    kernel::Attributes { set: a.set, clear: a.clear | times, ..Default::default() }
}

/// Changes propagation, in order.
pub fn spread(list: &[(u64, bool)], mount: BorrowedFd<'_>) -> nix::Result<()> {
    for (propagation, recursive) in list {
        let attributes = kernel::Attributes { propagation: *propagation, ..Default::default() };
        kernel::set_attributes(mount, &attributes, *recursive)?;
    }
    Ok(())
}

fn is_directory(fd: BorrowedFd<'_>) -> nix::Result<bool> {
    let kind = SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT;
    Ok(kind == SFlag::S_IFDIR)
}
