//! What create, run, start and delete share: making a container whole, and unmaking it.

mod host;
mod listen;

pub use host::{faults, labels};
pub use listen::handed;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use dhow_kernel::process::Vector;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

use crate::cgroup::{self, Cgroup};
use crate::error::{Error, Result};
use crate::hooks;
use crate::init::parent::{Before, Init, Launch, launch};
use crate::init::protocol::{Link, Message};
use crate::log::{Level, Log};
use crate::notify;
use crate::plan::{self, Plan, Rest};
use crate::resctrl::{Group, Tree};
use crate::seccomp;
use crate::state::{self, Dir, Held, Identity, Record, Store, file};
use crate::validate;
use crate::validate::hook::Hooks;
use crate::validate::linux::ns;

/// What to make, as the command line has it.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The id.
    pub id: &'a str,
    /// `--bundle`.
    pub bundle: &'a Path,
    /// `--config`, instead of the bundle's config.json.
    pub config: Option<&'a Path>,
    /// `--systemd-cgroup`, `--cgroup-manager`.
    pub manager: cgroup::Manager,
    /// Where systemd listens.
    pub systemd: &'a cgroup::Addresses,
    /// `--rootless`, decided.
    pub rootless: bool,
    /// What else goes into the plan.
    pub options: plan::Options,
    /// Descriptors from 3 on that the program keeps.
    pub preserve: u32,
    /// Descriptors before those, from socket activation.
    pub listen: u32,
    /// The directory of its own NOTIFY_SOCKET, when somebody wants to hear of it.
    pub notify: Option<PathBuf>,
    /// Whether a later `start` is waited for.
    pub waits: bool,
    /// Whether nobody but who runs it hears of it before it executes its program.
    pub now: bool,
    /// Whether this process stays, and takes the container's orphans.
    pub reaps: bool,
    /// Where what is odd, or asked for by `--debug`, is said.
    pub log: &'a Log,
}

/// Who takes the terminal of a container that has one.
pub trait Terminal {
    /// A socket for the master, or why there is none. `terminal` is process.terminal.
    fn socket(&mut self, terminal: bool) -> Result<Option<OwnedFd>>;
}

/// A container that waits for its start.
#[derive(Debug)]
pub struct Born {
    /// Its directory, held.
    pub held: Held,
    /// Its first process.
    pub init: Init,
    /// Its record.
    pub record: Record,
    /// Its hooks.
    pub hooks: Hooks,
    before: Before,
    group: Cgroup,
}

impl Born {
    /// Ends it for good, since what follows has failed: nothing of it stays.
    pub fn unmake(&mut self, log: &Log) -> Result<()> {
        self.init.discard();
        self.before.restore();
        let destroyed = destroy(&self.held, &self.record, log);
        self.group.undo_above();
        destroyed
    }
}

/// All that is decided of a container before anything is touched.
#[derive(Debug)]
pub struct Decided {
    /// What init performs.
    pub plan: Plan,
    /// What stays with the parent.
    pub rest: Rest,
    /// Its control groups.
    pub group: Cgroup,
    /// Its share of caches, when it asks for one.
    pub rdt: Option<Group>,
}

/// Decides it: by the config and by what this machine has; only the latter is looked at.
pub fn decide(wanted: &Wanted<'_>, mut container: validate::Container<'_>) -> Result<Decided> {
    container.resources.pids.settle(&container.version);
    let group = group(wanted, &container)?;
    let rdt =
        container.rdt.as_ref().map(|asked| Tree::find()?.plan(wanted.id, asked)).transpose()?;
    container.seccomp.iter().for_each(|profile| seccomp::debug(profile, wanted.log));
    let (plan, rest) = plan::plan(wanted.id, container, wanted.options)?;
    Ok(Decided { plan, rest, group, rdt })
}

/// The control groups that it would have.
pub fn group(wanted: &Wanted<'_>, container: &validate::Container<'_>) -> Result<Cgroup> {
    let path = &*container.cgroups_path;
    cgroup::prepare(&cgroup::Request {
        id: wanted.id,
        path: (!path.is_empty()).then_some(path),
        manager: wanted.manager,
        systemd: wanted.systemd,
        annotations: &container.annotations,
        rootless: wanted.rootless,
        owner: host::group_owner(container),
        host_view: !container.namespaces.has(ns::CGROUP) && !container.namespaces.has(ns::USER),
        resources: &container.resources,
    })
}

