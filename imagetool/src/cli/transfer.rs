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
        /// Copy many images: repositories, directories of images, or what a list names
        Sync(command::sync::Sync),
        /// Print what is known about an image
        Inspect(command::inspect::Inspect),
        /// Print a script that completes this command line
        Completion(command::completion::Completion),
        /// skopeo's outdated verb for copy
        #[command(hide = true)]
        Layers(command::layers::Layers),
        /// skopeo's experiment
        #[command(hide = true, name = "experimental-image-proxy")]
        Proxy(command::proxy::Proxy),
        /// Print the digest of a manifest in a file
        ManifestDigest(command::manifest_digest::ManifestDigest),
    }
}
