//! Where images go. A [`Sink`] takes an image's blobs side by side, then its manifest;
//! each kind has its own way to end (`publish`, `finish`), after which it is visible.

mod archive;
mod births;
mod dir;
mod layout;
mod open;
mod remote;
mod store;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::digest::{ChainId, DiffId};
use crate::error::{Error, Result};
use crate::manifest::Descriptor;
use crate::pieces::PIECE;
use crate::reference::Reference;
use crate::registry::Open;
use crate::source::Document;
use crate::trust::Signature;

pub use archive::{Archive, Flavour};
pub use dir::Dir;
pub use layout::{LayoutDir, change_index, new_layout};
pub use open::{Outputs, into, to_file};
pub use remote::Push;
pub use store::Keep;

/// A blob on its way.
pub struct Part<'a> {
    /// What it is.
    pub blob: &'a Descriptor,
    /// Opens its bytes; reading them to the end checks them.
    pub open: &'a Open<'a>,
    /// A checked file of it that may be taken away.
    pub spooled: Option<PathBuf>,
    /// What it is for the image, if it is a layer.
    pub layer: Option<Layer<'a>>,
}

/// A blob that nobody knows yet: it is being made.
pub struct New<'a> {
    /// What it will be.
    pub media_type: &'a str,
    /// Writes all of it; called once.
    pub fill: Fill<'a>,
    /// What it is for the image, if it is a layer.
    pub layer: Option<Layer<'a>>,
}

/// Writes a blob.
pub type Fill<'a> = &'a mut dyn FnMut(&mut dyn Write) -> Result<()>;

/// A layer's place in its image.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// The digest of its plain tar.
    pub diff_id: &'a DiffId,
    /// With all below it.
    pub chain: &'a ChainId,
    /// All below it.
    pub parent: Option<&'a ChainId>,
}

/// What becomes of signatures at a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// They are kept.
    Kept,
    /// They are of no more use: what they say was checked on the way in.
    Dropped,
    /// There is no place for them; why.
    Refused(&'static str),
}

/// Takes images.
pub trait Sink: Sync {
    /// Whether it wants container images only, no other artifacts.
    fn images_only(&self) -> bool {
        false
    }

    /// Whether it wants an image's blobs one after another: what it writes has their order.
    fn in_turn(&self) -> bool {
        false
    }

    /// Takes a blob; says what came of it, for the progress.
    fn put(&self, part: Part<'_>) -> Result<&'static str>;

    /// Takes a blob while it is made; its digest and size are known in the end. `None`, before
    /// anything is written, from one that has to know them first.
    fn learn(&self, _blob: New<'_>) -> Option<Result<Descriptor>> {
        None
    }

    /// The name that what is written will have, for signatures to speak of.
    fn name(&self) -> Option<Reference> {
        None
    }

    /// What it does with signatures.
    fn signatures(&self) -> Signatures;

    /// Keeps the signatures of a document that it has, in place of any others it may have; of
    /// an image without any, too.
    fn put_signatures(&self, of: &Document, _top: bool, signatures: &[Signature]) -> Result<()> {
        if signatures.is_empty() {
            return Ok(());
        }
        let what = format!("keeping the signatures of {}", of.at.digest);
        Err(Error::unsupported(what, "the destination has no place for them"))
    }

    /// Takes a manifest or an index, after all it names. `top` is what was asked for.
    fn document(&self, document: &Document, top: bool) -> Result<()>;
}

/// Reads all of `from` into `to`; `path` names the target in errors.
fn pour(from: &mut dyn Read, to: &mut dyn Write, path: &Path) -> Result<()> {
    let mut buf = vec![0; PIECE];
    loop {
        let n = match from.read(&mut buf) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::from_io("read", path, e)),
        };
        to.write_all(&buf[..n]).map_err(Error::at("write", path))?;
    }
}
