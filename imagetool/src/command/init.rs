//! `dhow-image init PATH`: an OCI layout without images.

use clap::Args;
use dhow_image::sink::new_layout;
use dhow_image::{Error, Result};

use crate::cli::target::{LayoutFlag, exactly};
use crate::context::Context;

/// Flags of `init`.
#[derive(Args)]
pub struct Init {
    /// Its directory, which must not be there yet
    #[arg(value_name = "PATH")]
    words: Vec<String>,
    #[command(flatten)]
    layout: LayoutFlag,
}

impl Init {
    /// Makes it.
    pub fn run(self, _cx: &Context) -> Result<()> {
        let dir = if let Some(dir) = self.layout.dir()? {
            let [] = exactly(self.words, [])?;
            dir
        } else {
            let [path] = exactly(self.words, ["PATH"])?;
            path.into()
        };
        if dir.symlink_metadata().is_ok() {
            let name = dir.display().to_string();
            return Err(Error::usage("--layout", name, "it is there already"));
        }
        new_layout(&dir)
    }
}
