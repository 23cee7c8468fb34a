//! Lines of a file become lines of the language: comments go, continued lines are joined, heredocs
//! belong to the line that announces them.

use super::heredoc::{chomped, of_line};
use super::suggest::with_hint;
use super::words::{self, cut};
use super::{Dockerfile, Heredoc, Source, directives};
use crate::error::Error;

/// What is wrong with a line, and near what.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) why: String,
    /// A piece of the line; empty: all of it.
    pub(super) near: String,
}

impl Wrong {
    pub(super) fn near(why: impl Into<String>, near: impl Into<String>) -> Self {
        Self { why: why.into(), near: near.into() }
    }
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self::near(why, "")
    }
}

impl From<&str> for Wrong {
    fn from(why: &str) -> Self {
        Self::near(why, "")
    }
}

/// The instructions' names.
pub(super) const KNOWN: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// One line of the language.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Joined, without what continued it.
    pub(super) text: String,
    /// The file's first and last line of it, from 1.
    pub(super) first: usize,
    pub(super) last: usize,
    /// The last one without heredocs.
    pub(super) head: usize,
    /// Comments right above it.
    pub(super) comments: Vec<String>,
    /// The raw content is what the file has.
    pub(super) heredocs: Vec<Raw>,
    /// An empty line stands where it goes on.
    pub(super) hole: bool,
    /// Where in `text` which line of the file begins, at which column (from 0).
    pieces: Vec<(usize, usize, usize)>,
}

/// A heredoc, and its lines as the file has them.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub(super) doc: Heredoc,
    pub(super) content: String,
}

impl Line {
    /// The error with its place.
    pub(super) fn fault(&self, source: &Source, wrong: &Wrong) -> Error {
        let skip = self.text.len() - self.text.trim_start().len();
        // An instruction's own word, of course, is not what is meant by a piece of it.
        let at = match self.text.find(&wrong.near) {
            Some(at) if !wrong.near.is_empty() => at,
            _ => skip,
        };
        let piece = self.pieces.iter().rev().find(|(from, ..)| *from <= at);
        let (from, line, column) = piece.copied().unwrap_or((at, self.first, 0));
        let column = column + self.text[from..at].chars().count() + 1;
        source.error_at(line, column, &wrong.why)
    }
}

/// A line that is longer is refused, as BuildKit does.
const LONGEST: usize = 65535;

