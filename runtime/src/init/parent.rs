//! The parent's half: makes init, writes what only the outside may write, answers until it is ready.

mod beside;
mod gate;
mod idmap;
mod netdevices;
mod nodes;
mod relay;
mod sources;

use std::ffi::CString;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

use dhow_kernel::fd::Loose;
use dhow_kernel::process::{self, Fork, Side, Vector};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use super::child::{self, Context};
use super::fault::Fault;
use super::mounted::Mounted;
use super::mounts;
use super::procfs::Procfs;
use super::protocol::{Link, Message};
use super::session::Inherited;
use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::hooks;
use crate::log::{Level, Log};
use crate::plan::{Phase, Plan, Rest};
use crate::resctrl;
use crate::seccomp::{Filter, notify};
use crate::trace::Trace;
use crate::validate::linux::ns;
use crate::validate::process::{Process, rlimit_name};
use crate::validate::schedule::Schedule;
use crate::validate::spec::IdMapping;
pub use beside::Before;
use sources::Outside;

/// What a launch needs besides the plan.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Hooks and what they are told.
    pub rest: &'a Rest,
    /// What hooks are told.
    pub state: hooks::State,
    /// The groups, made.
    pub cgroup: &'a Cgroup,
    /// Its resctrl group.
    pub rdt: &'a resctrl::Record,
    /// For `create`.
    pub fifo: Option<OwnedFd>,
    /// Whether nobody hears of it before it executes its program.
    pub now: bool,
    /// Where the terminal's master goes.
    pub console: Option<OwnedFd>,
    /// `--preserve-fds`, plus socket activation's.
    pub preserve: u32,
    /// The lock on the container's directory, which must end with this
    /// process, so init gives up its copy.
    pub lock: RawFd,
    /// Our end of the link, and init's: made beside the lock, so that one call closes both.
    pub link: (Link, Link),
    /// Where the steps go.
    pub trace: Trace,
    /// Where warnings go.
    pub log: &'a Log,
}

/// A container's first process, waiting for its start.
#[derive(Debug)]
pub struct Init {
    /// Its pid here.
    pub pid: Pid,
    /// A handle on it.
    pub pidfd: OwnedFd,
    /// The way to it.
    pub link: Link,
}

/// Makes init and brings it to where only the start is missing; with it comes what lay on the
/// root before. On failure it is gone.
pub fn launch(launch: Launch<'_>) -> Result<(Init, Before)> {
    let (plan, rest, rdt, log) = (launch.plan, launch.rest, launch.rdt, launch.log);
    let state = launch.state.clone();
    // It goes with this process, or with the next that is closed: a call less.
    let proc = ManuallyDrop::new(Rc::new(open_proc()?));
    let trace = launch.trace.clone();
    let (inside, outside) = trace.step("sources", || sources::prepare(plan, &proc))?;
    let before = Before::look(plan);
    let cgroup = launch.cgroup;
    let mut init = trace.step("clone", || spawn(launch, inside, &proc))?;
    let grouped = if rdt.is_empty() { Ok(()) } else { rdt.enter(init.pid.as_raw()) };
    let bring = || bring(&mut init, plan, rest, &state, &proc, &outside, log);
    // Whoever keeps its groups' place stays so long: what becomes of init is told by them.
    let brought = grouped.and_then(|()| trace.step("bring", bring)).and_then(|()| cgroup.settle());
    if let Err(e) = brought {
        init.discard();
        before.restore();
        return Err(e);
    }
    Ok((init, before))
}

/// The id maps of the user namespace at `path`.
pub fn joined_maps(path: &std::ffi::CStr) -> Result<(Vec<IdMapping>, Vec<IdMapping>)> {
    idmap::of(&open_proc()?, path)
}

/// The caller's own `uid_map` or `gid_map`.
pub fn caller_map(file: &str) -> Result<Vec<IdMapping>> {
    idmap::read(&open_proc()?, Pid::this(), file)
}

fn open_proc() -> Result<Procfs> {
    Procfs::open().map_err(|errno| Error::system("open as procfs", "/proc", errno))
}

