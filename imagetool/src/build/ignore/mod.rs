//! What is left out of a context (.dockerignore) or of a copy (`--exclude`), and what is taken
//! of one (`--parents`): patterns as moby's matcher has them. The last one that fits decides.

mod pattern;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use pattern::Pattern;

use super::glob;
use crate::error::{Error, Result};
use crate::layer::name::{show, split};

/// A .dockerignore larger than this is none.
pub(super) const MAX: u64 = 4 << 20;

/// A list of patterns.
#[derive(Clone, Debug, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
    exceptions: bool,
}

/// Which patterns have fitted a directory: what lies in it need not be asked for those again.
#[derive(Clone, Debug, Default)]
pub struct Seen(Option<Arc<[bool]>>);

impl Ignore {
    /// Reads a .dockerignore; `file` is what errors call it.
    pub fn parse(text: &[u8], file: &str) -> Result<Self> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut patterns = Vec::new();
        for (n, line) in text.split(|&b| b == b'\n').enumerate() {
            if line.starts_with(b"#") {
                continue;
            }
            let line = line.trim_ascii();
            let (exception, rest) = match line.strip_prefix(b"!") {
                Some(rest) => (true, rest.trim_ascii()),
                None => (false, line),
            };
            if line.is_empty() {
                continue;
            }
            let mut clean = if rest.is_empty() { Vec::new() } else { glob::clean(rest) };
            if clean.len() > 1 && clean[0] == b'/' {
                clean.remove(0);
            }
            let pattern = pattern(&clean, exception).map_err(|why| {
                Error::invalid(file, format!("line {}: pattern {}: {why}", n + 1, show(line)))
            })?;
            patterns.push(pattern);
        }
        Ok(Self::of(patterns))
    }

    /// Of patterns that were typed, as `--exclude` takes them.
    pub fn new<'a>(typed: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut patterns = Vec::new();
        for text in typed {
            let trimmed = text.trim();
            if trimmed.is_empty() {
                continue;
            }
            let clean = glob::clean(trimmed.as_bytes());
            let (exception, rest) = match clean.strip_prefix(b"!") {
                Some(rest) => (true, rest),
                None => (false, clean.as_slice()),
            };
            let pattern =
                pattern(rest, exception).map_err(|why| Error::usage("pattern", text, why))?;
            patterns.push(pattern);
        }
        Ok(Self::of(patterns))
    }

    fn of(patterns: Vec<Pattern>) -> Self {
        let exceptions = patterns.iter().any(|p| p.exception);
        Self { patterns, exceptions }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether it has lines with a `!`.
    pub fn has_exceptions(&self) -> bool {
        self.exceptions
    }

    /// Whether a path is ignored, itself or with a directory it is in.
    pub fn matches(&self, path: &[u8]) -> bool {
        let mut matched = false;
        for pattern in &self.patterns {
            if pattern.exception != matched {
                continue;
            }
            let parents = || {
                let ups = std::iter::successors(Some(path), |p| Some(split(p).0));
                ups.skip(1).take_while(|p| !p.is_empty())
            };
            if pattern.fits(path) || parents().any(|up| pattern.fits(up)) {
                matched = !pattern.exception;
            }
        }
        matched
    }

    /// The same for what lies in a directory whose own answer is known.
    pub fn matches_in(&self, dir: &Seen, path: &[u8]) -> bool {
        self.decide(dir, path, |_| {})
    }

    /// The same for a directory: also what to ask with for what lies in it.
    pub fn enter(&self, dir: &Seen, path: &[u8]) -> (bool, Seen) {
        if self.patterns.is_empty() {
            return (false, Seen::default());
        }
        let mut fitted = vec![false; self.patterns.len()];
        let matched = self.decide(dir, path, |i| fitted[i] = true);
        (matched, Seen(Some(fitted.into())))
    }

    /// What to ask with for what lies in a directory, from the top.
    pub fn seen(&self, dir: &[u8]) -> Seen {
        let mut seen = Seen::default();
        let ends = dir.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        for end in ends.chain(Some(dir.len())).filter(|end| *end > 0) {
            seen = self.enter(&seen, &dir[..end]).1;
        }
        seen
    }

    fn decide(&self, dir: &Seen, path: &[u8], mut fitted: impl FnMut(usize)) -> bool {
        let mut matched = false;
        for (i, pattern) in self.patterns.iter().enumerate() {
            let before = dir.0.as_ref().is_some_and(|seen| seen[i]);
            if !before && (pattern.exception != matched || !pattern.fits(path)) {
                continue;
            }
            fitted(i);
            matched = !pattern.exception;
        }
        matched
    }

    /// Whether something in an ignored directory may not be ignored.
    pub fn spares_below(&self, dir: &[u8]) -> bool {
        self.exceptions && self.patterns.iter().any(|p| p.exception && p.reaches_below(dir))
    }

    /// Whether something below a directory that no pattern fits may fit one.
    pub fn reaches_below(&self, dir: &[u8]) -> bool {
        self.patterns.iter().any(|p| !p.exception && p.reaches_below(dir))
    }
}

fn pattern(clean: &[u8], exception: bool) -> Result<Pattern, &'static str> {
    if clean.is_empty() {
        return Err("nothing follows the !");
    }
    Pattern::new(clean, exception).ok_or("a [ needs its ], and a \\ something behind it")
}
