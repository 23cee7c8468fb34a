//! `dhow pull`.

use clap::Args;

use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::making;
use crate::output::Output;
use crate::output::progress::Stream;

/// Get an image from a registry
#[derive(Debug, Args)]
pub struct Pull {
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
        let reference = making::reference(&self.image)?;
        if reference.tag() == Some("latest") && !self.image.contains(':') && !self.quiet {
            out.line("Using default tag: latest");
        }
        let stream = if self.quiet { Stream::Nowhere } else { Stream::Stdout };
        let pulled = making::pull(host, &reference, self.platform.as_deref(), stream)?;
        out.line(&pulled.reference.to_string());
        Ok(())
    }
}