fn spawn(launch: Launch<'_>, sources: Vec<mounts::Source>, proc: &Rc<Procfs>) -> Result<Init> {
    let plan = launch.plan;
    let (ours, theirs) = launch.link;
    let group = launch.cgroup.into_fd()?.map(Loose::from);
    let context = Context {
        link: theirs,
        // The child's copy of this process has it, too.
        proc: Rc::clone(proc),
        fifo: launch.fifo,
        now: launch.now,
        console: launch.console,
        sources,
        nodes: nodes::prepare(plan)?,
        doors: launch.cgroup.doors()?,
        cgroups: Some(launch.cgroup.mounts()),
        state: launch.state,
        preserve: launch.preserve,
        root: None,
        mounted: Mounted::default(),
        program: None,
        null: None,
        inherited: Inherited::default(),
        pids: None,
        trace: launch.trace,
    };
    let lock = launch.lock;
    let aside = Aside::step(plan, proc)?;
    let fork = Fork {
        namespaces: if plan.spaces.relay { 0 } else { plan.spaces.clone },
        sibling: false,
        cgroup: group.as_ref().map(AsFd::as_fd),
    };
    let (forked, gate) = gate::fork(&fork, launch.cgroup)?;
    let (pid, pidfd) = match forked {
        Side::Child => {
            // Not dropped any more, here or there.
            drop(Loose::from(OwnedFd::from(ours)));
            dhow_kernel::fd::leave(lock);
            dhow_kernel::fd::close_left();
            if plan.spaces.relay {
                relay::run(plan, context);
            }
            drop(group);
            child::run(plan, context)
        }
        Side::Parent(pid, pidfd) => (pid, pidfd),
    };
    drop(group);
    context.shut();
    gate.open(pid, launch.cgroup).inspect_err(|_| {
        let _ = process::pidfd_signal(pidfd.as_fd(), libc::SIGKILL);
        let _ = wait(pidfd.as_fd());
    })?;
    aside.back()?;
    if plan.spaces.relay {
        return relay::meet(ours, (pid, pidfd), plan, proc);
    }
    Ok(Init { pid, pidfd, link: ours })
}

/// Namespaces that are entered by making a child in them, and left again.
struct Aside {
    back: Vec<(OwnedFd, CloneFlags)>,
}

impl Aside {
    fn step(plan: &Plan, proc: &Procfs) -> Result<Self> {
        let mut back = Vec::new();
        if plan.spaces.relay {
            return Ok(Self { back });
        }
        if let Some(path) = &plan.spaces.pid
            && !plan.spaces.seen()
        {
            let system = |e| Error::system("join the namespace", path.to_string_lossy(), e);
            back.push((own(c"/proc/self/ns/pid")?, CloneFlags::CLONE_NEWPID));
            let fd = open(path.as_c_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
            setns(fd.map_err(system)?, CloneFlags::CLONE_NEWPID).map_err(system)?;
        }
        if plan.spaces.time {
            let flag = CloneFlags::from_bits_retain(libc::CLONE_NEWTIME);
            let system = |e| Error::system("make", "the time namespace", e);
            back.push((own(c"/proc/self/ns/time")?, flag));
            unshare(flag).map_err(system)?;
            if !plan.time_offsets.is_empty() {
                clocks(proc, "self", &plan.time_offsets)?;
            }
        }
        Ok(Self { back })
    }

    fn back(self) -> Result<()> {
        for (fd, flag) in self.back {
            setns(fd, flag).map_err(|e| Error::system("go back to", "the own namespace", e))?;
        }
        Ok(())
    }
}

/// Offsets of a time namespace that `who` made and nobody is in yet.
fn clocks(proc: &Procfs, who: &str, offsets: &str) -> Result<()> {
    let path = CString::new(format!("{who}/timens_offsets")).unwrap_or_default();
    proc.write(&path, offsets.as_bytes())
        .map_err(|e| Error::system("write", "/linux/timeOffsets to timens_offsets", e))
}

fn own(path: &std::ffi::CStr) -> Result<OwnedFd> {
    open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|e| Error::system("open", path.to_string_lossy(), e))
}

