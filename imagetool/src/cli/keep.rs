//! Verbs about what is kept: the store, or a layout.

use super::verbs::verbs;
use crate::command;

verbs! {
    /// The store and layouts.
    Keep {
        /// List images
        #[command(visible_alias = "ls")]
        List(command::list::List),
        /// Give an image another name
        Tag(command::tag::Tag),
        /// Take a name away, and with the last one the image
        #[command(visible_alias = "rm")]
        Remove(command::remove::Remove),
    }
}
