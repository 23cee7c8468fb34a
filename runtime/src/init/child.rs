//! Init's half: the only loop.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use dhow_kernel::fd::Loose;
use dhow_kernel::process::Vector;
use nix::fcntl::OFlag;

use super::fault::{Because, Cause, Done};
use super::mounted::Mounted;
use super::pids::Pids;
use super::procfs::Procfs;
use super::protocol::{Link, Message};
use super::root::Root;
use super::{
    birth, capabilities, console, credentials, devices, exec, mask, mounts, namespaces, pivot,
    schedule, session, system,
};
use crate::hooks;
use crate::plan::{Phase, Plan};
use crate::trace::Trace;

/// What init has besides the plan.
#[derive(Debug)]
pub struct Context {
    /// Its end of the link.
    pub link: Link,
    /// The host's procfs.
    pub proc: Rc<Procfs>,
    /// How `start` speaks to it: a byte starts it, then what went wrong comes back, and the
    /// program's execution closes it. `run` says Go over the link instead.
    pub fifo: Option<OwnedFd>,
    /// Whether it executes its program soon, and nobody hears of it before.
    pub now: bool,
    /// Where the terminal's master goes.
    pub console: Option<OwnedFd>,
    /// What only the parent can give of bind mounts, by index in the plan's mounts.
    pub sources: Vec<mounts::Source>,
    /// Devices that only the parent may make, by index in the plan's devices.
    pub nodes: Vec<Option<OwnedFd>>,
    /// The ways into its v1 groups.
    pub doors: crate::cgroup::Doors,
    /// What a cgroup mount is made of; `None` without groups.
    pub cgroups: Option<crate::cgroup::Mounts>,
    /// The state that hooks read.
    pub state: hooks::State,
    /// How many descriptors from 3 on are left to the program.
    pub preserve: u32,
    /// The root, once there is one.
    pub root: Option<Root>,
    /// What of its mounts is come back to.
    pub mounted: Mounted,
    /// The program, once found.
    pub program: Option<exec::Program>,
    /// A clone of the host's /dev/null, to mask files with.
    pub null: Option<Loose>,
    /// What it has from its maker, once known.
    pub inherited: session::Inherited,
    /// The pid namespace that its sibling is to be born in.
    pub pids: Option<Pids>,
    /// Where the steps go.
    pub trace: Trace,
}

impl Context {
    /// Closes what is the child's, in its maker, and what that has left open before.
    pub fn shut(self) {
        let of = [Some(self.link.into()), self.fifo, self.console];
        let of = of.into_iter().flatten().chain(self.nodes.into_iter().flatten());
        of.chain(self.doors.into_fds()).map(Loose::from).for_each(drop);
        dhow_kernel::fd::close_left();
    }

    /// The root's handle.
    pub fn root(&self) -> Done<&Root> {
        self.root.as_ref().ok_or_else(|| Cause::rule("the root isn't open yet"))
    }
}

/// Performs the plan; comes back never.
pub fn run(plan: &Plan, mut context: Context) -> ! {
    for &phase in &plan.phases {
        let (trace, begun) = (context.trace.clone(), context.trace.begin());
        let inside = phase == Phase::Credentials && plan.spaces.seen();
        let last = inside || matches!(phase, Phase::Seccomp | Phase::Exec);
        if last {
            // A filter may take the right to write, and the program ends it. Who is seen by others
            // has no file of the host's, nor has this process from here on.
            std::mem::take(&mut context.trace).note("init", phase.name(), || plan.lines(phase));
        }
        let done = perform(phase, plan, &mut context);
        if !last {
            trace.end("init", phase.name(), begun, || plan.lines(phase));
        }
        if let Err(cause) = done {
            let fault = cause.at(phase);
            // Whoever starts it hears it first: with the maker gone, the link's
            // write is this process's end.
            if let (Phase::Start | Phase::Seccomp | Phase::Exec, Some(fifo)) =
                (phase, &context.fifo)
            {
                let _ = nix::unistd::write(fifo, &fault.encode());
            }
            let _ = context.link.send(&Message::Fault(fault));
            break;
        }
    }
    dhow_kernel::process::exit_now(1)
}

