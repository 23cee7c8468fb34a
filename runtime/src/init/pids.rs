//! Another container's pid namespace: entered for a child, and its procfs mounted, from outside.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use dhow_kernel::caps;
use dhow_kernel::fd::Loose;
use dhow_kernel::mount as kernel;
use dhow_kernel::process::{self, Fork, Side};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, pivot_root};

use super::fault::{Because, Cause, Done, Fault};
use super::mounts::{self, New};
use super::protocol::{Link, Message};
use crate::plan::Phase;

/// The namespace, which no process of this container is in yet.
#[derive(Debug)]
pub struct Pids(OwnedFd);

impl Pids {
    /// By its path on the host.
    pub fn open(path: &CStr) -> Done<Self> {
        open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map(Self)
            .because("join the namespace", path.to_bytes())
    }

    /// Has the next child be born in it.
    pub fn enter(self) -> Done {
        self.join().map(|()| drop(Loose::from(self.0)))
    }

    fn join(&self) -> Done {
        setns(&self.0, CloneFlags::CLONE_NEWPID).because("join", "the pid namespace")
    }

    /// Mounts its procfs, a new instance.
    ///
    /// KERNEL: a procfs is of the pid namespace of who opens its context or, since 6.17, of that of
    /// its option `pidns`.
    pub fn procfs(&self, new: &New<'_>) -> Done<Option<Loose>> {
        let own = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        let own = (c"pidns".to_owned(), Some(CString::new(own).unwrap_or_default()));
        let options = [new.options, &[own]].concat();
        match mounts::new(&New { options: &options, ..*new }) {
            Err(cause) if cause.errno == Errno::EINVAL as i32 => {
                mounts::new(&New { context: Some(&|| self.context()), ..*new })
            }
            done => done,
        }
    }

    /// A context opened by a process inside, of whose maker nothing is left that leads anywhere.
    fn context(&self) -> Done<OwnedFd> {
        let system = |e| Cause::new("clone", "a process in the pid namespace", e);
        let (ours, theirs) = Link::pair().map_err(system)?;
        let maker = match process::fork(&Fork::default()).map_err(system)? {
            Side::Child => {
                let _ = self.open_out_of_nowhere(&theirs).map_err(|cause| {
                    let _ = theirs.send(&Message::Fault(cause.at(Phase::Mounts)));
                });
                process::exit_now(0)
            }
            Side::Parent(_, maker) => maker,
        };
        dhow_kernel::close::all([theirs.into()]);
        let heard = ours.receive_with();
        let _ = super::parent::wait(maker.as_fd());
        match heard.map_err(system)? {
            (Some(Message::Fault(Fault { call, subject, errno, .. })), _) => {
                Err(Cause { call, subject, errno })
            }
            (_, Some(context)) => Ok(context),
            _ => Err(system(Errno::ECHILD)),
        }
    }

    /// Leaves everything that is the host's, and has a child open the context.
    fn open_out_of_nowhere(&self, link: &Link) -> Done {
        const NOTHING: MsFlags = MsFlags::MS_RDONLY.union(MsFlags::MS_NOEXEC);
        let none = None::<&CStr>;
        let mut kept = [link.as_fd().as_raw_fd() as u32, self.0.as_raw_fd() as u32];
        dhow_kernel::close::close_but(0, &mut kept).because("close_range", "")?;
        process::forget_environment();
        unshare(CloneFlags::CLONE_NEWNS).because("unshare", "the mount namespace")?;
        let cut = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(none, c"/", none, cut, none).because("make private", "/")?;
        mount(Some(c"none"), c"/proc", Some(c"tmpfs"), NOTHING, none)
            .because("mount", "a tmpfs")?;
        chdir(c"/proc").because("chdir", "/proc")?;
        pivot_root(c".", c".").because("pivot_root", "an empty root")?;
        umount2(c".", MntFlags::MNT_DETACH).because("unmount", "the old root")?;
        self.join()?;
        // Who sees the child may take its capabilities: in users of its own they are of no use. Where
        // none can be made, it has the one that it takes.
        let users = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
        if unshare(users).is_err() {
            let one = 1 << caps::SYS_ADMIN;
            let sets = caps::Sets { effective: one, permitted: one, inheritable: 0 };
            caps::set(sets).because("capset", "")?;
        }
        match process::fork(&Fork::default()).because("clone", "a process in the pid namespace")? {
            Side::Child => {
                let opened =
                    kernel::fsopen(c"proc").because("fsopen", "proc").and_then(|context| {
                        link.send_with(&Message::Taken, context.as_fd())
                            .because("pass", "its context")
                    });
                if let Err(cause) = opened {
                    let _ = link.send(&Message::Fault(cause.at(Phase::Mounts)));
                }
                process::exit_now(0)
            }
            Side::Parent(_, child) => {
                let _ = super::parent::wait(child.as_fd());
                Ok(())
            }
        }
    }
}
