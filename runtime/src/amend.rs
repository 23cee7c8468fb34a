//! The mounts of a running container, changed: by a process that enters its mount namespace, and
//! the user namespace that goes with it, and nothing else of it.
//!
//! The container may be hostile. It can't see that process, nor look into it where it can. A path
//! is resolved once, inside its root, and what is done is done to what was found there; and only
//! what was added is ever removed: a link put in the way would uncover what is masked.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use dhow_kernel::fd::Loose;
use dhow_kernel::mount as kernel;
use dhow_kernel::process::{self, Fork, Side};
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode, umask};
use nix::unistd::fchdir;

use crate::error::{Error, Result};
use crate::init::child::HELD;
use crate::init::fault::{Because, Cause, Done};
use crate::init::mounts::{self, spread};
use crate::init::namespaces::become_root;
use crate::init::parent;
use crate::init::procfs::Procfs;
use crate::init::protocol::{Link, Message};
use crate::init::root::{Root, shown};
use crate::join::differ;
use crate::plan::Phase;
use crate::state::Record;
use crate::validate::linux::ns;
use crate::validate::mount::{Kind, Mount, Target};

/// Adds mounts, all or none. `keep` is told their ids before they are there for good, and again
/// when they aren't, after all: of those that are.
pub fn add(
    record: &Record,
    list: &[Mount],
    mut keep: impl FnMut(&[u64]) -> Result<()>,
) -> Result<()> {
    let trees = list.iter().map(source).collect::<Result<Vec<_>>>()?;
    let work = |inside: &Inside| {
        let mut made = Vec::new();
        let all = list.iter().zip(trees).try_for_each(|(m, tree)| {
            made.push(inside.one(m, tree)?);
            inside.tell(made.last())
        });
        let all = all.and_then(|()| inside.settled());
        if all.is_err() {
            for mount in made.iter().rev() {
                let id = kernel::id(mount.as_fd());
                if let (Ok(()), Ok(id)) = (inside.unmount(mount), id) {
                    let _ = inside.link.send(&Message::Mount(id.number));
                }
            }
        }
        all
    };
    let mut worker = Worker::start(record, work)?;
    let mut kept = false;
    let mut done = worker.hear().and_then(|()| {
        keep(&worker.ids)?;
        kept = true;
        worker.say_go()
    });
    if done.is_err() {
        worker.give_up();
        if kept || !worker.ids.is_empty() {
            let left = keep(&worker.ids);
            done = done.and(left);
        }
    }
    done.and(worker.end())
}

/// Removes mounts that were added, the last one first. `keep` is told the ids of those that are
/// gone, also where a later one fails.
pub fn remove(
    record: &Record,
    list: &[Target],
    keep: impl FnOnce(&[u64]) -> Result<()>,
) -> Result<()> {
    let work = |inside: &Inside| {
        let find = |target| inside.find(target, &record.added);
        let found = list.iter().map(find).collect::<Done<Vec<_>>>()?;
        for (target, mount) in list.iter().zip(&found).rev() {
            let id = kernel::id(mount.as_fd()).because("statx", shown(&target.path))?;
            inside.unmount(mount).because("unmount", shown(&target.path))?;
            inside.link.send(&Message::Mount(id.number)).because("report to", "the runtime")?;
        }
        inside.link.send(&Message::Ready).because("report to", "the runtime")
    };
    let mut worker = Worker::start(record, work)?;
    let heard = worker.hear();
    let kept = if worker.ids.is_empty() { Ok(()) } else { keep(&worker.ids) };
    heard.and(kept).and(worker.end())
}

/// The tree of a bind, which is the host's: it is opened here.
fn source(m: &Mount) -> Result<Option<OwnedFd>> {
    let Kind::Bind { source, recursive } = &m.kind else { return Ok(None) };
    let wrong = |cause: Cause| Error::rule(format!("mounts: {}", cause.at(Phase::Mounts)));
    let tree = mounts::source_of(m, source, *recursive).map_err(wrong)?;
    // What the container mounts below must not appear on the host.
    spread(&[(libc::MS_SLAVE, true)], tree.as_fd())
        .map_err(|e| Error::system("make slave", source.to_string_lossy(), e))?;
    Ok(Some(tree))
}

/// The process that does the work, as its maker sees it.
struct Worker {
    link: Link,
    pidfd: OwnedFd,
    /// Of mounts that came (or, where they are removed, went).
    ids: Vec<u64>,
}

impl Worker {
    /// Does `work` inside.
    fn start(record: &Record, work: impl FnOnce(&Inside) -> Done) -> Result<Self> {
        let gone = || Error::rule("container not running");
        let target = record.process.open()?.ok_or_else(gone)?;
        let spaces = differ(record.process.pid)? & (ns::MOUNT | ns::USER);
        // As in join: what was compared was its own only if it is still there.
        record.process.open()?.ok_or_else(gone)?;
        if spaces & ns::MOUNT == 0 {
            let why = "the container has no mounts of its own: they are the caller's";
            return Err(Error::rule(why));
        }
        let system = |e| Error::system("clone", "a process to change mounts", e);
        let proc = Procfs::open().map_err(|e| Error::system("open as procfs", "/proc", e))?;
        let (link, theirs) = Link::pair().map_err(system)?;
        match process::fork(&Fork::default()).map_err(system)? {
            Side::Child => {
                drop(link);
                let done = Inside::at(&target, spaces, theirs, proc);
                if let Err((cause, link)) =
                    done.and_then(|inside| work(&inside).map_err(|cause| (cause, inside.link)))
                {
                    let _ = link.send(&Message::Fault(cause.at(Phase::Mounts)));
                }
                process::exit_now(0)
            }
            Side::Parent(_, pidfd) => Ok(Self { link, pidfd, ids: Vec::new() }),
        }
    }

