//! How an image was made, newest step first: its config's history beside its layers' sizes.

use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::snapshot::Layers;
use crate::store::{Store, Stored};

/// One step of an image's making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The image, of its own last step; what lies below has no id of its own.
    pub id: Option<Digest>,
    /// RFC 3339, as written.
    pub created: Option<String>,
    /// The command.
    pub created_by: String,
    /// What was said about it.
    pub comment: String,
    /// Bytes of its layer: unpacked if it is, else packed. 0 if it made none.
    pub size: u64,
}

/// The steps of an image, newest first.
pub fn history(store: &Store, image: &Stored) -> Result<Vec<Step>> {
    let what = format!("image {}", image.title());
    steps(image.config(store)?, image.id(), sizes(store, image)?, &what)
}

/// The same of an image that is elsewhere; its layers' sizes are those of their blobs.
pub fn of_source(config: &ImageConfig, manifest: &Manifest) -> Result<Vec<Step>> {
    let id = &manifest.config.digest;
    let sizes = manifest.layers.iter().map(|l| l.size).collect();
    steps(config.clone(), id, sizes, &format!("image {id}"))
}

fn steps(config: ImageConfig, id: &Digest, sizes: Vec<u64>, what: &str) -> Result<Vec<Step>> {
    let mut sizes = sizes.into_iter();
    let mut steps = Vec::with_capacity(config.history.len());
    for made in config.history {
        let size = if made.empty_layer { Some(0) } else { sizes.next() };
        let size = size.ok_or_else(|| {
            let why = "its history has more steps with a layer than it has layers";
            Error::invalid(what, why)
        })?;
        let (created, created_by, comment) = (made.created, made.created_by, made.comment);
        steps.push(Step { id: None, created, created_by, comment, size });
    }
    // DIFFERS: layers that the history doesn't tell of are shown, too; docker leaves them out.
    steps.extend(sizes.map(|size| Step { size, ..Step::default() }));
    if let Some(last) = steps.last_mut() {
        last.id = Some(id.clone());
    }
    steps.reverse();
    Ok(steps)
}

/// Each layer's size, lowest first.
fn sizes(store: &Store, image: &Stored) -> Result<Vec<u64>> {
    let layers = Layers::open(store.root());
    let packed = image.manifest(store)?.layers;
    let chain = image.chain_ids(store)?;
    let size = |(chain, blob): (&_, &crate::manifest::Descriptor)| {
        layers.record(chain).map_or(blob.size, |record| record.size)
    };
    Ok(chain.iter().zip(&packed).map(size).collect())
}
