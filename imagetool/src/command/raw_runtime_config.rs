//! `dhow-image raw runtime-config IMAGE FILE`: an image's runtime config, and no bundle.

use std::path::{Path, PathBuf};

use clap::Args;
use dhow_image::Result;
use dhow_image::bundle::{self, Unpack, config::Options};
use nix::unistd::{getegid, geteuid};

use crate::cli::RegistryFlags;
use crate::cli::maps::MapFlags;
use crate::cli::target::{ImageFlag, exactly};
use crate::context::Context;

/// Flags of `raw runtime-config`.
#[derive(Args)]
pub struct RuntimeConfig {
    /// A name of the store or a place such as docker://REF or oci:DIR:TAG, unless --image is
    /// given; then the file to write
    #[arg(value_name = "[IMAGE] CONFIG.JSON")]
    words: Vec<String>,
    #[command(flatten)]
    image: ImageFlag,
    /// The root in which users are looked up by name
    #[arg(long, value_name = "PATH")]
    rootfs: Option<PathBuf>,
    /// Which platform's image of a list
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    maps: MapFlags,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl RuntimeConfig {
    /// Writes it.
    pub fn run(mut self, cx: &Context) -> Result<()> {
        let target = self.image.take(&mut self.words)?;
        let [to] = exactly(std::mem::take(&mut self.words), ["CONFIG.JSON"])?;
        let how = Unpack {
            platform: cx.platform(self.platform.as_deref())?,
            manner: self.maps.manner((geteuid().as_raw(), getegid().as_raw()))?,
            options: Options { only_listed: self.image.is_umocis(), ..Options::default() },
            ..Unpack::default()
        };
        let rootfs = self.rootfs.as_deref().filter(|path| !path.as_os_str().is_empty());
        let (_, lost) = target.read(cx, &self.registry, |source| {
            bundle::runtime_config(source, rootfs, Path::new(&to), &how)
        })?;
        if let Some(user) = lost.filter(|_| !cx.quiet) {
            let what = format!("the user {user} is not known without --rootfs: it is root now");
            cx.progress().message(&what);
        }
        Ok(())
    }
}
