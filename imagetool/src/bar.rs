//! Progress on stderr: bars on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use dhow_image::progress::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// One bar a part.
pub struct Bars {
    all: MultiProgress,
    parts: Mutex<HashMap<String, ProgressBar>>,
}

impl Bars {
    /// No bars yet.
    pub fn new() -> Self {
        Self { all: MultiProgress::new(), parts: Mutex::new(HashMap::new()) }
    }
}

impl Progress for Bars {
    fn start(&self, id: &str, what: &str, total: Option<u64>) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.contains_key(id) {
            return;
        }
        let text = match total {
            Some(_) => "{prefix} {msg:<10} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}",
            None => "{prefix} {msg}",
        };
        let style = ProgressStyle::with_template(text)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bar = self.all.add(ProgressBar::new(total.unwrap_or(0)).with_style(style));
        bar.set_prefix(id.to_owned());
        bar.set_message(what.to_owned());
        parts.insert(id.to_owned(), bar);
    }

    fn advance(&self, id: &str, n: u64) {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = parts.get(id) {
            bar.inc(n);
        }
    }

    fn done(&self, id: &str, how: &str) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = parts.remove(id) {
            if let Ok(style) = ProgressStyle::with_template("{prefix} {msg}") {
                bar.set_style(style);
            }
            bar.finish_with_message(how.to_owned());
        }
    }

    fn message(&self, text: &str) {
        // A line that can't be drawn is lost, and nothing else.
        let _ = self.all.println(text);
    }
}

/// One line when a part is done.
pub struct Lines;

impl Progress for Lines {
    fn start(&self, _id: &str, _what: &str, _total: Option<u64>) {}

    fn advance(&self, _id: &str, _n: u64) {}

    fn done(&self, id: &str, how: &str) {
        eprintln!("{id}: {how}");
    }

    fn message(&self, text: &str) {
        eprintln!("{text}");
    }
}
