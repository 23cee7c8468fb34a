//! Verbs that tell what images are made of, and how they differ.

use super::verbs::verbs;
use crate::command;

verbs! {
    /// Images looked at.
    Look {
        /// Show the store's layers as a tree, each once
        Tree(command::tree::Tree),
        /// Show how an image was made, newest step first
        History(command::history::History),
        /// Show in what files and settings two images differ
        Diff(command::diff::Diff),
        /// Print the digest of what a name leads to
        Digest(command::digest::Digest),
        /// Print the manifest or list that a name leads to, byte for byte
        Manifest(command::digest::Manifest),
    }
}
