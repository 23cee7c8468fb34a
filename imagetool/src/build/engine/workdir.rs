//! WORKDIR: the directory of what follows, made if it isn't there.

use nix::fcntl::OFlag;
use nix::sys::stat::FileStat;

use super::layer::Made;
use super::stage::Work;
use crate::bundle::user;
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::layer::header::{Item, Writer};
use crate::layer::pax::Time;

impl Work<'_> {
    /// Does one; `path` has no variables any more.
    pub fn workdir(&mut self, name: &str, path: &str) -> Result<()> {
        let path = joined(self.state.workdir(), path);
        self.state.image.config.working_dir.clone_from(&path);
        let text = format!("WORKDIR {path}");
        if path == "/" {
            self.state.noted(text);
            return Ok(());
        }
        let told = self.engine.begin(name);
        let user = self.state.image.config.user.clone();
        let key = self.key("workdir").with("path", &path).with("user", &user).finish();
        let record = text.clone();
        self.find_or_make(told, &[&key], text, |work, _| work.make_dirs(&path, &user, &record))
    }

    fn make_dirs(&mut self, path: &str, user: &str, text: &str) -> Result<Made> {
        let root = self.engine.roots.of(&self.state.chain())?;
        let open = |path: &str| root.dir.open_inside(path.as_bytes(), OFlag::O_PATH);
        match open(path) {
            Ok(fd) if nix::sys::stat::fstat(&fd).is_ok_and(|s| crate::layer::at::is_dir(&s)) => {
                return Ok(self.nothing(text));
            }
            Ok(_) => {
                let why = format!("cannot make the directory {path}: a file is there");
                return Err(Error::Conflict(why));
            }
            Err(_) => {}
        }
        let owner = user::resolve(&root.dir, user)?;
        let time = Time { secs: self.created().as_second(), nanos: 0 };
        // What is there already comes along as it is: unpacked it has to be in the layer, and
        // a layer that is packed again has to be the same tar.
        let mut old: Vec<(Vec<u8>, FileStat)> = Vec::new();
        // The first directories may be links.
        let mut real = Vec::new();
        let mut new: Vec<Vec<u8>> = Vec::new();
        let mut depth = 0;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let here = crate::layer::name::join(&real, part.as_bytes());
            let there = new.is_empty().then(|| root.real(&here)).transpose()?;
            if let Some(found) = there.flatten() {
                real = found;
                old = attributes(&root.dir, &real)?;
            } else {
                new.push(here.clone());
                real = here;
            }
            depth += 1;
            if depth > 256 {
                return Err(Error::Conflict(format!("the path {path} is too deep")));
            }
        }
        let packed = self.is_packed();
        let fill = |out: &mut (dyn std::io::Write + Send)| {
            let mut out = Writer::new(out);
            for (path, stat) in &old {
                let item = Item {
                    flag: b'5',
                    uid: stat.st_uid,
                    gid: stat.st_gid,
                    mtime: Time { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 },
                    ..Item::file(&[path, b"/".as_slice()].concat(), stat.st_mode & 0o7777, 0)
                };
                out.item(&item)?;
            }
            for path in &new {
                let item = Item {
                    flag: b'5',
                    mode: 0o755,
                    uid: owner.uid,
                    gid: owner.gid,
                    mtime: time,
                    ..Item::file(&[path, b"/".as_slice()].concat(), 0o755, 0)
                };
                out.item(&item)?;
            }
            out.finish().map(drop)
        };
        let lease = self.engine.lease;
        let (unpacked, blob, ()) = self.engine.layers.make_some(lease, packed, fill)?;
        self.unpacked(unpacked, blob, text)
    }
}

/// What the directories on the way to a path, and it itself, are like.
fn attributes(root: &RootDir, path: &[u8]) -> Result<Vec<(Vec<u8>, FileStat)>> {
    let ends = (0..path.len()).filter(|&at| path[at] == b'/').chain([path.len()]);
    let each = ends.filter(|&end| end > 0).map(|end| {
        let path = &path[..end];
        let fd = root.open_inside(path, OFlag::O_PATH).map_err(|e| root.error("open", path, e))?;
        let stat = nix::sys::stat::fstat(&fd).map_err(|e| root.error("stat", path, e))?;
        Ok((path.to_vec(), stat))
    });
    each.collect()
}

/// A path upon another, without `.` and `..`.
pub(super) fn joined(below: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{below}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn paths_are_joined_as_in_go() {
        for (below, path, want) in [
            ("/", "a", "/a"),
            ("/a", "b/../c/.", "/a/c"),
            ("/a", "/b//c/", "/b/c"),
            ("/a", "../../..", "/"),
            ("/a", "", "/a"),
        ] {
            assert_eq!(joined(below, path), want);
        }
    }
}
