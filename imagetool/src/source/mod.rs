//! Where images come from. Everything a [`Source`] yields is verified by whoever reads it
//! to the end: documents whole, blobs while they stream.

mod derived;
mod dir;
mod docker;
mod files;
mod gathered;
mod guarded;
mod layout;
mod open;
mod podman;
mod remote;
pub mod schema1;
mod tarball;

use std::io::Read;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::Descriptor;
use crate::reference::Reference;
use crate::trust::Signature;

pub use derived::Derived;
pub use dir::Dir;
pub(crate) use dir::{VERSION as DIR_VERSION, signature_name};
pub use docker::DockerArchive;
pub use files::{Directory, Files, Shared};
pub use gathered::Gathered;
pub use guarded::Guarded;
pub use layout::Layout;
pub use layout::index as layout_index;
pub(crate) use layout::{FULL_NAME, blob_name, choose};
pub use open::{Inputs, archive_tags, each, with};
pub(crate) use open::{host, unnamed};
pub use podman::{Podman, Storage};
pub use remote::Remote;
pub use tarball::Tarball;

/// A manifest or an index, byte for byte.
#[derive(Clone, Debug)]
pub struct Document {
    /// The bytes, of the descriptor's digest.
    pub bytes: Vec<u8>,
    /// What they are.
    pub at: Descriptor,
}

/// One image somewhere. Each method is forwarded by [`guarded`], defaults too.
pub trait Source: Sync {
    /// What the place leads to.
    fn root(&self) -> Result<Document>;

    /// What the place says of the image, where its layers are handed out in another form.
    fn recorded(&self) -> Result<Document> {
        self.root()
    }

    /// A manifest that an index names.
    fn document(&self, at: &Descriptor) -> Result<Document>;

    /// A blob's bytes. Reading to the end checks size and digest.
    fn blob<'a>(&'a self, blob: &'a Descriptor) -> Result<Box<dyn Read + Send + 'a>>;

    /// A file of exactly this blob that the sink may take for itself, already checked.
    fn spooled(&self, _blob: &Digest) -> Option<PathBuf> {
        None
    }

    /// How long a blob is that only its digest is known of.
    fn size(&self, _blob: &Digest) -> Result<u64> {
        Err(Error::unsupported(
            "docker's manifest schema 1 in this place",
            "it is read from registries and dir: only",
        ))
    }

    /// Whether the policy lets a manifest's image in; asked before any of its blobs is read.
    fn permit(&self, _document: &Document) -> Result<()> {
        Ok(())
    }

    /// The signatures of a manifest or an index, none of them verified.
    fn signatures(&self, _of: &Digest) -> Result<Vec<Signature>> {
        Ok(Vec::new())
    }

    /// The names the image brings with it.
    fn names(&self) -> Vec<Reference> {
        Vec::new()
    }
}