    /// Hears it through to Ready. An id that is told a second time is taken back.
    fn hear(&mut self) -> Result<()> {
        loop {
            return match self.link.receive() {
                Ok(Some(Message::Mount(id))) => {
                    match self.ids.iter().position(|known| *known == id) {
                        Some(at) => drop(self.ids.remove(at)),
                        None => self.ids.push(id),
                    }
                    continue;
                }
                Ok(Some(Message::Ready)) => Ok(()),
                Ok(Some(Message::Fault(fault))) => Err(Error::rule(format!("mounts: {fault}"))),
                Ok(_) => Err(Error::rule("mounts: the process that changes them has ended")),
                Err(e) => Err(Error::system("hear from", "the process that changes mounts", e)),
            };
        }
    }

    fn say_go(&self) -> Result<()> {
        let system = |e| Error::system("speak to", "the process that changes mounts", e);
        self.link.send(&Message::Go).map_err(system)
    }

    /// It undoes what it has done, and says what of it.
    fn give_up(&mut self) {
        self.link.say_no_more();
        // That it was ready may still be to be heard, as what it made is.
        while self.hear().is_ok() {}
    }

    fn end(self) -> Result<()> {
        let Self { link, pidfd, .. } = self;
        drop(link);
        let ended = parent::wait(pidfd.as_fd()).map(drop);
        ended.map_err(|e| Error::system("wait for", "the process that changes mounts", e))
    }
}

/// A process inside.
struct Inside {
    root: Root,
    proc: Procfs,
    link: Link,
    users: bool,
}

impl Inside {
    fn at(
        target: &OwnedFd,
        spaces: u64,
        link: Link,
        proc: Procfs,
    ) -> std::result::Result<Self, (Cause, Link)> {
        let users = spaces & ns::USER != 0;
        let go = || {
            // CVE: 2016-9962: it holds what is the host's.
            nix::sys::prctl::set_dumpable(false).because("prctl", "PR_SET_DUMPABLE")?;
            setns(target, CloneFlags::from_bits_retain(spaces as i32))
                .because("join the mounts of", "the container")?;
            if users {
                become_root()?;
            }
            umask(Mode::from_bits_truncate(0o022));
            // KERNEL: setns(2): the root of the mount namespace is this process's now.
            open(c"/", HELD, Mode::empty()).because("open", "/").map(Root::new)
        };
        match go() {
            Ok(root) => Ok(Self { root, proc, link, users }),
            Err(cause) => Err((cause, link)),
        }
    }

    fn one(&self, m: &Mount, tree: Option<OwnedFd>) -> Done<OwnedFd> {
        self.root.forget();
        match (&m.kind, tree) {
            (Kind::Bind { .. }, Some(tree)) => {
                mounts::bind(&self.root, m, tree, self.users).map(Loose::owned)
            }
            (Kind::New { fstype, source, options, copy_up }, _) => {
                let made = mounts::new(&mounts::New {
                    root: &self.root,
                    m,
                    fstype,
                    source,
                    options,
                    copy_up: *copy_up,
                    wanted: true,
                    context: None,
                })?;
                made.map(Loose::owned).ok_or_else(|| Cause::rule("an option is too long"))
            }
            _ => Err(Cause::rule("neither a bind nor a tmpfs")),
        }
    }

    fn tell(&self, mount: Option<&OwnedFd>) -> Done {
        let Some(mount) = mount else { return Ok(()) };
        let id = kernel::id(mount.as_fd()).because("statx", "the mount")?;
        self.link.send(&Message::Mount(id.number)).because("report to", "the runtime")
    }

    /// Says that all is done, and waits until that is written down.
    fn settled(&self) -> Done {
        self.link.send(&Message::Ready).because("report to", "the runtime")?;
        self.link.expect(&Message::Go).because("wait for", "the runtime")
    }

    /// A mount that was added.
    fn find(&self, target: &Target, added: &[u64]) -> Done<OwnedFd> {
        let path = &target.path;
        let links = if target.itself { OFlag::O_NOFOLLOW } else { OFlag::empty() };
        let found = self.root.open(path, OFlag::O_PATH | links).because("open", shown(path))?;
        let id = kernel::id(found.as_fd()).because("statx", shown(path))?;
        if id.is_root && added.contains(&id.number) {
            return Ok(found.owned());
        }
        let path = String::from_utf8_lossy(&shown(path)).into_owned();
        Err(Cause::rule(format!("nothing was added at {path}, so nothing is removed")))
    }

    /// Unmounts what a descriptor holds, which a path might not lead to any more.
    fn unmount(&self, mount: &OwnedFd) -> nix::Result<()> {
        fchdir(&self.proc)?;
        let path = CString::new(format!("self/fd/{}", mount.as_raw_fd())).unwrap_or_default();
        umount2::<CStr>(&path, MntFlags::MNT_DETACH)
    }
}
