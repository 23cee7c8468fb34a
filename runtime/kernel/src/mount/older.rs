//! mount_setattr(2) on kernels before 5.12: by mount(2), which knows attached mounts only.
//!
//! What a detached mount is to have is owed to it until it is attached, and said then. Mounts below
//! one are found in the mount table. There are no id maps: for these ENOSYS stays the answer.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs, statfs};

use super::{Attributes, IDMAP};

/// What a detached mount is to have when it is attached.
struct Owed {
    fd: RawFd,
    /// The mount's number: the descriptor's may be another mount's by then.
    id: u64,
    attributes: Attributes,
    recursive: bool,
}

static OWED: Mutex<Vec<Owed>> = Mutex::new(Vec::new());
static ANY: AtomicBool = AtomicBool::new(false);

/// As [`super::set_attributes`].
pub(super) fn set(fd: BorrowedFd<'_>, attributes: &Attributes, recursive: bool) -> nix::Result<()> {
    if attributes.set & IDMAP != 0 {
        return Err(Errno::ENOSYS);
    }
    match apply(fd, attributes, recursive) {
        Err(Errno::EINVAL) => {
            let id = id(fd)?;
            if table()?.iter().any(|row| row.id == id) {
                return Err(Errno::EINVAL);
            }
            let owed = Owed { fd: fd.as_raw_fd(), id, attributes: *attributes, recursive };
            OWED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(owed);
            ANY.store(true, Ordering::Relaxed);
            Ok(())
        }
        done => done,
    }
}

/// Gives a mount what it is owed, now that it is attached.
pub(super) fn settle(fd: BorrowedFd<'_>) -> nix::Result<()> {
    if !ANY.load(Ordering::Relaxed) {
        return Ok(());
    }
    let id = id(fd)?;
    let mut all = OWED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (due, rest): (Vec<_>, Vec<_>) =
        all.drain(..).partition(|owed| owed.fd == fd.as_raw_fd() && owed.id == id);
    *all = rest;
    drop(all);
    due.iter().try_for_each(|owed| apply(fd, &owed.attributes, owed.recursive))
}

/// The mount's number, as the mount table has it.
fn id(fd: BorrowedFd<'_>) -> nix::Result<u64> {
    super::statx(fd, libc::STATX_MNT_ID).map(|told| told.stx_mnt_id)
}

fn apply(fd: BorrowedFd<'_>, attributes: &Attributes, recursive: bool) -> nix::Result<()> {
    one(fd, attributes, recursive)?;
    if !recursive || attributes.set | attributes.clear == 0 {
        return Ok(());
    }
    let flags = Attributes { propagation: 0, ..*attributes };
    for row in below(&table()?, id(fd)?) {
        let path = row.place.as_os_str();
        let mount = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        // What lies under another mount can't be reached.
        if id(mount.as_fd())? != row.id {
            return Err(Errno::ENOSYS);
        }
        one(mount.as_fd(), &flags, false)?;
    }
    Ok(())
}

fn one(fd: BorrowedFd<'_>, attributes: &Attributes, recursive: bool) -> nix::Result<()> {
    // Of a descriptor alone mount(2) knows nothing; a link of procfs's leads to its very mount.
    if statfs("/proc/self")?.filesystem_type() != PROC_SUPER_MAGIC {
        return Err(Errno::ENOSYS);
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let say = |flags| mount(None::<&str>, path.as_str(), None::<&str>, flags, None::<&str>);
    if attributes.set != 0 || attributes.clear != 0 {
        let has = fstatfs(fd)?.flags().bits();
        say(MsFlags::MS_BIND
            | MsFlags::MS_REMOUNT
            | flags(has, attributes).ok_or(Errno::ENOSYS)?)?;
    }
    if attributes.propagation != 0 {
        let below = if recursive { MsFlags::MS_REC } else { MsFlags::empty() };
        say(MsFlags::from_bits_retain(attributes.propagation) | below)?;
    }
    Ok(())
}

/// The bits of MOUNT_ATTR_*, statfs(2)'s ST_* and mount(2)'s MS_*, where all have one.
const KNOWN: [(u64, u64, MsFlags); 6] = [
    (0x1, 0x1, MsFlags::MS_RDONLY),
    (0x2, 0x2, MsFlags::MS_NOSUID),
    (0x4, 0x4, MsFlags::MS_NODEV),
    (0x8, 0x8, MsFlags::MS_NOEXEC),
    (0x80, 0x800, MsFlags::MS_NODIRATIME),
    (0x20_0000, 0x2000, MsFlags::from_bits_retain(0x100)), // nosymfollow
];

/// The field of the access time modes, of which one is set: relatime is 0.
const ATIME: u64 = 0x70;

/// All flags that a mount is to have: mount(2) takes off what isn't named. `has` is what statfs(2)
/// says. Nothing for an attribute that mount(2) has no flag of.
fn flags(has: u64, change: &Attributes) -> Option<MsFlags> {
    let mut flags = MsFlags::empty();
    let mut rest = (change.set | change.clear) & !ATIME;
    for (attribute, shown, flag) in KNOWN {
        rest &= !attribute;
        let now = has & shown != 0 && change.clear & attribute == 0;
        flags.set(flag, now || change.set & attribute != 0);
    }
    let times = match (change.clear & ATIME != 0, change.set & ATIME) {
        (false, 0) if has & 0x400 != 0 => MsFlags::MS_NOATIME,
        (false, 0) if has & 0x1000 != 0 => MsFlags::MS_RELATIME,
        (false, 0) | (_, 0x20) => MsFlags::MS_STRICTATIME,
        (_, 0x10) => MsFlags::MS_NOATIME,
        (true, 0) => MsFlags::MS_RELATIME,
        _ => return None,
    };
    (rest == 0).then_some(flags | times)
}

/// A mount of our mount namespace.
struct Row {
    id: u64,
    parent: u64,
    place: OsString,
}

/// KERNEL: proc_pid_mountinfo(5).
fn table() -> nix::Result<Vec<Row>> {
    let failed = |e: std::io::Error| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO));
    let text = std::fs::read("/proc/self/mountinfo").map_err(failed)?;
    Ok(text.split(|b| *b == b'\n').filter_map(row).collect())
}

