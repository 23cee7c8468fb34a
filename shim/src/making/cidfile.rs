//! `--cidfile`: there before anything else is made, gone again unless the container is.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::options::rights::plain;

/// A file that waits for its container's id.
pub struct CidFile {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl CidFile {
    /// Makes it; one that is there tells of another container.
    pub fn create(path: &Path) -> Result<Self> {
        let made = File::options().write(true).create_new(true).mode(0o644).open(path);
        let file = made.map_err(|e| {
            let place = path.display();
            Error::conflict(if e.kind() == std::io::ErrorKind::AlreadyExists {
                format!(
                    "container ID file found, make sure the other container isn't running or delete {place}"
                )
            } else {
                format!("failed to create the container ID file: open {place}: {}", plain(&e))
            })
        })?;
        Ok(Self { path: path.to_owned(), file, kept: false })
    }

    /// Writes the id; from here on it stays.
    pub fn keep(mut self, id: &str) -> Result<()> {
        self.file.write_all(id.as_bytes()).map_err(|e| {
            let place = self.path.display();
            Error::engine(format!(
                "failed to write the container ID to the file: write {place}: {}",
                plain(&e)
            ))
        })?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
