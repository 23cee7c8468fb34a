//! Named and anonymous volumes: ROOT/volumes/NAME/_data, and beside it `volume.json` where
//! labels or options were given.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::events;
use crate::mounted;

use super::file::{Sync, make_dir, write_atomic};

/// The label of a volume that nobody named.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// Names in ROOT/tmp of what is half made and half removed.
const BIRTH: &str = "volume-";
const GRAVE: &str = "gone-volume-";

/// The volumes of a world.
pub struct Volumes {
    dir: PathBuf,
}

/// What a volume is made with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeSpec {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Options of the local driver: `type`, `device`, `o`.
    pub options: BTreeMap<String, String>,
}

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Where its files are; what its options name is mounted there while it is in use.
    pub data: PathBuf,
    /// Labels and options.
    pub spec: VolumeSpec,
}

impl Volume {
    /// Whether nobody named it.
    pub fn is_anonymous(&self) -> bool {
        self.spec.labels.contains_key(ANONYMOUS)
    }

    /// When it was made.
    pub fn created(&self) -> Timestamp {
        let made =
            std::fs::metadata(&self.data).and_then(|m| m.created().or_else(|_| m.modified()));
        made.ok().and_then(|at| Timestamp::try_from(at).ok()).unwrap_or_default()
    }
}

impl Volumes {
    /// The volumes under `root`; nothing is made yet.
    pub fn open(root: &Path) -> Self {
        Self { dir: root.join("volumes") }
    }

    /// The volume called `name`, made when it lacks.
    pub fn ensure(&self, name: &str) -> Result<Volume> {
        self.create(name, &VolumeSpec::default())
    }

    /// The volume called `name`, made of `spec` when it lacks; one that is there stays what it
    /// is, as in docker.
    pub fn create(&self, name: &str, spec: &VolumeSpec) -> Result<Volume> {
        check_name(name)?;
        check_options(name, &spec.options)?;
        if let Some(there) = self.get(name) {
            return Ok(there);
        }
        let tmp = self.root().join("tmp");
        for dir in [&tmp, &self.dir] {
            make_dir(dir)?;
        }
        let birth = tmp.join(format!("{BIRTH}{name}.{}", std::process::id()));
        let made =
            fill(&birth, spec).and_then(|()| match std::fs::rename(&birth, self.dir.join(name)) {
                Ok(()) => Ok(true),
                // Another process was faster: its volume it is.
                Err(_) if self.get(name).is_some() => Ok(false),
                Err(e) => Err(Error::io("create volume", &self.dir.join(name), e)),
            });
        if !matches!(made, Ok(true)) {
            let _ = std::fs::remove_dir_all(&birth);
        }
        if made? {
            self.tell("create", name);
        }
        self.get(name).ok_or_else(|| Error::engine(format!("volume {name} went as it was made")))
    }

    /// The volume called `name`.
    pub fn find(&self, name: &str) -> Result<Volume> {
        if let Some(found) = self.get(name) {
            return Ok(found);
        }
        let near = crate::output::nearest(name, self.list().into_iter().map(|v| v.name));
        let hint = near.map_or_else(String::new, |n| format!("; did you mean \"{n}\"?"));
        Err(Error::not_found(format!("get {name}: no such volume{hint}")))
    }

