//! The options' table: a word → a flag of mount(2), of mount_setattr(2), or of ours.
//!
//! SPEC: config.md §Linux mount options.

use super::{Attributes, attr};

/// Flags of mount(2) that say when access times are kept: one of the three counts.
const TIMES: u64 = libc::MS_NOATIME | libc::MS_RELATIME | libc::MS_STRICTATIME;
/// All that is about access times.
const ALL_TIMES: u64 = TIMES | libc::MS_NODIRATIME;
/// linux/mount.h; libc has no name for it.
const MS_NOSYMFOLLOW: u64 = 0x100;

/// Flags that are a mount's own, and their names in mount_setattr(2).
const OWN: [(u64, u64); 5] = [
    (libc::MS_RDONLY, attr::RDONLY),
    (libc::MS_NOSUID, attr::NOSUID),
    (libc::MS_NODEV, attr::NODEV),
    (libc::MS_NOEXEC, attr::NOEXEC),
    (MS_NOSYMFOLLOW, attr::NOSYMFOLLOW),
];

/// KERNEL: mount_namespaces(7): a mount from another user namespace keeps these (MNT_LOCK_*).
const LOCKED: u64 =
    libc::MS_RDONLY | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_NOSUID | ALL_TIMES;

/// Flags that are the file system's, with the words that set and clear them in fsconfig(2).
const SUPERBLOCK: [(u64, &str, &str); 5] = [
    (libc::MS_RDONLY, "ro", "rw"),
    (libc::MS_SYNCHRONOUS, "sync", "async"),
    (libc::MS_LAZYTIME, "lazytime", "nolazytime"),
    (libc::MS_MANDLOCK, "mand", "nomand"),
    (libc::MS_DIRSYNC, "dirsync", ""),
];

/// The flag of mount(2) for a word of fsconfig(2) that sets or clears one of the file system's; 0 for
/// one that clears.
pub fn superblock_flag(word: &[u8]) -> Option<u64> {
    SUPERBLOCK.iter().find_map(|&(flag, set, clear)| match word {
        _ if word == set.as_bytes() => Some(flag),
        _ if word == clear.as_bytes() => Some(0),
        _ => None,
    })
}

/// What the options ask for, as MS_* of mount(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// Asked for.
    pub set: u64,
    /// Asked to be off.
    pub cleared: u64,
}

impl Flags {
    pub(super) fn apply(&mut self, clear: bool, flag: u64) {
        if clear {
            self.set &= !flag;
            self.cleared |= flag;
            return;
        }
        // DIFFERS: of several access time modes mount(2) has its own favourite; here the last counts.
        if flag & TIMES != 0 {
            self.set &= !TIMES;
        }
        self.set |= flag;
        self.cleared &= !flag;
    }

    fn own(self) -> u64 {
        let times = match self.set & TIMES {
            libc::MS_STRICTATIME => attr::STRICTATIME,
            libc::MS_NOATIME => attr::NOATIME,
            _ => 0,
        };
        let directories = if self.set & libc::MS_NODIRATIME == 0 { 0 } else { attr::NODIRATIME };
        OWN.iter().filter(|(ms, _)| self.set & ms != 0).fold(times | directories, |a, (_, b)| a | b)
    }

    /// For a new mount.
    pub fn fresh(self) -> Attributes {
        Attributes { set: self.own(), clear: 0 }
    }

    /// For a mount that is there already, a bind's or a remount's.
    ///
    /// As runc: without any option it stays what it is; with one, each flag that isn't
    /// asked for goes. Access times stay unless one of their options is there.
    pub fn over(self) -> Attributes {
        if self == Self::default() {
            return Attributes::default();
        }
        let set = self.own();
        let times = if self.set & ALL_TIMES == 0 { 0 } else { attr::ATIME | attr::NODIRATIME };
        let clear = OWN.iter().fold(times, |a, (_, b)| a | b);
        // An access time mode may stand on both sides, and must: mount_setattr(2).
        Attributes { set, clear: clear & !(set & !attr::ATIME) }
    }

    /// As [`Self::over`], for a mount whose flags `has` (MS_*) may not be taken off.
    ///
    /// As runc: they stay where nobody asked for the contrary, else that is an error.
    pub fn over_locked(self, has: u64) -> Result<Attributes, String> {
        let has = if has & TIMES == 0 { has | libc::MS_STRICTATIME } else { has };
        let times = self.set & ALL_TIMES;
        let same_times = times == 0 || times == has & ALL_TIMES;
        // Nothing would be taken off: access times stay unless another mode is asked for.
        if same_times && has & LOCKED & !ALL_TIMES & !self.set == 0 {
            return Ok(self.over());
        }
        let against = has & self.cleared & LOCKED;
        if against != 0 {
            return Err(format!("cannot clear locked flags {}", names(against)));
        }
        if !same_times {
            return Err(format!("cannot change locked atime flags {}", names(has & ALL_TIMES)));
        }
        Ok(Self { set: self.set | (has & LOCKED), cleared: self.cleared }.over())
    }

