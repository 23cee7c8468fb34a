//! Verbs that write and read a tar.

use super::verbs::verbs;
use crate::command;

verbs! {
    /// Tars of images and of roots.
    Archive {
        /// Write images to a tar that docker, podman and load read
        Save(command::save::Save),
        /// Read images from a tar, docker's or OCI's
        Load(command::load::Load),
        /// Write the merged root of an image or a directory as a tar
        Export(command::export::Export),
        /// Make an image of a tar of a root
        Import(command::import::Import),
    }
}
