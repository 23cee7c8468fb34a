//! `dhow-image delete docker://REF`, or `oci:DIR[:NAME]`. Of the store, `remove` removes.

use std::path::PathBuf;

use clap::Args;
use dhow_image::registry::{Access, Client};
use dhow_image::store::delete_from_layout;
use dhow_image::transport::Place;
use dhow_image::{Error, Result};
use serde_json::json;

use crate::cli::RegistryFlags;
use crate::context::Context;

/// Flags of `delete`.
#[derive(Args)]
pub struct Delete {
    /// docker://REF: by its digest, so that its other tags go, too; or oci:DIR:NAME
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Where the blobs of an oci: image are: they stay, as other layouts may need them
    #[arg(long, value_name = "DIR")]
    shared_blob_dir: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Delete {
    /// Deletes.
    pub fn run(self, cx: &Context) -> Result<()> {
        let place: Place = self.image.parse()?;
        let digest = match &place {
            Place::Registry(reference) => {
                let settings = cx.settings(&self.registry)?;
                Client::new(&settings, reference, Access::All)?.delete(reference)?
            }
            Place::Layout(dir, which) => {
                delete_from_layout(dir, which, self.shared_blob_dir.is_some())?
            }
            Place::Store(name) => {
                return Err(Error::usage(
                    "place",
                    name,
                    "'dhow-image remove' removes from the store",
                ));
            }
            other => {
                let what = format!("deleting from {other}");
                return Err(Error::unsupported(what, "docker: and oci: images can be deleted"));
            }
        };
        if cx.json { cx.print_json(&json!({ "digest": digest })) } else { Ok(()) }
    }
}
