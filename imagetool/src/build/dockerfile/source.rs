//! Where something stands in a Dockerfile, and how that is shown.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::error::Error;

/// A Dockerfile's name and lines, to show what an error is about.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    name: Arc<str>,
    lines: Arc<[String]>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({}, {} lines)", self.name, self.lines.len())
    }
}

/// An error in a Dockerfile, or in doing what it says: place, cause, and the line with a caret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The Dockerfile's name.
    pub file: String,
    /// From 1; 0 if it is about the whole.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub why: String,
    /// The line as it is written.
    pub text: String,
}

impl Source {
    /// What is shown as `name`.
    pub fn new(text: &[u8], name: &str) -> Self {
        let text = String::from_utf8_lossy(text);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let lines = text.split('\n').map(|line| line.trim_end_matches('\r').to_owned()).collect();
        Self { name: name.into(), lines }
    }

    /// The Dockerfile's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A line, from 1.
    pub fn line(&self, number: usize) -> &str {
        number.checked_sub(1).and_then(|i| self.lines.get(i)).map_or("", String::as_str)
    }

    /// An error about these lines, from 1: the first is shown.
    pub fn error(&self, lines: &RangeInclusive<usize>, why: impl fmt::Display) -> Error {
        let text = self.line(*lines.start());
        let indent = text.chars().take_while(|c| c.is_whitespace()).count();
        self.error_at(*lines.start(), indent + 1, why)
    }

    /// An error at a line and column, both from 1.
    pub fn error_at(&self, line: usize, column: usize, why: impl fmt::Display) -> Error {
        Error::Dockerfile(Box::new(Fault {
            file: self.name.to_string(),
            line,
            column,
            why: why.to_string(),
            text: self.line(line).to_owned(),
        }))
    }

    /// An error about the whole.
    pub fn error_whole(&self, why: impl fmt::Display) -> Error {
        self.error_at(0, 0, why)
    }
}

/// More of a line isn't shown.
const WIDEST: usize = 100;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, why) = (printable(&self.file), printable(&self.why));
        if self.line == 0 {
            return write!(f, "{file}: {why}");
        }
        write!(f, "{file}:{}:{}: {why}", self.line, self.column)?;
        let text: Vec<char> = printable(&self.text).chars().collect();
        let at = self.column.saturating_sub(1).min(text.len());
        let from = if at < WIDEST { 0 } else { at - WIDEST / 2 };
        let to = text.len().min(from + WIDEST);
        let shown: String = text[from..to].iter().collect();
        // Tabs stay, so that the caret is below what it is about.
        let before: String =
            text[from..at].iter().map(|&c| if c == '\t' { c } else { ' ' }).collect();
        let (left, right) =
            (if from > 0 { "…" } else { "" }, if to < text.len() { "…" } else { "" });
        let pad = if from > 0 { " " } else { "" };
        write!(f, "\n{:4} | {left}{}{right}", self.line, shown.trim_end())?;
        write!(f, "\n     | {pad}{before}^")
    }
}

/// A terminal's control characters don't reach it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}
