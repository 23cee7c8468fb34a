//! From a profile to ranges of call numbers, architecture by architecture.

use dhow_kernel::seccomp::Instruction;

use super::action::{self, Condition, Op};
use super::arch::{Arch, Named, X32_MARK};
use super::config::{Arg, Seccomp, Text};
use super::emit::{Leaf, Program, Rule, Section};
use super::error::{Error, Reason};
use super::syscalls;
use crate::log::{Level, Log};

/// KERNEL: BPF_MAXINSNS.
const MAX_INSNS: usize = 4096;

/// A filter to load with seccomp(2), after which calls are judged.
#[derive(Debug, Clone)]
pub struct Filter {
    /// The instructions.
    pub program: Vec<Instruction>,
    /// seccomp(2)'s flags; the call returns an fd when they have
    /// `SECCOMP_FILTER_FLAG_NEW_LISTENER`, which is when there is a listener.
    pub flags: u32,
    /// Who is to get that fd.
    pub listener: Option<Listener>,
}

/// The agent that answers `SCMP_ACT_NOTIFY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its socket's path, in the runtime's mount namespace.
    pub path: String,
    /// `metadata` of the container process state sent to it.
    pub metadata: String,
    /// Whether a process under the filter can pass the fd on without having to wait for the agent.
    pub passes: bool,
}

/// Compiles a profile for the machine this program was built for.
///
/// `None` when the profile asks for nothing ([`Seccomp::is_empty`]).
///
/// SPEC: config-linux.md §Seccomp. Where the spec leaves open what several
/// rules for one call mean, the first match decides.
/// DIFFERS: libseccomp, and runc with it, lets an unconditional rule win over
/// conditional ones wherever it stands, and drops rules whose action is the
/// default one; profiles whose rules don't contradict each other mean the same
/// to both.
pub fn compile(profile: &Seccomp) -> Result<Option<Filter>, Error> {
    if profile.is_empty() {
        return Ok(None);
    }
    let native = Arch::native().ok_or_else(|| Error::new("", Reason::NoTable))?;
    compile_for(native, profile).map(Some)
}

/// Fails at the first name that is no system call of this machine.
pub fn all_known(profile: &Seccomp) -> Result<(), Error> {
    let native = Arch::native().ok_or_else(|| Error::new("", Reason::NoTable))?;
    for (rule, call) in profile.syscalls.iter().enumerate() {
        let unknown = |name: &&Text<'_>| syscalls::find(native, &name.0).is_none();
        if let Some((at, name)) = call.names.iter().enumerate().find(|(_, name)| unknown(name)) {
            let reason = Reason::Unknown { what: "system call", name: name.0.to_string() };
            return Err(Error::new(format!("/syscalls/{rule}/names/{at}"), reason));
        }
    }
    Ok(())
}

/// With `--debug`, says what of a profile is left out and how it is loaded, in runc's words.
pub fn debug(profile: &Seccomp, log: &Log) {
    let Some(native) = Arch::native().filter(|_| log.debugs() && !profile.is_empty()) else {
        return;
    };
    let names = profile.syscalls.iter().flat_map(|call| &call.names);
    for name in names.filter(|name| syscalls::find(native, &name.0).is_none()) {
        log.line(Level::Debug, &format!("unknown seccomp syscall {:?} ignored", name.0));
    }
    let notifies = profile.syscalls.iter().any(|call| call.action == "SCMP_ACT_NOTIFY");
    if let Ok(flags) = flags(profile, notifies) {
        log.line(Level::Debug, &format!("seccomp filter flags: {flags}"));
    }
}

