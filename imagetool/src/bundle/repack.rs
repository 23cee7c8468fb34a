//! `repack`: what was changed in a bundle's root becomes a layer upon the image it was made of.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufReader, Write};
use std::path::Path;

use super::compare::{Known, Masks, Told, compare};
use super::meta::Meta;
use super::mtree::{self, Manifest};
use super::state::{self, State};
use super::walk::Walk;
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::edit::NewLayer;
use crate::error::{Error, Result};
use crate::layer::{Adjust, Closed, Delta, RootDir};
use crate::leftovers;
use crate::manifest::{Compression, Descriptor};

/// What of a root is packed, and how.
#[derive(Clone, Debug, Default)]
pub struct Repack {
    /// Changes at and below these are left out.
    pub masks: Vec<String>,
    /// Changes in the image's volumes are kept.
    pub keep_volumes: bool,
    /// No file of the layer is newer (seconds since 1970).
    pub newest: Option<i64>,
}

/// Packs what has changed into a new layer, which lies in `spool`; `None` if nothing has.
///
/// What the root was is told by the state that our `unpack` has left, else by umoci's manifest.
pub fn changes(
    bundle: &Path,
    meta: &Meta,
    image: &ImageConfig,
    how: &Repack,
    (spool, compression): (&Path, Compression),
) -> Result<Option<NewLayer>> {
    let manifest = &meta.manifest()?.digest;
    let volumes = image.config.volumes.iter().filter(|_| !how.keep_volumes);
    let masks = Masks::new(how.masks.iter().chain(volumes).map(String::as_str))?;
    let root = RootDir::open(bundle.join("rootfs"))?;
    let adjust = Adjust::new(&meta.manner, how.newest);
    let past = Record::of(bundle, manifest)?;
    let (layer, packed) = NewLayer::pack(spool, compression, |out| {
        let walk = Walk::new(&root, Closed::default())?;
        let mut delta = Delta::new(&root, adjust, out as &mut dyn Write);
        match past {
            Record::State(state) => compare(walk, Known::new(*state), &masks, &mut delta)?,
            Record::Mtree(manifest) => compare(walk, Told::new(manifest), &masks, &mut delta)?,
        }
        delta.finish()
    })?;
    Ok((packed.entries > 0).then_some(layer))
}

/// What tells what a root was.
enum Record {
    State(Box<State>),
    Mtree(Manifest),
}

impl Record {
    fn of(bundle: &Path, image: &Digest) -> Result<Self> {
        if let Some(state) = State::open(&state::path_in(bundle, image))?
            && state.manifest == *image
        {
            return Ok(Self::State(state.into()));
        }
        let path = mtree::path_in(bundle, image);
        match File::open(&path) {
            Ok(file) => {
                let what = path.display().to_string();
                let mut from = BufReader::with_capacity(256 << 10, file);
                Manifest::read(&mut from, &what).map(Self::Mtree)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let why = format!(
                    "nothing in it tells what its root was (no {}_….state or .mtree); unpack the image again",
                    image.algorithm().name()
                );
                Err(Error::invalid(format!("bundle {}", bundle.display()), why))
            }
            Err(e) => Err(Error::io("open", &path, e)),
        }
    }
}

/// Makes a bundle one of the image that it was packed into: the next changes are upon that.
/// `umoci.json` is replaced last, in one step.
pub fn refresh(bundle: &Path, meta: &Meta, walk: Vec<Descriptor>) -> Result<()> {
    let new = Meta::new(walk, meta.manner.clone());
    let (was, is) = (&meta.manifest()?.digest, &new.manifest()?.digest);
    let root = RootDir::open(bundle.join("rootfs"))?;
    let seed = RandomState::new().hash_one(bundle);
    // Whoever was killed here has left the old ones whole.
    let temp = leftovers::file_in(bundle)?.into_temp_path();
    state::write(&root, &temp, is, &mut state::Known::Nothing(seed), &Closed::default())?;
    let to = state::path_in(bundle, is);
    temp.persist(&to).map_err(|e| Error::io("create", &to, e.error))?;
    let (old_mtree, new_mtree) = (mtree::path_in(bundle, was), mtree::path_in(bundle, is));
    if old_mtree.exists() {
        mtree::write(&root, bundle, is, &Closed::default())?;
    }
    new.write(bundle)?;
    for (old, new) in [(state::path_in(bundle, was), to), (old_mtree, new_mtree)] {
        if old != new && old.exists() {
            fs::remove_file(&old).map_err(Error::at("remove", &old))?;
        }
    }
    Ok(())
}
