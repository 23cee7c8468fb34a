//! What people read: tables, templates, times, sizes, names, progress.

mod ask;
pub mod file;
pub mod glob;
pub mod human;
mod listing;
mod pretty;
pub mod progress;
pub mod table;
mod tame;

use std::io::{IsTerminal, Write};

use crate::error::{Error, Result};
use crate::exit::Exit;

pub use ask::{Answer, ask};
pub use dhow_image::words::nearest;
pub use dhow_template::{Data, Template, quoted, text};
pub use listing::{Column, Format, listing};
pub use pretty::{compact, pretty};

/// At most `width` characters, the last of them an ellipsis if there were more.
pub fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Asks on the terminal; anything but yes is no.
pub fn confirm(out: &mut Output, warning: &str) -> bool {
    out.text(&format!("{warning}\nAre you sure you want to continue? [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer).is_ok();
    read && matches!(answer.trim(), "y" | "Y" | "yes" | "YES")
}

/// Where a verb's words go.
#[derive(Debug, Default)]
pub struct Output {
    failed: bool,
}

impl Output {
    /// Text to stdout.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Bytes to stdout: names of files needn't be text. DIFFERS: docker's terminal obeys what
    /// control characters others put there.
    pub fn bytes(&mut self, bytes: &[u8]) {
        if std::io::stdout().is_terminal() {
            self.control(&tame::tame(bytes));
        } else {
            self.control(bytes);
        }
    }

    /// Bytes to stdout as they are, also to a terminal. A reader that went away ends the program
    /// quietly.
    pub fn control(&mut self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
                std::process::exit(Exit::signal(libc::SIGPIPE).0.into());
            }
            Err(e) if !self.failed => {
                self.failed = true;
                self.error(&Error::engine(format!("write to stdout: {e}")));
            }
            _ => {}
        }
    }

    /// A line to stdout.
    pub fn line(&mut self, line: &str) {
        self.text(&format!("{line}\n"));
    }

    /// A line to stderr.
    pub fn note(&self, line: &str) {
        let mut to = std::io::stderr().lock();
        let whole = format!("{line}\n"); // one write: others' lines don't come into it
        let tamed =
            if to.is_terminal() { tame::tame(whole.as_bytes()) } else { whole.as_bytes().into() };
        let _ = to.write_all(&tamed);
    }

    /// Warnings, a line each, as docker words them.
    pub fn warn(&self, lines: &[String]) {
        for line in lines {
            self.note(&format!("WARNING: {line}"));
        }
    }

    /// An error's one line. What an image or a registry calls itself ends up in errors, so
    /// no control character of theirs reaches the terminal.
    pub fn error(&self, error: &Error) {
        let tame = |c: char| if c.is_control() { ' ' } else { c };
        let line: String = error.to_string().chars().map(tame).collect();
        self.note(&format!("dhow: {line}"));
    }

    /// Whether all that was said could be said.
    pub fn exit(&self) -> Exit {
        if self.failed { Exit::FAILED } else { Exit::OK }
    }

    /// The end of a verb that is no container's foreground.
    pub fn end(&self, result: Result<()>) -> Exit {
        match result {
            Ok(()) => self.exit(),
            Err(e) => {
                self.error(&e);
                Exit::of_verb(e.kind)
            }
        }
    }

    /// Several objects, one after the other: each is told as its name or its error; the worst exit wins.
    pub fn each(
        &mut self,
        needles: &[String],
        mut act: impl FnMut(&str) -> Result<String>,
    ) -> Exit {
        let mut worst = Exit::OK;
        for needle in needles {
            match act(needle) {
                Ok(name) => self.line(&name),
                Err(e) => {
                    self.error(&e);
                    worst = worst.and(Exit::of_verb(e.kind));
                }
            }
        }
        worst.and(self.exit())
    }
}
