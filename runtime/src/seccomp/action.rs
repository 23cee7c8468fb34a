//! The words of a profile: actions, operators, flags, and what the kernel
//! calls them.

use super::error::{Error, Reason};

/// Every action the spec lists, sorted.
pub const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// Every operator the spec lists, sorted.
pub const OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];

/// Every flag the spec lists.
pub const FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

// KERNEL: linux/seccomp.h. The upper half of a filter's answer is the action,
// the lower its datum.
pub(super) const KILL_THREAD: u32 = 0x0000_0000;
pub(super) const KILL_PROCESS: u32 = 0x8000_0000;
pub(super) const TRAP: u32 = 0x0003_0000;
pub(super) const ERRNO: u32 = 0x0005_0000;
pub(super) const NOTIFY: u32 = 0x7fc0_0000;
pub(super) const TRACE: u32 = 0x7ff0_0000;
pub(super) const LOG: u32 = 0x7ffc_0000;
pub(super) const ALLOW: u32 = 0x7fff_0000;

pub(super) const FLAG_LOG: u32 = 1 << 1;
pub(super) const FLAG_SPEC_ALLOW: u32 = 1 << 2;
pub(super) const FLAG_NEW_LISTENER: u32 = 1 << 3;
pub(super) const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// What is wrong with an action and its errno.
#[derive(Debug)]
pub(super) enum Fault {
    Action(Reason),
    Errno(Reason),
}

impl Fault {
    /// Places the fault in the object at `pointer`, given its fields' names.
    pub(super) fn at(self, pointer: &str, action: &str, errno: &str) -> Error {
        match self {
            Self::Action(reason) => Error::new(format!("{pointer}/{action}"), reason),
            Self::Errno(reason) => Error::new(format!("{pointer}/{errno}"), reason),
        }
    }
}

/// What the kernel is to answer for the action `name`.
pub(super) fn answer(name: &str, errno: Option<u32>) -> Result<u32, Fault> {
    let bare = match name {
        "SCMP_ACT_ERRNO" => ERRNO,
        "SCMP_ACT_TRACE" => TRACE,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => KILL_PROCESS,
        "SCMP_ACT_TRAP" => TRAP,
        "SCMP_ACT_ALLOW" => ALLOW,
        "SCMP_ACT_LOG" => LOG,
        "SCMP_ACT_NOTIFY" => NOTIFY,
        other => {
            return Err(Fault::Action(Reason::Unknown { what: "action", name: other.to_owned() }));
        }
    };
    match (bare, errno) {
        (ERRNO | TRACE, None) => Ok(bare | libc::EPERM as u32),
        (ERRNO | TRACE, Some(errno)) if errno > 0xffff => {
            Err(Fault::Errno(Reason::ErrnoTooLarge(errno)))
        }
        (ERRNO | TRACE, Some(errno)) => Ok(bare | errno),
        (_, None) => Ok(bare),
        (_, Some(_)) => Err(Fault::Errno(Reason::NoErrno { action: name.to_owned() })),
    }
}

/// How much an answer lets happen; KERNEL: seccomp(2), in order of precedence.
pub(super) fn leniency(answer: u32) -> u32 {
    match answer & 0xffff_0000 {
        KILL_PROCESS => 0,
        other => other + 1,
    }
}

/// seccomp(2)'s flags for the profile's, without the listener's.
pub(super) fn flag(name: &str) -> Option<u32> {
    Some(match name {
        // The filter is loaded by a single thread, which then executes.
        "SECCOMP_FILTER_FLAG_TSYNC" => 0,
        "SECCOMP_FILTER_FLAG_LOG" => FLAG_LOG,
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => FLAG_SPEC_ALLOW,
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => FLAG_WAIT_KILLABLE_RECV,
        _ => return None,
    })
}

/// Those of [`FLAGS`] that this machine's kernel takes.
pub fn supported_flags() -> Vec<&'static str> {
    let takes = |name: &&&str| {
        let flag = flag(name).unwrap_or_default();
        // KERNEL: that one is nothing without a listener.
        let with = if flag == FLAG_WAIT_KILLABLE_RECV { FLAG_NEW_LISTENER } else { 0 };
        dhow_kernel::seccomp::flags_available(u64::from(flag | with))
    };
    FLAGS.iter().filter(takes).copied().collect()
}

/// A comparison of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// `(argument & mask) == value`; the mask is all ones for a plain `==`.
    Equal,
    /// `argument != value`.
    NotEqual,
    /// `argument > value`.
    Greater,
    /// `argument >= value`.
    GreaterEqual,
    /// `argument < value`.
    Less,
    /// `argument <= value`.
    LessEqual,
}

/// One condition of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    pub index: u32,
    pub op: Op,
    pub mask: u64,
    pub value: u64,
}

impl Condition {
    /// Reads a condition of a profile; `at` is its JSON pointer.
    pub(super) fn read(arg: &super::config::Arg, at: impl Fn() -> String) -> Result<Self, Error> {
        let op = match arg.op.as_ref() {
            "SCMP_CMP_EQ" | "SCMP_CMP_MASKED_EQ" => Op::Equal,
            "SCMP_CMP_NE" => Op::NotEqual,
            "SCMP_CMP_GT" => Op::Greater,
            "SCMP_CMP_GE" => Op::GreaterEqual,
            "SCMP_CMP_LT" => Op::Less,
            "SCMP_CMP_LE" => Op::LessEqual,
            other => {
                let reason = Reason::Unknown { what: "operator", name: other.to_owned() };
                return Err(Error::new(at() + "/op", reason));
            }
        };
        if arg.index > 5 {
            return Err(Error::new(at() + "/index", Reason::ArgIndex(arg.index)));
        }
        Ok(if arg.op == "SCMP_CMP_MASKED_EQ" {
            // As libseccomp: bits outside the mask don't count on either side.
            Self { index: arg.index, op, mask: arg.value, value: arg.value_two & arg.value }
        } else {
            Self { index: arg.index, op, mask: u64::MAX, value: arg.value }
        })
    }
}
