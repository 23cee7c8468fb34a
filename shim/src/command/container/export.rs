//! `dhow export`.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use clap::Args;
use dhow_image::layer::export;

use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::output::{Output, file};

/// Write a container's files as a tar
#[derive(Debug, Args)]
pub struct Export {
    /// To this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

impl Export {
    /// The merged root, as it is now; the container may run.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host);
        out.end(host.containers.unless_gone(&self.container, result))
    }

    fn perform(&self, host: &Host) -> Result<()> {
        let record = host.containers.find(&self.container)?.record;
        // Read where they lie: nothing to mount.
        let dirs = crate::reach::layers(host, &record)?;
        crate::events::of_container(&host.paths, &record, "export", &[]);
        file::write(self.output.as_deref().map(Path::new), |out| {
            export(&dirs, BufWriter::with_capacity(1 << 18, out)).map(drop).map_err(of_image)
        })
    }
}
