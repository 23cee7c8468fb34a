//! What went wrong, in one line, and of what kind it is; the exit code is
//! derived from the kind in [`crate::exit`], never from the text.

use std::fmt;

/// What kind of failure this is; decides the exit code and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// dhow itself, its store or the runtime failed.
    Engine,
    /// No such container, image or volume.
    NotFound,
    /// The object is in a state that forbids this (name taken, running, …).
    Conflict,
    /// What was typed makes no sense, or is refused by name.
    Usage,
    /// A flag's value is malformed: a usage error that is 125 in every verb.
    Flag,
    /// The template of `version` or `info` makes no sense (64).
    Template,
    /// The container's command was found but can't be executed (126).
    NotExecutable,
    /// The container's command was not found (127).
    NoCommand,
}

/// One failure: what failed, on what, why, what to do; one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind of failure.
    pub kind: Kind,
    /// The one line, without `dhow: ` before it.
    pub message: String,
}

/// The shim's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` worded `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
    /// dhow, the store or the runtime failed.
    pub fn engine(message: impl Into<String>) -> Self {
        Self::new(Kind::Engine, message)
    }
    /// No such object.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }
    /// The state of things forbids it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }
    /// Typed wrongly, or refused.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }
    /// docker's words for a flag's value that can't be read.
    pub fn argument(flag: &str, text: &str, why: &str) -> Self {
        Self::new(Kind::Flag, format!("invalid argument {text:?} for \"{flag}\" flag: {why}"))
    }
    /// `what` on `path` failed for an operating system's reason.
    pub fn io(what: &str, path: &std::path::Path, cause: impl fmt::Display) -> Self {
        let cause = cause.to_string();
        let full =
            ["No space left on device", "Disk quota exceeded"].iter().any(|f| cause.contains(f));
        let hint = if full { "; 'dhow system prune' frees what nobody uses" } else { "" };
        Self::engine(format!("{what} {}: {cause}{hint}", path.display()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<dhow_template::Error> for Error {
    fn from(e: dhow_template::Error) -> Self {
        Self::usage(e.to_string())
    }
}
