//! Older log files, compressed by a process of their own: the monitor goes on reading meanwhile.
//!
//! The file's lock goes with the descriptor that the process gets as its stdin: as long as it
//! is held, somebody is at work.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufWriter, Result};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use flate2::{Compression, GzBuilder};

/// The hidden argument that makes the dhow program a compressor.
pub const ARGUMENT: &str = "__compress";

/// Whether a process is compressing the file.
pub fn is_at_work(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// Has `path` compressed to `path`.gz. Whoever has children to reap reaps this one too.
pub fn start(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    file.lock()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("dhow").arg(ARGUMENT).arg(path).stdin(file);
    command.stdout(Stdio::null()).stderr(Stdio::null()).env_clear().current_dir("/");
    command.spawn().map(drop)
}

/// The whole program of the process.
pub fn main() -> ExitCode {
    let path = std::env::args_os().nth(2).map(PathBuf::from);
    let file = std::io::stdin().as_fd().try_clone_to_owned().map(File::from);
    match path.zip(file.ok()).map(|(path, file)| compress(file, &path)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn compress(mut file: File, path: &Path) -> Result<()> {
    let with = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let temporary = with(".gz.tmp");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let done = (|| {
        // Which file it was: a follower that has read it knows it by that.
        let inode = file.metadata()?.ino().to_le_bytes();
        let to = BufWriter::new(options.open(&temporary)?);
        let mut to = GzBuilder::new().extra(inode.to_vec()).write(to, Compression::default());
        std::io::copy(&mut file, &mut to)?;
        to.finish()?.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        std::fs::rename(&temporary, with(".gz"))?;
        std::fs::remove_file(path)
    })();
    if done.is_err() {
        let _ = std::fs::remove_file(&temporary); // it stays as it was, which is as good
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Tail;

    #[test]
    fn a_compressed_file_reads_as_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(dir.path().join("log.1"), "1\n2\n").unwrap();
        std::fs::write(&path, "3\n").unwrap();
        let older = dir.path().join("log.1");
        compress(File::open(&older).unwrap(), &older).unwrap();
        assert!(!older.exists() && dir.path().join("log.1.gz").exists());
        let (mut tail, mut all) = (Tail::open(&path, None).unwrap(), Vec::<u8>::new());
        while let Some(line) = tail.next_line().unwrap() {
            all.extend(line);
        }
        assert_eq!(all, b"1\n2\n3\n");
    }
}
