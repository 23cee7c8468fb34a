//! What can be wrong with a profile, and where.

use std::fmt;

/// A profile that can't be compiled: the place in config.json and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// JSON pointer, such as `/linux/seccomp/syscalls/3/args/0/op`.
    pub pointer: String,
    /// What is wrong there.
    pub reason: Reason,
}

/// Why a profile is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A name that is none of those the spec lists.
    Unknown {
        /// "action", "operator", "architecture" or "flag".
        what: &'static str,
        /// The name as written.
        name: String,
    },
    /// SPEC: an errno with an action that has none must fail.
    NoErrno {
        /// The action's name.
        action: String,
    },
    /// The errno doesn't fit the 16 bits the kernel gives it.
    ErrnoTooLarge(u32),
    /// A call has six arguments.
    ArgIndex(u32),
    /// `names` must contain an entry, and no entry may be empty.
    NoName,
    /// `SCMP_ACT_NOTIFY` where it would stop the runtime itself.
    Notify(&'static str),
    /// A field that another one requires.
    Requires(&'static str),
    /// More instructions than the kernel takes.
    TooLong(usize),
    /// There is no table of system calls for the machine this was built for.
    NoTable,
}

impl Error {
    pub(super) fn new(pointer: impl Into<String>, reason: Reason) -> Self {
        Self { pointer: format!("/linux/seccomp{}", pointer.into()), reason }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { what, name } => write!(f, "{name:?} is no seccomp {what}"),
            Self::NoErrno { action } => {
                write!(f, "{action} returns no errno: leave the field out")
            }
            Self::ErrnoTooLarge(n) => write!(f, "{n} is no errno (at most 65535)"),
            Self::ArgIndex(n) => write!(f, "{n} is no argument index (0 to 5)"),
            Self::NoName => f.write_str("a rule must name at least one system call"),
            Self::Notify(what) => write!(f, "SCMP_ACT_NOTIFY cannot be used {what}"),
            Self::Requires(field) => write!(f, "requires {field}, and there is none"),
            Self::TooLong(n) => {
                write!(f, "compiles to {n} instructions, the kernel takes at most 4096")
            }
            Self::NoTable => f.write_str("this build knows no system calls of its machine"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for crate::error::Error {
    fn from(fault: Error) -> Self {
        Self::config(fault.pointer.clone(), fault.reason.to_string())
    }
}
