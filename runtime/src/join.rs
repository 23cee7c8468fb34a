//! exec: one more process in a running container, by its own list of steps.
//!
//! The parent enters the pid namespace for its children, makes one in the
//! container's cgroups, and that one enters the rest by the pidfd of the
//! container's first process: no path is opened, no pid trusted.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use dhow_kernel::process::{self, Fork, Side};
use nix::errno::Errno;
use nix::fcntl::open;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;

use crate::error::{Error, Result};
use crate::init::child::HELD;
use crate::init::fault::{Because, Done};
use crate::init::parent::{Init, oom_score, rlimits};
use crate::init::procfs::Procfs;
use crate::init::protocol::{Link, Message};
use crate::init::root::Root;
use crate::init::{birth, capabilities, console, credentials, exec, schedule, session};
use crate::lifecycle::told;
use crate::log::Log;
use crate::plan::Phase;
use crate::plan::phase::{Facts, bear, fits, last};
use crate::seccomp::Filter;
use crate::state::Record;
use crate::trace::Trace;
use crate::validate::linux::{KINDS, ns};
use crate::validate::process::Process;
use crate::validate::schedule::Schedule;

/// A process to add to a container.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The container.
    pub record: &'a Record,
    /// Cgroups to join instead of the container's own.
    pub cgroup: &'a crate::cgroup::Record,
    /// The process.
    pub process: &'a Process,
    /// When and where it runs.
    pub schedule: &'a Schedule,
    /// Its filter.
    pub filter: Option<&'a Filter>,
    /// Where the terminal's master goes.
    pub console: Option<OwnedFd>,
    /// Descriptors from 3 on that it keeps.
    pub preserve: u32,
    /// Whether processes of the container may look into others: then they see none of this one
    /// before it is inside.
    pub watched: bool,
    /// Whether being kept out of the groups is to be expected: an unprivileged user.
    pub lenient: bool,
    /// Where the steps go.
    pub trace: &'a Trace,
    /// Where warnings go.
    pub log: &'a Log,
}

/// Adds it, up to where only the start is missing. On failure it is gone.
pub fn join(entry: Entry<'_>) -> Result<Init> {
    let container = &entry.record.process;
    // One that ends under our hands fails in many ways: this is why.
    bring(entry).map_err(|error| if container.is_ending() { gone() } else { error })
}

fn gone() -> Error {
    Error::rule("cannot exec in a stopped container")
}

fn bring(entry: Entry<'_>) -> Result<Init> {
    let target = entry.record.process.open()?.ok_or_else(gone)?;
    let spaces = Spaces::of(entry.record.process.pid)?;
    // A process on its way out has lost its namespaces, and its number may be another's:
    // then we'd have compared ours with the wrong ones, and stay outside.
    entry.record.process.open()?.ok_or_else(gone)?;
    let (process, cgroup, rdt) = (entry.process, entry.cgroup, &entry.record.rdt);
    let (record, filter, schedule, log) = (entry.record, entry.filter, entry.schedule, entry.log);
    // `--cgroup` means that group or none.
    let first = std::ptr::eq(cgroup, &raw const record.cgroup).then_some(record.process.pid);
    let lenient = entry.lenient;
    let state = || told(record).json("running", record.process.pid);
    let in_user = spaces.user();
    let proc = Procfs::open().map_err(|e| Error::system("open as procfs", "/proc", e))?;
    let trace = entry.trace;
    let unseen = entry.watched && !in_user && spaces.parent & ns::PID != 0;
    let (mut init, placed) = trace.step("clone", || spawn(entry, &target, spaces, unseen))?;
    let begun = trace.begin();
    let brought = cgroup_join(cgroup, &init, placed, first)
        .or_else(|e| match e {
            e if lenient && e.is_denial() => Ok(()),
            e => Err(Error::rule(format!("error adding pid {} to cgroups: {e}", init.pid))),
        })
        .and_then(|()| rdt.join(init.pid.as_raw()))
        .and_then(|()| oom_score(&proc, init.pid, process))
        .and_then(|()| init.say(&Message::Joined))
        .and_then(|()| init.ready(filter, schedule, log, state))
        .and_then(|()| if in_user { rlimits(init.pid, process) } else { Ok(()) });
    trace.end("parent", "bring", begun, Vec::new);
    match brought {
        Ok(()) => Ok(init),
        Err(e) => {
            init.discard();
            Err(e)
        }
    }
}

