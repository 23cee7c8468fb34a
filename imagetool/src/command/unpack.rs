//! `dhow-image unpack IMAGE BUNDLE`: a bundle that any OCI runtime runs.

use std::path::Path;

use clap::Args;
use dhow_image::bundle::{self, Unpacked, config::Options};
use dhow_image::{Error, Result};
use nix::errno::Errno;
use nix::unistd::{getegid, geteuid};
use serde_json::json;

use crate::cli::RegistryFlags;
use crate::cli::maps::MapFlags;
use crate::cli::target::{ImageFlag, exactly};
use crate::context::Context;

/// Flags of `unpack`.
#[derive(Args)]
pub struct Unpack {
    /// A name of the store or a place such as docker://REF or oci:DIR:TAG, unless --image is
    /// given; then the bundle's directory, which must not exist, or be empty
    #[arg(value_name = "[IMAGE] BUNDLE")]
    words: Vec<String>,
    /// Give the process a terminal
    #[arg(long, short)]
    tty: bool,
    /// Write umoci's mtree manifest of the root, too: slow, for who goes on with umoci
    #[arg(long)]
    mtree: bool,
    #[command(flatten)]
    how: HowFlags,
}

/// How layers become files.
#[derive(Args)]
pub struct HowFlags {
    #[command(flatten)]
    image: ImageFlag,
    /// Which platform's image of a list
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Where a layer has a directory, keep a link to one that is there
    #[arg(long)]
    keep_dirlinks: bool,
    #[command(flatten)]
    maps: MapFlags,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl HowFlags {
    /// Unpacks an image to the word after it by `to`, and tells what couldn't be kept.
    pub fn run(
        &self,
        cx: &Context,
        mut words: Vec<String>,
        what: &'static str,
        to: impl FnOnce(&dyn dhow_image::source::Source, &Path, bundle::Unpack) -> Result<Unpacked>,
    ) -> Result<()> {
        let target = self.image.take(&mut words)?;
        let [path] = exactly(words, [what])?;
        let ids = (geteuid().as_raw(), getegid().as_raw());
        let how = bundle::Unpack {
            platform: cx.platform(self.platform.as_deref())?,
            manner: self.maps.manner(ids)?,
            ..bundle::Unpack::default()
        };
        let how = bundle::Unpack {
            manner: dhow_image::layer::Manner { keep_dirlinks: self.keep_dirlinks, ..how.manner },
            ..how
        };
        let done = target.read(cx, &self.registry, |source| to(source, Path::new(&path), how));
        let done = done.map_err(|e| match e {
            Error::Io { action, source, path }
                if ids.0 != 0
                    && !self.maps.rootless
                    && source.raw_os_error() == Some(Errno::EPERM as i32) =>
            {
                let what = format!("to {action} {}", path.display());
                Error::unsupported(what, "only root may; without root, unpack with --rootless")
            }
            other => other,
        })?;
        if !cx.quiet {
            for what in &done.lost {
                cx.progress().message(&format!("not kept by this file system: {what}"));
            }
        }
        if cx.json {
            let image = &done.image;
            let at = image.walk.last().map(|d| &d.digest);
            let what = what.to_lowercase();
            let id = &image.manifest.config.digest;
            cx.print_json(&json!({ what: path, "id": id, "digest": at }))?;
        }
        Ok(())
    }
}

impl Unpack {
    /// Unpacks. Says nothing on stdout unless asked for JSON.
    pub fn run(self, cx: &Context) -> Result<()> {
        let Self { words, tty, mtree, how } = self;
        let mtree = mtree || cx.wants_mtree();
        let options = Options { terminal: tty, only_listed: how.image.is_umocis() };
        how.run(cx, words, "BUNDLE", |source, to, how| {
            bundle::unpack(source, to, &bundle::Unpack { options, mtree, ..how })
        })
    }
}
