//! `dhow import`.

use std::fs::File;
use std::path::Path;

use clap::Args;
use dhow_image::import::{Options, import};
use dhow_image::registry::download;

use crate::error::{Error, Result};
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{of_image, platform, reference};
use crate::output::{Output, human};

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
    /// A tar, plain or compressed: a file, a URL, or - for stdin
    #[arg(value_name = "FILE|URL|-")]
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
        let file = &self.file;
        let url = file.starts_with("http://") || file.starts_with("https://");
        let name = self.name.as_deref().map(reference).transpose()?;
        if name.as_ref().is_some_and(|name| name.digest().is_some()) {
            return Err(Error::usage("cannot import digest reference"));
        }
        // As docker: what comes out of a file is not told by the file's name.
        let source = if url { human::masked(file) } else { "-".to_owned() };
        // DIFFERS: what signs a URL is its query, and an image's history is for everybody.
        let told = source.split('?').next().unwrap_or_default();
        let options = Options {
            name,
            changes: self.change.clone(),
            message: self.message.clone().unwrap_or_else(|| format!("Imported from {told}")),
            platform: platform::parse(self.platform.as_deref())?,
            created: None,
        };
        let store = host.images()?;
        let done = if file == "-" {
            import(store, std::io::stdin().lock(), &options)
        } else if url {
            let settings = host.registry()?;
            out.line(&format!("Downloading from {source}"));
            download(&settings, file).and_then(|from| import(store, from, &options))
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
