//! `dhow-image copy SRC DST`: between any two places; prints the digest.

use std::io::IsTerminal;

use clap::Args;
use dhow_image::copy::{Choice, copy};
use dhow_image::platform::Platform;
use dhow_image::pull::{self, pull_as};
use dhow_image::registry::Settings;
use dhow_image::sink::{Outputs, into};
use dhow_image::source::{Inputs, with};
use dhow_image::transport::{File, Place};
use dhow_image::{Error, Result};
use serde_json::json;

use crate::cli::RegistryFlags;
use crate::cli::access::{SourceFlags, TargetFlags};
use crate::context::{Context, stdin, stdout};

/// Flags of `copy`.
#[derive(Args)]
pub struct Copy {
    /// docker://REF, oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], dir:DIR, or
    /// a name in the store; the FILE `-` is stdin
    #[arg(value_name = "SRC")]
    from: String,
    /// The same; the FILE `-` is stdout
    #[arg(value_name = "DST")]
    to: String,
    /// A list with all its platforms, not just one of them
    #[arg(long, short, conflicts_with = "platform")]
    all: bool,
    /// Which platform of a list: OS/ARCH[/VARIANT]
    #[arg(long)]
    platform: Option<String>,
    /// Don't unpack what goes into the store
    #[arg(long)]
    no_unpack: bool,
    /// Upload in chunks of so many bytes
    #[arg(long, value_name = "BYTES")]
    chunk_size: Option<u64>,
    #[command(flatten)]
    registry: RegistryFlags,
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    target: TargetFlags,
}

impl Copy {
    /// Copies.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (from, to): (Place, Place) = (self.from.parse()?, self.to.parse()?);
        let pipe =
            matches!(to, Place::OciArchive(File::Std, _) | Place::DockerArchive(File::Std, _));
        if pipe && std::io::stdout().is_terminal() {
            return Err(Error::usage("place", self.to, "a terminal can't take a tar"));
        }
        let platform = cx.platform(self.platform.as_deref())?;
        let source = cx.settings(&self.source.over(&self.registry))?;
        let target = cx.settings(&self.target.over(&self.registry))?;
        let digest = match (&from, &to) {
            (Place::Registry(_), Place::Store(_)) if !self.all => {
                self.pulled(cx, &from, &to, platform, source)?
            }
            _ => self.copied(cx, &from, &to, platform, (&source, &target))?,
        };
        match (pipe, cx.json) {
            (true, _) => Ok(()),
            (false, true) => cx.print_json(&json!({ "digest": digest })),
            (false, false) => cx.line(digest),
        }
    }

    fn copied(
        &self,
        cx: &Context,
        from: &Place,
        to: &Place,
        platform: Option<Platform>,
        (source, target): (&Settings, &Settings),
    ) -> Result<dhow_image::digest::Digest> {
        let store = cx.store()?;
        let inputs = Inputs { tmpdir: cx.tmpdir.as_deref(), ..Inputs::new(&store, source, stdin) };
        let mount_from = match (from, to) {
            (Place::Registry(a), Place::Registry(b))
                if a.domain() == b.domain() && a.path() != b.path() =>
            {
                Some(a.path().to_owned())
            }
            _ => None,
        };
        let outputs = Outputs {
            unpack: !self.no_unpack,
            mount_from,
            chunk: self.chunk_size,
            ..Outputs::new(&store, target, stdout)
        };
        let choice = if self.all { Choice::All } else { Choice::One(platform) };
        let progress = cx.progress();
        let done = with(from, &inputs, |source| {
            into(to, &outputs, |sink| copy(source, sink, &choice.into(), &*progress))
        })?;
        Ok(done.digest)
    }

    /// From a registry into the store is a pull under another name: resumable.
    fn pulled(
        &self,
        cx: &Context,
        from: &Place,
        to: &Place,
        platform: Option<Platform>,
        settings: Settings,
    ) -> Result<dhow_image::digest::Digest> {
        let (Place::Registry(reference), Place::Store(name)) = (from, to) else {
            return Err(Error::usage("place", to.to_string(), "not a name in the store"));
        };
        let name = dhow_image::reference::Reference::parse_normal(name)?.tagged();
        let options = pull::Options { platform, unpack: !self.no_unpack, settings };
        let progress = cx.progress();
        let pulled = pull_as(&cx.store()?, reference, Some(&name), &options, &*progress)?;
        Ok(pulled.manifest.digest)
    }
}