    /// Words for the file system of a new mount; `device` says that it may lie on one.
    pub fn superblock(self, device: bool) -> impl Iterator<Item = &'static str> {
        SUPERBLOCK
            .into_iter()
            .filter(move |(ms, ..)| self.set & ms != 0 && (device || *ms != libc::MS_RDONLY))
            .map(|(_, word, _)| word)
    }

    /// Words for the file system of a remount: what isn't asked for goes, as with mount(2).
    pub fn reconfigured(self) -> impl Iterator<Item = &'static str> {
        SUPERBLOCK
            .into_iter()
            .map(move |(ms, on, off)| if self.set & ms == 0 { off } else { on })
            .filter(|word| !word.is_empty())
    }
}

fn names(flags: u64) -> String {
    const NAMES: [(u64, &str); 8] = [
        (libc::MS_RDONLY, "MS_RDONLY"),
        (libc::MS_NOSUID, "MS_NOSUID"),
        (libc::MS_NODEV, "MS_NODEV"),
        (libc::MS_NOEXEC, "MS_NOEXEC"),
        (libc::MS_NOATIME, "MS_NOATIME"),
        (libc::MS_NODIRATIME, "MS_NODIRATIME"),
        (libc::MS_RELATIME, "MS_RELATIME"),
        (libc::MS_STRICTATIME, "MS_STRICTATIME"),
    ];
    let named = NAMES.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, name)| *name);
    named.collect::<Vec<_>>().join("|")
}

/// What one option means.
pub(super) enum Meaning {
    Flag { clear: bool, flag: u64 },
    Recursive { set: u64, clear: u64 },
    Propagation(u64, bool),
    Bind { recursive: bool },
    Remount,
    CopyUp,
    Ids { recursive: bool },
    SourceItself,
    TargetItself,
    CopyLink,
    Nothing,
    Data,
}

fn flag(option: &str) -> Option<(bool, u64)> {
    Some(match option {
        "ro" => (false, libc::MS_RDONLY),
        "rw" => (true, libc::MS_RDONLY),
        "nosuid" => (false, libc::MS_NOSUID),
        "suid" => (true, libc::MS_NOSUID),
        "nodev" => (false, libc::MS_NODEV),
        "dev" => (true, libc::MS_NODEV),
        "noexec" => (false, libc::MS_NOEXEC),
        "exec" => (true, libc::MS_NOEXEC),
        "nosymfollow" => (false, MS_NOSYMFOLLOW),
        "symfollow" => (true, MS_NOSYMFOLLOW),
        "nodiratime" => (false, libc::MS_NODIRATIME),
        "diratime" => (true, libc::MS_NODIRATIME),
        "noatime" => (false, libc::MS_NOATIME),
        "atime" => (true, libc::MS_NOATIME),
        "relatime" => (false, libc::MS_RELATIME),
        "norelatime" => (true, libc::MS_RELATIME),
        "strictatime" => (false, libc::MS_STRICTATIME),
        "nostrictatime" => (true, libc::MS_STRICTATIME),
        "sync" => (false, libc::MS_SYNCHRONOUS),
        "async" => (true, libc::MS_SYNCHRONOUS),
        "dirsync" => (false, libc::MS_DIRSYNC),
        "lazytime" => (false, libc::MS_LAZYTIME),
        "nolazytime" => (true, libc::MS_LAZYTIME),
        "mand" => (false, libc::MS_MANDLOCK),
        "nomand" => (true, libc::MS_MANDLOCK),
        // KERNEL: the mount API of descriptors has no words for these two: it never prints to
        // the kernel's log, and the file systems that count versions always do.
        "silent" => (false, libc::MS_SILENT),
        "loud" => (true, libc::MS_SILENT),
        "iversion" => (false, libc::MS_I_VERSION),
        "noiversion" => (true, libc::MS_I_VERSION),
        _ => return None,
    })
}

/// The recursive ones: as mount_setattr(2) takes them.
fn recursive(option: &str) -> Option<(u64, u64)> {
    use attr::{ATIME, NOATIME, NODEV, NODIRATIME, NOEXEC, NOSUID, NOSYMFOLLOW, RDONLY};
    Some(match option {
        "rro" => (RDONLY, 0),
        "rrw" => (0, RDONLY),
        "rnosuid" => (NOSUID, 0),
        "rsuid" => (0, NOSUID),
        "rnodev" => (NODEV, 0),
        "rdev" => (0, NODEV),
        "rnoexec" => (NOEXEC, 0),
        "rexec" => (0, NOEXEC),
        "rnosymfollow" => (NOSYMFOLLOW, 0),
        "rsymfollow" => (0, NOSYMFOLLOW),
        "rnodiratime" => (NODIRATIME, 0),
        "rdiratime" => (0, NODIRATIME),
        "rnoatime" => (NOATIME, ATIME),
        "rstrictatime" => (attr::STRICTATIME, ATIME),
        "rrelatime" | "ratime" | "rnorelatime" | "rnostrictatime" => (0, ATIME),
        _ => return None,
    })
}

