//! Verbs that change images, or tell what they are made of.

use super::verbs::verbs;
use crate::command;

verbs! {
    /// Images changed.
    Edit {
        /// Change an image's config: env, command, labels, …
        Config(command::config::Config),
        /// Make an image of nothing
        New(command::new::New),
        /// Make an OCI layout without images
        Init(command::init::Init),
        /// Put a file or a tree into an image, or take one away
        Insert(command::insert::Insert),
        /// Print what an image is made of: manifest, config, history
        Stat(command::stat::Stat),
        /// Steps that scripts take one by one
        Raw(super::raw::Raw),
    }
}