fn row(line: &[u8]) -> Option<Row> {
    let mut fields = line.split(|b| *b == b' ');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    Some(Row { id, parent, place: unescaped(fields.nth(2)?) })
}

/// Undoes the table's octal escapes.
fn unescaped(mut text: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        let digits = rest.get(..3).filter(|_| first == b'\\');
        let code = digits.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        bytes.push(code.unwrap_or(first));
        text = if code.is_some() { &rest[3..] } else { rest };
    }
    OsString::from_vec(bytes)
}

/// All that is mounted below a mount.
fn below(table: &[Row], top: u64) -> Vec<&Row> {
    let mut within = BTreeSet::from([top]);
    let mut found = Vec::new();
    loop {
        let more = |row: &&Row| within.contains(&row.parent) && !within.contains(&row.id);
        let new: Vec<&Row> = table.iter().filter(more).collect();
        if new.is_empty() {
            return found;
        }
        within.extend(new.iter().map(|row| row.id));
        found.extend(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(set: u64, clear: u64) -> Attributes {
        Attributes { set, clear, ..Attributes::default() }
    }

    #[test]
    fn what_a_mount_has_stays_unless_it_is_cleared() {
        let usual = MsFlags::MS_RELATIME;
        assert_eq!(flags(0x1000, &change(1, 0)), Some(usual | MsFlags::MS_RDONLY));
        assert_eq!(
            flags(0x1006, &change(8, 2)),
            Some(usual | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC)
        );
        assert_eq!(flags(0x400, &change(0, 0)), Some(MsFlags::MS_NOATIME));
        assert_eq!(flags(0x400, &change(0x20, ATIME)), Some(MsFlags::MS_STRICTATIME));
        assert_eq!(flags(0, &change(0, ATIME)), Some(usual));
        assert_eq!(flags(0, &change(0, 0)), Some(MsFlags::MS_STRICTATIME));
    }

    #[test]
    fn what_only_a_newer_kernel_knows_is_none_of_it() {
        assert_eq!(flags(0, &change(0x40_0000, 0)), None);
        let refused = Attributes { set: IDMAP, ..Attributes::default() };
        let slash = std::fs::File::open("/").unwrap();
        let slash = std::os::fd::AsFd::as_fd(&slash);
        assert_eq!(set(slash, &refused, false), Err(Errno::ENOSYS));
    }

    #[test]
    fn mounts_below_one_are_found_whatever_their_names() {
        let lines: [&[u8]; 4] = [
            b"1 0 0:1 / / rw - ext4 d rw",
            b"2 1 0:2 / /a\\040b rw - tmpfs d rw",
            b"3 2 0:3 / /a\\040b/c\\9 rw - tmpfs d rw",
            b"4 1 0:4 / /z rw - tmpfs d rw",
        ];
        let table: Vec<Row> = lines.iter().filter_map(|line| row(line)).collect();
        let places =
            |top| below(&table, top).iter().map(|row| row.place.clone()).collect::<Vec<_>>();
        assert_eq!(places(2), ["/a b/c\\9"]);
        assert_eq!(places(1), ["/a b", "/z", "/a b/c\\9"]);
        assert!(places(4).is_empty());
        assert!(row(b"").is_none() && row(b"x y").is_none());
    }

    #[test]
    fn our_own_root_is_in_the_table() {
        let slash = std::fs::File::open("/").unwrap();
        let id = id(slash.as_fd()).unwrap();
        assert!(table().unwrap().iter().any(|row| row.id == id));
    }
}