fn bring(
    init: &mut Init,
    plan: &Plan,
    rest: &Rest,
    state: &hooks::State,
    proc: &Procfs,
    outside: &Outside,
    log: &Log,
) -> Result<()> {
    // KERNEL: proc(5): once it has become root in its user namespace, its files are root's alone.
    oom_score(proc, init.pid, &plan.process)?;
    if plan.spaces.clone & ns::USER != 0 {
        let write = || idmap::write(proc, init.pid, &plan.uid_map, &plan.gid_map);
        log.trace.step("id maps", write)?;
        init.say(&Message::Mapped)?;
    }
    netdevices::carry(plan, proc, init.pid)?;
    loop {
        let (message, fd) = init.hear_with()?;
        match message {
            Message::Idmap(index) => {
                outside.idmap(plan, index, fd)?;
                init.say(&Message::Idmapped)?;
            }
            Message::Hooks => {
                let begun = log.trace.begin();
                let (pid, env) = (init.pid.as_raw(), Vector::environment());
                let scene = |kind| state.outside(kind, "created", pid, &env);
                scene("prestart").run(&rest.hooks.prestart)?;
                scene("createRuntime").run(&rest.hooks.create_runtime)?;
                log.trace.end("parent", "hooks", begun, || rest.before_root());
                init.say(&Message::Hooked)?;
            }
            Message::Listener(fd) => {
                init.listener(fd, plan.filter.as_ref(), || {
                    state.json("creating", init.pid.as_raw())
                })?;
            }
            Message::Birth => init.replaced(&plan.schedule)?,
            Message::Warning(text) => log.line(Level::Warning, &text),
            Message::Ready => break,
            other => return Err(unexpected(&other)),
        }
    }
    if plan.spaces.user { rlimits(init.pid, &plan.process) } else { Ok(()) }
}

/// oom_score_adj, which a process in a user namespace can't lower for itself.
pub fn oom_score(proc: &Procfs, pid: Pid, process: &Process) -> Result<()> {
    let Some(score) = process.oom_score_adj else { return Ok(()) };
    let path = CString::new(format!("{pid}/oom_score_adj")).unwrap_or_default();
    proc.write(&path, score.to_string().as_bytes())
        .map_err(|e| Error::system("write", format!("oom_score_adj {score}"), e))
}

/// Limits of a process in a user namespace, set from outside and last: a low
/// one must not stop init itself.
pub fn rlimits(pid: Pid, process: &Process) -> Result<()> {
    for (resource, soft, hard) in &process.rlimits {
        process::prlimit(pid, *resource, *soft, *hard).map_err(|e| {
            let subject = format!("{} to {soft}:{hard}", rlimit_name(*resource));
            Error::system("error setting rlimit", subject, e)
        })?;
    }
    Ok(())
}

fn unexpected(message: &Message) -> Error {
    Error::rule(format!("the container's first process said {message:?} out of turn"))
}

impl Init {
    /// Says a message. A process that is gone has left its reason in the link.
    pub fn say(&self, message: &Message) -> Result<()> {
        match self.link.send(message) {
            Ok(()) => Ok(()),
            Err(Errno::EPIPE | Errno::ECONNRESET) => match self.hear() {
                Ok(other) => Err(unexpected(&other)),
                Err(e) => Err(e),
            },
            // It is still there, and waits for this.
            Err(e) => Err(Error::system("tell", "the container's first process", e)),
        }
    }

    fn hear(&self) -> Result<Message> {
        Self::heard(self.link.receive())
    }

    fn hear_with(&self) -> Result<(Message, Option<OwnedFd>)> {
        match self.link.receive_with() {
            Ok((message, fd)) => Ok((Self::heard(Ok(message))?, fd)),
            Err(e) => Err(Self::heard(Err(e)).map_or_else(|e| e, |m| unexpected(&m))),
        }
    }

    fn heard(heard: nix::Result<Option<Message>>) -> Result<Message> {
        match heard {
            Ok(Some(Message::Fault(fault))) => Err(fault.into()),
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(Error::rule("the container's first process ended before its start")),
            Err(e) => Err(Error::system("hear from", "the container's first process", e)),
        }
    }