fn perform(phase: Phase, plan: &Plan, c: &mut Context) -> Done {
    match phase {
        Phase::Namespaces => namespaces::perform(plan, c),
        Phase::Session => {
            c.inherited = session::perform(plan, &c.proc, can_be_asked(plan, c))?;
            Ok(())
        }
        Phase::Network => {
            let up = dhow_kernel::net::loopback_up().because("bring up", "lo");
            up.map(|socket| drop(Loose::from(socket)))
        }
        Phase::Root => pivot::open(plan, c),
        Phase::Mounts => mounts::perform(plan, c),
        Phase::Devices => devices::perform(plan, c),
        Phase::Cgroup => namespaces::cgroup(plan),
        Phase::Hooks => in_hooks(plan, c),
        Phase::Pivot => pivot::perform(plan, c),
        Phase::Console => console::perform(plan, c),
        Phase::System => system::perform(plan, c),
        Phase::Mask => mask::perform(plan, c),
        // The sibling gets the rest from outside.
        Phase::Schedule if plan.spaces.seen() => schedule::inherited(&plan.schedule),
        Phase::Schedule => schedule::perform(&plan.schedule),
        Phase::Seccomp => session::load(plan.filter.as_ref(), c.preserve, &c.link),
        Phase::Credentials => {
            if let Some(pids) = c.pids.take() {
                pids.enter()?;
            }
            let labelled = !plan.process.apparmor.is_empty() || !plan.process.selinux.is_empty();
            alone(c, labelled.then(|| c.proc.as_fd()))?;
            credentials::perform(plan, c)?;
            if c.fifo.is_some() {
                // Who waits for its start holds nothing; the program's execution closes it, too.
                dhow_kernel::fd::close_left();
            }
            if labelled || plan.spaces.seen() { alone(c, None) } else { Ok(()) }
        }
        Phase::Capabilities => capabilities::perform(plan.process.capabilities, &c.link),
        Phase::Ready => c.link.send(&Message::Ready).because("report to", "the runtime"),
        Phase::Start => start(plan, c),
        Phase::Exec => exec::perform(plan, c),
        Phase::Birth => {
            birth::perform(&plan.process, plan.filter.as_ref(), plan.process.terminal, &c.link)
        }
    }
}

/// Whether somebody may want it to end before it executes: who waits for nothing is there at once.
fn can_be_asked(plan: &Plan, c: &Context) -> bool {
    c.fifo.is_some()
        || plan.runtime_hooks
        || !plan.create_container.is_empty()
        || !plan.start_container.is_empty()
}

fn in_hooks(plan: &Plan, c: &Context) -> Done {
    if plan.runtime_hooks {
        c.link.send(&Message::Hooks).because("report to", "the runtime")?;
        c.link.expect(&Message::Hooked).because("wait for", "the runtime's hooks")?;
    }
    if plan.create_container.is_empty() {
        return Ok(());
    }
    let scene = hooks::Scene {
        kind: "createContainer",
        // DIFFERS: in another container's pid namespace runc's hooks are seen there, and the host by
        // them; here they are still outside, with a number of the runtime's.
        // SPEC: runtime.md §State: "created" is after step 2 of the lifecycle; hooks are 3 to 5.
        // DIFFERS: runc says "creating" here.
        state: c.state.json("created", nix::unistd::getpid().as_raw()),
        dir: Some(plan.rootfs.clone()),
        env: &Vector::new(Vec::new()),
        watch: Some(c.link.as_fd()),
    };
    scene.run(&plan.create_container).map_err(|e| Cause::rule(e.to_string()))
}

/// Waits until someone starts the container, then runs the startContainer hooks.
fn start(plan: &Plan, c: &Context) -> Done {
    // With `create` this says that the record is written; should the runtime
    // have been killed before, init ends here instead of waiting for ever.
    c.link.expect(&Message::Go).because("wait for", "the start")?;
    if let Some(fifo) = &c.fifo {
        let mut byte = [0];
        while nix::unistd::read(fifo, &mut byte).because("read", "exec.fifo")? == 0 {}
    }
    if plan.start_container.is_empty() {
        return Ok(());
    }
    // SPEC: runtime.md §State: in the container's namespaces the pid is as seen there.
    let state = c.state.json("created", nix::unistd::getpid().as_raw());
    let program = c.program.as_ref().ok_or_else(|| Cause::rule("there is no program"))?;
    // As runc: the program's environment is theirs, if they say none.
    let env = program.environment();
    let scene = hooks::Scene { kind: "startContainer", state, dir: None, env, watch: None };
    scene.run(&plan.start_container).map_err(|e| Cause::rule(e.to_string()))
}

/// Closes what isn't needed any more, before the first look at what the container calls its
/// directory or program: nothing that [`dhow_kernel::fd::Loose`] has left, or the caller, can be
/// reached by it. Also, the wait for the start may be long, and a process that joins the container
/// with CAP_SYS_PTRACE could reach the host's procfs through our descriptors.
/// Before the wait itself, since a filter may be loaded by then.
fn alone(c: &Context, proc: Option<BorrowedFd<'_>>) -> Done {
    let fifo = c.fifo.as_ref().map(AsFd::as_fd);
    let held = [fifo, Some(c.link.as_fd()), c.trace.file().map(AsFd::as_fd), proc];
    let held = held.into_iter().flatten();
    let mut kept: Vec<u32> =
        held.map(|fd: BorrowedFd<'_>| fd.as_raw_fd().cast_unsigned()).collect();
    dhow_kernel::close::close_but(3 + c.preserve, &mut kept).because("close_range", "")
}

/// Flags with which directories are held.
pub const HELD: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
