//! What criu's own log says of a failure.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::options::Directories;
use super::swrk::Failed;
use crate::error::Error;

/// As much of the end as is looked at.
const TAIL: u64 = 256 * 1024;
/// As many lines as are quoted.
const QUOTED: usize = 3;
/// As much of a line as is quoted.
const WIDTH: usize = 300;

/// The error, with criu's last words and where the rest is.
pub fn explain(failed: Failed, dirs: &Directories, name: &str) -> Error {
    let Failed::Criu { what, said } = failed else { return failed.into() };
    let path = dirs.logs.join(name);
    let said = match tail(dirs, name).map(|text| errors(&text)) {
        Ok(last) if !last.is_empty() => last,
        _ => said,
    };
    let why = if said.is_empty() { what } else { format!("{what}: {said}") };
    Error::rule(format!("{why} (the log is {})", path.display()))
}

/// The directory may have come with a foreign checkpoint: what lies there is no link to a file of
/// the host's, and no fifo to wait at.
fn tail(dirs: &Directories, name: &str) -> std::io::Result<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let dir = dirs.work.as_ref().unwrap_or(&dirs.images);
    let mut file = File::from(openat(dir, name, flags, Mode::empty())?);
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Ok(String::new());
    }
    let length = meta.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last lines that are errors, without their time.
fn errors(text: &str) -> String {
    let line = |line: &str| {
        let (_, rest) = line.split_once("Error ")?;
        Some(rest.trim().chars().take(WIDTH).collect::<String>())
    };
    let mut last: Vec<String> = text.lines().rev().filter_map(line).take(QUOTED).collect();
    last.reverse();
    last.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bug_the_log_of_a_checkpoint_was_read_through_a_link_or_a_fifo() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "(00.1) Error (a.c:1): of the host\n").unwrap();
        let images = dir.path().join("images");
        std::fs::create_dir(&images).unwrap();
        let open = File::open(&images).unwrap().into();
        let dirs = Directories { images: open, work: None, logs: images.clone() };
        let said = || {
            let failed = Failed::Criu { what: "restore".into(), said: String::new() };
            explain(failed, &dirs, "log").to_string()
        };
        std::os::unix::fs::symlink(&secret, images.join("log")).unwrap();
        assert!(!said().contains("of the host"), "{}", said());
        std::fs::remove_file(images.join("log")).unwrap();
        nix::unistd::mkfifo(&images.join("log"), Mode::S_IRWXU).unwrap();
        assert!(said().starts_with("restore (the log is"), "{}", said());
        std::fs::remove_file(images.join("log")).unwrap();
        std::fs::copy(&secret, images.join("log")).unwrap();
        assert!(said().contains("(a.c:1): of the host"), "{}", said());
    }

    #[test]
    fn the_last_errors_are_quoted_without_their_time() {
        let text = "(00.1) Error (a.c:1): one\n(00.2) info\n(00.3) Error (b.c:2): two\n\
                    (00.4) Error (c.c:3): three \n(00.5) Error (d.c:4): four\n(00.6) end\n";
        assert_eq!(errors(text), "(b.c:2): two; (c.c:3): three; (d.c:4): four");
        assert_eq!(errors(""), "");
    }
}
