//! `unpack`: an image becomes a bundle, a directory with `rootfs/` and `config.json`, and what
//! `repack` needs beside them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::config::{Options, config};
use super::fill::fill;
use super::image::Image;
use super::meta::Meta;
use super::{mtree, rootless, state, user};
use crate::error::{Error, Result};
use crate::layer::Manner;
use crate::layer::RootDir;
use crate::leftovers;
use crate::platform::Platform;
use crate::source::Source;

/// How an image is unpacked.
#[derive(Clone, Debug, Default)]
pub struct Unpack {
    /// Of a list, which image; the host's if `None`.
    pub platform: Option<Platform>,
    /// Whose the files become.
    pub manner: Manner,
    /// About the container.
    pub options: Options,
    /// Write umoci's manifest of the root as well: it costs a checksum of every file.
    pub mtree: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Unpacked {
    /// The image.
    pub image: Image,
    /// What could not be kept (attributes that the file system doesn't hold, devices), a line
    /// each.
    pub lost: Vec<String>,
}

/// Makes a bundle at `to`, which must not be there, or be an empty directory. It is made
/// beside it and renamed: whoever looks sees no bundle, or all of it.
pub fn unpack(source: &dyn Source, to: &Path, how: &Unpack) -> Result<Unpacked> {
    refuse_full(to, "bundle")?;
    let image = Image::read(source, how.platform.as_ref())?;
    image.layers()?;
    let tmp = Beside::new(to)?;
    let manner = &how.manner;
    let filled = fill(source, &image, &tmp.path().join("rootfs"), tmp.path(), manner)?;
    let user = user::resolve(&filled.root, &image.config.config.user)?;
    let mut spec = config(&image.config, &user, &how.options)?;
    rootless::adapt(&mut spec, manner)?;
    write_config(&tmp.path().join("config.json"), &spec)?;
    let meta = Meta::new(image.walk.clone(), manner.clone());
    let manifest = &meta.manifest()?.digest;
    let at = state::path_in(tmp.path(), manifest);
    let mut known = state::Known::Sums(filled.sums);
    state::write(&filled.root, &at, manifest, &mut known, &filled.closed)?;
    if how.mtree {
        mtree::write(&filled.root, tmp.path(), manifest, &filled.closed)?;
    }
    meta.write(tmp.path())?;
    filled.closed.close(&filled.root)?;
    tmp.publish(to)?;
    Ok(Unpacked { image, lost: filled.lost })
}

/// Makes a root alone at `to`, which must not be there, or be an empty directory.
pub fn unpack_root(source: &dyn Source, to: &Path, how: &Unpack) -> Result<Unpacked> {
    refuse_full(to, "root")?;
    let image = Image::read(source, how.platform.as_ref())?;
    image.layers()?;
    let tmp = Beside::new(to)?;
    let rootfs = tmp.path().join("rootfs");
    let filled = fill(source, &image, &rootfs, tmp.path(), &how.manner)?;
    filled.closed.close(&filled.root)?;
    fs::rename(&rootfs, to).map_err(Error::at("create", to))?;
    Ok(Unpacked { image, lost: filled.lost })
}

/// Writes an image's runtime config alone. Users that the image knows by name are looked up in
/// `rootfs`. Without one they become root, as umoci has it; then the second is the user's name.
pub fn runtime_config(
    source: &dyn Source,
    rootfs: Option<&Path>,
    to: &Path,
    how: &Unpack,
) -> Result<(Image, Option<String>)> {
    let image = Image::read(source, how.platform.as_ref())?;
    let beside = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let nothing = leftovers::dir_in(beside, leftovers::PREFIX)?;
    let root = RootDir::open(rootfs.unwrap_or(nothing.path()))?;
    let named = &image.config.config.user;
    let (mut user, lost) = match user::resolve(&root, named) {
        Err(e) if e.is_not_found() && rootfs.is_none() => {
            (user::resolve(&root, "0")?, Some(named.clone()))
        }
        user => (user?, None),
    };
    if rootfs.is_none() {
        user.home.clear();
    }
    drop(nothing);
    let mut spec = config(&image.config, &user, &how.options)?;
    rootless::adapt(&mut spec, &how.manner)?;
    write_config(to, &spec)?;
    Ok((image, lost))
}

/// A directory beside what it will become, gone if it doesn't.
struct Beside {
    dir: tempfile::TempDir,
    _alive: File,
}

impl Beside {
    fn new(to: &Path) -> Result<Self> {
        let name = to
            .file_name()
            .ok_or_else(|| Error::usage("bundle", to.display().to_string(), "it has no name"))?;
        let parent = match to.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&parent).map_err(Error::at("create", &parent))?;
        let mut prefix = OsString::from(".dhow-unpack-");
        prefix.push(name);
        prefix.push(".");
        sweep(&parent, &prefix);
        let dir = leftovers::dir_in(&parent, &prefix)?;
        let alive = File::open(dir.path()).map_err(Error::at("open", dir.path()))?;
        alive.try_lock().map_err(|e| Error::io("lock", dir.path(), e.into()))?;
        Ok(Self { dir, _alive: alive })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn publish(self, to: &Path) -> Result<()> {
        // Kept until now for its removal on failure; its mode is for us alone.
        let made = self.dir.keep();
        fs::rename(&made, to).map_err(|e| {
            let _ = fs::remove_dir_all(&made);
            Error::io("create", to, e)
        })
    }
}

fn refuse_full(to: &Path, what: &'static str) -> Result<()> {
    match fs::read_dir(to).map(Iterator::count) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Error::usage(what, to.display().to_string(), "it exists and is not empty")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("open", to, e)),
    }
}

/// Removes what a killed `unpack` to the same place has left: it holds its lock no more.
fn sweep(parent: &Path, prefix: &OsStr) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.filter_map(Result::ok) {
        let ours = entry.file_name().as_bytes().starts_with(prefix.as_bytes())
            && entry.file_type().is_ok_and(|t| t.is_dir());
        if ours && File::open(entry.path()).is_ok_and(|dir| dir.try_lock().is_ok()) {
            // What can't be removed now is tried again next time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn write_config(path: &Path, spec: &oci_spec::runtime::Spec) -> Result<()> {
    let bad = |e| Error::invalid("config.json", e);
    // Sets of capabilities come in any order: the same image gives the same bytes.
    let mut spec = serde_json::to_value(spec).map_err(bad)?;
    let sets = spec.pointer_mut("/process/capabilities").and_then(|c| c.as_object_mut());
    for set in sets.into_iter().flat_map(|sets| sets.values_mut()) {
        if let Some(names) = set.as_array_mut() {
            names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
    let mut text = serde_json::to_vec_pretty(&spec).map_err(bad)?;
    text.push(b'\n');
    super::replace(path, &text)
}