pub(super) fn compile_for(native: Arch, profile: &Seccomp) -> Result<Filter, Error> {
    let default = action::answer(&profile.default_action, profile.default_errno_ret)
        .map_err(|fault| fault.at("", "defaultAction", "defaultErrnoRet"))?;
    if default == action::NOTIFY {
        return Err(Error::new("/defaultAction", Reason::Notify("as default action")));
    }
    let mut tables = Tables::new(native, default, architectures(native, profile)?);
    for at in 0..profile.syscalls.len() {
        tables.add(profile, at)?;
    }
    let listener = listener(profile)?;
    let flags = flags(profile, listener.is_some())?;
    let program = tables.assemble();
    if program.len() > MAX_INSNS {
        return Err(Error::new("", Reason::TooLong(program.len())));
    }
    Ok(Filter { program, flags, listener })
}

/// The architectures to compile for, the native one first.
fn architectures(native: Arch, profile: &Seccomp) -> Result<Vec<Arch>, Error> {
    let mut list = vec![native];
    for (at, name) in profile.architectures.iter().enumerate() {
        match native.resolve(&name.0) {
            Some(Named::Compiled(arch)) if !list.contains(&arch) => list.push(arch),
            Some(_) => {}
            None => {
                let reason = Reason::Unknown { what: "architecture", name: name.0.to_string() };
                return Err(Error::new(format!("/architectures/{at}"), reason));
            }
        }
    }
    Ok(list)
}

fn listener(profile: &Seccomp) -> Result<Option<Listener>, Error> {
    if profile.listener_path.is_empty() && !profile.listener_metadata.is_empty() {
        return Err(Error::new("/listenerMetadata", Reason::Requires("listenerPath")));
    }
    let Some(at) = profile.syscalls.iter().position(|call| call.action == "SCMP_ACT_NOTIFY") else {
        return Ok(None);
    };
    if profile.listener_path.is_empty() {
        let pointer = format!("/syscalls/{at}/action");
        return Err(Error::new(pointer, Reason::Requires("listenerPath")));
    }
    let asks = profile.syscalls.iter().filter(|call| call.action == "SCMP_ACT_NOTIFY");
    let mut asks = asks.flat_map(|call| &call.names);
    Ok(Some(Listener {
        path: profile.listener_path.clone().into_owned(),
        metadata: profile.listener_metadata.clone().into_owned(),
        passes: !asks.any(|name| matches!(&*name.0, "read" | "sendmsg")),
    }))
}

fn flags(profile: &Seccomp, notifies: bool) -> Result<u32, Error> {
    // As runc: absent flags mean SPEC_ALLOW, an empty list means none.
    let mut flags = match &profile.flags {
        None => action::FLAG_SPEC_ALLOW,
        Some(_) => 0,
    };
    for (at, name) in profile.flags.iter().flatten().enumerate() {
        flags |= action::flag(&name.0).ok_or_else(|| {
            let reason = Reason::Unknown { what: "flag", name: name.0.to_string() };
            Error::new(format!("/flags/{at}"), reason)
        })?;
    }
    if notifies {
        flags |= action::FLAG_NEW_LISTENER;
    } else if flags & action::FLAG_WAIT_KILLABLE_RECV != 0 {
        // KERNEL: EINVAL without a listener: there is nobody to wait for.
        let waits = |name: &Text| name.0 == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
        let at = profile.flags.iter().flatten().position(waits).unwrap_or_default();
        return Err(Error::new(format!("/flags/{at}"), Reason::Requires("a SCMP_ACT_NOTIFY rule")));
    }
    Ok(flags)
}

/// The rules of an architecture.
struct Table {
    arch: Arch,
    rules: Vec<Rule>,
    /// The highest number that a name of the profile has.
    highest: Option<u32>,
    /// Of `socketcall` and `ipc`, where there are such.
    multiplexers: Option<(u32, u32)>,
}

/// The rules, per architecture.
struct Tables {
    native: Arch,
    default: u32,
    archs: Vec<Table>,
    pool: Vec<Condition>,
}

