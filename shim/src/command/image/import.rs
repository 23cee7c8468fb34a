//! `dhow import`.

use std::fs::File;
use std::path::Path;

use clap::Args;
use dhow_image::import::{Options, import};
use dhow_image::platform::Platform;

use crate::error::{Error, Result};
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{of_image, reference};
use crate::output::Output;

/// Make an image of a tar of files
#[derive(Debug, Args)]
pub struct Import {
    /// Dockerfile instruction upon its config: CMD, ENV, WORKDIR, …
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub change: Vec<String>,
    /// Comment in its history
    #[arg(short, long)]
    pub message: Option<String>,
    /// os/arch[/variant]
    #[arg(long)]
    pub platform: Option<String>,
    /// A tar, plain or compressed; - is stdin
    #[arg(value_name = "FILE|-")]
    pub file: String,
    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub name: Option<String>,
}

impl Import {
    /// Prints the image's id.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out);
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<()> {
        let platform = self.platform.as_deref().map(str::parse::<Platform>).transpose();
        let options = Options {
            name: self.name.as_deref().map(reference).transpose()?,
            changes: self.change.clone(),
            message: self.message.clone().unwrap_or_else(|| format!("Imported from {}", self.file)),
            platform: platform.map_err(of_image)?,
        };
        let store = host.images()?;
        let file = &self.file;
        let done = if file == "-" {
            import(store, std::io::stdin().lock(), &options)
        } else if file.starts_with("http://") || file.starts_with("https://") {
            return Err(Error::usage(format!(
                "import from a URL is not supported; use: curl -L {file} | dhow import -"
            )));
        } else {
            let path = Path::new(file);
            let opened = File::open(path).map_err(|e| Error::io("open", path, e))?;
            import(store, opened, &options)
        };
        let done = done.map_err(of_image)?;
        for what in &done.lost {
            out.note(&format!("dhow: not kept by this file system: {what}"));
        }
        let id = done.id.to_string();
        events::of_image(&host.paths, "import", &id, &id);
        out.line(&done.id.to_string());
        Ok(())
    }
}