    /// Waits until only the start is missing; `state` is what an agent of the filter is told.
    pub fn ready(
        &mut self,
        filter: Option<&Filter>,
        schedule: &Schedule,
        log: &Log,
        state: impl Fn() -> String,
    ) -> Result<()> {
        loop {
            match self.hear()? {
                Message::Birth => self.replaced(schedule)?,
                Message::Listener(fd) => self.listener(fd, filter, &state)?,
                Message::Warning(text) => log.line(Level::Warning, &text),
                Message::Ready => return Ok(()),
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Takes the filter's descriptor from it and gives it to the agent.
    fn listener(
        &self,
        fd: i32,
        filter: Option<&Filter>,
        state: impl FnOnce() -> String,
    ) -> Result<()> {
        let message = Message::Listener(fd);
        let listener = filter.and_then(|filter| filter.listener.as_ref());
        let Some(listener) = listener else { return Err(unexpected(&message)) };
        let copy = match process::pidfd_getfd(self.pidfd.as_fd(), fd) {
            // KERNEL: ptrace(2): a process that has changed its ids is closed to the unprivileged.
            Err(Errno::EPERM) if listener.passes => {
                self.say(&Message::Pass)?;
                match self.hear_with()? {
                    (Message::Listener(_), Some(copy)) => copy,
                    (other, _) => return Err(unexpected(&other)),
                }
            }
            Err(Errno::EPERM) => {
                let why = "the unprivileged can't hand an agent the listener of a filter that \
                           asks about read or sendmsg: take them out of SCMP_ACT_NOTIFY";
                return Err(Error::config("/linux/seccomp/syscalls", why));
            }
            other => other.map_err(|e| Error::system("take", "the seccomp listener", e))?,
        };
        // Let go first: what it calls from here on may have to wait for the agent.
        self.say(&Message::Taken)?;
        notify::tell(listener, copy.as_fd(), self.pid.as_raw(), &state())
    }

    /// Hears which process goes on in its place, and stays with that one.
    fn replaced(&mut self, schedule: &Schedule) -> Result<()> {
        let system = |e| Error::system("clone", "a process of the container", e);
        told_by_the_living(&self.link, self.pidfd.as_fd()).map_err(system)?;
        let pid = self.hear()?;
        let Message::Pid(raw) = pid else { return Err(unexpected(&pid)) };
        self.wait().map_err(system)?;
        // It is our child, so its number can't be another's before we reap it.
        let pid = Pid::from_raw(raw);
        (self.pid, self.pidfd) = (pid, process::pidfd_open(pid).map_err(system)?);
        super::schedule::scheduler(raw, schedule)
            .map_err(|cause| Error::from(cause.at(Phase::Schedule)))?;
        self.say(&Message::Taken)
    }

    /// Starts it, and waits until it executes its program.
    pub fn go(&self) -> Result<()> {
        self.say(&Message::Go)?;
        match self.link.receive() {
            Ok(None) => Ok(()),
            Ok(Some(Message::Fault(fault))) => Err(fault.into()),
            Ok(Some(other)) => Err(unexpected(&other)),
            Err(e) => Err(Error::system("hear from", "the container's first process", e)),
        }
    }

    /// Ends it and waits for that.
    pub fn discard(&self) {
        let _ = process::pidfd_signal(self.pidfd.as_fd(), libc::SIGKILL);
        let _ = self.wait();
    }

    /// Waits for its end: its code, or 128 and the signal.
    pub fn wait(&self) -> nix::Result<i32> {
        wait(self.pidfd.as_fd())
    }
}

/// Waits for a message, or for the end of `process` without one: killed, it may have made another that
/// holds the link, too, and waits to be told of. That one ends then, and its end of the link is the last.
fn told_by_the_living(link: &Link, process: BorrowedFd<'_>) -> nix::Result<()> {
    loop {
        let mut fds =
            [PollFd::new(link.as_fd(), PollFlags::POLLIN), PollFd::new(process, PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        // What it has said, it has said before its end.
        if fds[0].any() == Some(true) || poll(&mut fds[..1], PollTimeout::ZERO)? > 0 {
            return Ok(());
        }
        if fds[1].any() == Some(true) {
            link.say_no_more();
            while let Ok(Some(_)) = link.receive() {}
            return Ok(());
        }
    }
}

/// Waits for the end of a child.
pub fn wait(pidfd: BorrowedFd<'_>) -> nix::Result<i32> {
    loop {
        let mut fds = [PollFd::new(pidfd, PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(e) => return Err(e),
        }
        if let Some(code) = process::reap(pidfd)? {
            return Ok(code);
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
