//! How a long act tells its caller where it stands. The library calls; the binary draws.

use std::io::{self, Read};

/// Receives the progress of an act that has several parts side by side.
pub trait Progress: Sync {
    /// A part begins: its id (unique within the act), a verb, and its size if known.
    fn start(&self, id: &str, what: &str, total: Option<u64>);
    /// `n` more bytes of a part are done.
    fn advance(&self, id: &str, n: u64);
    /// A part is done; `how` says what came of it: `done`, `already there`.
    fn done(&self, id: &str, how: &str);
    /// A line that belongs to no part.
    fn message(&self, text: &str);
}

/// Says nothing.
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _id: &str, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _id: &str, _n: u64) {}
    fn done(&self, _id: &str, _how: &str) {}
    fn message(&self, _text: &str) {}
}

/// A reader that tells the progress of a part.
pub(crate) struct Counted<'a> {
    pub from: Box<dyn Read + Send + 'a>,
    pub id: &'a str,
    pub progress: &'a dyn Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buf)?;
        self.progress.advance(self.id, n as u64);
        Ok(n)
    }
}
