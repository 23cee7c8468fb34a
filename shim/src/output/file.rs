//! `-o FILE` or stdout: archives are never written to a terminal, and a file is
//! whole or not there.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Has `fill` write to the file at `path`, or to stdout.
pub fn write(
    path: Option<&Path>,
    fill: impl FnOnce(&mut (dyn Write + Send)) -> Result<()>,
) -> Result<()> {
    let Some(path) = path.filter(|p| *p != Path::new("-")) else {
        let mut stdout = std::io::stdout();
        if stdout.is_terminal() {
            return Err(Error::usage(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect",
            ));
        }
        fill(&mut stdout)?;
        return stdout.flush().map_err(|e| Error::engine(format!("write to stdout: {e}")));
    };
    if std::fs::symlink_metadata(path).is_ok_and(|m| !m.is_file() && !m.is_symlink()) {
        // A pipe or a device is written as it is.
        let mut file =
            OpenOptions::new().write(true).open(path).map_err(|e| Error::io("open", path, e))?;
        return fill(&mut file);
    }
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    if let Some(dir) = parent.filter(|dir| !dir.is_dir()) {
        let dir = dir.display();
        let why = format!("invalid output path: stat {dir}: no such file or directory");
        return Err(Error::usage(format!("{why}; make it first")));
    }
    let part = beside(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .map_err(|e| Error::io("create", path, e))?;
    let written = fill(&mut file)
        .and_then(|()| std::fs::rename(&part, path).map_err(|e| Error::io("create", path, e)));
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.tar");
        let fail = write(Some(&path), |out| {
            out.write_all(b"half").unwrap();
            Err(Error::engine("no"))
        });
        assert!(fail.is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        write(Some(&path), |out| {
            out.write_all(b"whole").unwrap();
            Ok(())
        })
        .unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole");
    }
}
