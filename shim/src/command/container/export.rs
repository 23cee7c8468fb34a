//! `dhow export`.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use clap::Args;
use dhow_image::layer::{RootDir, export};

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
        out.end(result)
    }

    fn perform(&self, host: &Host) -> Result<()> {
        let record = host.containers.find(&self.container)?.record;
        // The layers are read where they lie, topmost first: nothing to mount.
        let upper = host.paths.container(&record.id).join("upper");
        let lower = record.layers.iter().rev().map(|chain| host.paths.layer_fs(chain));
        let dirs = std::iter::once(upper).chain(lower);
        let dirs: dhow_image::Result<Vec<RootDir>> = dirs.map(RootDir::open).collect();
        let dirs = dirs.map_err(of_image)?;
        crate::events::of_container(&host.paths, &record, "export", &[]);
        file::write(self.output.as_deref().map(Path::new), |out| {
            export(&dirs, BufWriter::with_capacity(1 << 18, out)).map(drop).map_err(of_image)
        })
    }
}
