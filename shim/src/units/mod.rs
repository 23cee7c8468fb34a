//! systemd's units: the one of the machine, which brings containers back at boot, and those of
//! single containers (`dhow system generate`). Pure: what is known goes in, text comes out.

mod container;
mod machine;
mod typed;

use std::fmt::Write;

use crate::error::{Error, Result};

pub use container::{Container, Wants, file_name};
pub use machine::machine;
pub use typed::reworked;

/// Whose systemd a unit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// The machine's.
    System,
    /// A user's own.
    User,
}

impl Manager {
    /// What is reached when everything is up.
    const fn target(self) -> &'static str {
        match self {
            Self::System => "multi-user.target",
            Self::User => "default.target",
        }
    }
}

/// A unit's text, a line at a time.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn section(&mut self, name: &str) {
        let blank = if self.0.is_empty() || self.0.ends_with("\n\n") { "" } else { "\n" };
        let _ = writeln!(self.0, "{blank}[{name}]");
    }

    fn set(&mut self, key: &str, value: &str) {
        let _ = writeln!(self.0, "{key}={value}");
    }
}

/// systemd.syntax(7): a word in quotes where it needs them; `%` means something there.
pub fn word(text: &str) -> Result<String> {
    quoted(text, false)
}

/// The same of a command line's arguments: there `$` means something, too.
fn quoted(text: &str, dollars: bool) -> Result<String> {
    // What can't be printed has an escape of systemd's own, but NUL can't be an argument anyway.
    if text.contains('\0') {
        return Err(Error::usage(format!("{text:?} can't stand in a unit: it has a NUL")));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    let mut word = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => word.extend(['\\', c]),
            '%' => word.extend([c, c]),
            '$' if dollars => word.extend([c, c]),
            '\n' => word.push_str("\\n"),
            c if c.is_control() && (c as u32) < 0x80 => {
                let _ = write!(word, "\\x{:02x}", c as u32);
            }
            c => word.push(c),
        }
    }
    word.push('"');
    Ok(word)
}

/// A command line of such words.
///
/// SPEC: systemd.service(5): variables are put into arguments, not into the program's path.
pub fn line<T: AsRef<str>>(words: &[T]) -> Result<String> {
    let words = words.iter().enumerate().map(|(n, text)| quoted(text.as_ref(), n > 0));
    Ok(words.collect::<Result<Vec<_>>>()?.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_in_a_unit_as_they_are() {
        assert_eq!(word("/var/lib/dhow").unwrap(), "/var/lib/dhow");
        assert_eq!(word("/a b/%h/\"").unwrap(), "\"/a b/%%h/\\\"\"");
        assert_eq!(word("/a\nExecStart=b").unwrap(), "\"/a\\nExecStart=b\"");
        assert_eq!(word("").unwrap(), "\"\"");
        assert_eq!(word(";").unwrap(), "\";\"");
        assert!(word("a\0b").is_err());
    }

    #[test]
    fn bug_a_dollar_was_two_where_systemd_reads_none() {
        assert_eq!(word("A=$b").unwrap(), "\"A=$b\"");
        assert_eq!(line(&["/a$b/dhow", "$HOME"]).unwrap(), "\"/a$b/dhow\" \"$$HOME\"");
    }

    /// systemd's own reading, as far as [`word`] makes use of it.
    fn read(quoted: &str, dollars: bool) -> String {
        let Some(inner) = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"')) else {
            return quoted.to_owned();
        };
        let (mut out, mut chars) = (String::new(), inner.chars());
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next().unwrap() {
                    'n' => out.push('\n'),
                    'x' => {
                        let hex: String = chars.by_ref().take(2).collect();
                        out.push(u8::from_str_radix(&hex, 16).unwrap() as char);
                    }
                    c => out.push(c),
                },
                '%' | '$' if c == '%' || dollars => {
                    assert_eq!(chars.next(), Some(c));
                    out.push(c);
                }
                c => out.push(c),
            }
        }
        out
    }

    proptest::proptest! {
        #[test]
        fn every_text_is_one_word_of_one_line(text in "[^\\x00]*", dollars in proptest::bool::ANY) {
            let word = quoted(&text, dollars).unwrap();
            proptest::prop_assert!(!word.contains('\n'));
            proptest::prop_assert_eq!(read(&word, dollars), text);
        }
    }
}
