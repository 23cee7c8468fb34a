//! Bundles: an image config becomes a runtime config, layers become a root; and back, what was
//! changed in that root becomes a layer.

pub mod caps;
mod compare;
pub mod config;
mod fill;
pub mod image;
pub mod insert;
mod meta;
pub mod mtree;
mod repack;
mod rootless;
pub mod seccomp;
mod state;
mod unpack;
pub mod user;
mod walk;

use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};
use crate::leftovers;

pub use config::config;
pub use image::Image;
pub use meta::Meta;
pub use repack::{Repack, changes, refresh};
pub use unpack::{Unpack, Unpacked, runtime_config, unpack, unpack_root};

/// Puts a file into a bundle in one step. It is for its owner alone: it tells of the root.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = leftovers::file_in(folder)?;
    file.write_all(bytes).map_err(Error::at("write", path))?;
    file.persist(path).map(drop).map_err(|e| Error::io("create", path, e.error))
}
