//! Verbs that move images.

use super::verbs::verbs;
use crate::command;

verbs! {
    /// Between registries, archives, layouts and the store.
    Transfer {
        /// Fetch an image from a registry and unpack its layers
        Pull(command::pull::Pull),
        /// Send an image to a registry
        Push(command::push::Push),
        /// Copy an image between any two places
        #[command(visible_alias = "cp")]
        Copy(command::copy::Copy),
        /// Pack an image's layers otherwise, or change its manifest's kind
        Convert(command::convert::Convert),
        /// Print what is known about an image
        Inspect(command::inspect::Inspect),
        /// Print the digest of a manifest in a file
        ManifestDigest(command::manifest_digest::ManifestDigest),
    }
}
