//! The steps of init, and their order.

use dhow_kernel::process::SIBLING;

use crate::seccomp::Filter;
use crate::validate::process::Process;

/// One step of init. Its name is its file in `init/`, the log's field and the error's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "each is documented by its file in init/")]
pub enum Phase {
    Namespaces = 1,
    Session,
    Network,
    Root,
    Mounts,
    Devices,
    Cgroup,
    Hooks,
    Pivot,
    Console,
    System,
    Mask,
    Schedule,
    Seccomp,
    Credentials,
    Capabilities,
    Ready,
    Start,
    Exec,
    Birth,
}

impl Phase {
    /// All of them, for reading one back from a byte.
    pub const ALL: [Self; 20] = [
        Self::Namespaces,
        Self::Session,
        Self::Network,
        Self::Root,
        Self::Mounts,
        Self::Devices,
        Self::Cgroup,
        Self::Hooks,
        Self::Pivot,
        Self::Console,
        Self::System,
        Self::Mask,
        Self::Schedule,
        Self::Seccomp,
        Self::Credentials,
        Self::Capabilities,
        Self::Ready,
        Self::Start,
        Self::Exec,
        Self::Birth,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Session => "session",
            Self::Network => "network",
            Self::Root => "root",
            Self::Mounts => "mounts",
            Self::Devices => "devices",
            Self::Cgroup => "cgroup",
            Self::Hooks => "hooks",
            Self::Pivot => "pivot",
            Self::Console => "console",
            Self::System => "system",
            Self::Mask => "mask",
            Self::Schedule => "schedule",
            Self::Seccomp => "seccomp",
            Self::Credentials => "credentials",
            Self::Capabilities => "capabilities",
            Self::Ready => "ready",
            Self::Start => "start",
            Self::Exec => "exec",
            Self::Birth => "birth",
        }
    }

    /// The phase of a byte that crossed the fork.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| *phase as u8 == byte)
    }
}

/// What decides the order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts {
    /// It has a new network namespace.
    pub network: bool,
    /// There are prestart, createRuntime or createContainer hooks.
    pub hooks: bool,
    /// It gets a terminal.
    pub console: bool,
    /// Scheduling, priorities or a memory policy are set.
    pub schedule: bool,
    /// It has a system call filter.
    pub filter: bool,
    /// It has no_new_privs.
    pub nnp: bool,
    /// The filter has to be there before the start: an agent gets its descriptor from the
    /// runtime, which `create` doesn't leave waiting; or startContainer hooks run under it.
    pub early: bool,
    /// Processes of somebody else's are to see it: it is born among them, and born last.
    pub seen: bool,
    /// It can be born under its filter, too.
    pub fits: bool,
}

/// The order of init's steps.
pub fn phases(f: Facts) -> Vec<Phase> {
    use Phase::*;
    let mut p = vec![Namespaces, Session];
    if f.network {
        p.push(Network);
    }
    p.push(Root);
    p.extend([Mounts, Devices]);
    // Init is in its groups since Namespaces; the mounts are made of directories of the host's,
    // as seen from outside of the cgroup namespace.
    p.push(Cgroup);
    if f.hooks {
        p.push(Hooks); // SPEC: runtime.md §Lifecycle: createContainer precedes pivot_root
    }
    p.push(Pivot);
    if f.console {
        p.push(Console); // CVE: 2025-52565: only the container's own devpts, so after the pivot
    }
    p.extend([System, Mask]);
    if f.schedule {
        // KERNEL: sched(7): a SCHED_DEADLINE process can't fork, so after the hooks; the filter
        // may deny these calls.
        p.push(Schedule);
    }
    p.push(Credentials);
    p.extend(last(f));
    p.push(Exec);
    if f.seen {
        bear(&mut p, f);
    }
    p
}

/// Puts the birth where nothing is left that those who look on may not have: capabilities neither.
///
/// Where the filter comes before those go and makes no processes, the birth comes before it.
pub fn bear(phases: &mut Vec<Phase>, f: Facts) {
    let under = !f.filter || f.nnp || f.fits;
    let at = |phase| phases.iter().position(|p| *p == phase).unwrap_or(phases.len());
    let at = if under { at(Phase::Capabilities) + 1 } else { at(Phase::Seccomp) };
    phases.insert(at.min(phases.len()), Phase::Birth);
}

