//! `dhow logs`: container.log read back, and followed without polling.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Deserialize;

use super::attach::Line;
use super::log::rotated;
use super::protocol::Role;
use super::watch::Watch;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::Record;

/// Which entries to show, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on until the container ends.
    pub follow: bool,
    /// Only so many of the last entries.
    pub tail: Option<u64>,
    /// Nothing before this.
    pub since: Option<Timestamp>,
    /// Nothing after this.
    pub until: Option<Timestamp>,
    /// Each entry's time before it.
    pub timestamps: bool,
    /// Extra attributes before it; there are none, which docker shows as a space.
    pub details: bool,
}

/// One line of the file.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    stream: Cow<'a, str>,
    time: Timestamp,
}

/// Writes the container's log to `out` (its stdout) and `err` (its stderr).
pub fn logs(
    host: &Host,
    record: &Record,
    options: &LogOptions,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<()> {
    if record.host_config.log_config.kind == "none" {
        return Err(Error::usage(format!(
            "container {} was created with --log-driver none: it has no log",
            record.name
        )));
    }
    let path = host.paths.log(&record.id);
    let mut printer = Printer::new(options, out, err);
    let done = if options.follow {
        follow(host, record, &path, &mut printer)
    } else {
        read_all(&path, options.tail).and_then(|mut tail| tail.print(&mut printer)).map(drop)
    };
    let done = done.and_then(|()| printer.finish());
    match done {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()), // head has seen enough
        other => other.map_err(|e| Error::io("read log", &path, e)),
    }
}

fn follow(
    host: &Host,
    record: &Record,
    path: &Path,
    printer: &mut Printer<'_>,
) -> std::io::Result<()> {
    let other = |e: Error| std::io::Error::other(e.message);
    let watch = Watch::of(&host.paths.container(&record.id)).map_err(other)?;
    let mut tail = read_all(path, printer.options.tail)?;
    loop {
        // Asked before the reading: what is written up to the end is then read for sure.
        let (line, _) = Line::of_living(host, record, Role::default()).map_err(other)?;
        loop {
            if tail.print(printer)? == Reached::Until {
                return Ok(());
            }
            let Some(line) = &line else { break };
            match wait(&watch, line, printer.options.until)? {
                Woken::Log => {}
                Woken::Monitor => break,
                Woken::Gone | Woken::Until => {
                    return tail.print(printer).map(drop);
                }
            }
        }
        if line.is_none() {
            return Ok(());
        }
    }
}

/// What ended a wait.
enum Woken {
    /// The directory changed.
    Log,
    /// The monitor has said something, or has gone.
    Monitor,
    /// The container was removed.
    Gone,
    /// `--until` has come.
    Until,
}

fn wait(watch: &Watch, line: &Line, until: Option<Timestamp>) -> std::io::Result<Woken> {
    let mut fds = [watch.as_fd(), line.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    let left = until.map(|until| until.as_millisecond() - Timestamp::now().as_millisecond() + 1);
    let timeout = match left {
        None => PollTimeout::NONE,
        Some(ms) => PollTimeout::try_from(ms.clamp(0, i64::from(i32::MAX)) as i32)
            .unwrap_or(PollTimeout::ZERO),
    };
    match poll(&mut fds, timeout) {
        Ok(0) => return Ok(Woken::Until),
        Err(Errno::EINTR) => return Ok(Woken::Log),
        Err(e) => return Err(e.into()),
        Ok(_) => {}
    }
    if fds[0].any() == Some(true) {
        return Ok(if watch.wait().is_some() { Woken::Log } else { Woken::Gone });
    }
    Ok(Woken::Monitor)
}

/// The files still to read, the oldest first, and what of a last line has no end yet.
struct Tail {
    path: std::path::PathBuf,
    files: Vec<BufReader<File>>,
    line: Vec<u8>,
}

/// Whether `--until` was reached.
#[derive(PartialEq, Eq)]
enum Reached {
    End,
    Until,
}

/// Opens the log, so that the last `tail` entries are what is left to read.
fn read_all(path: &Path, tail: Option<u64>) -> std::io::Result<Tail> {
    let (mut files, mut seen) = (Vec::new(), Vec::new());
    let mut wanted = tail;
    for n in 0.. {
        let mut file = match File::open(rotated(path, n)) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => break,
            Err(e) => return Err(e),
        };
        let inode = file.metadata()?.ino();
        if seen.contains(&inode) {
            continue; // rotated between two of our looks
        }
        seen.push(inode);
        if let Some(wanted) = &mut wanted {
            let found = seek_to_last(&mut file, *wanted)?;
            *wanted -= found;
        }
        files.push(BufReader::with_capacity(64 * 1024, file));
        if wanted == Some(0) {
            break;
        }
    }
    files.reverse();
    Ok(Tail { path: path.to_owned(), files, line: Vec::new() })
}

