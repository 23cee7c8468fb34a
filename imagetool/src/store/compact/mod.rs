//! Compacting: a layer's blob is dropped where it can be made again, bit for bit, from the
//! unpacked layer.
//!
//! `ROOT/recipes/<algorithm>-<hex>` is the recipe: the tar's bytes around the files' contents
//! ([`recipe`]), where the contents lie, and how the tar was compressed ([`packing`]). A blob is
//! dropped only after its recipe has reproduced it to the last byte. Whoever reads a dropped
//! blob gets it made while he reads, and checks its digest as always.

mod packing;
mod recipe;
mod replay;
mod split;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::{Lease, Store, make_dir, sync_dir};
use crate::digest::{ChainId, Digest, Hashing};
use crate::error::{Error, Result};
use crate::manifest::Descriptor;
use crate::snapshot::{Layers, pairs, side_by_side};
use crate::source::{Directory, Files};
use recipe::Head;

/// What a compacting came to.
#[derive(Clone, Debug, Default)]
pub struct Compacted {
    /// Blobs that were dropped, or with [`Store::expand`] made again.
    pub done: Vec<Digest>,
    /// Blobs that stay, and why.
    pub kept: Vec<(Digest, String)>,
    /// Bytes given back.
    pub freed: u64,
}

/// One layer of an image.
struct Item {
    blob: Descriptor,
    diff_id: Digest,
    chain: ChainId,
}

enum Outcome {
    Dropped(u64),
    Kept(String),
}

