//! Verbs between an image and a bundle.

use super::verbs::verbs;
use crate::command;

verbs! {
    /// Bundles.
    Bundle {
        /// Make a bundle that any OCI runtime runs
        Unpack(command::unpack::Unpack),
    }
}