/// Into the container's group or, as runc, where the container's first process is now.
fn cgroup_join(
    cgroup: &crate::cgroup::Record,
    init: &Init,
    placed: bool,
    first: Option<i32>,
) -> Result<()> {
    // Mostly the clone has done it.
    if placed {
        return Ok(());
    }
    let pid = init.pid.as_raw();
    match (cgroup.join_unified(pid), first) {
        (Err(e), Some(first)) => {
            let by_systemd = || cgroup.attach(pid).filter(|_| e.is_denial());
            cgroup
                .join_first(pid, first)
                .or_else(|_| by_systemd().unwrap_or_else(|| Err(e.clone())))
        }
        (done, _) => done,
    }
}

fn spawn(entry: Entry<'_>, target: &OwnedFd, spaces: Spaces, unseen: bool) -> Result<(Init, bool)> {
    let system = |e| Error::system("clone", "a process of the container", e);
    // Nothing of the host's comes along that needn't.
    dhow_kernel::fd::close_left();
    let (ours, theirs) = Link::pair().map_err(system)?;
    let group = entry.cgroup.unified().and_then(|dir| open(dir, HELD, Mode::empty()).ok());
    let child = Child {
        link: theirs,
        doors: entry
            .cgroup
            .doors()
            .map_err(|e| Error::rule(format!("error adding pid to cgroups: {e}")))?,
        proc: Procfs::open().map_err(|e| Error::system("open as procfs", "/proc", e))?,
        console: entry.console,
        preserve: entry.preserve,
        trace: entry.trace.clone(),
        unseen,
        terminal: false,
        inherited: session::Inherited::default(),
    };
    let flags = CloneFlags::from_bits_retain(spaces.parent as i32);
    if spaces.parent & ns::USER != 0 {
        // CVE: 2016-9962: a process that is born as one of the container's users must not be looked
        // into for an instant. KERNEL: ptrace(2): an owner's own namespace leaves it dumpable.
        nix::sys::prctl::set_dumpable(false)
            .map_err(|e| Error::system("prctl", "PR_SET_DUMPABLE", e))?;
    }
    if !flags.is_empty() && !unseen {
        setns(target, flags)
            .map_err(|e| Error::system("join the namespaces of", &entry.record.id, e))?;
    }
    let cpus = &entry.process.affinity.initial;
    if !cpus.is_empty() {
        // The process inherits it, which may be born in its groups.
        dhow_kernel::sched::set_affinity(cpus).map_err(|e| {
            Error::system("error setting initial CPU affinity:", "sched_setaffinity", e)
        })?;
    }
    let fork = Fork { cgroup: group.as_ref().map(AsFd::as_fd), ..Fork::default() };
    let (made, placed) = match process::fork(&fork) {
        // A group that may not be entered so (rootless, threaded) is entered the other way.
        Err(Errno::EACCES | Errno::EPERM | Errno::EBUSY | Errno::EOPNOTSUPP) if group.is_some() => {
            (process::fork(&Fork::default()).map_err(system)?, false)
        }
        other => (other.map_err(system)?, group.is_some()),
    };
    match made {
        Side::Child => {
            dhow_kernel::close::all([ours.into()]);
            child.run(target.as_fd(), &spaces, entry.process, entry.schedule, entry.filter)
        }
        Side::Parent(pid, pidfd) => {
            child.shut();
            Ok((Init { pid, pidfd, link: ours }, placed))
        }
    }
}

/// Which namespaces are entered on which side of the fork.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Spaces {
    /// By the parent, for its children: pid, and user where it takes that to enter pid.
    parent: u64,
    /// By the child.
    child: u64,
}

impl Spaces {
    /// Those in which the process `pid` differs from us.
    fn of(pid: i32) -> Result<Self> {
        Ok(Self::split(differ(pid)?, nix::unistd::geteuid().is_root()))
    }

    /// Whether it is another user namespace than ours.
    const fn user(&self) -> bool {
        (self.child | self.parent) & ns::USER != 0
    }