/// A container that is decided, and of which nothing is made yet.
#[derive(Debug)]
pub struct Draft {
    /// The text of its config.
    pub text: String,
    /// What is decided.
    pub decided: Decided,
    /// Its record, without a process.
    pub record: Record,
}

/// Decides all of a container, and touches nothing.
pub fn draft(wanted: &Wanted<'_>) -> Result<Draft> {
    let trace = &wanted.log.trace;
    let (bundle, text) = trace.step("read", || state::bundle(wanted.bundle, wanted.config))?;
    let mut container = trace.step("validate", || {
        let mut spec = validate::parse(&text)?;
        wanted.notify.as_ref().map_or(Ok(()), |dir| notify::ask(&mut spec, dir))?;
        validate::container(spec, &bundle)
    })?;
    trace.step("host", || host::check(&container))?;
    host::own_maps(&mut container)?;
    host::unlabelled(&mut container);
    let odd = container.process.warnings.iter().chain(&container.warnings).map(String::as_str);
    for warning in container.resources.warning().into_iter().chain(odd) {
        wanted.log.line(crate::log::Level::Warning, warning);
    }
    let shared_pids = container.namespaces.new & ns::PID == 0;
    let mut decided = trace.step("plan", || decide(wanted, container))?;
    let Decided { plan, rest, group, rdt } = &mut decided;
    let record = Record {
        oci_version: rest.version.clone(),
        id: wanted.id.to_owned(),
        process: Identity::default(),
        bundle,
        rootfs: plan.rootfs.to_string_lossy().into_owned(),
        created: state::now(),
        owner: owner(),
        shared_pids,
        annotations: std::mem::take(&mut rest.annotations),
        cgroup: group.record(),
        rdt: rdt.as_ref().map(Group::record).unwrap_or_default(),
        added: Vec::new(),
    };
    Ok(Draft { text, decided, record })
}

/// Makes a container up to its start; on failure nothing of it stays.
pub fn create(store: &Store, wanted: &Wanted<'_>, terminal: &mut dyn Terminal) -> Result<Born> {
    store.judge(wanted.id)?;
    // The first descriptors of all: what init doesn't keep then lies in one piece.
    let (theirs, ours) = Link::pair().map_err(|e| Error::system("make", "a pair of sockets", e))?;
    let Draft { text, decided, mut record } = draft(wanted)?;
    let Decided { mut plan, rest, mut group, rdt } = decided;
    // In a pid namespace of its own, orphans are its first process's.
    if wanted.reaps && (record.shared_pids || !rest.hooks.is_empty() || group.is_scope()) {
        subreaper()?;
    }
    listen::tell(&mut plan, wanted.listen);
    let console = terminal.socket(plan.process.terminal)?;
    let held = wanted.log.trace.step("reserve", || store.reserve(wanted.id))?;
    let shared = rdt.as_ref();
    let link = (ours, theirs);
    let made =
        make(&held, wanted, &mut record, &mut group, shared, &plan, &rest, (link, console), &text);
    match made {
        Ok((init, before)) => Ok(Born { held, init, record, hooks: rest.hooks, before, group }),
        Err(e) => {
            group.undo();
            rdt.iter().for_each(Group::undo);
            let removed = held.dir.remove();
            held.release();
            // SPEC: runtime.md §Lifecycle 3 to 5: a failure goes on with 12 and 13.
            run_poststop(&rest.hooks, &told(&record), wanted.log);
            removed.and(Err(e))
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "the parts of one container, once")]
fn make(
    held: &Held,
    wanted: &Wanted<'_>,
    record: &mut Record,
    group: &mut Cgroup,
    rdt: Option<&Group>,
    plan: &Plan,
    rest: &Rest,
    (link, console): ((Link, Link), Option<OwnedFd>),
    text: &str,
) -> Result<(Init, Before)> {
    let dir = &held.dir;
    let trace = &wanted.log.trace;
    // Written before anything exists that would have to be found again.
    let first = || dir.first_record(record).and_then(|()| dir.write_new(file::CONFIG, text));
    trace.step("record", first)?;
    wanted.notify.as_deref().map_or(Ok(()), notify::prepare)?;
    let begun = trace.begin();
    group.create()?;
    if wanted.rootless {
        // Groups that can't be made are done without: nobody is to look for them later.
        record.cgroup = group.record();
    }
    rdt.map_or(Ok(()), Group::create)?;
    trace.end("parent", "groups", begun, || group.lines());
    let fifo = wanted.waits.then(|| fifo(dir)).transpose()?;
    // In the words that runc's users and tests look for, here and below.
    wanted.log.debug(|| format!("nsexec container setup: for {} at {}", wanted.id, record.rootfs));
    let launched = launch(Launch {
        plan,
        rest,
        state: told(record),
        cgroup: group,
        rdt: &record.rdt,
        fifo,
        now: wanted.now,
        console,
        preserve: wanted.preserve + wanted.listen,
        lock: held.descriptor(),
        link,
        trace: trace.clone(),
        log: wanted.log,
    });
    let (init, before) = launched.map_err(|e| match record.cgroup.oom_kills() {
        Some(1..) => cgroup::short_of_memory(&e),
        _ if group.is_starved() => cgroup::short_of_memory(&e),
        _ => e,
    })?;
    wanted
        .log
        .debug(|| format!("child process in init(): {} is where its program starts", init.pid));
    let recorded = trace.step("record", || {
        record.process = Identity::of(init.pid)?;
        dir.record(record)
    });
    let recorded = recorded.and_then(|()| {
        // Only now may init outlive this process, for only now can it be found again.
        if wanted.waits { init.say(&Message::Go) } else { Ok(()) }
    });
    recorded.inspect_err(|_| {
        init.discard();
        before.restore();
    })?;
    wanted
        .log
        .debug(|| "init: closing the pipe to signal completion: only the start is missing".into());
    Ok((init, before))
}

/// Takes orphans of those that are made here.
pub fn subreaper() -> Result<()> {
    nix::sys::prctl::set_child_subreaper(true)
        .map_err(|e| Error::system("become", "a subreaper", e))
}

/// What hooks are told of a recorded container.
pub fn told(record: &Record) -> hooks::State {
    hooks::State {
        version: record.oci_version.clone(),
        id: record.id.clone(),
        bundle: record.bundle.clone(),
        annotations: record.annotations.clone(),
    }
}

fn fifo(dir: &Dir) -> Result<OwnedFd> {
    let path = dir.file(file::START);
    let system = |e| Error::system("mkfifo", path.to_string_lossy(), e);
    nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).map_err(system)?;
    // KERNEL: fifo(7): read and write together never waits for the other end.
    open(&path, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).map_err(system)
}

