//! `index`: lists of images for several platforms.

use clap::Args;

use super::verbs::verbs;
use crate::command;
use crate::context::Context;

/// `index VERB`.
#[derive(Args)]
pub struct Index {
    #[command(subcommand)]
    verb: Lists,
}

impl Index {
    /// Does what was asked.
    pub fn run(self, cx: &Context) -> dhow_image::Result<()> {
        self.verb.run(cx)
    }
}

verbs! {
    /// Lists.
    Lists {
        /// Put images into a list, or make one of them
        #[command(visible_alias = "add")]
        Append(command::index::Append),
        /// Make a list of images
        Create(command::index::Create),
        /// Take images out of a list
        #[command(visible_alias = "rm")]
        Remove(command::index::Remove),
        /// Keep a list's images of some platforms
        Filter(command::index::Filter),
        /// Print what a list names
        #[command(visible_alias = "ls")]
        List(command::index::List),
    }
}