    fn get(&self, name: &str) -> Option<Volume> {
        if !super::is_name(name) {
            return None;
        }
        let dir = self.dir.join(name);
        let data = dir.join("_data");
        if !data.is_dir() {
            return None;
        }
        let text = std::fs::read(dir.join("volume.json")).ok();
        let mut spec: VolumeSpec =
            text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        if name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            spec.labels.insert(ANONYMOUS.to_owned(), String::new());
        }
        Some(Volume { name: name.to_owned(), data, spec })
    }

    /// All volumes by name.
    pub fn list(&self) -> Vec<Volume> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let names = entries.filter_map(|e| e.file_name().into_string().ok());
        let mut all: Vec<Volume> = names.filter_map(|name| self.get(&name)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Removes the volume called `name`; absent is fine.
    pub fn remove(&self, name: &str) -> Result<()> {
        check_name(name)?;
        let (dir, tmp) = (self.dir.join(name), self.root().join("tmp"));
        make_dir(&tmp)?;
        mounted::clear(&dir)?;
        let grave = tmp.join(format!("{GRAVE}{name}.{}", std::process::id()));
        match std::fs::rename(&dir, &grave) {
            Ok(()) => {
                self.tell("destroy", name);
                std::fs::remove_dir_all(&grave).map_err(|e| Error::io("remove volume", &grave, e))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::io("remove volume", &dir, e)),
        }
    }

    /// Sweeps what a killed process left half made or half removed.
    pub fn sweep(&self) {
        let entries = std::fs::read_dir(self.root().join("tmp")).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = name.starts_with(BIRTH) || name.starts_with(GRAVE);
            let pid = name.rsplit('.').next().and_then(|pid| pid.parse::<u32>().ok());
            let alive = pid.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists());
            if ours && !alive && mounted::clear(&entry.path()).is_ok() {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    fn root(&self) -> &Path {
        self.dir.parent().unwrap_or(&self.dir)
    }

    fn tell(&self, action: &str, name: &str) {
        events::emit_in(self.root(), events::Kind::Volume, action, name, &[("driver", "local")]);
    }
}

/// A new volume's directory, whole.
fn fill(dir: &Path, spec: &VolumeSpec) -> Result<()> {
    let data = dir.join("_data");
    make_dir(dir)?;
    // The container's users must get in, whatever the umask: the volume's own mode is the
    // image's business.
    DirBuilder::new()
        .mode(0o755)
        .create(&data)
        .and_then(|()| std::fs::set_permissions(&data, Permissions::from_mode(0o755)))
        .map_err(|e| Error::io("create volume", &data, e))?;
    if *spec == VolumeSpec::default() {
        return Ok(());
    }
    let text = serde_json::to_vec(spec).map_err(|e| Error::engine(e.to_string()))?;
    write_atomic(&dir.join("volume.json"), &text, Sync::Yes)
}

/// What docker's local driver takes, and refuses in its words.
fn check_options(name: &str, options: &BTreeMap<String, String>) -> Result<()> {
    let fault = |why: &str| Err(Error::usage(format!("create {name}: {why}")));
    if let Some(key) =
        options.keys().find(|k| !matches!(k.as_str(), "type" | "device" | "o" | "size"))
    {
        return fault(&format!("invalid option: \"{key}\"; use type, device and o"));
    }
    if options.contains_key("size") {
        return fault(
            "quota size requested but no quota support; bound it by -o type=tmpfs -o device=tmpfs -o o=size=SIZE",
        );
    }
    let given = |key: &str| options.get(key).is_some_and(|value| !value.is_empty());
    if !options.is_empty() && !given("device") {
        return fault("missing required option: \"device\"");
    }
    if !options.is_empty()
        && !given("type")
        && !options.get("o").is_some_and(|o| o.contains("bind"))
    {
        return fault("missing required option: \"type\"");
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_keeps_what_it_was_made_with() {
        let root = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(root.path());
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let spec = VolumeSpec {
            labels: map(&[("a", "b")]),
            options: map(&[("type", "tmpfs"), ("device", "tmpfs")]),
        };
        assert_eq!(volumes.create("one", &spec).unwrap().spec, spec);
        assert_eq!(volumes.ensure("one").unwrap().spec, spec, "what is there stays");
        assert!(volumes.ensure(&"ab".repeat(32)).unwrap().is_anonymous());
        for wrong in
            [&[("size", "1m")][..], &[("type", "nfs")], &[("device", "x")], &[("nope", "1")]]
        {
            let spec = VolumeSpec { options: map(wrong), ..VolumeSpec::default() };
            assert!(volumes.create("two", &spec).is_err(), "{wrong:?}");
        }
        volumes.remove("one").unwrap();
        assert_eq!(volumes.list().len(), 1);
        let tmp = root.path().join("tmp");
        std::fs::create_dir_all(tmp.join("gone-volume-x.999999999/_data")).unwrap();
        volumes.sweep();
        assert_eq!(std::fs::read_dir(&tmp).unwrap().count(), 0, "nothing is left");
    }
}
