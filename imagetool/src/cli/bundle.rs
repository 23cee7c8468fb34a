//! Verbs between an image and a bundle.

use super::verbs::verbs;
use crate::command;

verbs! {
    /// Bundles.
    Bundle {
        /// Make a bundle that any OCI runtime runs
        Unpack(command::unpack::Unpack),
        /// Make a layer of what was changed in a bundle, upon the image it was made of
        Repack(command::repack::Repack),
    }
}
