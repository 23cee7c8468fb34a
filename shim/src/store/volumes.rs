//! Named and anonymous volumes: ROOT/volumes/NAME/_data.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::events;

use super::file::make_dir;

/// The volumes of a world.
pub struct Volumes {
    dir: PathBuf,
}

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Where its files are.
    pub data: PathBuf,
}

impl Volumes {
    /// The volumes under `root`; nothing is made yet.
    pub fn open(root: &Path) -> Self {
        Self { dir: root.join("volumes") }
    }

    /// The volume called `name`, made when it lacks.
    pub fn ensure(&self, name: &str) -> Result<Volume> {
        check_name(name)?;
        let data = self.dir.join(name).join("_data");
        if !data.is_dir() {
            make_dir(&self.dir.join(name))?;
            // The container's users must get in, whatever the umask: the volume's own mode is
            // the image's business.
            let open = || std::fs::set_permissions(&data, Permissions::from_mode(0o755));
            std::fs::create_dir(&data)
                .and_then(|()| open())
                .map(|()| self.tell("create", name))
                .or_else(|e| if data.is_dir() { Ok(()) } else { Err(e) })
                .map_err(|e| Error::io("create volume", &data, e))?;
        }
        Ok(Volume { name: name.to_owned(), data })
    }

    /// The volume called `name`.
    pub fn find(&self, name: &str) -> Result<Volume> {
        let data = self.dir.join(name).join("_data");
        if check_name(name).is_ok() && data.is_dir() {
            return Ok(Volume { name: name.to_owned(), data });
        }
        let near = crate::output::nearest(name, self.list().into_iter().map(|v| v.name));
        let hint = near.map_or_else(String::new, |n| format!("; did you mean \"{n}\"?"));
        Err(Error::not_found(format!("no such volume: {name}{hint}")))
    }

    /// All volumes by name.
    pub fn list(&self) -> Vec<Volume> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let names = entries.filter_map(|e| e.file_name().into_string().ok());
        let mut all: Vec<Volume> = names
            .map(|name| Volume { data: self.dir.join(&name).join("_data"), name })
            .filter(|v| v.data.is_dir())
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Removes the volume called `name`; absent is fine.
    pub fn remove(&self, name: &str) -> Result<()> {
        check_name(name)?;
        let dir = self.dir.join(name);
        match std::fs::remove_dir_all(&dir) {
            Ok(()) => {
                self.tell("destroy", name);
                Ok(())
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::io("remove volume", &dir, e)),
        }
    }

    fn tell(&self, action: &str, name: &str) {
        let root = self.dir.parent().unwrap_or(&self.dir);
        events::emit_in(root, events::Kind::Volume, action, name, &[("driver", "local")]);
    }
}

/// Refuses what may not name a volume, in docker's words.
pub fn check_name(name: &str) -> Result<()> {
    if super::is_name(name) {
        return Ok(());
    }
    let why = if name.chars().count() == 1 {
        "volume name is too short, names should be at least two alphanumeric characters".to_owned()
    } else {
        format!(
            "\"{name}\" includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, \
             use absolute path"
        )
    };
    Err(Error::conflict(format!("create {name}: {why}")))
}