/// Places `file` before its last `lines` lines; says how many there were.
fn seek_to_last(file: &mut File, lines: u64) -> std::io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let (mut found, mut block) = (0, vec![0; 64 * 1024]);
    if lines == 0 {
        return Ok(0);
    }
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        for at in (0..part.len()).rev().filter(|&at| part[at] == b'\n') {
            // The newline before the first wanted line is one more than there are lines.
            if found == lines {
                file.seek(SeekFrom::Start(start + at as u64 + 1))?;
                return Ok(found);
            }
            found += 1;
        }
        end = start;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(found)
}

impl Tail {
    /// Prints every whole line there is by now.
    fn print(&mut self, printer: &mut Printer<'_>) -> std::io::Result<Reached> {
        loop {
            while let Some(file) = self.files.first_mut() {
                if file.read_until(b'\n', &mut self.line)? == 0 {
                    break;
                }
                if self.line.last() == Some(&b'\n') {
                    let reached = printer.print(&self.line)?;
                    self.line.clear();
                    if reached == Reached::Until {
                        return Ok(reached);
                    }
                }
            }
            if !self.next_file()? {
                printer.flush()?;
                return Ok(Reached::End);
            }
        }
    }

    /// Goes on to a younger file, if there is one.
    fn next_file(&mut self) -> std::io::Result<bool> {
        if self.files.len() > 1 {
            self.files.remove(0);
            return Ok(true);
        }
        let newest = match std::fs::metadata(&self.path) {
            Ok(meta) => meta.ino(),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        let inode = |file: &BufReader<File>| file.get_ref().metadata().map(|meta| meta.ino());
        if let Some(current) = self.files.first()
            && inode(current)? == newest
        {
            return Ok(false);
        }
        // It was rotated away, maybe more than once; those between are younger than ours.
        let current = self.files.first().map(inode).transpose()?;
        let mut younger = Vec::new();
        for n in 0.. {
            let Ok(file) = File::open(rotated(&self.path, n)) else { break };
            if Some(file.metadata()?.ino()) == current {
                break;
            }
            younger.push(BufReader::with_capacity(64 * 1024, file));
        }
        younger.reverse();
        // Ours stays first: it may have grown between our last look and its rotation.
        let more = !younger.is_empty();
        self.files.extend(younger);
        Ok(more)
    }
}

/// Shows entries as asked.
struct Printer<'a> {
    options: &'a LogOptions,
    out: BufWriter<&'a mut dyn Write>,
    err: BufWriter<&'a mut dyn Write>,
    last_was_err: bool,
    damaged: u64,
}

impl<'a> Printer<'a> {
    fn new(options: &'a LogOptions, out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        let (out, err) = (BufWriter::with_capacity(64 * 1024, out), BufWriter::new(err));
        Self { options, out, err, last_was_err: false, damaged: 0 }
    }

