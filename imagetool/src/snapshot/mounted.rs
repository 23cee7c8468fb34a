//! Images mounted for reading: an overlay of their layers, at a place of the user's or ours.
//!
//! `ROOT/mounts/<id>/mount.json` says what is mounted where, and in which boot of the machine:
//! as long as that is this one, `collect` leaves the layers alone. It is written before the
//! mount and removed after it, so a kill at any time leaves a record too many, never one too few.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use serde::{Deserialize, Serialize};

use super::Layers;
use crate::digest::{ChainId, Digest};
use crate::error::{Error, Result};
use crate::overlay::Overlay;
use crate::store::{Store, Stored, make_dir};

const FILE: &str = "mount.json";

/// An image mounted somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// The image's id.
    pub image: Digest,
    /// What it was called when it was mounted.
    pub name: String,
    /// Where.
    pub dir: PathBuf,
    /// Its layers, lowest first.
    pub layers: Vec<ChainId>,
    /// The boot of the machine it belongs to.
    boot: String,
    /// Its directory under `ROOT/mounts`.
    #[serde(skip)]
    own: PathBuf,
}

/// Mounts an image's merged files for reading, at `dir` or at a place of its own under
/// `ROOT/mounts`. One that is mounted there already is found again.
pub fn mount_image(store: &Store, image: &Stored, dir: Option<&Path>) -> Result<PathBuf> {
    sweep_mounts(store)?;
    let wanted = dir.map(|d| d.canonicalize().map_err(Error::at("open", d))).transpose()?;
    for old in mounts(store)? {
        let same = wanted.as_ref().map_or(old.dir.starts_with(&old.own), |d| old.dir == *d);
        if same && old.image == image.config_digest && is_mounted(&old.dir) {
            return Ok(old.dir);
        }
    }
    if let Some(dir) = wanted.as_ref().filter(|d| is_mounted(d)) {
        let name = dir.display().to_string();
        return Err(Error::InUse { what: "directory", name, by: "another mount".into() });
    }
    let lease = store.lease()?;
    let layers = Digest::chain(&image.diff_ids);
    lease.hold(&layers)?;
    Layers::open(store.root()).unpack(store, image)?;
    let home = store.root().join("mounts");
    make_dir(&home)?;
    let own = tempfile::Builder::new()
        .prefix(&format!("{}-", image.config_digest.short()))
        .tempdir_in(&home)
        .map_err(Error::at("create a directory in", &home))?
        .keep();
    let dir = wanted.unwrap_or_else(|| own.join("fs"));
    let record = Mounted {
        image: image.config_digest.clone(),
        name: image.title(),
        dir,
        layers,
        boot: boot()?,
        own,
    };
    record.attach(store).inspect_err(|_| drop(fs::remove_dir_all(&record.own)))?;
    Ok(record.dir)
}

/// What is mounted: the records of this boot.
pub fn mounts(store: &Store) -> Result<Vec<Mounted>> {
    let boot = boot()?;
    Ok(records(store)?.into_iter().filter(|m| m.boot == boot).collect())
}

/// Whether a record's image is mounted where it should be, as this process sees it.
pub fn is_mounted(dir: &Path) -> bool {
    let Ok(text) = fs::read("/proc/self/mountinfo") else { return false };
    let wanted = escaped(dir);
    text.split(|&b| b == b'\n').any(|line| line.split(|&b| b == b' ').nth(4) == Some(&wanted[..]))
}

/// Unmounts, and forgets. One that is in use is refused, unless `force` takes it out of sight
/// at once and lets its users go on.
pub fn unmount_image(mounted: &Mounted, force: bool) -> Result<()> {
    let flags = if force { MntFlags::MNT_DETACH } else { MntFlags::empty() };
    if is_mounted(&mounted.dir) {
        match umount2(&mounted.dir, flags | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(Errno::EBUSY) => {
                let name = mounted.dir.display().to_string();
                let by = "a process that has files of it open; end it, or use --force".into();
                return Err(Error::InUse { what: "mount", name, by });
            }
            Err(e) => return Err(Error::io("unmount", &mounted.dir, e.into())),
        }
    }
    // The record goes first: what is left without one is swept.
    let _ = fs::remove_file(mounted.own.join(FILE));
    remove_own(&mounted.own);
    Ok(())
}

/// The layers that mounts of this boot stand on.
pub(crate) fn mounted_layers(store: &Store) -> Result<Vec<ChainId>> {
    Ok(mounts(store)?.into_iter().flat_map(|m| m.layers).collect())
}

