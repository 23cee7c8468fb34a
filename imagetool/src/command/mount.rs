//! `dhow-image mount [IMAGE [DIR]]`: an image's files, to be read where they lie.

use std::path::PathBuf;

use clap::Args;
use dhow_image::snapshot::{is_mounted, mount_image, mounts, sweep_mounts};
use dhow_image::{Error, Result, rootless};
use serde_json::json;

use crate::context::Context;

/// Flags of `mount`.
#[derive(Args)]
pub struct Mount {
    /// A name or an id; without one, what is mounted is listed
    image: Option<String>,
    /// An existing directory [default: one of the store's own]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Mount {
    /// Prints where the files are.
    pub fn run(self, cx: &Context) -> Result<()> {
        let store = cx.store()?;
        let Some(image) = &self.image else {
            sweep_mounts(&store)?;
            let all = mounts(&store)?;
            if cx.json {
                let shape = |m: &dhow_image::snapshot::Mounted| {
                    json!({ "id": m.image, "name": m.name, "mountpoint": m.dir,
                            "mounted": is_mounted(&m.dir) })
                };
                return cx.print_json(&all.iter().map(shape).collect::<Vec<_>>());
            }
            return all.iter().try_for_each(|m| cx.line(format!("{} {}", m.name, m.dir.display())));
        };
        if rootless::inside().is_some() {
            return Err(Error::unsupported(
                "mounting an image without being root",
                "it would be gone with this program: use `dhow-image unpack` for a copy of the files, or run as root",
            ));
        }
        let dir = mount_image(&store, &store.find(image)?, self.dir.as_deref())?;
        if cx.json {
            return cx.print_json(&json!({ "mountpoint": dir }));
        }
        cx.line(dir.display())
    }
}
