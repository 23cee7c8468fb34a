//! `dhow-image unmount IMAGE|DIR…`

use std::path::Path;

use clap::Args;
use dhow_image::snapshot::{Mounted, mounts, sweep_mounts, unmount_image};
use dhow_image::{Error, Result};

use crate::context::Context;

/// Flags of `unmount`.
#[derive(Args)]
pub struct Unmount {
    /// Images, or directories that one is mounted on
    #[arg(value_name = "IMAGE|DIR", required_unless_present = "all")]
    what: Vec<String>,
    /// All that is mounted
    #[arg(long, short, conflicts_with = "what")]
    all: bool,
    /// Out of sight at once, whoever still reads there
    #[arg(long, short)]
    force: bool,
}

impl Unmount {
    /// Prints the directories that are free again.
    pub fn run(self, cx: &Context) -> Result<()> {
        let store = cx.store()?;
        sweep_mounts(&store)?;
        let mut chosen: Vec<Mounted> = Vec::new();
        for what in &self.what {
            let by_dir = Path::new(what).canonicalize().ok();
            let image = store.find(what).ok().map(|image| image.config_digest);
            let fits = |m: &Mounted| {
                by_dir.as_ref() == Some(&m.dir)
                    || image.as_ref() == Some(&m.image)
                    || m.name == *what
            };
            let found: Vec<Mounted> = mounts(&store)?.into_iter().filter(fits).collect();
            if found.is_empty() {
                let hint = "`mount` lists what is mounted".to_owned();
                return Err(Error::NotFound { what: "mount", name: what.clone(), hint });
            }
            chosen.extend(found);
        }
        if self.all {
            chosen = mounts(&store)?;
        }
        for mounted in &chosen {
            unmount_image(mounted, self.force)?;
            if !cx.json {
                cx.line(mounted.dir.display())?;
            }
        }
        let dirs: Vec<_> = chosen.iter().map(|mounted| &mounted.dir).collect();
        if cx.json { cx.print_json(&dirs) } else { Ok(()) }
    }
}
