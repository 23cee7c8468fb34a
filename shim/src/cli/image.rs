//! Verbs on images.

use super::verbs::verbs;
use crate::command::builder::build;
use crate::command::image::{history, import, inspect, load, ls, prune, pull, push, rm, save, tag};

verbs! {
    /// Verbs that stand alone and in `image`.
    ImageVerb {
        /// Build an image from a Dockerfile
        Build(build::Build),
        /// Get an image from a registry
        Pull(pull::Pull),
        /// Bring an image to a registry
        Push(push::Push),
        /// Give an image another name
        Tag(tag::Tag),
        /// Write images as a tar
        Save(save::Save),
        /// Read images from a tar
        Load(load::Load),
        /// Make an image of a tar of files
        Import(import::Import),
        /// Show how an image was made
        History(history::History),
    }
}

verbs! {
    /// What is spelled otherwise in the group, or stands there alone.
    ImageGroup {
        /// List images
        #[command(visible_alias = "list")]
        Ls(ls::Ls),
        /// Remove images
        #[command(visible_alias = "remove")]
        Rm(rm::Rm),
        /// Show all about images, as JSON
        Inspect(inspect::Inspect),
        /// Remove images without a name
        Prune(prune::Prune),
        ;
        #[command(flatten)]
        Verb(ImageVerb),
    }
}