/// The name of the user who runs this, by the host's /etc/passwd; as runc, `#UID` without one.
fn owner() -> String {
    let uid = dhow_kernel::process::executed_by();
    if uid == 0 {
        // Whatever else that file calls it.
        return "root".to_owned();
    }
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = text
        .lines()
        .find(|line| line.split(':').nth(2).and_then(|id| id.parse::<u32>().ok()) == Some(uid));
    line.and_then(|line| line.split(':').next()).map_or_else(|| format!("#{uid}"), str::to_owned)
}

/// Runs the poststart hooks. A failing one ends the container's process.
///
/// SPEC: runtime.md §Lifecycle 9.
pub fn poststart(hooks: &Hooks, record: &Record) -> Result<()> {
    if hooks.poststart.is_empty() {
        return Ok(());
    }
    let env = Vector::environment();
    let scene = told(record).outside("poststart", "running", record.process.pid, &env);
    scene.run(&hooks.poststart).inspect_err(|_| {
        let _ = kill_and_wait(record);
    })
}

/// Removes a container whose process has ended: groups, directory, then the poststop hooks.
pub fn destroy(held: &Held, record: &Record, log: &Log) -> Result<()> {
    let config = held.dir.config();
    remove(held, record, log, Some(|| poststop(config, record, log)))
}

/// As [`destroy`], by who has made it and knows its hooks.
pub fn destroy_own(born: &Born, log: &Log) -> Result<()> {
    let poststop = || run_poststop(&born.hooks, &told(&born.record), log);
    let poststop = (!born.hooks.poststop.is_empty()).then_some(poststop);
    remove(&born.held, &born.record, log, poststop)
}