impl Tables {
    fn new(native: Arch, default: u32, archs: Vec<Arch>) -> Self {
        let table = |arch: Arch| Table {
            arch,
            rules: Vec::with_capacity(512),
            highest: None,
            multiplexers: arch.multiplexers(),
        };
        let archs = archs.into_iter().map(table).collect();
        Self { native, default, archs, pool: Vec::new() }
    }

    fn add(&mut self, profile: &Seccomp, at: usize) -> Result<(), Error> {
        let call = &profile.syscalls[at];
        let pointer = || format!("/syscalls/{at}");
        let answer = action::answer(&call.action, call.errno_ret)
            .map_err(|fault| fault.at(&pointer(), "action", "errnoRet"))?;
        if call.names.is_empty() {
            return Err(Error::new(pointer() + "/names", Reason::NoName));
        }
        let alternatives = self.conditions(&call.args, pointer)?;
        for (index, name) in call.names.iter().enumerate() {
            if name.0.is_empty() {
                return Err(Error::new(format!("/syscalls/{at}/names/{index}"), Reason::NoName));
            }
            // The runtime itself reports the listener's fd by write(2), under
            // the filter; the agent that could let it pass has no fd yet.
            if answer == action::NOTIFY && name.0 == "write" {
                let pointer = format!("/syscalls/{at}/names/{index}");
                return Err(Error::new(
                    pointer,
                    Reason::Notify("for the write syscall: it reports the listener"),
                ));
            }
            self.name(&name.0, answer, &alternatives);
        }
        Ok(())
    }

    /// Puts conditions into the pool; any of the returned ranges may hold.
    ///
    /// As runc and crun: conditions on different arguments must all hold, but
    /// when two speak of the same argument, each is a rule of its own.
    fn conditions(
        &mut self,
        args: &[Arg],
        pointer: impl Fn() -> String,
    ) -> Result<Vec<(usize, usize)>, Error> {
        let from = self.pool.len();
        let (mut seen, mut repeated) = (0_u32, false);
        for (at, arg) in args.iter().enumerate() {
            let condition = Condition::read(arg, || format!("{}/args/{at}", pointer()))?;
            repeated |= seen & 1 << condition.index != 0;
            seen |= 1 << condition.index;
            self.pool.push(condition);
        }
        let to = self.pool.len();
        Ok(if repeated { (from..to).map(|at| (at, at + 1)).collect() } else { vec![(from, to)] })
    }

    /// Adds a rule for every number that `name` has.
    fn name(&mut self, name: &str, answer: u32, alternatives: &[(usize, usize)]) {
        let Some(numbers) = syscalls::find(self.native, name) else { return };
        for Table { arch, rules, highest, multiplexers } in &mut self.archs {
            if let Some(nr) = numbers.on(*arch) {
                let all = alternatives.iter().map(|&(from, to)| Rule { nr, answer, from, to });
                rules.extend(all);
                if highest.is_none_or(|highest| highest < nr) {
                    *highest = Some(nr);
                }
            }
            let Some((socketcall, ipc)) = *multiplexers else { continue };
            let conditional = alternatives.iter().any(|(from, to)| from != to);
            // The arguments of a multiplexed call lie in memory, where a
            // filter can't look. DIFFERS: libseccomp then drops the condition,
            // so that socket(AF_ALG) refused is socketcall(socket, AF_ALG)
            // allowed; here what can't be shown to be allowed isn't, and what
            // may be forbidden is. CVE: 2026-31431.
            if conditional && action::leniency(answer) > action::leniency(self.default) {
                continue;
            }
            if let Some(call) = syscalls::multiplexed(name) {
                let from = self.pool.len();
                let value = call.call;
                // KERNEL: an int, whatever the register's width.
                let mask = if arch.is_wide() { call.mask & 0xffff_ffff } else { call.mask };
                self.pool.push(Condition { index: 0, op: Op::Equal, mask, value });
                let nr = if call.ipc { ipc } else { socketcall };
                rules.push(Rule { nr, answer, from, to: from + 1 });
            }
        }
    }

