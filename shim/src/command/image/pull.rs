//! `dhow pull`.

use clap::Args;
use dhow_image::reference::Reference;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{platform, pull};
use crate::output::Output;
use crate::output::progress::Stream;

/// Get an image from a registry
#[derive(Debug, Args)]
pub struct Pull {
    /// Every tag of the repository
    #[arg(short, long)]
    pub all_tags: bool,
    /// os/arch[/variant]
    #[arg(long)]
    pub platform: Option<String>,
    /// Only the final name
    #[arg(short, long)]
    pub quiet: bool,
    /// NAME[:TAG|@DIGEST]
    #[arg(value_name = "IMAGE")]
    pub image: String,
}

impl Pull {
    /// Prints the image's full name last.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out);
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<()> {
        let typed =
            Reference::parse_normal(&self.image).map_err(|e| Error::usage(e.to_string()))?;
        let wanted = platform::parse(self.platform.as_deref())?;
        let stream = if self.quiet { Stream::Nowhere } else { Stream::Stdout };
        if self.all_tags {
            if typed.tag().is_some() || typed.digest().is_some() {
                return Err(Error::usage("tag can't be used with --all-tags/-a"));
            }
            pull::pull_all(host, &typed, wanted.as_ref(), stream)?;
            out.line(&typed.to_string());
            return Ok(());
        }
        if typed.tag().is_none() && typed.digest().is_none() && !self.quiet {
            out.line("Using default tag: latest");
        }
        let pulled = pull::pull(host, &typed.tagged(), wanted.as_ref(), stream)?;
        out.line(&pulled.reference.to_string());
        Ok(())
    }
}
