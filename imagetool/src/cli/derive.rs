//! Verbs that make an image of others; crane's, under its names.

use super::verbs::verbs;
use crate::command;

verbs! {
    /// Images made of others.
    Derive {
        /// Build an image from a Dockerfile
        Build(command::build::Build),
        /// Put tars upon an image as layers
        Append(command::append::Append),
        /// Change an image's labels, annotations, command and the like
        Mutate(command::mutate::Mutate),
        /// Exchange the base that an image stands on
        Rebase(command::rebase::Rebase),
        /// Make one layer of all that an image has, or of those above the lowest few
        #[command(visible_alias = "squash")]
        Flatten(command::flatten::Flatten),
        /// Make and change lists of images for several platforms
        Index(super::index::Index),
    }
}