/// Reads the file's lines one after another.
pub(super) struct Lines<'a> {
    text: &'a [u8],
    /// Of the file's line that was read last, from 1.
    number: usize,
    source: &'a Source,
    directives: directives::Directives,
    comments: Vec<String>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a [u8], source: &'a Source) -> Self {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let directives = directives::Directives::default();
        Self { text, number: 0, source, directives, comments: Vec::new() }
    }

    /// The next line of the file, its line feed with it.
    fn raw(&mut self) -> Result<Option<&'a [u8]>, Error> {
        if self.text.is_empty() {
            return Ok(None);
        }
        let end = self.text.iter().position(|&b| b == b'\n');
        let (line, rest) = self.text.split_at(end.map_or(self.text.len(), |end| end + 1));
        self.text = rest;
        self.number += 1;
        if line.len() - usize::from(end.is_some()) > LONGEST {
            let why = format!("dockerfile line greater than max allowed size of {LONGEST}");
            return Err(self.source.error_at(self.number, 1, why));
        }
        Ok(Some(line))
    }

    /// The next line of the language; directives go into `file`.
    pub(super) fn next(&mut self, file: &mut Dockerfile) -> Result<Option<Line>, Error> {
        while let Some(raw) = self.raw()? {
            let text = String::from_utf8_lossy(raw);
            let text = text.trim_end_matches(['\r', '\n']);
            let bare = text.trim_start();
            if bare.starts_with('#') {
                self.comment(text);
            }
            let directive = self.directives.line(bare).and_then(|found| match found {
                Some((name, value)) => {
                    self.comments.pop();
                    directed(file, &name, &value)
                }
                None => Ok(()),
            });
            directive.map_err(|why| self.source.error_at(self.number, 1, why))?;
            if bare.is_empty() || bare.starts_with('#') {
                continue;
            }
            let indent = text.chars().count() - bare.chars().count();
            return self.joined(bare, indent, file.escape).map(Some);
        }
        Ok(None)
    }

    fn comment(&mut self, text: &str) {
        // Go's way: what is cut off is the first byte, be it `#` or a blank.
        let rest = text.get(1..).unwrap_or_default().trim();
        if rest.is_empty() {
            self.comments.clear();
        } else {
            self.comments.push(rest.to_owned());
        }
    }

    /// A line that begins with `bare`, and those it goes on in.
    fn joined(&mut self, bare: &str, indent: usize, escape: char) -> Result<Line, Error> {
        let mut line = Line { first: self.number, ..Line::default() };
        line.comments = std::mem::take(&mut self.comments);
        line.pieces.push((0, self.number, indent));
        let (piece, mut goes_on) = continued(bare, escape);
        line.text += piece;
        while goes_on {
            let Some(raw) = self.raw()? else { break };
            let text = String::from_utf8_lossy(raw);
            let text = text.trim_end_matches(['\r', '\n']);
            let bare = text.trim_start();
            if bare.starts_with('#') {
                continue;
            }
            if bare.is_empty() {
                line.hole = true;
                continue;
            }
            let (piece, more) = continued(text, escape);
            line.pieces.push((line.text.len(), self.number, 0));
            line.text += piece;
            goes_on = more;
        }
        (line.head, line.last) = (self.number, self.number);
        Ok(line)
    }

    /// Takes the lines of the heredocs that `line` announces, if it is of a kind that has some.
    pub(super) fn heredocs(&mut self, line: &mut Line) -> Result<(), Error> {
        let docs = of_line(&line.text).map_err(|why| line.fault(self.source, &why.into()))?;
        for mut doc in docs {
            let mut content = String::new();
            loop {
                let Some(raw) = self.raw()? else {
                    let why = format!("unterminated heredoc: no line {:?} ends it", doc.name);
                    let near = if line.text.contains(&doc.name) { &doc.name } else { "<<" };
                    return Err(line.fault(self.source, &Wrong::near(why, near)));
                };
                let text = std::str::from_utf8(raw).map_err(|_| {
                    self.source.error_at(self.number, 1, "a heredoc has to be UTF-8")
                })?;
                let bare = text.trim_end_matches(['\r', '\n']);
                let bare = if doc.chomp { bare.trim_start_matches('\t') } else { bare };
                if bare == doc.name {
                    break;
                }
                content += text;
            }
            doc.content = if doc.chomp { chomped(&content) } else { content.clone() };
            line.heredocs.push(Raw { doc, content });
        }
        line.last = self.number;
        Ok(())
    }
}

fn directed(file: &mut Dockerfile, name: &str, value: &str) -> Result<(), String> {
    match name {
        "escape" => file.escape = directives::escape(value)?,
        "check" => file.check = directives::check(value)?,
        _ => file.syntax = Some(value.to_owned()),
    }
    Ok(())
}

/// A line without the escape at its end, if it has one that isn't escaped itself.
fn continued(text: &str, escape: char) -> (&str, bool) {
    match text.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest, true),
        _ => (text, false),
    }
}

/// A line taken apart, as its instruction's kind has it.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The instruction as typed.
    pub(super) word: String,
    /// `--flags`
    pub(super) flags: Vec<String>,
    /// All behind word and flags.
    pub(super) rest: String,
    /// Its words, or the JSON list's.
    pub(super) args: Vec<String>,
    /// It is a JSON list.
    pub(super) json: bool,
    /// ENV's and LABEL's.
    pub(super) pairs: Vec<(String, String)>,
    /// ONBUILD's.
    pub(super) inner: Option<Box<Node>>,
}

