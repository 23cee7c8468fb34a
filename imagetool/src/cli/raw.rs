//! `raw`: steps of other verbs, for scripts.

use clap::Args;

use super::verbs::verbs;
use crate::command;
use crate::context::Context;

/// `raw VERB`.
#[derive(Args)]
pub struct Raw {
    #[command(subcommand)]
    verb: Step,
}

impl Raw {
    /// Does what was asked.
    pub fn run(self, cx: &Context) -> dhow_image::Result<()> {
        self.verb.run(cx)
    }
}

verbs! {
    /// The steps.
    Step {
        /// Print a blob of an image: a layer, or the config
        Blob(command::raw_blob::Blob),
        /// Put a tar upon an image as a layer, as it is
        AddLayer(command::raw_add_layer::AddLayer),
        /// Make an image's root, without a bundle around it
        Unpack(command::raw_unpack::Unpack),
        /// Make an image's runtime config, without a bundle around it
        #[command(visible_alias = "config")]
        RuntimeConfig(command::raw_runtime_config::RuntimeConfig),
        /// Tell how a directory differs from an mtree manifest
        MtreeValidate(command::raw_mtree_validate::MtreeValidate),
    }
}