    /// As runc: calls above the highest that the profile knows are younger
    /// than it, and get ENOSYS, so that programs fall back to older ones.
    fn beyond(&self, table: &Table) -> u32 {
        let permissive = action::leniency(self.default) >= action::leniency(action::TRACE);
        if permissive || table.highest.is_none() {
            self.default
        } else {
            action::ERRNO | libc::ENOSYS as u32
        }
    }

    fn assemble(mut self) -> Vec<Instruction> {
        for table in &mut self.archs {
            table.rules.sort_by_key(|rule| rule.nr);
        }
        let sections: Vec<Section> =
            self.archs.iter().filter_map(|table| self.section(table)).collect();
        Program::assemble(&sections, &self.pool, action::KILL_THREAD, self.native.is_big_endian())
    }

    /// The ranges of one architecture word; x32 has x86_64's.
    fn section(&self, table: &Table) -> Option<Section> {
        let (arch, rules) = (table.arch, &table.rules);
        if arch == Arch::X32 {
            return None;
        }
        let mut cover = Cover { ranges: Vec::with_capacity(256), default: self.default };
        let mut all = rules.clone();
        let beyond = self.beyond(table);
        if let Some(nr) = arch.indirect().filter(|_| beyond != self.default) {
            cover.push(nr, Leaf::Return(beyond));
            cover.rules(table, 0, nr + 1, beyond);
        } else {
            cover.rules(table, 0, 0, beyond);
        }
        if arch == Arch::X86_64 {
            if let Some(x32) = self.archs.iter().find(|other| other.arch == Arch::X32) {
                cover.rules(x32, rules.len(), X32_MARK, self.beyond(x32));
                all.extend_from_slice(&x32.rules);
            } else {
                // As libseccomp: an architecture that the profile doesn't
                // name; but -1 is what a tracer leaves of a skipped call.
                cover.push(X32_MARK, Leaf::Return(action::KILL_THREAD));
                cover.push(u32::MAX, Leaf::Return(self.default));
            }
        }
        Some(Section { arch, ranges: cover.ranges, rules: all })
    }
}

/// Ranges of call numbers under construction, by their first number.
struct Cover {
    ranges: Vec<(u32, Leaf)>,
    default: u32,
}

impl Cover {
    fn push(&mut self, first: u32, leaf: Leaf) {
        if self.ranges.last().is_none_or(|(_, last)| *last != leaf) {
            self.ranges.push((first, leaf));
        }
    }

    /// Covers the numbers from `first` on with sorted rules, whose list is
    /// known to the leaves by an index `shift` higher.
    fn rules(&mut self, table: &Table, shift: usize, first: u32, beyond: u32) {
        // A multiplexer may be above all that has a number of its own.
        let younger = |nr: u32| table.highest.is_some_and(|highest| nr > highest);
        let default = self.default;
        let otherwise = |nr: u32| if younger(nr) { beyond } else { default };
        let mut next = first;
        let mut at = 0;
        for group in table.rules.chunk_by(|a, b| a.nr == b.nr) {
            let nr = group[0].nr;
            if nr > next {
                self.push(next, Leaf::Return(otherwise(next)));
            }
            self.push(nr, leaf(group, shift + at, otherwise(nr)));
            next = nr + 1;
            at += group.len();
        }
        self.push(next, Leaf::Return(beyond));
    }
}

/// What the rules for one call come to, first match first.
fn leaf(group: &[Rule], from: usize, default: u32) -> Leaf {
    let certain = group.iter().position(|rule| rule.from == rule.to);
    let otherwise = certain.map_or(default, |at| group[at].answer);
    let mut tried = &group[..certain.unwrap_or(group.len())];
    while let [rest @ .., last] = tried {
        if last.answer != otherwise {
            break;
        }
        tried = rest;
    }
    if tried.is_empty() {
        Leaf::Return(otherwise)
    } else {
        Leaf::Rules { from, to: from + tried.len(), otherwise }
    }
}
