//! `dhow tag`.

use clap::Args;
use dhow_image::reference::Reference;

use crate::error::{Error, Result};
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{self, of_image};
use crate::output::Output;

/// Give an image another name
#[derive(Debug, Args)]
pub struct Tag {
    /// Name or id
    #[arg(value_name = "SOURCE_IMAGE")]
    pub source: String,
    /// NAME[:TAG]
    #[arg(value_name = "TARGET_IMAGE")]
    pub target: String,
}

impl Tag {
    /// Prints nothing.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host);
        out.end(result)
    }

    fn perform(&self, host: &Host) -> Result<()> {
        let store = host.images()?;
        let target = &self.target;
        let parsed = Reference::parse_normal(target).map_err(|e| {
            Error::usage(format!(
                "Error parsing reference: \"{target}\" is not a valid repository/tag: {e}"
            ))
        })?;
        if parsed.digest().is_some() {
            return Err(Error::usage("refusing to create a tag with a digest reference"));
        }
        let target = parsed.tagged();
        let image = making::local(store, &self.source)?;
        store.tag(&image, &target).map_err(of_image)?;
        events::of_image(&host.paths, "tag", &image.id().to_string(), &target.familiar());
        Ok(())
    }
}
