//! An image of an OCI layout, brought into the store.

use std::path::Path;

use crate::copy::{self, Choice, Options};
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::progress::Silent;
use crate::sink::Keep;
use crate::source::{Directory, Layout};
use crate::store::{Store, Stored};
use crate::transport::Which;

/// Copies the image of a layout that `rest`, `[:TAG][@DIGEST]`, names. It has no name in the store.
pub(super) fn bring(
    store: &Store,
    dir: &Path,
    rest: &str,
    platform: Option<&Platform>,
) -> Result<Stored> {
    let (tag, digest) = match rest.split_once('@') {
        Some((tag, digest)) => (tag, Some(digest)),
        None => (rest, None),
    };
    let which = match (digest, tag.strip_prefix(':')) {
        (Some(digest), _) => Which::Of(digest.parse()?),
        (None, Some(tag)) if !tag.is_empty() => Which::Named(tag.to_owned()),
        _ => Which::Only,
    };
    let whole = dir.canonicalize().map_err(Error::at("open", dir))?;
    let source = Layout::open(Directory(whole), &which)?;
    let keep = Keep::new(store, true)?;
    let options = Options::from(Choice::One(platform.cloned()));
    let root = copy::copy(&source, &keep, &options, &Silent)?;
    keep.publish(&[])?;
    store.find(&root.digest.to_string())
}
