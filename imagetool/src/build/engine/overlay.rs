//! Layers merged by overlayfs, in the build's own mount namespace: whatever kills the build, the
//! kernel unmounts.

use std::collections::HashMap;
use std::ffi::CString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use dhow_kernel::mount as kernel;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::digest::ChainId;
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::snapshot::Layers;

/// An upper directory becomes a layer, so it has plain entries only, whatever the module does where
/// nothing is said: no marks of its own instead of a directory's or a file's content.
const PLAIN: [&std::ffi::CStr; 3] = [c"index", c"metacopy", c"redirect_dir"];

/// Takes this thread, and those it begins, into a mount namespace of their own. Without the right
/// to, all stays: what then has to be mounted can't be, and says so.
pub(crate) fn enter() -> Result<()> {
    match unshare(CloneFlags::CLONE_NEWNS) {
        Err(Errno::EPERM) => return Ok(()),
        done => done.map_err(|e| Error::io("make a mount namespace for", "build", e.into()))?,
    }
    let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(None::<&str>, "/", None::<&str>, slave, None::<&str>)
        .map_err(|e| Error::io("make private the mounts of", "build", e.into()))
}

/// A root that is mounted, or a directory that is one as it is.
#[derive(Debug)]
pub(crate) struct Root {
    /// Itself.
    pub dir: RootDir,
    /// Where it is.
    pub path: PathBuf,
    mounted: bool,
}

impl Drop for Root {
    fn drop(&mut self) {
        if self.mounted {
            // What can't be unmounted now goes with the namespace.
            let _ = umount2(&self.path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        }
    }
}

/// The roots of chains of layers, for reading. Each is mounted once.
#[derive(Debug)]
pub(crate) struct Roots {
    layers: Layers,
    home: PathBuf,
    known: Mutex<HashMap<Option<ChainId>, Arc<Root>>>,
}

impl Roots {
    /// Mounted below `home`, which is this build's.
    pub fn new(layers: Layers, home: &Path) -> Result<Self> {
        let home = home.join("roots");
        fs::create_dir(&home).map_err(Error::at("create", &home))?;
        Ok(Self { layers, home, known: Mutex::default() })
    }

    /// The merged view of a chain, lowest layer first.
    pub fn of(&self, chain: &[ChainId]) -> Result<Arc<Root>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = known.get(&chain.last().cloned()) {
            return Ok(root.clone());
        }
        let root = if let [only] = chain {
            let path = self.layers.files(only);
            Root { dir: RootDir::open(&path)?, path, mounted: false }
        } else {
            let path = self.home.join(known.len().to_string());
            fs::create_dir(&path).map_err(Error::at("create", &path))?;
            let mut lower = self.layers.lowerdirs(chain);
            lower.reverse();
            if !lower.is_empty() {
                attach(&lower, None, &path)?;
            }
            Root { dir: RootDir::open(&path)?, path, mounted: !lower.is_empty() }
        };
        let root = Arc::new(root);
        known.insert(chain.last().cloned(), root.clone());
        Ok(root)
    }
}

/// A chain's merged view with a directory of its own on top.
#[derive(Debug)]
pub(crate) struct Writable {
    /// Its root; gone before the layer is looked at.
    pub root: Option<Root>,
    /// The directory that becomes the layer's.
    pub layer: PathBuf,
    home: PathBuf,
}

impl Writable {
    /// Below `home`, which goes with it.
    pub fn new(layers: &Layers, chain: &[ChainId], home: PathBuf) -> Result<Self> {
        let (layer, work, root) = (home.join("layer"), home.join("work"), home.join("root"));
        let empty = home.join("empty");
        for dir in [&home, &layer, &layer.join("fs"), &work, &root, &empty] {
            fs::create_dir(dir).map_err(Error::at("create", dir))?;
        }
        let mut lower = layers.lowerdirs(chain);
        lower.reverse();
        let upper = layer.join("fs");
        let below = lower.first().map(RootDir::open).transpose()?;
        crate::snapshot::like(&RootDir::open(&upper)?, below.as_ref())?;
        if lower.is_empty() {
            lower.push(empty);
        }
        attach(&lower, Some((&upper, &work)), &root)?;
        let root = Root { dir: RootDir::open(&root)?, path: root, mounted: true };
        Ok(Self { root: Some(root), layer, home })
    }
}

