//! The user's terminal: raw mode that never outlives us, its size, and the keys that leave.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::Record;

/// The terminal on stdin in raw mode; dropped, it is as it was.
pub struct Raw {
    before: Termios,
}

impl Raw {
    /// Makes stdin raw; nothing when it is no terminal.
    pub fn enter() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let raw = Self { before };
        raw.again();
        Some(raw)
    }

    /// Makes it raw again, after a shell has had it in between (SIGCONT).
    pub fn again(&self) {
        let mut raw = self.before.clone();
        cfmakeraw(&mut raw);
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &raw);
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

/// Rows and columns of the terminal on stdin or, failing that, stdout.
pub fn size() -> Option<(u16, u16)> {
    let of = |fd: BorrowedFd<'_>| dhow_kernel::tty::size(fd).ok().filter(|&size| size.0 > 0);
    of(std::io::stdin().as_fd()).or_else(|| of(std::io::stdout().as_fd()))
}

/// Keys that leave the container to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys {
    sequence: Vec<u8>,
    matched: usize,
}

impl DetachKeys {
    /// What was typed, else what the container was run with, else the user's `detachKeys`.
    pub fn of(host: &Host, typed: Option<&str>, record: &Record, tty: bool) -> Result<Self> {
        let chosen = typed.or(record.detach_keys.as_deref());
        match chosen {
            None if tty => Self::parse(host.settings.client()?.detach_keys.as_deref()),
            chosen => Self::parse(chosen),
        }
    }

    /// `ctrl-p,ctrl-q`, `a,b`, …; nothing or empty means docker's default.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        let text = text.filter(|text| !text.is_empty()).unwrap_or("ctrl-p,ctrl-q");
        let sequence = text.split(',').map(key).collect::<Option<_>>().ok_or_else(|| {
            Error::usage(format!(
                "Invalid escape keys ({text}) provided; write letters or ctrl-LETTER, with commas between"
            ))
        })?;
        Ok(Self { sequence, matched: 0 })
    }

    /// Moves what is for the container from `typed` to `through`; true when the keys were typed.
    pub fn filter(&mut self, typed: &[u8], through: &mut Vec<u8>) -> bool {
        for &byte in typed {
            if byte != self.sequence[self.matched] && self.matched > 0 {
                through.extend(&self.sequence[..self.matched]);
                self.matched = 0;
            }
            if byte == self.sequence[self.matched] {
                self.matched += 1;
            } else {
                through.push(byte);
            }
            if self.matched == self.sequence.len() {
                self.matched = 0;
                return true;
            }
        }
        false
    }
}

fn key(text: &str) -> Option<u8> {
    match *text.as_bytes() {
        [byte] => Some(byte),
        [b'c', b't', b'r', b'l', b'-', byte] => match byte.to_ascii_uppercase() {
            byte @ b'@'..=b'_' => Some(byte - b'@'),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_docker_s_words() {
        assert_eq!(DetachKeys::parse(None).unwrap().sequence, [16, 17]);
        assert_eq!(DetachKeys::parse(Some("")).unwrap().sequence, [16, 17]);
        assert_eq!(DetachKeys::parse(Some("a,ctrl-[,ctrl-@")).unwrap().sequence, [b'a', 27, 0]);
        for bad in ["ctrl-", "ctrl-1", "abc", "a,,b", "ctrl-p,"] {
            assert!(DetachKeys::parse(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn half_of_the_keys_goes_through_late() {
        let mut keys = DetachKeys::parse(None).unwrap();
        let mut through = Vec::new();
        assert!(!keys.filter(b"ls\x10", &mut through));
        assert_eq!(through, b"ls");
        assert!(!keys.filter(b"x\x10\x10", &mut through));
        assert_eq!(through, b"ls\x10x\x10");
        assert!(keys.filter(b"\x11rest", &mut through));
        assert_eq!(through, b"ls\x10x\x10");
    }

    proptest! {
        #[test]
        fn text_without_the_keys_is_untouched(
            typed in proptest::collection::vec(prop_oneof![Just(16_u8), 32..127_u8], 0..40),
            cut in 1_usize..10,
        ) {
            let mut keys = DetachKeys::parse(None).unwrap();
            let mut through = Vec::new();
            for part in typed.chunks(cut) {
                prop_assert!(!keys.filter(part, &mut through));
            }
            through.extend(std::iter::repeat_n(16, keys.matched));
            prop_assert_eq!(through, typed);
        }
    }
}
