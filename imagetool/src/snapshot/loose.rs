//! Layers that are whole, and perhaps not on disk yet: those of a build's steps.
//!
//! A build makes many layers, and a sync for each would cost more than the steps. So they become
//! visible at once, with a link `boot` beside the record that names this boot of the machine: in
//! any other one they are as good as not there. [`Layers::fasten`] brings them to disk and takes
//! the link away; it is called before an image that stands on them is published.
//!
//! KERNEL: ext4, xfs and btrfs bring names to disk in the order they were made, and keep the text
//! of a short link beside its name: whoever sees the record after a power cut sees the link, too.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::syncfs;

use super::record::Record;
use super::{Layers, Unpacked};
use crate::digest::{ChainId, DiffId};
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::store::sync_dir;

/// The link's name beside the record.
const LINK: &str = "boot";

/// A directory `fs` that is a layer as it is, in the form that overlayfs reads.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The directory that `fs` lies in, and nothing else.
    pub dir: PathBuf,
    /// Its tar's digest.
    pub diff_id: DiffId,
    /// The lengths of its regular files together.
    pub size: u64,
}

impl Layers {
    /// Makes an unpacked layer visible, for this boot of the machine. `parent` is visible.
    pub(crate) fn commit_loose(
        &self,
        unpacked: Unpacked,
        chain: &ChainId,
        parent: Option<&ChainId>,
    ) -> Result<()> {
        let step = super::Step { unpacked, chain: chain.clone(), parent: parent.cloned() };
        self.settled(&step)?;
        let unpacked = &step.unpacked;
        let (dir, diff_id) = (unpacked.dir.path.clone(), unpacked.diff_id.clone());
        self.place(&Ready { dir, diff_id, size: unpacked.applied.size }, chain, parent)
    }

    /// The same for what needs nothing more.
    pub(crate) fn place(
        &self,
        ready: &Ready,
        chain: &ChainId,
        parent: Option<&ChainId>,
    ) -> Result<()> {
        let boot = boot()?;
        let link = ready.dir.join(LINK);
        symlink(boot, &link).map_err(Error::at("create", &link))?;
        let record = Record::new(chain.clone(), ready.diff_id.clone(), parent.cloned(), ready.size);
        record.write(&ready.dir)?;
        self.take(&ready.dir, chain)
    }

    /// Renames a layer to where it is seen. One that is there already stays; one that an earlier
    /// boot has left is exchanged, and goes with whoever cleans up after the new one.
    pub(super) fn take(&self, from: &Path, chain: &ChainId) -> Result<()> {
        let to = self.dir(chain);
        match fs::rename(from, &to) {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty && self.has(chain) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {
                let exchange = RenameFlags::RENAME_EXCHANGE;
                match renameat2(AT_FDCWD, from, AT_FDCWD, &to, exchange) {
                    Err(Errno::ENOENT) => fs::rename(from, &to),
                    done => done.map_err(io::Error::from),
                }
                .map_err(Error::at("replace", &to))
            }
            renamed => renamed.map_err(Error::at("create", &to)),
        }
    }

    /// Brings those of the layers to disk that may not be there yet, with one sync for all.
    /// Whether there was anything to do.
    pub(crate) fn fasten<'a>(&self, chain: impl IntoIterator<Item = &'a ChainId>) -> Result<bool> {
        let links = chain.into_iter().map(|id| self.dir(id).join(LINK));
        let links: Vec<PathBuf> = links.filter(|link| link.symlink_metadata().is_ok()).collect();
        if links.is_empty() {
            return Ok(false);
        }
        let layers = fs::File::open(&self.root).map_err(Error::at("open", &self.root))?;
        syncfs(&layers).map_err(|e| Error::io("sync", &self.root, e.into()))?;
        for link in links {
            match fs::remove_file(&link) {
                // Another build has done the same.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                done => done.map_err(Error::at("remove", &link))?,
            }
        }
        sync_dir(&self.root)?;
        Ok(true)
    }

    /// Whether what lies there is of this boot, or on disk.
    pub(super) fn is_sound(&self, chain: &ChainId) -> bool {
        match fs::read_link(self.dir(chain).join(LINK)) {
            Err(e) => e.kind() == io::ErrorKind::NotFound,
            Ok(link) => boot().is_ok_and(|boot| link.as_os_str() == boot),
        }
    }
}

/// Gives a directory the mode and owner of another.
pub(crate) fn like(dir: &RootDir, other: Option<&RootDir>) -> Result<()> {
    crate::layer::settle::take_after(dir, other)
}

/// This boot of the machine.
fn boot() -> Result<&'static str> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(boot) = BOOT.get() {
        return Ok(boot);
    }
    let boot = super::mounted::boot()?;
    Ok(BOOT.get_or_init(|| boot))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn a_layer_of_another_boot_is_not_there_and_is_exchanged() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("layers")).unwrap();
        let layers = Layers::open(dir.path());
        let chain = Digest::of(b"x");
        let make = |name: &str| {
            let made = dir.path().join(name);
            fs::create_dir_all(made.join("fs")).unwrap();
            fs::write(made.join("fs/which"), name).unwrap();
            Ready { dir: made, diff_id: chain.clone(), size: 1 }
        };
        layers.place(&make("a"), &chain, None).unwrap();
        assert!(layers.has(&chain));
        // The same again: the first stays.
        layers.place(&make("b"), &chain, None).unwrap();
        let which = || fs::read_to_string(layers.files(&chain).join("which")).unwrap();
        assert_eq!(which(), "a");
        let link = layers.dir(&chain).join(LINK);
        fs::remove_file(&link).unwrap();
        symlink("another", &link).unwrap();
        assert!(!layers.has(&chain));
        layers.place(&make("c"), &chain, None).unwrap();
        assert!(layers.has(&chain));
        assert_eq!(which(), "c");
        assert!(layers.fasten([&chain]).unwrap() && !layers.fasten([&chain]).unwrap());
        assert!(layers.has(&chain) && !link.exists());
    }
}
