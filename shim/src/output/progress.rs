//! A pull or push as it goes: a line for each part that is done, and on a
//! terminal one more line that moves.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dhow_image::progress::Progress;

use crate::output::human;

/// Where the lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// `dhow pull`.
    Stdout,
    /// `dhow run`, whose stdout is the container's.
    Stderr,
    /// `-q`.
    Nowhere,
}

/// What is going on, for docker's words about a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Layers come.
    Pull,
    /// Layers go; the neighbour they may be mounted from.
    Push(Option<String>),
    /// Layers come out of an archive: nothing is said of each.
    Load,
}

impl Act {
    /// A layer is begun.
    fn begun(&self, what: &str) -> Option<String> {
        match self {
            Self::Pull if what == "pulling" => Some("Pulling fs layer".into()),
            Self::Push(_) => Some("Preparing".into()),
            Self::Pull | Self::Load => None,
        }
    }

    /// What came of it, as the library says it.
    fn ended(&self, how: &str) -> Vec<String> {
        match (self, how) {
            (Self::Load, _) => Vec::new(),
            (Self::Pull, "already there") => vec!["Already exists".into()],
            (Self::Pull, "pulled and unpacked") => {
                vec!["Download complete".into(), "Pull complete".into()]
            }
            (Self::Pull, "pulled") => vec!["Download complete".into()],
            (Self::Pull, "unpacked") => vec!["Pull complete".into()],
            (Self::Push(_), "already there") => vec!["Layer already exists".into()],
            (Self::Push(Some(from)), "mounted") => vec![format!("Mounted from {from}")],
            (Self::Push(_), "pushed") => vec!["Pushed".into()],
            (_, other) => vec![other.to_owned()],
        }
    }
}

/// Prints the progress of an act.
pub struct Lines {
    stream: Stream,
    act: Act,
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    total: u64,
    sized: bool,
    read: u64,
    open: usize,
    drawn: Option<Instant>,
    heading: Option<String>,
}

impl Lines {
    /// Lines on `stream`.
    pub fn new(stream: Stream, act: Act) -> Self {
        let terminal = match stream {
            Stream::Stdout => std::io::stdout().is_terminal(),
            Stream::Stderr => std::io::stderr().is_terminal(),
            Stream::Nowhere => false,
        };
        Self { stream, act, terminal, state: Mutex::default() }
    }

    fn with(&self, act: impl FnOnce(&mut State)) {
        // A poisoned lock is a panic elsewhere: its text matters more than this one.
        if let Ok(mut state) = self.state.lock() {
            act(&mut state);
        }
    }

    fn put(&self, text: &str) {
        let _ = match self.stream {
            Stream::Stdout => std::io::stdout().lock().write_all(text.as_bytes()),
            Stream::Stderr => std::io::stderr().lock().write_all(text.as_bytes()),
            Stream::Nowhere => Ok(()),
        };
    }

    /// A line to be told before the next one, and not at all if there is none.
    pub fn heading(&self, text: String) {
        self.with(|state| state.heading = Some(text));
    }

    fn line(&self, state: &mut State, line: &str) {
        if let Some(heading) = state.heading.take() {
            self.line(state, &heading);
        }
        if state.drawn.take().is_some() {
            self.put("\r\x1b[K");
        }
        self.put(&format!("{line}\n"));
    }

    fn draw(&self, state: &mut State) {
        const PAUSE: Duration = Duration::from_millis(100);
        if !self.terminal || state.drawn.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        let read = human::size(state.read);
        let total =
            if state.sized { format!(" of {}", human::size(state.total)) } else { String::new() };
        self.put(&format!("\r\x1b[K{read}{total}"));
        let _ = std::io::stdout().flush();
        state.drawn = Some(Instant::now());
    }
}

impl Progress for Lines {
    fn start(&self, id: &str, what: &str, total: Option<u64>) {
        self.with(|state| {
            if let Some(words) = self.act.begun(what) {
                self.line(state, &format!("{}: {words}", short(id)));
            }
            state.open += 1;
            state.total = state.total.saturating_add(total.unwrap_or(0));
            state.sized |= total.is_some();
            self.draw(state);
        });
    }

    fn advance(&self, _id: &str, n: u64) {
        self.with(|state| {
            state.read += n;
            self.draw(state);
        });
    }

    fn done(&self, id: &str, how: &str) {
        self.with(|state| {
            state.open = state.open.saturating_sub(1);
            for words in self.act.ended(how) {
                self.line(state, &format!("{}: {words}", short(id)));
            }
        });
    }

    fn message(&self, text: &str) {
        self.with(|state| self.line(state, text));
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.with(|state| {
            if state.drawn.take().is_some() {
                self.put("\r\x1b[K");
            }
        });
    }
}

/// A digest by its first twelve digits, anything else whole.
fn short(id: &str) -> &str {
    match id.split_once(':') {
        Some((_, hex)) if hex.len() >= 12 && hex.is_ascii() => &hex[..12],
        _ => id,
    }
}
