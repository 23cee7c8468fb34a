//! Unpacked layers become visible, lowest first, after one sync for all of them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::syncfs;

use super::record::Record;
use super::{Layers, Unpacked};
use crate::digest::ChainId;
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::layer::settle::settle;
use crate::store::sync_dir;

/// One layer to make visible.
#[derive(Debug)]
pub struct Step {
    /// Its files.
    pub unpacked: Unpacked,
    /// Who it will be.
    pub chain: ChainId,
    /// The layer below, visible or an earlier step.
    pub parent: Option<ChainId>,
}

impl Layers {
    /// Makes unpacked layers visible. Parents come before their children.
    ///
    /// One syncfs brings all of them to disk before the first is renamed: a power cut at
    /// any time leaves whole layers only. A layer that someone else has made meanwhile is
    /// dropped in favour of theirs.
    pub fn commit_all(&self, steps: Vec<Step>) -> Result<()> {
        let mut born: HashMap<&ChainId, (PathBuf, Option<&ChainId>)> = HashMap::new();
        for Step { unpacked, chain, parent } in &steps {
            let files = unpacked.dir.path.join("fs");
            let lowers = self.lowers(parent.as_ref(), &born)?;
            settle(&RootDir::open(&files)?, &unpacked.journal, &lowers)?;
            Record::new(
                chain.clone(),
                unpacked.diff_id.clone(),
                parent.clone(),
                unpacked.applied.size,
            )
            .write(&unpacked.dir.path)?;
            born.insert(chain, (files, parent.as_ref()));
        }
        if steps.is_empty() {
            return Ok(());
        }
        steps.iter().filter_map(|s| s.unpacked.early.as_ref()).try_for_each(|e| e.finish())?;
        let layers = File::open(&self.root).map_err(Error::at("open", &self.root))?;
        syncfs(&layers).map_err(|e| Error::io("sync", &self.root, e.into()))?;
        for Step { unpacked, chain, .. } in steps {
            self.take(&unpacked.dir.path, &chain)?;
        }
        sync_dir(&self.root)
    }

    /// Puts a layer in the place of a visible one that is damaged, in one step. The lower ones
    /// are visible.
    pub(crate) fn replace(&self, step: Step) -> Result<()> {
        self.settled(&step)?;
        let Step { unpacked, chain, parent } = step;
        let diff_id = unpacked.diff_id.clone();
        let record = Record::new(chain.clone(), diff_id, parent, unpacked.applied.size);
        record.write(&unpacked.dir.path)?;
        let layers = File::open(&self.root).map_err(Error::at("open", &self.root))?;
        syncfs(&layers).map_err(|e| Error::io("sync", &self.root, e.into()))?;
        let to = self.dir(&chain);
        // The bad one takes the new one's place, and goes with it.
        let exchange = RenameFlags::RENAME_EXCHANGE;
        match renameat2(AT_FDCWD, &unpacked.dir.path, AT_FDCWD, &to, exchange) {
            Err(Errno::ENOENT) => fs::rename(&unpacked.dir.path, &to),
            done => done.map_err(io::Error::from),
        }
        .map_err(Error::at("replace", &to))?;
        sync_dir(&self.root)
    }

    /// What an unpacked layer owes to those below it, paid; those are visible.
    pub(super) fn settled(&self, step: &Step) -> Result<()> {
        let lowers = self.lowers(step.parent.as_ref(), &HashMap::new())?;
        let files = RootDir::open(step.unpacked.dir.path.join("fs"))?;
        settle(&files, &step.unpacked.journal, &lowers)
    }

    /// The layers from `top` down, topmost first.
    fn lowers(
        &self,
        top: Option<&ChainId>,
        born: &HashMap<&ChainId, (PathBuf, Option<&ChainId>)>,
    ) -> Result<Vec<RootDir>> {
        let mut lowers = Vec::new();
        let mut next = top.cloned();
        while let Some(chain) = next {
            if let Some((files, parent)) = born.get(&chain) {
                lowers.push(RootDir::open(files)?);
                next = parent.cloned();
            } else {
                let record = self.record(&chain)?;
                lowers.push(RootDir::open(self.files(&chain))?);
                next = record.parent;
            }
        }
        Ok(lowers)
    }
}
