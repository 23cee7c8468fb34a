//! What can go wrong, typed where it happens and worded once, here.

use std::fmt;

use nix::errno::Errno;

use crate::init::fault::Fault;
use crate::plan::Phase;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What failed, on what, why, and where it helps, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// config.json (or a process file) breaks a rule.
    Config {
        /// JSON pointer of the offending value, such as `/process/args`.
        pointer: String,
        /// The rule.
        why: String,
    },
    /// Something asked for that this runtime doesn't do; said by name.
    Unsupported {
        /// The flag, command or JSON pointer.
        what: String,
        /// Why not, or what to do instead.
        why: String,
    },
    /// A system call said no.
    System {
        /// What was being done, as `open` or `mount`.
        call: String,
        /// The path, id or name it was done to.
        subject: String,
        /// The kernel's answer.
        errno: Errno,
    },
    /// A step of init failed, on the other side of the fork.
    Fault(Fault),
    /// A step of a further process failed, on the other side of the fork.
    Joining(Fault),
    /// A rule of the state machine, a missing container, a misused flag: the line as it is shown.
    Rule(String),
}

impl Error {
    /// A rule of config.json broken at `pointer`.
    pub fn config(pointer: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Config { pointer: pointer.into(), why: why.into() }
    }

    /// A refusal by name.
    pub fn unsupported(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), why: why.into() }
    }

    /// A failed system call.
    pub fn system(call: impl Into<String>, subject: impl Into<String>, errno: Errno) -> Self {
        Self::System { call: call.into(), subject: subject.into(), errno }
    }

    /// A failed call of `std`, whose errno is kept.
    pub fn io(call: impl Into<String>, subject: impl Into<String>, e: &std::io::Error) -> Self {
        Self::system(call, subject, Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
    }

    /// Whether the kernel said that we may not.
    pub const fn is_denial(&self) -> bool {
        matches!(self, Self::System { errno: Errno::EPERM | Errno::EACCES | Errno::EROFS, .. })
    }

    /// Whether the program was found, and could not be executed: its interpreter isn't there, say.
    pub fn is_execution(&self) -> bool {
        matches!(self, Self::Fault(f) if f.phase == Phase::Exec && f.call.starts_with("exec "))
    }

    /// What init said, alone; else all of it.
    pub fn cause(&self) -> String {
        match self {
            Self::Fault(fault) | Self::Joining(fault) => fault.to_string(),
            other => other.to_string(),
        }
    }

    /// The same of a further process in the container.
    #[must_use]
    pub fn joining(self) -> Self {
        match self {
            Self::Fault(fault) => Self::Joining(fault),
            other => other,
        }
    }

    /// A line of its own.
    pub fn rule(line: impl Into<String>) -> Self {
        Self::Rule(line.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config { pointer, why } => write!(f, "config.json: {pointer}: {why}"),
            Self::Unsupported { what, why } => write!(f, "{what}: not supported: {why}"),
            Self::System { call, subject, errno } => {
                write!(f, "{call} {subject}: {}", describe(*errno))
            }
            Self::Fault(fault) => {
                write!(f, "unable to start container process: error during container init: {fault}")
            }
            Self::Joining(fault) => write!(f, "unable to start container process: {fault}"),
            Self::Rule(line) => f.write_str(line),
        }
    }
}

impl std::error::Error for Error {}

/// The errno in the words that engines look for (Go's, lower case).
pub fn describe(errno: Errno) -> String {
    let text = errno.desc();
    let mut chars = text.chars();
    let lower = chars.next().map_or(String::new(), |c| c.to_lowercase().collect::<String>());
    format!("{lower}{}", chars.as_str())
}

/// A text in one line: what would end the line, or steer a terminal, is escaped.
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_one_line_steers_nothing() {
        assert_eq!(one_line("a\nb\x1b[1mc é"), r"a\nb\u{1b}[1mc é");
    }

    #[test]
    fn an_errno_is_worded_as_engines_parse_it() {
        assert_eq!(describe(Errno::ENOENT), "no such file or directory");
        assert_eq!(describe(Errno::EACCES), "permission denied");
    }

    #[test]
    fn an_error_is_one_line_with_its_subject() {
        let e = Error::system("open", "/x", Errno::ENOENT);
        assert_eq!(e.to_string(), "open /x: no such file or directory");
        let e = Error::config("/process/args", "must not be empty");
        assert_eq!(e.to_string(), "config.json: /process/args: must not be empty");
    }
}
