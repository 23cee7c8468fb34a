//! The crate's one error type. Each variant says what failed, on what, and why;
//! `Display` is the single line a user reads.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::build::dockerfile::Fault;
use crate::digest::Digest;
use crate::layer::name::show;

/// What can go wrong in this crate.
#[derive(Debug)]
pub enum Error {
    /// A system call on a path failed.
    Io {
        /// The act, as the verb after "cannot": `open`, `create`, `rename`.
        action: &'static str,
        /// The path (or another name) it was performed on.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// What the user typed can't be read as what it should be.
    Usage {
        /// What it should have been: `reference`, `digest`, `platform`.
        what: &'static str,
        /// What was typed.
        input: String,
        /// The rule it breaks.
        why: String,
    },
    /// A thing that was named doesn't exist.
    NotFound {
        /// `image`, `blob`, `manifest`, `layer`.
        what: &'static str,
        /// Its name as typed.
        name: String,
        /// What to do about it; empty if nothing sensible can be said.
        hint: String,
    },
    /// A short id or name fits several things.
    Ambiguous {
        /// `image`, `reference`.
        what: &'static str,
        /// Its name as typed.
        name: String,
    },
    /// Bytes don't hash to what their descriptor says.
    Digest {
        /// What was read: `blob`, `layer`, `manifest`, with its name.
        what: String,
        /// The digest it should have.
        want: Digest,
        /// The digest it has.
        got: Digest,
    },
    /// A stream is shorter or longer than its descriptor says.
    Size {
        /// What was read.
        what: String,
        /// The size it should have.
        want: u64,
        /// The size it has, or the first size seen that was too much.
        got: u64,
    },
    /// Foreign input (manifest, config, archive, layer) breaks a rule.
    Invalid {
        /// What was read, with its name or place (JSON pointer, path in an archive).
        what: String,
        /// The rule it breaks.
        why: String,
    },
    /// A registry answered, and the answer is no.
    Registry {
        /// Method and URL, without query secrets.
        request: String,
        /// HTTP status.
        status: u16,
        /// The registry's own words, bounded and printable.
        message: String,
    },
    /// A registry could not be reached, or the connection broke.
    Network {
        /// Method and URL, or host.
        request: String,
        /// What happened.
        why: String,
    },
    /// Nobody answers there at all: asking again at once is of no use.
    Unreachable {
        /// The host, with its port if one was named.
        host: String,
        /// What happened.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// Logging in failed or was impossible.
    Auth {
        /// The registry's host.
        registry: String,
        /// Why.
        why: String,
    },
    /// Valid, but not something this version does.
    Unsupported {
        /// What was asked for.
        what: String,
        /// What to do instead.
        hint: String,
    },
    /// What an archive brings would replace a directory, or be one in place of a file.
    Overwrite {
        /// Below the directory that it comes into.
        path: Vec<u8>,
        /// What is there is a directory.
        directory: bool,
    },
    /// A Dockerfile, or what it asks for, is wrong: where, and the line itself.
    Dockerfile(Box<Fault>),
    /// A trust policy doesn't let an image in; why, in skopeo's words where it has some.
    Rejected(String),
    /// The state of things forbids it; docker's words where scripts look for them.
    Conflict(String),
    /// The thing is used by something else.
    InUse {
        /// `image`, `layer`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What uses it.
        by: String,
    },
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Io`].
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Io { action, path: path.as_ref().to_owned(), source }
    }

    /// For `map_err`: an [`Error::Io`] of this act on this path.
    pub fn at(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::io(action, path, source)
    }

    /// An [`Error::Invalid`].
    pub fn invalid(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::Invalid { what: what.into(), why: why.to_string() }
    }

    /// An [`Error::Unsupported`].
    pub fn unsupported(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), hint: hint.into() }
    }

    /// An [`Error::Usage`].
    pub fn usage(what: &'static str, input: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::Usage { what, input: input.into(), why: why.to_string() }
    }

    /// Whether a thing that was named doesn't exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Registry { status: 404, .. })
    }

    /// The same with a note behind what it says, where its kind has room for one.
    #[must_use]
    pub fn noting(mut self, note: &str) -> Self {
        let text = match &mut self {
            Self::Invalid { why, .. }
            | Self::Network { why, .. }
            | Self::Unreachable { why, .. }
            | Self::Auth { why, .. } => why,
            Self::NotFound { hint, .. } | Self::Unsupported { hint, .. } => hint,
            Self::Registry { message, .. } => message,
            Self::Conflict(text) => text,
            _ => return self,
        };
        let between = if text.is_empty() { "" } else { "; " };
        *text = format!("{text}{between}{note}");
        self
    }

    /// Whether a disk or a quota is full.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)))
    }

    /// Carries this error through an interface that only knows [`io::Error`],
    /// such as a `Read`. [`Error::from_io`] takes it out again.
    pub fn into_io(self) -> io::Error {
        match self {
            Self::Io { source, .. } if source.raw_os_error().is_some() => source,
            other => io::Error::other(other),
        }
    }

    /// An [`Error::Io`] of this act on this path, unless the [`io::Error`] carries one
    /// of ours from deeper in the stream: then that one, as it was.
    pub fn from_io(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        match source.downcast::<Self>() {
            Ok(inner) => inner,
            Err(source) => Self::io(action, path, source),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, source } => {
                write!(f, "cannot {action} {}: {}", path.display(), reason(source))
            }
            // docker's words, which scripts look for.
            Self::Usage { what: "reference", input, why } => {
                write!(f, "invalid reference format: {why} (in {input:?})")
            }
            Self::Usage { what, input, why } => write!(f, "invalid {what} {input:?}: {why}"),
            // runc's words, which docker passes on.
            Self::NotFound { what: what @ ("user" | "group"), name, .. } => {
                let table = if *what == "user" { "passwd" } else { "group" };
                write!(
                    f,
                    "unable to find {what} {name}: no matching entries in {table} file of the image; a number needs none"
                )
            }
            Self::NotFound { what, name, hint } if hint.is_empty() => {
                write!(f, "no such {what}: {name}")
            }
            Self::NotFound { what, name, hint } => write!(f, "no such {what}: {name} ({hint})"),
            Self::Ambiguous { what, name } => {
                write!(f, "{name} names more than one {what}: give more of the id")
            }
            Self::Digest { what, want, got } => {
                write!(f, "{what} is corrupt: its digest should be {want}, but is {got}")
            }
            Self::Size { what, want, got } if got > want => {
                write!(f, "{what} is corrupt: it should have {want} bytes, but has more")
            }
            Self::Size { what, want, got } => {
                write!(f, "{what} is cut short: it should have {want} bytes, but has {got}")
            }
            Self::Invalid { what, why } => write!(f, "invalid {what}: {why}"),
            Self::Registry { request, status, message } if message.is_empty() => {
                write!(f, "{request}: the registry says {status}")
            }
            Self::Registry { request, status, message } => {
                write!(f, "{request}: the registry says {status}: {message}")
            }
            Self::Network { request, why } => write!(f, "{request}: {why}"),
            Self::Unreachable { host, why, hint } => {
                write!(f, "cannot reach {host}: {why} ({hint})")
            }
            Self::Auth { registry, why } => write!(f, "cannot log in to {registry}: {why}"),
            Self::Unsupported { what, hint } if hint.is_empty() => {
                write!(f, "{what} is not supported")
            }
            Self::Unsupported { what, hint } => write!(f, "{what} is not supported: {hint}"),
            Self::Overwrite { path, directory: true } => {
                write!(f, "cannot overwrite directory {} with non-directory", show(path))
            }
            Self::Overwrite { path, directory: false } => {
                write!(f, "cannot overwrite non-directory {} with directory", show(path))
            }
            Self::Dockerfile(fault) => fault.fmt(f),
            // Quoted as skopeo's log quotes it: scripts look for it so.
            Self::Rejected(why) if why.contains('"') => {
                write!(f, "{:?}", format!("Source image rejected: {why}"))
            }
            Self::Rejected(why) => write!(f, "Source image rejected: {why}"),
            Self::Conflict(text) => f.write_str(text),
            Self::InUse { what, name, by } => write!(f, "{what} {name} is used by {by}"),
        }
    }
}

/// The errno's text without Rust's "(os error N)", and what to do about a full disk.
fn reason(source: &io::Error) -> String {
    match source.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => {
            "no space left on device: free some, or choose another --root".to_owned()
        }
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_owned(),
        None => source.to_string(),
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_a_reader() {
        let inner = Error::invalid("layer", "no");
        let back = Error::from_io("read", "/x", inner.into_io());
        assert!(matches!(back, Error::Invalid { .. }), "{back}");
    }

    #[test]
    fn a_rejection_that_quotes_is_quoted_as_skopeo_does() {
        let e = Error::Rejected("Signature for identity \"x/y:z\" is not accepted".into());
        let log = r#""Source image rejected: Signature for identity \"x/y:z\" is not accepted""#;
        assert_eq!(e.to_string(), log);
        assert_eq!(
            Error::Rejected("by policy.".into()).to_string(),
            "Source image rejected: by policy."
        );
    }

    #[test]
    fn a_full_disk_is_one_line_with_advice() {
        let e = Error::io("write", "/r/x", io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(
            e.to_string(),
            "cannot write /r/x: no space left on device: free some, or choose another --root"
        );
    }
}
