//! What failed on the other side of the fork: {phase, call, subject, errno}, as data.

use std::borrow::Cow;

use nix::errno::Errno;

use crate::error::describe;
use crate::plan::Phase;

/// A failure of one step of init.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The step.
    pub phase: Phase,
    /// What was tried, as `move_mount`, or a whole sentence when `errno` is 0.
    pub call: String,
    /// What it was done to.
    pub subject: String,
    /// The kernel's answer, or 0.
    pub errno: i32,
}

/// A fault whose phase the loop fills in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// See [`Fault`].
    pub call: String,
    /// See [`Fault`].
    pub subject: String,
    /// See [`Fault`].
    pub errno: i32,
}

/// What a step answers.
pub type Done<T = ()> = Result<T, Cause>;

impl Cause {
    /// A failed call.
    pub fn new(call: &str, subject: impl AsRef<[u8]>, errno: Errno) -> Self {
        let subject = String::from_utf8_lossy(subject.as_ref()).into_owned();
        Self { call: call.to_owned(), subject, errno: errno as i32 }
    }

    /// A broken rule, in words.
    pub fn rule(sentence: impl Into<String>) -> Self {
        Self { call: sentence.into(), subject: String::new(), errno: 0 }
    }

    /// In a phase.
    pub fn at(self, phase: Phase) -> Fault {
        Fault { phase, call: self.call, subject: self.subject, errno: self.errno }
    }
}

/// Names what a nix call was about when it fails.
pub trait Because<T> {
    /// Adds call and subject.
    fn because(self, call: &str, subject: impl AsRef<[u8]>) -> Done<T>;
}

impl<T> Because<T> for nix::Result<T> {
    fn because(self, call: &str, subject: impl AsRef<[u8]>) -> Done<T> {
        self.map_err(|errno| Cause::new(call, subject, errno))
    }
}

impl Fault {
    /// As bytes; what is very long without its middle.
    pub fn encode(&self) -> Vec<u8> {
        let (call, subject) = (short(&self.call), short(&self.subject));
        let mut out = vec![self.phase as u8];
        out.extend(self.errno.to_le_bytes());
        out.extend((call.len() as u32).to_le_bytes());
        out.extend(call.as_bytes());
        out.extend(subject.as_bytes());
        out
    }

    /// From bytes; `None` when they aren't a fault.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&phase, rest) = bytes.split_first()?;
        let (errno, rest) = rest.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (call, subject) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        Some(Self {
            phase: Phase::from_byte(phase)?,
            call: String::from_utf8_lossy(call).into_owned(),
            subject: String::from_utf8_lossy(subject).into_owned(),
            errno: i32::from_le_bytes(*errno),
        })
    }
}

/// What fits into a message of init's; engines look for words at both ends.
///
/// KERNEL: pipe(7): a fault of two such texts is written whole or not at all (PIPE_BUF).
fn short(text: &str) -> Cow<'_, str> {
    const HALF: usize = 960;
    if text.len() <= 2 * HALF {
        return text.into();
    }
    let (first, last) =
        (text.floor_char_boundary(HALF), text.ceil_char_boundary(text.len() - HALF));
    format!("{} … {}", &text[..first], &text[last..]).into()
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The program's own failure is worded as engines look for it: `exec: "x": …`, `exec x: …`.
        if !self.call.starts_with("exec: ") && !self.call.starts_with("exec ") {
            let step = match self.phase {
                // In runc's words.
                Phase::Mounts => "error mounting",
                other => other.name(),
            };
            write!(f, "{step}: ")?;
        }
        f.write_str(&self.call)?;
        if !self.subject.is_empty() {
            write!(f, " {}", self.subject)?;
        }
        if self.errno != 0 {
            write!(f, ": {}", describe(Errno::from_raw(self.errno)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_fault_crosses_the_fork_whole(call in ".{0,40}", subject in ".{0,40}", errno in 0..200) {
            let fault = Fault { phase: Phase::Mounts, call, subject, errno };
            prop_assert_eq!(Fault::decode(&fault.encode()), Some(fault));
        }

        #[test]
        fn a_fault_that_is_too_long_loses_its_middle_alone(
            call in "[a-zé☃]{1900,9000}", subject in ".{0,9000}",
        ) {
            let fault = Fault { phase: Phase::Exec, call, subject, errno: 2 };
            let bytes = fault.encode();
            prop_assert!(bytes.len() <= 4096);
            let heard = Fault::decode(&bytes).unwrap();
            let begin = fault.call.floor_char_boundary(300);
            prop_assert!(heard.call.starts_with(&fault.call[..begin]));
            let end = fault.call.ceil_char_boundary(fault.call.len() - 300);
            prop_assert!(heard.call.ends_with(&fault.call[end..]));
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Fault::decode(&bytes);
        }
    }
}
