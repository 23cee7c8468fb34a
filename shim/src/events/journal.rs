//! ROOT/events: a line an event, rotated, so that it stays small for ever.
//!
//! Writers append under a shared lock of the file, one `write` a line; who finds it full takes
//! the lock alone and renames it. With the lock in hand a writer looks whether its file still
//! has the name: so nothing is ever appended to a file that was rotated away, and a reader that
//! has come to the end of one has seen all of it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::event::Event;

/// Bytes of one file.
const SIZE: u64 = 2 << 20;
/// Files: the one written to, and older ones; `events.1` is the youngest of those.
const FILES: u32 = 4;
/// How every record begins. No text in a record can: its quotes would be escaped.
const BEGIN: &[u8] = b"{\"Type\":\"";

/// The path of the `n`th older file; 0 is the one written to.
pub fn path(root: &Path, n: u32) -> PathBuf {
    crate::store::rotated(&root.join("events"), n)
}

/// Appends `event`.
pub fn append(root: &Path, event: &Event) -> Result<()> {
    append_within(root, event, SIZE)
}

fn append_within(root: &Path, event: &Event, size: u64) -> Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let path = path(root, 0);
    loop {
        let file = lock(open(root, &path)?, FlockArg::LockShared)?;
        // Rotated between open and lock: once more.
        let Some(length) = own_length(&file, &path)? else { continue };
        (&*file).write_all(&line)?;
        drop(file);
        let length = length + line.len() as u64;
        if length >= size {
            // Alone now if it can be had, at any price once the file is twice too long.
            let how = FlockArg::LockExclusiveNonblock;
            let how = if length < 2 * size { how } else { FlockArg::LockExclusive };
            rotate(root, &path, size, how)?;
        }
        return Ok(());
    }
}

fn open(root: &Path, path: &Path) -> Result<File> {
    let open = || {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        options.open(path)
    };
    open().or_else(|e| {
        if e.kind() != ErrorKind::NotFound {
            return Err(e);
        }
        crate::store::make_dir(root).map_err(|e| std::io::Error::other(e.message))?;
        open()
    })
}

fn lock(file: File, how: FlockArg) -> Result<Flock<File>> {
    Flock::lock(file, how).map_err(|(_, errno)| errno.into())
}

/// How long the file is, if it is the one at `path`.
fn own_length(file: &File, path: &Path) -> Result<Option<u64>> {
    let own = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.ino() == own.ino()).then_some(own.len())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Renames a full journal, unless another is at it or has done so.
fn rotate(root: &Path, path: &Path, size: u64, how: FlockArg) -> Result<()> {
    let file = match Flock::lock(open(root, path)?, how) {
        Ok(file) => file,
        Err((_, Errno::EWOULDBLOCK)) => return Ok(()), // somebody writes: the next one rotates
        Err((_, errno)) => return Err(errno.into()),
    };
    if own_length(&file, path)?.is_none_or(|length| length < size) {
        return Ok(());
    }
    for n in (0..FILES - 1).rev() {
        match std::fs::rename(self::path(root, n), self::path(root, n + 1)) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// The event of a line. What a full disk tore is followed, in the same line, by the next whole one.
pub fn parse(line: &[u8]) -> Option<Event> {
    let starts = line.windows(BEGIN.len()).enumerate().filter(|(_, part)| *part == BEGIN);
    starts.map(|(at, _)| &line[at..]).find_map(|rest| serde_json::from_slice(rest).ok())
}

#[cfg(test)]
mod tests {
    use super::super::event::Kind;
    use super::*;

    fn event(id: &str) -> Event {
        Event::new(Kind::Container, "start", id, &[("name", "{\"Type\":\"x")])
    }

    fn all(root: &Path) -> Vec<Event> {
        let files = (0..FILES).rev().filter_map(|n| std::fs::read(path(root, n)).ok());
        let bytes: Vec<u8> = files.flatten().collect();
        bytes.split_inclusive(|&b| b == b'\n').filter_map(parse).collect()
    }

    #[test]
    fn many_writers_lose_and_tear_nothing_over_rotations() {
        let root = tempfile::tempdir().unwrap();
        let write = |writer: u32| {
            for n in 0..50 {
                append_within(root.path(), &event(&format!("{writer}-{n}")), 32 << 10).unwrap();
            }
        };
        std::thread::scope(|scope| {
            for writer in 0..8 {
                scope.spawn(move || write(writer));
            }
        });
        let got = all(root.path());
        assert!(path(root.path(), 1).exists());
        for writer in 0..8 {
            let prefix = format!("{writer}-");
            let own = got.iter().filter_map(|e| e.actor.id.strip_prefix(&prefix));
            let own: Vec<u32> = own.map(|n| n.parse().unwrap()).collect();
            assert_eq!(own, (0..50).collect::<Vec<_>>(), "of writer {writer}");
        }
    }

    #[test]
    fn a_follower_loses_and_doubles_nothing_over_rotations() {
        let root = tempfile::tempdir().unwrap();
        append_within(root.path(), &event("first"), 1 << 20).unwrap();
        let mut tail = crate::store::Tail::open(&path(root.path(), 0), Some(0)).unwrap();
        let mut got: Vec<String> = Vec::new();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let root = root.path();
                scope.spawn(move || {
                    for n in 0..500 {
                        append_within(root, &event(&format!("{writer}-{n:03}")), 48 << 10).unwrap();
                    }
                });
            }
            while got.len() < 2000 {
                match tail.next_line().unwrap() {
                    Some(line) => got.push(parse(line).unwrap().actor.id),
                    None => std::thread::yield_now(),
                }
            }
        });
        assert!(tail.next_line().unwrap().is_none() && path(root.path(), 2).exists());
        for writer in 0..4 {
            let own = got.iter().filter(|id| id.starts_with(&format!("{writer}-")));
            let want: Vec<String> = (0..500).map(|n| format!("{writer}-{n:03}")).collect();
            assert!(own.eq(&want), "of writer {writer}");
        }
    }

    #[test]
    fn the_journal_stays_small() {
        let root = tempfile::tempdir().unwrap();
        for n in 0..2000 {
            append_within(root.path(), &event(&n.to_string()), 4 << 10).unwrap();
        }
        let kept = all(root.path());
        assert_eq!(kept.last().unwrap().actor.id, "1999");
        assert!(!path(root.path(), FILES).exists());
        let size: u64 = (0..FILES)
            .map(|n| std::fs::metadata(path(root.path(), n)).map_or(0, |m| m.len()))
            .sum();
        assert!(size < 5 * (4 << 10), "{size}");
    }

    #[test]
    fn a_torn_record_costs_no_other() {
        let root = tempfile::tempdir().unwrap();
        append(root.path(), &event("1")).unwrap();
        let file = path(root.path(), 0);
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        append(root.path(), &event("2")).unwrap();
        let got = all(root.path());
        assert_eq!(got.iter().map(|e| e.actor.id.as_str()).collect::<Vec<_>>(), ["2"]);
    }
}
