//! `descriptors.json`: what a container's standard descriptors were, in the checkpoint, for the
//! restorer to put its own in their place.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;

use crate::error::{Error, Result};

const NAME: &str = "descriptors.json";
/// Three short texts; more is nothing of a runtime's.
const LIMIT: u64 = 16 * 1024;
const STANDARD: i32 = 3;

/// A pipe somebody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    fd: i32,
    name: String,
    reads: bool,
    writes: bool,
}

/// What a process has open under a number.
fn link(pid: i32, fd: i32) -> Option<String> {
    let text = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
    text.into_os_string().into_string().ok()
}

fn is_pipe(name: &str) -> bool {
    let number = name.strip_prefix("pipe:[").and_then(|rest| rest.strip_suffix(']'));
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn pipes(pid: i32) -> Vec<Held> {
    let mut all = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let number = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok());
        let Some(fd) = number else { continue };
        let Some(name) = link(pid, fd).filter(|name| is_pipe(name)) else { continue };
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let mode = flags.and_then(|text| i32::from_str_radix(text.trim(), 8).ok());
        let mode = mode.unwrap_or(libc::O_RDWR) & libc::O_ACCMODE;
        let (reads, writes) = (mode != libc::O_WRONLY, mode != libc::O_RDONLY);
        all.push(Held { fd, name, reads, writes });
    }
    all
}

/// What the container's standard descriptors are.
///
/// DIFFERS: from runc, which remembers at `create` what they were. A program may have put them
/// elsewhere since (`exec >log`, or a pipe to a `tee` of its own), and start pays nothing: of the
/// pipes under a number, first of the first process, the one is taken whose other end is outside.
pub fn of(init: i32, pids: &[i32]) -> Vec<String> {
    let others = pids.iter().copied().filter(|pid| *pid != init);
    let held: Vec<Held> = std::iter::once(init).chain(others).flat_map(pipes).collect();
    let own = |fd| link(init, fd).unwrap_or_default();
    (0..STANDARD).map(|fd| outside(&held, fd).unwrap_or_else(|| own(fd))).collect()
}

/// The first pipe under `fd` of which only one end is held.
fn outside(held: &[Held], fd: i32) -> Option<String> {
    let mut ends: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    for pipe in held {
        let end = ends.entry(&pipe.name).or_default();
        *end = (end.0 || pipe.reads, end.1 || pipe.writes);
    }
    let open = |pipe: &&Held| pipe.fd == fd && ends[pipe.name.as_str()] != (true, true);
    held.iter().find(open).map(|pipe| pipe.name.clone())
}

/// Writes it into the images' directory.
pub fn write(images: &OwnedFd, all: &[String]) -> Result<()> {
    let text = serde_json::to_string(all).map_err(|e| Error::rule(e.to_string()))?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
    let mut file = File::from(open(images, flags)?);
    file.write_all(text.as_bytes()).map_err(|e| Error::io("write", NAME, &e))
}

/// Which of ours take the place of which pipes.
///
/// A checkpoint may be foreign: only names of pipes, and only for the three standard descriptors.
pub fn read(images: &OwnedFd) -> Result<Vec<(String, i32)>> {
    let file = File::from(open(images, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?);
    let mut text = String::new();
    let broken = |why: &str| Error::rule(format!("the checkpoint's {NAME}: {why}"));
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        return Err(broken("is no regular file"));
    }
    file.take(LIMIT + 1).read_to_string(&mut text).map_err(|e| Error::io("read", NAME, &e))?;
    if text.len() as u64 > LIMIT {
        return Err(broken("is longer than three names of descriptors"));
    }
    parse(&text).map_err(|why| broken(&why))
}

fn parse(text: &str) -> std::result::Result<Vec<(String, i32)>, String> {
    let all: Vec<String> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if all.len() > STANDARD as usize {
        return Err(format!("names {} descriptors, and only three are standard", all.len()));
    }
    Ok(all.into_iter().zip(0..).filter(|(name, _)| is_pipe(name)).collect())
}

fn open(images: &OwnedFd, flags: OFlag) -> Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
        .mode(if flags.contains(OFlag::O_CREAT) {
            Mode::from_bits_truncate(0o600)
        } else {
            Mode::empty()
        })
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(images, NAME, how)
        .map_err(|e| Error::system("open", format!("the checkpoint's {NAME}"), e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(fd: i32, name: &str, reads: bool) -> Held {
        Held { fd, name: name.into(), reads, writes: !reads }
    }

    #[test]
    fn the_pipe_whose_other_end_is_outside_is_taken() {
        // A shell with its output in a pipe to tee, which has the container's.
        let all =
            [held(1, "pipe:[2]", false), held(0, "pipe:[2]", true), held(1, "pipe:[1]", false)];
        assert_eq!(outside(&all, 1).as_deref(), Some("pipe:[1]"));
        assert_eq!(outside(&all, 0), None);
        assert_eq!(outside(&all, 2), None);
    }

    #[test]
    fn only_pipes_among_three_are_inherited() {
        let ok = r#"["/dev/null","pipe:[12]","socket:[3]"]"#;
        assert_eq!(parse(ok).unwrap(), [("pipe:[12]".to_owned(), 1)]);
        for text in ["{}", "[1]", r#"["a","b","c","pipe:[4]"]"#, "", "[[]]"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for name in ["pipe:[]", "pipe:[1", "pipe:[1]x", "xpipe:[1]", "pipe:[-1]", "extRootNetNS"] {
            assert!(!is_pipe(name), "{name}");
        }
    }

    #[test]
    fn a_link_in_the_checkpoint_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "[]").unwrap();
        let images = dir.path().join("images");
        fs::create_dir(&images).unwrap();
        std::os::unix::fs::symlink(&victim, images.join(NAME)).unwrap();
        let fd = OwnedFd::from(File::open(&images).unwrap());
        assert!(read(&fd).is_err() && write(&fd, &[]).is_err());
        fs::remove_file(images.join(NAME)).unwrap();
        write(&fd, &["pipe:[7]".into()]).unwrap();
        assert_eq!(read(&fd).unwrap(), [("pipe:[7]".to_owned(), 0)]);
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic(text in ".{0,60}") {
            let _ = parse(&text);
        }
    }
}