/// The end of both lists, of init and of exec: when the filter comes.
///
/// As late as it can be: what is done under it, the container's filter must allow.
pub fn last(f: Facts) -> &'static [Phase] {
    use Phase::*;
    match (f.filter, f.nnp) {
        (false, _) => &[Capabilities, Ready, Start],
        // KERNEL: seccomp(2): without no_new_privs loading needs CAP_SYS_ADMIN.
        (true, false) => &[Seccomp, Capabilities, Ready, Start],
        (true, true) if f.early => &[Capabilities, Seccomp, Ready, Start],
        (true, true) => &[Capabilities, Ready, Start, Seccomp],
    }
}

/// Whether it can be born under its filter, where that is loaded before its capabilities go. An agent
/// would be told of the wrong process.
pub fn fits(filter: Option<&Filter>, p: &Process) -> bool {
    let Some(filter) = filter else { return true };
    let terminal = [0, libc::TIOCSCTTY, 0];
    filter.listener.is_none()
        && filter.lets(libc::SYS_clone, [SIBLING[0], SIBLING[1], 0])
        && filter.lets(libc::SYS_exit_group, [0; 3])
        && filter.lets(libc::SYS_setsid, [0; 3])
        && filter.lets(libc::SYS_prlimit64, [0, libc::RLIMIT_NPROC.into(), 0])
        && (!p.terminal || filter.lets(libc::SYS_ioctl, terminal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(f: Facts, a: Phase, b: Phase) -> bool {
        let order = phases(f);
        let at = |p| order.iter().position(|x| *x == p).unwrap();
        at(a) < at(b)
    }

    const FULL: Facts = Facts {
        network: true,
        hooks: true,
        console: true,
        schedule: true,
        filter: true,
        nnp: false,
        early: false,
        seen: false,
        fits: false,
    };

    #[test]
    fn scheduling_is_set_where_nothing_forks_any_more_and_no_filter_forbids_it() {
        assert!(before(FULL, Phase::Hooks, Phase::Schedule));
        assert!(before(FULL, Phase::Schedule, Phase::Seccomp));
        assert!(!phases(Facts::default()).contains(&Phase::Schedule));
    }

    #[test]
    fn filter_without_nnp_loads_before_caps_drop() {
        assert!(before(FULL, Phase::Seccomp, Phase::Capabilities));
        assert!(before(FULL, Phase::Credentials, Phase::Seccomp));
    }

    #[test]
    fn filter_with_nnp_loads_last() {
        let f = Facts { nnp: true, ..FULL };
        assert!(before(f, Phase::Start, Phase::Seccomp));
        assert!(before(f, Phase::Seccomp, Phase::Exec));
    }

    #[test]
    fn filter_with_an_agent_or_start_hooks_loads_before_the_start_and_after_the_caps_drop() {
        let f = Facts { nnp: true, early: true, ..FULL };
        assert!(before(f, Phase::Credentials, Phase::Seccomp));
        assert!(before(f, Phase::Seccomp, Phase::Ready));
        assert_eq!(phases(Facts { early: true, ..FULL }), phases(FULL));
    }

    #[test]
    fn what_others_see_is_born_inside_and_without_what_it_may_not_have() {
        assert!(!phases(FULL).contains(&Phase::Birth));
        let of = |filter, nnp, early, fits| Facts { filter, nnp, early, fits, seen: true, ..FULL };
        let plain = of(false, false, false, false);
        for f in [plain, of(true, false, true, true), of(true, true, true, false)] {
            assert!(before(f, Phase::Capabilities, Phase::Birth), "{f:?}");
            assert!(before(f, Phase::Birth, Phase::Ready), "{f:?}");
        }
        for f in [of(true, true, true, false), of(true, true, false, false)] {
            assert!(before(f, Phase::Birth, Phase::Seccomp), "{f:?}");
        }
        let strict = of(true, false, false, false);
        assert!(before(strict, Phase::Credentials, Phase::Birth));
        assert!(before(strict, Phase::Birth, Phase::Seccomp));
    }

    #[test]
    fn create_container_hooks_run_between_mounts_and_pivot() {
        assert!(before(FULL, Phase::Devices, Phase::Hooks));
        assert!(before(FULL, Phase::Hooks, Phase::Pivot));
    }

    #[test]
    fn the_console_is_opened_inside() {
        assert!(before(FULL, Phase::Pivot, Phase::Console));
    }

    #[test]
    fn every_phase_survives_the_wire() {
        for phase in Phase::ALL {
            assert_eq!(Phase::from_byte(phase as u8), Some(phase));
        }
        assert_eq!(Phase::from_byte(0), None);
    }
}