impl Store {
    /// Drops the layers' blobs of these images, or of all, where recipes reproduce them.
    pub fn compact(&self, images: &[String]) -> Result<Compacted> {
        let lease = self.lease()?;
        let mut items = self.items(images, &lease)?;
        items.retain(|item| self.blob_path(&item.blob.digest).exists());
        make_dir(&self.root().join("recipes"))?;
        let outcomes = side_by_side(&items, |item| self.drop_blob(item, &lease))?;
        let mut all = Compacted::default();
        for (item, outcome) in items.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Dropped(freed) => {
                    all.freed += freed;
                    all.done.push(item.blob.digest);
                }
                Outcome::Kept(why) => all.kept.push((item.blob.digest, why)),
            }
        }
        Ok(all)
    }

    /// Makes the dropped blobs of these images, or of all, files again.
    pub fn expand(&self, images: &[String]) -> Result<Compacted> {
        let lease = self.lease()?;
        let mut items = self.items(images, &lease)?;
        items.retain(|item| !self.blob_path(&item.blob.digest).exists());
        let mut all = Compacted::default();
        for Item { blob, .. } in items {
            let (mut file, path) = lease.file()?;
            let mut reader = self.open_verified(&blob)?;
            io::copy(&mut reader, &mut file).map_err(|e| Error::from_io("write", &path, e))?;
            lease.adopt(path, blob.digest.clone());
            lease.bear(false)?;
            self.drop_recipe(&blob.digest)?;
            all.done.push(blob.digest);
        }
        Ok(all)
    }

    /// The layers of the images, each blob once; held.
    fn items(&self, images: &[String], lease: &Lease) -> Result<Vec<Item>> {
        let found = match images {
            [] => self.images()?,
            named => named.iter().map(|n| self.find(n)).collect::<Result<Vec<_>>>()?,
        };
        let mut items: Vec<Item> = Vec::new();
        for image in found {
            let chain = Digest::chain(&image.diff_ids);
            for ((blob, diff_id), chain) in pairs(self, &image)?.into_iter().zip(chain) {
                if !items.iter().any(|item| item.blob.digest == blob.digest) {
                    items.push(Item { blob, diff_id, chain });
                }
            }
        }
        lease.hold(items.iter().flat_map(|item| [&item.blob.digest, &item.chain]))?;
        Ok(items)
    }

    fn drop_blob(&self, item: &Item, lease: &Lease) -> Result<Outcome> {
        let kept = |why: &str| Ok(Outcome::Kept(why.to_owned()));
        let layers = Layers::open(self.root());
        if !layers.has(&item.chain) {
            return kept("it isn't unpacked");
        }
        let path = self.blob_path(&item.blob.digest);
        let files = layers.files(&item.chain);
        let (body, _) = lease.file()?;
        let got = match split::split(&path, &item.diff_id, &files, &body) {
            Ok(()) => body,
            // What is damaged is verify's business.
            Err(e @ (Error::Digest { .. } | Error::Invalid { .. } | Error::Unsupported { .. })) => {
                return kept(&e.to_string());
            }
            Err(e) => return Err(e),
        };
        let size = |file: &File| file.metadata().map(|m| m.len());
        if size(&got).map_err(Error::at("read", &path))? * 10 > item.blob.size * 9 {
            return kept("it has little but what isn't in files");
        }
        let Some(packing) =
            packing::find(&path, &item.blob, |out| recipe::play(&got, &files, out))?
        else {
            return kept("no compressor known here makes its bytes");
        };
        let head = Head::new(&item.blob, &item.chain, packing);
        let recipe = self.publish(lease, &head, &got)?;
        // Once more, from where it lies for good, before the last copy of the bytes goes.
        let mut whole =
            Hashing::new(self.recreate(&item.blob.digest)?, item.blob.digest.algorithm());
        io::copy(&mut whole, &mut io::sink()).map_err(|e| Error::from_io("read", &recipe, e))?;
        let (_, digest, count) = whole.finish();
        if digest != item.blob.digest || count != item.blob.size {
            self.drop_recipe(&item.blob.digest)?;
            return kept("its recipe makes something else");
        }
        let _lock = self.lock()?;
        // Who made the blob a file again at the same time has taken the recipe away.
        if !recipe.exists() {
            return kept("somebody else has just made it a file again");
        }
        fs::remove_file(&path).map_err(Error::at("remove", &path))?;
        let recipe = fs::metadata(&recipe).map_or(0, |m| m.len());
        Ok(Outcome::Dropped(item.blob.size.saturating_sub(recipe)))
    }

    /// Takes a recipe away, unless it is all there is of the blob: somebody else may have dropped
    /// that meanwhile. Of blob and recipe one goes at a time, under the lock.
    fn drop_recipe(&self, digest: &Digest) -> Result<()> {
        let _lock = self.lock()?;
        if !self.blob_path(digest).exists() {
            return Ok(());
        }
        let recipe = self.recipe_path(digest);
        match fs::remove_file(&recipe) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(Error::at("remove", &recipe)),
        }
    }

    /// Puts a recipe in its place: whole and on disk.
    fn publish(&self, lease: &Lease, head: &Head, mut body: &File) -> Result<PathBuf> {
        let (mut file, path) = lease.file()?;
        let to = self.recipe_path(&head.blob);
        let failed = |e| Error::io("write", &path, e);
        file.write_all(&head.line()?).map_err(failed)?;
        io::Seek::seek(&mut body, io::SeekFrom::Start(0)).map_err(failed)?;
        io::copy(&mut body, &mut file).map_err(failed)?;
        file.sync_all().map_err(Error::at("sync", &path))?;
        fs::rename(&path, &to).map_err(Error::at("create", &to))?;
        sync_dir(&self.root().join("recipes"))?;
        Ok(to)
    }

    pub(super) fn recipe_path(&self, digest: &Digest) -> PathBuf {
        let name = format!("{}-{}", digest.algorithm().name(), digest.hex());
        self.root().join("recipes").join(name)
    }

    /// The layer that a dropped blob is made from; `None` if it isn't dropped.
    pub(super) fn made_from(&self, digest: &Digest) -> Option<ChainId> {
        let mut file = File::open(self.recipe_path(digest)).ok()?;
        Head::read(&mut file).ok().map(|head| head.chain)
    }

    /// A dropped blob's bytes, made while they are read. Who reads them checks the digest.
    pub(super) fn recreate(&self, digest: &Digest) -> Result<Box<dyn Read + Send>> {
        let path = self.recipe_path(digest);
        let mut file = File::open(&path).map_err(Error::at("open", &path))?;
        let broken = |e: Error| {
            let why = format!("{e}; run verify --repair, or pull the image again");
            Error::invalid(path.display().to_string(), why)
        };
        let head = Head::read(&mut file).map_err(broken)?;
        if head.blob != *digest {
            return Err(broken(Error::invalid("recipe", format!("it is of {}", head.blob))));
        }
        let files = Layers::open(self.root()).files(&head.chain);
        Ok(Box::new(replay::start(path, head, files)?))
    }

    /// The size of a dropped blob.
    fn recreated_size(&self, digest: &Digest) -> Option<u64> {
        let mut file = File::open(self.recipe_path(digest)).ok()?;
        Head::read(&mut file).ok().map(|head| head.size)
    }
}

/// The store's layout, dropped blobs included.
pub(crate) struct Blobs(pub Store);

impl Files for Blobs {
    fn open<'a>(&'a self, name: &str) -> Result<(Box<dyn Read + Send + 'a>, u64)> {
        let opened = Directory(self.0.layout()).open(name).map(|(_, size)| size);
        let digest = name.strip_prefix("blobs/").and_then(|n| n.replacen('/', ":", 1).parse().ok());
        match (opened, digest) {
            (Err(Error::NotFound { .. }), Some(digest)) if self.0.recipe_path(&digest).exists() => {
                let size = self.0.recreated_size(&digest).unwrap_or_default();
                Ok((self.0.recreate(&digest)?, size))
            }
            (Err(e), _) => Err(e),
            (Ok(size), _) => {
                let path = self.0.layout().join(name);
                let file = File::open(&path).map_err(Error::at("open", &path))?;
                Ok((Box::new(file), size))
            }
        }
    }

    fn title(&self) -> String {
        self.0.layout().display().to_string()
    }
}