    fn print(&mut self, line: &[u8]) -> std::io::Result<Reached> {
        let Ok(entry) = serde_json::from_slice::<Entry<'_>>(line) else {
            self.damaged += 1;
            return Ok(Reached::End);
        };
        if self.options.since.is_some_and(|since| entry.time < since) {
            return Ok(Reached::End);
        }
        if self.options.until.is_some_and(|until| entry.time > until) {
            return Ok(Reached::Until);
        }
        let to_err = entry.stream == "stderr";
        if to_err != self.last_was_err {
            self.flush()?; // both may be one terminal: what came first is seen first
            self.last_was_err = to_err;
        }
        let to = if to_err { &mut self.err } else { &mut self.out };
        if self.options.timestamps {
            // Nine digits always, as docker prints them here.
            write!(to, "{} ", entry.time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ"))?;
        }
        if self.options.details {
            to.write_all(b" ")?;
        }
        to.write_all(entry.log.as_bytes())?;
        Ok(Reached::End)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()?;
        self.err.flush()
    }

    /// What a power cut tore is said, not hidden.
    fn finish(&mut self) -> std::io::Result<()> {
        if self.damaged > 0 {
            writeln!(self.err, "dhow: {} damaged log entries were left out", self.damaged)?;
        }
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::{Limits, Stream, Writer};
    use super::*;
    use proptest::prelude::*;

    fn shown(path: &Path, options: &LogOptions) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut printer = Printer::new(options, &mut out, &mut err);
        read_all(path, options.tail).unwrap().print(&mut printer).unwrap();
        printer.finish().unwrap();
        drop(printer);
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    fn lines(range: std::ops::Range<u32>) -> String {
        range.map(|n| n.to_string() + "\n").collect()
    }

    fn log_of(lines: u32, limits: Limits) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("container.log");
        let mut log = Writer::open(&path, limits).unwrap();
        for n in 0..lines {
            log.write(Stream::Stdout, format!("{n}\n").as_bytes()).unwrap();
        }
        (dir, path)
    }

    #[test]
    fn the_last_entries_are_found_across_rotated_files() {
        let (_dir, path) = log_of(60, Limits { size: 700, files: 9 });
        assert!(rotated(&path, 2).exists());
        let tail = |n| shown(&path, &LogOptions { tail: n, ..LogOptions::default() }).0;
        let all = lines(0..60);
        assert_eq!(tail(None), all);
        assert_eq!(tail(Some(1000)), all);
        assert_eq!(tail(Some(25)), lines(35..60));
        assert_eq!(tail(Some(0)), "");
    }

    #[test]
    fn a_follower_sees_every_line_through_a_rotation() {
        let (_dir, path) = log_of(3, Limits::default());
        let options = LogOptions::default();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut printer = Printer::new(&options, &mut out, &mut err);
        let mut tail = read_all(&path, None).unwrap();
        tail.print(&mut printer).unwrap();
        let mut log = Writer::open(&path, Limits { size: 700, files: 9 }).unwrap();
        for n in 3..40 {
            log.write(Stream::Stdout, format!("{n}\n").as_bytes()).unwrap();
        }
        tail.print(&mut printer).unwrap();
        drop(printer);
        let expected = lines(0..40);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn torn_entries_are_counted_and_the_rest_is_shown() {
        let (_dir, path) = log_of(2, Limits::default());
        let mut text = std::fs::read(&path).unwrap();
        text.extend(b"\0\0\0\n{\"log\":\"err\\n\",\"stream\":\"stderr\",\"time\":\"2026-01-02T03:04:05.5Z\"}\n{\"lo");
        std::fs::write(&path, text).unwrap();
        let options = LogOptions { timestamps: true, details: true, ..LogOptions::default() };
        let (out, err) = shown(&path, &options);
        assert!(out.ends_with("Z  1\n"), "{out}");
        assert_eq!(
            err,
            "2026-01-02T03:04:05.500000000Z  err\ndhow: 1 damaged log entries were left out\n"
        );
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_stop_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..600), tail in proptest::option::of(0_u64..5)) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("container.log");
            std::fs::write(&path, bytes).unwrap();
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let options = LogOptions { tail, ..LogOptions::default() };
            let mut printer = Printer::new(&options, &mut out, &mut err);
            read_all(&path, tail).unwrap().print(&mut printer).unwrap();
        }
    }
}