/// Clears up after a reboot: nothing of an earlier boot is mounted any more.
pub fn sweep_mounts(store: &Store) -> Result<()> {
    let boot = boot()?;
    for old in records(store)?.into_iter().filter(|m| m.boot != boot) {
        let _ = fs::remove_file(old.own.join(FILE));
        remove_own(&old.own);
    }
    Ok(())
}

/// Never removes through a mount: directories that aren't empty stay.
fn remove_own(own: &Path) {
    for below in ["fs", "empty", ""] {
        let _ = fs::remove_dir(own.join(below).components().as_path());
    }
}

fn records(store: &Store) -> Result<Vec<Mounted>> {
    let home = store.root().join("mounts");
    let entries = match fs::read_dir(&home) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", home, e)),
    };
    let mut all = Vec::new();
    for entry in entries {
        let own = entry.map_err(Error::at("read", &home))?.path();
        let path = own.join(FILE);
        let Ok(bytes) = fs::read(&path) else { continue };
        let mut record: Mounted = serde_json::from_slice(&bytes).map_err(|e| {
            let what = path.display().to_string();
            Error::invalid(what, format!("{e}; unmount what it is of and remove the file"))
        })?;
        record.own = own;
        all.push(record);
    }
    all.sort_by(|a, b| a.dir.cmp(&b.dir));
    Ok(all)
}

/// This boot of the machine.
pub(super) fn boot() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path).map_err(Error::at("read", path))?;
    Ok(text.trim().to_owned())
}

/// A path as mountinfo has it. KERNEL: proc_pid_mountinfo(5): octal for what parts fields.
fn escaped(path: &Path) -> Vec<u8> {
    let octal = |b: u8| format!("\\{b:03o}").into_bytes();
    let special = |b: u8| matches!(b, b' ' | b'\t' | b'\n' | b'\\');
    let bytes = path.as_os_str().as_bytes().iter();
    bytes.flat_map(|&b| if special(b) { octal(b) } else { vec![b] }).collect()
}

impl Mounted {
    fn attach(&self, store: &Store) -> Result<()> {
        let (fs, empty) = (self.own.join("fs"), self.own.join("empty"));
        make_dir(&fs)?;
        make_dir(&empty)?;
        let bytes = serde_json::to_vec(self).map_err(|e| Error::invalid(FILE, e))?;
        store.replace(&self.own.join(FILE), &bytes)?;
        let mut lower = Layers::open(store.root()).lowerdirs(&self.layers);
        lower.reverse();
        // KERNEL: an overlay that can't be written to has two lower directories or more.
        lower.push(empty);
        if lower.len() == 1 {
            lower.push(fs);
        }
        let overlay =
            Overlay { source: c"dhow-image", lower: &lower, upper: None, volatile: false };
        overlay.mount(&self.dir).map_err(|e| match e {
            Errno::EPERM | Errno::EACCES => Error::unsupported(
                format!("mounting on {} without being root", self.dir.display()),
                "use `dhow-image unpack` for a copy of the files, or run as root",
            ),
            e => Error::io("mount the image on", &self.dir, e.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_as_the_kernel_tells_them() {
        assert_eq!(escaped(Path::new("/a b\\c")), b"/a\\040b\\134c");
        assert!(is_mounted(Path::new("/")) && !is_mounted(Path::new("/nothing here")));
    }

    #[test]
    fn records_of_an_earlier_boot_hold_nothing_and_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let chain = Digest::of(b"x");
        for (id, boot) in [("now", boot().unwrap()), ("then", "another".into())] {
            let own = store.root().join("mounts").join(id);
            make_dir(&own.join("fs")).unwrap();
            let record = Mounted {
                image: chain.clone(),
                name: id.into(),
                dir: own.join("fs"),
                layers: vec![chain.clone()],
                boot,
                own: own.clone(),
            };
            fs::write(own.join(FILE), serde_json::to_vec(&record).unwrap()).unwrap();
        }
        assert_eq!(mounted_layers(&store).unwrap(), [chain]);
        sweep_mounts(&store).unwrap();
        let left: Vec<_> = fs::read_dir(store.root().join("mounts")).unwrap().collect();
        assert_eq!(left.len(), 1);
        let only = mounts(&store).unwrap().remove(0);
        assert_eq!(only.name, "now");
        unmount_image(&only, false).unwrap();
        assert!(!only.own.exists());
        fs::create_dir(&only.own).unwrap();
        fs::write(only.own.join(FILE), "garbage").unwrap();
        let error = mounts(&store).unwrap_err().to_string();
        assert!(error.contains("mount.json") && error.contains("remove the file"), "{error}");
    }
}