impl Drop for Writable {
    fn drop(&mut self) {
        self.root = None;
        // What stays goes with the lease.
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// Mounts `lower`, topmost first, at `target`; with upper and work directory to be written to.
fn attach(lower: &[PathBuf], own: Option<(&Path, &Path)>, target: &Path) -> Result<()> {
    let done = match by_descriptor(lower, own, target) {
        Err(Errno::EINVAL | Errno::ENOSYS) => by_text(lower, own, target),
        done => done,
    };
    done.map_err(|e| match e {
        Errno::EPERM | Errno::EACCES => Error::unsupported(
            "building without being root",
            "overlayfs must be mounted: run as root, or in a container that may mount",
        ),
        e => Error::io("mount layers on", target, e.into()),
    })
}

/// KERNEL: `lowerdir+` came with Linux 6.8; before that the answer is EINVAL and nothing is mounted.
fn by_descriptor(lower: &[PathBuf], own: Option<(&Path, &Path)>, target: &Path) -> nix::Result<()> {
    let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL);
    let context = kernel::fsopen(c"overlay")?;
    let set = |key, value: &_| kernel::fsconfig_string(context.as_fd(), key, value);
    set(c"source", c"dhow-build")?;
    for dir in lower {
        set(c"lowerdir+", &text(dir)?)?;
    }
    match own {
        Some((upper, work)) => {
            set(c"upperdir", &text(upper)?)?;
            set(c"workdir", &text(work)?)?;
            for key in PLAIN {
                set(key, c"off")?;
            }
            // It is brought to disk with all other layers, when the image is.
            kernel::fsconfig_flag(context.as_fd(), c"volatile")?;
        }
        // KERNEL: an overlay that can't be written to has two lower directories or more.
        None if lower.len() < 2 => return Err(Errno::EINVAL),
        None => {}
    }
    kernel::fsconfig_create(context.as_fd())?;
    let flags = if own.is_none() { libc::MOUNT_ATTR_RDONLY } else { 0 };
    let mounted = kernel::fsmount(context.as_fd(), flags)?;
    kernel::move_mount(mounted.as_fd(), opened(target)?.as_fd())
}

/// Kernels before 6.8: one string of a page, so the layers go in by descriptor.
fn by_text(lower: &[PathBuf], own: Option<(&Path, &Path)>, target: &Path) -> nix::Result<()> {
    let all = lower.iter().map(PathBuf::as_path).chain(own.into_iter().flat_map(|(u, w)| [u, w]));
    let files = all.map(opened).collect::<nix::Result<Vec<File>>>()?;
    let names: Vec<String> =
        files.iter().map(|f| format!("/proc/thread-self/fd/{}", f.as_raw_fd())).collect();
    let (lower, own) = names.split_at(lower.len());
    let mut options = format!("lowerdir={}", lower.join(":"));
    let mut flags = MsFlags::MS_RDONLY;
    if let [upper, work] = own {
        let _ = write!(options, ",upperdir={upper},workdir={work},volatile");
        for key in PLAIN {
            let _ = write!(options, ",{}=off", key.to_string_lossy());
        }
        flags = MsFlags::empty();
    }
    mount(Some("dhow-build"), target, Some("overlay"), flags, Some(options.as_str()))
}

fn opened(path: &Path) -> nix::Result<File> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let file = File::options().read(true).custom_flags(flags).open(path);
    file.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upper_directory_has_no_marks_of_overlayfs() {
        if !nix::unistd::geteuid().is_root() {
            return; // mounting is root's
        }
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for dir in ["lower", "lower/d", "upper", "work", "root"] {
            fs::create_dir(at(dir)).unwrap();
        }
        // Mounts of a thread's own go with it.
        let test = || {
            enter().unwrap();
            for how in [by_descriptor, by_text] {
                match how(&[at("lower")], Some((&at("upper"), &at("work"))), &at("root")) {
                    Err(Errno::EINVAL | Errno::ENOSYS) => continue,
                    done => done.unwrap(),
                }
                // A lower directory that is renamed would be a mark: it has to be copied instead.
                let said = fs::rename(at("root/d"), at("root/e")).unwrap_err();
                assert_eq!(said.raw_os_error(), Some(libc::EXDEV));
                umount2(&at("root"), MntFlags::MNT_DETACH).unwrap();
                fs::remove_dir_all(at("work")).unwrap();
                fs::create_dir(at("work")).unwrap();
            }
        };
        std::thread::scope(|scope| scope.spawn(test).join().unwrap());
    }
}