/// Without hooks the process ends soon, and with it the hold.
fn remove(held: &Held, record: &Record, log: &Log, poststop: Option<impl FnOnce()>) -> Result<()> {
    let trace = &log.trace;
    // What outlived the first process ends with it; in a pid namespace of its own nothing does,
    // and processes in a group below may be another container's.
    // Looked at first, since killing all means freezing, which takes its time.
    if record.shared_pids && !record.cgroup.pids().is_ok_and(|left| left.is_empty()) {
        let _ = record.cgroup.kill(libc::SIGKILL);
    }
    // As runc: what can't be removed can still be found, and its removal tried again.
    trace.step("groups", || record.cgroup.delete().and(record.rdt.remove()))?;
    let directory = trace.step("remove", || held.dir.remove());
    if let Some(poststop) = poststop {
        // The id is free, and who waits for it need not wait for the hooks.
        held.release();
        trace.step("poststop", poststop);
    }
    directory
}

fn poststop(config: Result<String>, record: &Record, log: &Log) {
    let Ok(text) = config else { return };
    if !text.contains("\"poststop\"") {
        return;
    }
    let hooks = validate::parse::<validate::spec::Spec<'_>>(&text)
        .and_then(|spec| validate::hook::read(&spec.hooks));
    if let Ok(hooks) = hooks {
        run_poststop(&hooks, &told(record), log);
    }
}

/// SPEC: runtime.md §Lifecycle 13: a failing poststop hook is told, and the next ones run.
pub fn run_poststop(hooks: &Hooks, state: &hooks::State, log: &Log) {
    if hooks.poststop.is_empty() {
        return;
    }
    let env = Vector::environment();
    for e in state.outside("poststop", "stopped", 0, &env).run_each(&hooks.poststop) {
        log.line(Level::Warning, &e.to_string());
    }
}

/// How long a killed process may take to go, in milliseconds.
const PATIENCE: u16 = 10_000;

/// When one that is killed has mostly gone, in milliseconds.
const SOON: u16 = 500;

/// Kills a container's process and waits until it is gone.
pub fn kill_and_wait(record: &Record) -> Result<()> {
    let Some(process) = record.process.open()? else { return Ok(()) };
    let _ = record.cgroup.thaw();
    kill(&process, &record.id)?;
    if !gone(&process, &record.id, SOON)? {
        // KERNEL: cgroup-v1 freezer: what is frozen in another's group doesn't die before it is out.
        let _ = record.cgroup.take_back(record.process.pid);
    }
    end(&process, &record.id)
}

/// Whether a container's first process ends by itself in the time given.
pub fn ends_within(record: &Record, milliseconds: u16) -> bool {
    let process = match record.process.open() {
        Ok(Some(process)) => process,
        gone => return gone.is_ok(),
    };
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::from(milliseconds)), Ok(1))
}

/// Waits until a process that was ended has gone and its pid is free: its parent may take a moment
/// to collect it. One that never does is not waited for.
pub fn wait_until_collected(process: &OwnedFd) {
    /// Looks at it in that time.
    const LOOKS: u16 = 50;
    let there = |_: &u16| dhow_kernel::process::pidfd_signal(process.as_fd(), 0).is_ok();
    for _ in (0..LOOKS).take_while(there) {
        // KERNEL: pidfd_open(2): since 6.9 a hangup, which comes unasked, says that it was collected.
        let mut fds = [PollFd::new(process.as_fd(), PollFlags::empty())];
        let _ = poll(&mut fds, PollTimeout::from(SOON / LOOKS));
    }
}

/// Ends whoever is making the container in this directory. Its hooks end with it, and init
/// ends by itself.
pub fn end_maker(dir: &Dir) -> Result<()> {
    let Some(pid) = dir.holder() else { return Ok(()) };
    let system = |e| Error::system("end the creation by process", pid.to_string(), e);
    let maker = match dhow_kernel::process::pidfd_open(pid) {
        Err(nix::errno::Errno::ESRCH) => return Ok(()),
        other => other.map_err(system)?,
    };
    // The number may have become another's before the handle was there.
    if dir.holder() == Some(pid) { end(&maker, &pid.to_string()) } else { Ok(()) }
}

fn end(process: &OwnedFd, what: &str) -> Result<()> {
    kill(process, what)?;
    if gone(process, what, PATIENCE)? {
        return Ok(());
    }
    Err(Error::rule(format!("{what} doesn't die of SIGKILL")))
}

fn kill(process: &OwnedFd, what: &str) -> Result<()> {
    match dhow_kernel::process::pidfd_signal(process.as_fd(), libc::SIGKILL) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(e) => Err(Error::system("kill", what, e)),
    }
}

fn gone(process: &OwnedFd, what: &str, within: u16) -> Result<bool> {
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(within))
        .map(|n| n > 0)
        .map_err(|e| Error::system("kill", what, e))
}
