//! Where an ordinary user's world is, by the XDG base directory specification.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the environment says about a user's directories.
#[derive(Debug, Default, Clone, Copy)]
pub struct Dirs<'a> {
    /// XDG_DATA_HOME
    pub data: Option<&'a Path>,
    /// XDG_RUNTIME_DIR
    pub runtime: Option<&'a Path>,
    /// HOME
    pub home: Option<&'a Path>,
}

impl Dirs<'_> {
    /// ROOT: `XDG_DATA_HOME/dhow`, else `~/.local/share/dhow`; nothing without a home.
    pub fn root(&self) -> Option<PathBuf> {
        let data = self.data.filter(|d| d.is_absolute()).map(Path::to_path_buf);
        let data = data.or_else(|| Some(self.home?.join(".local/share")))?;
        Some(data.join("dhow"))
    }

    /// RUN: `XDG_RUNTIME_DIR/dhow`, else `/run/user/UID/dhow`, else `run` in ROOT. A directory that
    /// belongs to another user (after `su`, say) doesn't count.
    pub fn run(&self, uid: u32, root: &Path) -> PathBuf {
        let usual = PathBuf::from(format!("/run/user/{uid}"));
        let ours = |dir: &&Path| dir.metadata().is_ok_and(|m| m.is_dir() && m.uid() == uid);
        let found = self.runtime.into_iter().chain([usual.as_path()]).find(ours);
        found.map_or_else(|| root.join("run"), |dir| dir.join("dhow"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_world_lies_in_the_users_directories() {
        let (home, data) = (Path::new("/home/ann"), Path::new("/data"));
        let dirs = Dirs { home: Some(home), ..Dirs::default() };
        assert_eq!(dirs.root().unwrap(), Path::new("/home/ann/.local/share/dhow"));
        let dirs = Dirs { data: Some(data), ..dirs };
        assert_eq!(dirs.root().unwrap(), Path::new("/data/dhow"));
        assert_eq!(Dirs::default().root(), None);
    }

    #[test]
    fn a_runtime_directory_of_somebody_else_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let uid = dir.path().metadata().unwrap().uid();
        let dirs = Dirs { runtime: Some(dir.path()), ..Dirs::default() };
        assert_eq!(dirs.run(uid, Path::new("/r")), dir.path().join("dhow"));
        assert_eq!(dirs.run(4_000_000_001, Path::new("/r")), Path::new("/r/run"));
    }
}