    const fn split(differ: u64, root: bool) -> Self {
        // KERNEL: setns(2): entering a pid namespace takes privilege over its owner.
        let first = if root { ns::PID } else { ns::PID | ns::USER };
        Self { parent: differ & first, child: differ & !first }
    }
}

/// The kinds of namespaces in which the process `pid` differs from us.
pub fn differ(pid: i32) -> Result<u64> {
    let mut differ = 0;
    for kind in KINDS {
        let read = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/{}", kind.proc));
        let ours = match read("self") {
            // A kernel without that kind.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.map_err(|e| Error::io("read", "our namespaces", &e))?,
        };
        let theirs = read(&pid.to_string())
            .map_err(|e| Error::io("read", "the container's namespaces", &e))?;
        if ours != theirs {
            differ |= kind.flag;
        }
    }
    Ok(differ)
}

/// The new process's side.
struct Child {
    link: Link,
    doors: crate::cgroup::Doors,
    proc: Procfs,
    console: Option<OwnedFd>,
    preserve: u32,
    trace: Trace,
    unseen: bool,
    /// Whether its standard streams are a terminal of its own.
    terminal: bool,
    /// What it has from its maker, outside.
    inherited: session::Inherited,
}

impl Child {
    /// Closes what is the process's, in its maker.
    fn shut(self) {
        let of = [Some(self.link.into()), Some(self.proc.into()), self.console];
        dhow_kernel::close::all(of.into_iter().flatten().chain(self.doors.into_fds()));
    }

    fn run(
        mut self,
        target: BorrowedFd<'_>,
        spaces: &Spaces,
        process: &Process,
        schedule: &Schedule,
        filter: Option<&Filter>,
    ) -> ! {
        let mut program = None;
        let facts = Facts {
            console: process.terminal,
            schedule: !schedule.is_empty(),
            filter: filter.is_some(),
            nnp: process.no_new_privileges,
            early: filter.is_some_and(|filter| filter.listener.is_some()),
            seen: self.unseen,
            fits: self.unseen && fits(filter, process),
            ..Facts::default()
        };
        for phase in phases(facts) {
            let (trace, begun) = (self.trace.clone(), self.trace.begin());
            let inside = phase == Phase::Credentials && self.unseen;
            let last = inside || matches!(phase, Phase::Seccomp | Phase::Exec);
            if last {
                // As in init: afterwards it may not be possible.
                std::mem::take(&mut self.trace).note("exec", phase.name(), Vec::new);
            }
            let done = match phase {
                Phase::Namespaces => self.enter(target, spaces, process),
                Phase::Session => start_session(self.inherited.ignored),
                Phase::Schedule if self.unseen => schedule::inherited(schedule),
                Phase::Schedule => schedule::perform(schedule),
                Phase::Console => self.console(process),
                Phase::Seccomp => session::load(filter, self.preserve, &self.link),
                Phase::Credentials => {
                    let found = self.credentials(spaces, process, filter.is_some());
                    found.map(|found| program = Some(found))
                }
                Phase::Capabilities => capabilities::perform(process.capabilities, &self.link),
                Phase::Ready => self.link.send(&Message::Ready).because("report to", "the runtime"),
                Phase::Start => self.link.expect(&Message::Go).because("wait for", "the start"),
                Phase::Birth => birth::perform(process, filter, self.terminal, &self.link),
                _ => self.execute(program.as_ref(), filter.is_none()),
            };
            if !last {
                trace.end("exec", phase.name(), begun, Vec::new);
            }
            if let Err(cause) = done {
                let _ = self.link.send(&Message::Fault(cause.at(phase)));
                break;
            }
        }
        process::exit_now(255)
    }

    fn enter(&mut self, target: BorrowedFd<'_>, spaces: &Spaces, process: &Process) -> Done {
        // CVE: 2016-9962: before the container can see this process, it must not look into it.
        nix::sys::prctl::set_dumpable(false).because("prctl", "PR_SET_DUMPABLE")?;
        let doors = crate::init::namespaces::enter_groups(std::mem::take(&mut self.doors))?;
        dhow_kernel::close::all(doors);
        self.inherited = session::inherited(&self.proc);
        self.link.expect(&Message::Joined).because("wait for", "the cgroups")?;
        schedule::last_affinity(&process.affinity)?;
        let outside = if self.unseen { spaces.parent } else { 0 };
        let flags = CloneFlags::from_bits_retain((spaces.child | outside) as i32);
        if !flags.is_empty() {
            setns(target, flags).because("join the namespaces of", "the container")?;
        }
        if spaces.user() {
            crate::init::namespaces::become_root()?;
        }
        Ok(())
    }