impl Node {
    /// Reads a joined line.
    pub(super) fn read(text: &str, escape: char) -> Result<Self, Wrong> {
        let split = words::split(text, escape);
        let (word, rest) = (split.word.to_owned(), split.rest.to_owned());
        let mut node = Self { word, flags: split.flags, rest, ..Self::default() };
        let rest = node.rest.as_str();
        match node.word.to_ascii_uppercase().as_str() {
            kind @ ("ADD" | "COPY" | "VOLUME") => {
                // A single COPY of a pattern such as [ab] isn't JSON.
                match words::json(rest).map_err(|why| Wrong::near(why, rest))? {
                    Some(list) => (node.args, node.json) = (list, true),
                    None => node.args = words::at_blanks(rest),
                }
                debug_assert!(KNOWN.contains(&kind));
            }
            "CMD" | "ENTRYPOINT" | "RUN" | "SHELL" => node.command(&node.rest.clone())?,
            "HEALTHCHECK" => {
                let (kind, command) = match rest.split_once(words::is_ascii_blank) {
                    Some((kind, command)) => (
                        kind.to_owned(),
                        command.trim_start_matches(words::is_ascii_blank).to_owned(),
                    ),
                    None => (rest.to_owned(), String::new()),
                };
                node.command(&command)?;
                if !kind.is_empty() {
                    node.args.insert(0, kind);
                }
            }
            "ARG" => node.args = words::quoted(rest, escape),
            "EXPOSE" | "FROM" => node.args = words::at_blanks(rest),
            "ENV" => node.pairs = pairs(rest, "ENV", escape)?,
            "LABEL" => node.pairs = pairs(rest, "LABEL", escape)?,
            "MAINTAINER" | "STOPSIGNAL" | "USER" | "WORKDIR" if !rest.is_empty() => {
                node.args = vec![rest.to_owned()];
            }
            "ONBUILD" if !rest.is_empty() => {
                let inner = cut(rest).0;
                if inner.eq_ignore_ascii_case("ONBUILD") {
                    let why = "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed";
                    return Err(Wrong::near(why, rest));
                }
                node.inner = Some(Box::new(Self::read(rest, escape)?));
            }
            _ => {}
        }
        Ok(node)
    }

    fn command(&mut self, text: &str) -> Result<(), Wrong> {
        match words::json(text).map_err(|why| Wrong::near(why, text))? {
            Some(list) => (self.args, self.json) = (list, true),
            None if text.is_empty() => {}
            None => self.args = vec![text.to_owned()],
        }
        Ok(())
    }

    /// Whether lines that follow may be its heredocs.
    pub(super) fn has_heredocs(&self) -> bool {
        let node = self.inner.as_deref().unwrap_or(self);
        !node.json && matches!(node.word.to_ascii_uppercase().as_str(), "ADD" | "COPY" | "RUN")
    }

    /// It is no instruction.
    pub(super) fn unknown(&self) -> Wrong {
        let why = format!("unknown instruction: {}", self.word);
        Wrong::near(with_hint(&why, &self.word, KNOWN, ""), self.word.as_str())
    }
}

/// `a=1 b="2 3"`, or the old `a 1 2 3`; quotes stay.
fn pairs(text: &str, name: &str, escape: char) -> Result<Vec<(String, String)>, Wrong> {
    let words = words::quoted(text, escape);
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    if !first.contains('=') {
        let (key, value) = cut(text);
        let value =
            value.ok_or_else(|| Wrong::near(format!("{name} must have two arguments"), text))?;
        return Ok(vec![(key.to_owned(), value.to_owned())]);
    }
    let pair = |word: &String| {
        let pair = word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        pair.ok_or_else(|| {
            let why =
                format!("Syntax error - can't find = in {word:?}. Must be of the form: name=value");
            Wrong::near(why, word.as_str())
        })
    };
    words.iter().map(pair).collect()
}
