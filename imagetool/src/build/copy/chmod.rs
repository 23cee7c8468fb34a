//! `--chmod`: octal, or symbolic as chmod(1) has it.

use crate::error::{Error, Result};

/// What modes become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chmod {
    /// These, whatever they were.
    Octal(u32),
    /// Changed so, in order.
    Symbolic(Vec<Change>),
}

/// One change: `ug+rwX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// 0o700, 0o070, 0o007, or several.
    who: u32,
    /// `+`, `-` or `=`.
    how: u8,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Bits, and whether `X` is among them.
    Bits { bits: u32, conditional: bool },
    /// Those that the owner (6), the group (3) or others (0) have.
    Of(u32),
}

impl Chmod {
    /// Reads what was typed.
    pub fn parse(text: &str) -> Result<Self> {
        // BuildKit's words, but for our frame.
        let octal =
            "it should be an octal number between 0 and 07777, or symbolic as in u=rwX,go=rX";
        let bad = |why: &str| Error::usage("--chmod", text, why);
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return mode.map(Self::Octal).ok_or_else(|| bad(octal));
        }
        let mut changes = Vec::new();
        for clause in text.split(',') {
            clause_of(clause.as_bytes(), &mut changes).ok_or_else(|| bad(octal))?;
        }
        Ok(Self::Symbolic(changes))
    }

    /// What a mode becomes.
    pub fn apply(&self, mode: u32, directory: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(changes) => {
                changes.iter().fold(mode, |mode, change| change.apply(mode, directory))
            }
        }
    }

    /// The mode of directories that a copy makes on its way.
    pub fn of_parents(&self) -> u32 {
        match self {
            // DIFFERS: none, though BuildKit takes a file's mode for these, too, bits beyond 0777 aside.
            Self::Octal(mode) => mode & 0o777,
            Self::Symbolic(_) => 0o755,
        }
    }
}

fn clause_of(clause: &[u8], changes: &mut Vec<Change>) -> Option<()> {
    let letters = clause.iter().take_while(|b| b"ugoa".contains(b)).count();
    let (who, mut rest) = clause.split_at(letters);
    let who = who.iter().fold(0, |mask, b| {
        mask | match b {
            b'u' => 0o700,
            b'g' => 0o070,
            b'o' => 0o007,
            _ => 0o777,
        }
    });
    let who = if who == 0 { 0o777 } else { who };
    if rest.is_empty() {
        return None;
    }
    while let [how @ (b'+' | b'-' | b'='), tail @ ..] = rest {
        let end = tail.iter().position(|b| b"+-=".contains(b)).unwrap_or(tail.len());
        let (letters, tail) = tail.split_at(end);
        rest = tail;
        changes.push(Change { who, how: *how, what: what(letters)? });
    }
    rest.is_empty().then_some(())
}

fn what(letters: &[u8]) -> Option<What> {
    match letters {
        b"u" => return Some(What::Of(6)),
        b"g" => return Some(What::Of(3)),
        b"o" => return Some(What::Of(0)),
        _ => {}
    }
    let (mut bits, mut conditional) = (0, false);
    for letter in letters {
        match letter {
            b'r' => bits |= 0o444,
            b'w' => bits |= 0o222,
            b'x' => bits |= 0o111,
            b'X' => conditional = true,
            b's' => bits |= 0o6000,
            b't' => bits |= 0o1000,
            _ => return None,
        }
    }
    Some(What::Bits { bits, conditional })
}

impl Change {
    fn apply(self, mode: u32, directory: bool) -> u32 {
        // Of setuid, setgid and sticky, those that go with who is meant.
        let special = (self.who & 0o100) << 5 | (self.who & 0o010) << 7 | (self.who & 0o001) << 9;
        let reach = self.who | special;
        let bits = match self.what {
            What::Of(shift) => (mode >> shift & 7) * 0o111,
            What::Bits { bits, conditional } => {
                let any = conditional && (directory || mode & 0o111 != 0);
                bits | if any { 0o111 } else { 0 }
            }
        } & reach;
        match self.how {
            b'+' => mode | bits,
            b'-' => mode & !bits,
            // KERNEL: chmod(1) leaves a directory's setuid and setgid unless they are named.
            _ if directory => mode & !(reach & !0o6000) | bits,
            _ => mode & !reach | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn octal_and_symbolic() {
        for (text, mode, directory, want) in [
            ("755", 0o600, false, 0o755),
            ("0", 0o600, false, 0),
            ("4755", 0o600, false, 0o4755),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("u+s,g+s", 0o755, false, 0o6755),
            ("+t", 0o755, true, 0o1755),
            ("g=u", 0o740, false, 0o770),
            ("o=", 0o777, false, 0o770),
            ("go=u-w", 0o700, false, 0o755),
            ("u=rw+x", 0o000, false, 0o700),
        ] {
            assert_eq!(Chmod::parse(text).unwrap().apply(mode, directory), want, "{text}");
        }
        for bad in ["", "64a", "10000", "9", "u", "u+q", "rwx", "u=rw,", ",", "u+r;", "-1", "0x1"] {
            let error = Chmod::parse(bad).unwrap_err().to_string();
            assert!(error.contains("octal"), "{bad}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_mode_stays_a_mode(text in "[ugoa+=rwxXst,0-7-]{0,12}", mode in 0u32..0o10000) {
            if let Ok(chmod) = Chmod::parse(&text) {
                prop_assert!(chmod.apply(mode, false) <= 0o7777);
                prop_assert!(chmod.of_parents() <= 0o777);
            }
        }
    }
}