    fn execute(&self, program: Option<&exec::Program>, close: bool) -> Done {
        if close {
            exec::close(self.preserve)?;
        }
        program.map_or(Ok(()), |program| Err(program.execute()))
    }

    fn credentials(&self, spaces: &Spaces, process: &Process, filter: bool) -> Done<exec::Program> {
        let env = exec::environment(process);
        // KERNEL: user_namespaces(7): who enters one has its bounding set whole.
        let bounding = self.inherited.bounding.filter(|_| !spaces.user());
        let groupless = self.inherited.groupless;
        let (limits, bears) = (!spaces.user(), self.unseen);
        let own = credentials::Own { limits, bears, bounding, groupless };
        credentials::become_process(process, &self.proc, false, own)?;
        dhow_kernel::fd::close_left();
        let program = exec::find(process, env, false)?;
        capabilities::hold(process, filter)?;
        if self.unseen {
            // Nor does it keep descriptors that lead out.
            let mut kept = [self.link.as_fd().as_raw_fd().cast_unsigned()];
            dhow_kernel::close::close_but(3 + self.preserve, &mut kept)
                .because("close_range", "")?;
        }
        Ok(program)
    }

    fn console(&mut self, process: &Process) -> Done {
        let Some(socket) = self.console.take() else { return Ok(()) };
        let root = Root::new(open(c"/", HELD, Mode::empty()).because("open", "/")?);
        self.terminal = true;
        console::attach(&root, process, socket.as_fd(), !self.unseen).map(drop)
    }
}

fn start_session(ignored: Option<u64>) -> Done {
    dhow_kernel::signal::reset_all(ignored);
    nix::unistd::setsid().because("setsid", "").map(drop)
}

fn phases(f: Facts) -> Vec<Phase> {
    let mut p = vec![Phase::Namespaces, Phase::Session];
    if f.console {
        p.push(Phase::Console);
    }
    if f.schedule {
        p.push(Phase::Schedule);
    }
    p.push(Phase::Credentials);
    p.extend(last(f));
    p.push(Phase::Exec);
    if f.seen {
        bear(&mut p, f);
    }
    p
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_enters_the_user_namespace_last_and_others_first() {
        let all = ns::PID | ns::USER | ns::MOUNT;
        let root = Spaces::split(all, true);
        assert_eq!((root.parent, root.child), (ns::PID, ns::USER | ns::MOUNT));
        let rootless = Spaces::split(all, false);
        assert_eq!((rootless.parent, rootless.child), (ns::PID | ns::USER, ns::MOUNT));
    }

    #[test]
    fn a_process_on_its_way_out_is_not_taken_for_one_of_ours() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let pid = child.id() as i32;
        let ended = nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT;
        let id = nix::sys::wait::Id::Pid(nix::unistd::Pid::from_raw(pid));
        nix::sys::wait::waitid(id, ended).unwrap();
        let spaces = Spaces::of(pid);
        child.wait().unwrap();
        assert!(spaces.is_err(), "{spaces:?}");
    }

    #[test]
    fn the_filter_comes_where_it_can_be_loaded() {
        let at = |list: &[Phase], p| list.iter().position(|x| *x == p).unwrap();
        let privileged = phases(Facts { filter: true, schedule: true, ..Facts::default() });
        assert!(at(&privileged, Phase::Seccomp) < at(&privileged, Phase::Capabilities));
        assert!(at(&privileged, Phase::Schedule) < at(&privileged, Phase::Seccomp));
        let nnp = Facts { console: true, filter: true, nnp: true, ..Facts::default() };
        let plain = phases(nnp);
        assert!(at(&plain, Phase::Seccomp) > at(&plain, Phase::Start));
        let asking = phases(Facts { early: true, ..nnp });
        assert!(at(&asking, Phase::Seccomp) > at(&asking, Phase::Credentials));
        assert!(at(&asking, Phase::Seccomp) < at(&asking, Phase::Ready));
    }
}
