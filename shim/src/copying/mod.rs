//! `cp`: files between a container and the host, by docker's rules.
//!
//! ```text
//! outside (the host) ─┐                    ┌─▶ inside
//!                     ├─▶ rules ─▶ stream ─┤
//! inside (a view) ────┘                    └─▶ outside, or a tar on stdout
//! ```
//!
//! What is typed is cut up as docker cuts it ([`path`]); where things go is decided by
//! [`rules`], which touch nothing. Both ends are descriptors before the first byte moves:
//! a container that exchanges what lies there meanwhile changes what it alone owns.
//! CVE: 2018-15664, 2019-14271, 2026-41567, 2026-41568, 2026-42306: no path is resolved twice or
//! outside of a root, nothing of a container is executed, and decompression is our own.

mod inside;
mod outside;
mod path;
mod rules;
mod stream;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, Result};
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::model::Record;
use inside::Inside;
use stream::{Meter, Source};

/// How to copy.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// Into a container: its user owns the copies.
    pub archive: bool,
    /// A link that is named as the source stands for what it leads to.
    pub follow: bool,
    /// Nothing is said.
    pub quiet: bool,
}

/// What was typed: a path of a container, or one of the host.
#[derive(Debug, PartialEq, Eq)]
pub enum Side<'a> {
    /// `CONTAINER:PATH`
    Container(&'a str, &'a [u8]),
    /// Anything else.
    Local(&'a [u8]),
}

impl<'a> Side<'a> {
    /// Reads what was typed; a path that begins with `/` or `.` is the host's, whatever follows.
    pub fn parse(typed: &'a OsStr) -> Self {
        let bytes = typed.as_bytes();
        let local = bytes.starts_with(b"/") || bytes.starts_with(b".");
        let colon = bytes.iter().position(|&b| b == b':').filter(|_| !local);
        match colon.map(|at| (std::str::from_utf8(&bytes[..at]), &bytes[at + 1..])) {
            Some((Ok(name), path)) if !name.is_empty() => Self::Container(name, path),
            Some((Ok(_), path)) => Self::Local(path),
            _ => Self::Local(bytes),
        }
    }
}

/// A container as it was typed, and what it turned out to be.
pub struct Named<'a> {
    /// As typed.
    pub name: &'a str,
    /// Its record.
    pub record: &'a Record,
}

/// From a container to `to` on the host; `-` is a tar on stdout.
pub fn out_of(host: &Host, from: &Named<'_>, path: &[u8], to: &[u8], how: How) -> Result<Exit> {
    let inside = Inside::open(host, from)?;
    let source = inside.source(path, how.follow)?;
    let told = || events::of_container(&host.paths, from.record, "archive-path", &[]);
    if to == b"-" {
        told();
        // Not to its end name: docker renames only what it unpacks itself.
        let source = Source { name: source.own_name.clone(), ..source };
        return stream::to_stdout(&source);
    }
    let target = outside::target(to)?;
    told();
    let (dir, name) = rules::place(&source.name, source.is_dir, &target)?;
    let into = outside::directory(&dir)?;
    let meter = Meter::new("Copying from container - ", how.quiet);
    let words = outside::words(&dir);
    let plain = stream::copy(host, &Source { name, ..source }, into, &words, &meter)?;
    meter.done(plain, &path::shown(&target.path));
    Ok(Exit::OK)
}

/// From `from` on the host into a container; `-` is a tar on stdin.
pub fn into(host: &Host, from: &[u8], to: &Named<'_>, path: &[u8], how: How) -> Result<Exit> {
    // Before the container is reached: a stopped one can't be started meanwhile.
    let source = if from == b"-" { None } else { Some(outside::source(from, how.follow)?) };
    let inside = Inside::open(host, to)?;
    let target = inside.target(path)?;
    let Some(source) = source else {
        if !target.is_dir {
            let typed = path::shown(path);
            let why = format!("destination \"{}:{typed}\" must be a directory", to.name);
            return Err(Error::usage(why));
        }
        let (into, words) = inside.extraction(&target.path, how.archive)?;
        stream::from_stdin(host, into, &words)?;
        events::of_container(&host.paths, to.record, "extract-to-dir", &[]);
        return Ok(Exit::OK);
    };
    let (dir, name) = rules::place(&source.name, source.is_dir, &target)?;
    let (into, words) = inside.extraction(&dir, how.archive)?;
    let meter = Meter::new("Copying to container - ", how.quiet);
    let plain = stream::copy(host, &Source { name, ..source }, into, &words, &meter)?;
    events::of_container(&host.paths, to.record, "extract-to-dir", &[]);
    meter.done(plain, &format!("{}:{}", to.name, path::shown(&target.path)));
    Ok(Exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_names_a_container_unless_the_path_is_explicit() {
        let parse = |text: &'static str| Side::parse(OsStr::new(text));
        assert_eq!(parse("c:/x"), Side::Container("c", b"/x"));
        assert_eq!(parse("c:"), Side::Container("c", b""));
        assert_eq!(parse("./a:b"), Side::Local(b"./a:b"));
        assert_eq!(parse("/a:b"), Side::Local(b"/a:b"));
        assert_eq!(parse("a"), Side::Local(b"a"));
        assert_eq!(parse("-"), Side::Local(b"-"));
        assert_eq!(parse(":x"), Side::Local(b"x"));
    }
}