pub(super) fn meaning(option: &str) -> Meaning {
    if let Some((clear, flag)) = flag(option) {
        return Meaning::Flag { clear, flag };
    }
    if let Some((set, clear)) = recursive(option) {
        return Meaning::Recursive { set, clear };
    }
    match option {
        "bind" => Meaning::Bind { recursive: false },
        "rbind" => Meaning::Bind { recursive: true },
        "remount" => Meaning::Remount,
        "shared" => Meaning::Propagation(libc::MS_SHARED, false),
        "rshared" => Meaning::Propagation(libc::MS_SHARED, true),
        "private" => Meaning::Propagation(libc::MS_PRIVATE, false),
        "rprivate" => Meaning::Propagation(libc::MS_PRIVATE, true),
        "slave" => Meaning::Propagation(libc::MS_SLAVE, false),
        "rslave" => Meaning::Propagation(libc::MS_SLAVE, true),
        "unbindable" => Meaning::Propagation(libc::MS_UNBINDABLE, false),
        "runbindable" => Meaning::Propagation(libc::MS_UNBINDABLE, true),
        "tmpcopyup" => Meaning::CopyUp,
        "idmap" => Meaning::Ids { recursive: false },
        "ridmap" => Meaning::Ids { recursive: true },
        // crun's.
        "src-nofollow" => Meaning::SourceItself,
        "dest-nofollow" => Meaning::TargetItself,
        "copy-symlink" => Meaning::CopyLink,
        "defaults" => Meaning::Nothing,
        _ => Meaning::Data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(options: &[&str]) -> Flags {
        let mut out = Flags::default();
        for option in options {
            let (clear, bit) = flag(option).unwrap();
            out.apply(clear, bit);
        }
        out
    }

    const ALL: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;

    #[test]
    fn a_bind_without_options_keeps_its_flags_and_one_option_clears_the_rest() {
        assert_eq!(flags(&[]).over(), Attributes::default());
        assert_eq!(flags(&["dev"]).over(), Attributes { set: 0, clear: ALL });
        let ro = flags(&["ro"]).over();
        assert_eq!(ro, Attributes { set: attr::RDONLY, clear: ALL & !attr::RDONLY });
    }

    #[test]
    fn access_times_stay_unless_one_is_asked_for() {
        for kept in ["atime", "norelatime", "nostrictatime", "diratime"] {
            assert_eq!(flags(&[kept]).over().clear & (attr::ATIME | attr::NODIRATIME), 0, "{kept}");
        }
        let strict = flags(&["strictatime"]).over();
        assert_eq!(strict.set, attr::STRICTATIME);
        assert_eq!(strict.clear & (attr::ATIME | attr::NODIRATIME), attr::ATIME | attr::NODIRATIME);
        let nodir = flags(&["nodiratime"]).over();
        assert_eq!((nodir.set, nodir.clear & attr::ATIME), (attr::NODIRATIME, attr::ATIME));
    }

    #[test]
    fn locked_flags_stay_or_are_an_error() {
        let has = libc::MS_RDONLY | libc::MS_NODEV | libc::MS_RELATIME;
        let kept = flags(&["nosuid"]).over_locked(has).unwrap();
        assert_eq!(kept.set, attr::RDONLY | attr::NODEV | attr::NOSUID);
        let e = flags(&["rw"]).over_locked(has).unwrap_err();
        assert_eq!(e, "cannot clear locked flags MS_RDONLY");
        assert!(flags(&["noatime"]).over_locked(has).is_err());
        assert!(flags(&["relatime"]).over_locked(has).is_ok());
        assert!(flags(&["strictatime"]).over_locked(0).is_ok());
    }

    #[test]
    fn bug_an_access_time_mode_that_was_only_not_wanted_was_an_error() {
        let strict = libc::MS_NODEV;
        assert_eq!(
            flags(&["nodev", "nostrictatime"]).over_locked(strict).unwrap().set,
            attr::NODEV
        );
        assert!(flags(&["nodev", "atime"]).over_locked(libc::MS_NODEV | libc::MS_NOATIME).is_ok());
        // As runc: where something else is locked, it is.
        assert!(flags(&["ro", "nostrictatime"]).over_locked(strict).is_err());
    }

    #[test]
    fn a_remount_says_of_each_flag_what_it_is_to_be() {
        let words: Vec<_> = flags(&["ro", "lazytime"]).reconfigured().collect();
        assert_eq!(words, ["ro", "async", "lazytime", "nomand"]);
    }

    #[test]
    fn only_what_lies_on_a_device_gets_a_read_only_superblock() {
        assert_eq!(flags(&["ro", "sync"]).superblock(false).collect::<Vec<_>>(), ["sync"]);
        assert_eq!(flags(&["ro", "sync"]).superblock(true).collect::<Vec<_>>(), ["ro", "sync"]);
    }
}
