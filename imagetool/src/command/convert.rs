//! `dhow-image convert SRC [DST]`: layers packed otherwise, manifests of another kind; prints the
//! digest. The files of the image, and its id, stay what they are.

use clap::Args;
use dhow_image::copy::{self, Choice};
use dhow_image::manifest::Compression;
use dhow_image::recode::{Kind, Packing, Recode};
use dhow_image::sink::{Outputs, into};
use dhow_image::source::{Inputs, with};
use dhow_image::transport::{File, Place};
use dhow_image::{Error, Result};
use serde_json::json;

use super::copy::mount_from;
use crate::cli::RegistryFlags;
use crate::cli::form;
use crate::cli::trust::SignFlags;
use crate::context::{Context, stdin, stdout};

/// Flags of `convert`.
#[derive(Args)]
pub struct Convert {
    /// An image in any place; see copy
    #[arg(value_name = "SRC")]
    from: String,
    /// Where the new one goes, if not in the old one's place
    #[arg(value_name = "DST")]
    to: Option<String>,
    /// How its layers are to be packed: gzip, zstd or none
    #[arg(long, value_name = "FORMAT")]
    compress: Option<String>,
    /// How hard to compress: gzip 0 to 9, zstd 1 to 22
    #[arg(long, value_name = "LEVEL", requires = "compress")]
    level: Option<i32>,
    /// Whose manifests: oci, or docker's (v2s2)
    #[arg(long, short, value_name = "KIND")]
    format: Option<String>,
    /// A list with all its platforms, not just one of them
    #[arg(long, short, conflicts_with = "platform")]
    all: bool,
    /// Which platform of a list: OS/ARCH[/VARIANT]
    #[arg(long)]
    platform: Option<String>,
    #[command(flatten)]
    signing: SignFlags,
    /// Don't unpack what goes into the store
    #[arg(long)]
    no_unpack: bool,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Convert {
    /// Converts.
    pub fn run(self, cx: &Context) -> Result<()> {
        let from: Place = self.from.parse()?;
        let to: Place = self.to.as_ref().unwrap_or(&self.from).parse()?;
        let recode = self.recode()?;
        if recode == Recode::default() {
            let why = "say what it is to become: --compress FORMAT, --format KIND";
            return Err(Error::usage("conversion", self.from, why));
        }
        let choice = if self.all {
            Choice::All
        } else {
            Choice::One(cx.platform(self.platform.as_deref())?)
        };
        let options = copy::Options {
            recode,
            spool: cx.spool(),
            signing: self.signing.signing(None)?,
            ..choice.into()
        };
        let (store, settings) = (cx.store()?, cx.settings(&self.registry)?);
        let inputs =
            Inputs { tmpdir: cx.tmpdir.as_deref(), ..Inputs::new(&store, &settings, stdin) };
        let outputs = Outputs {
            unpack: !self.no_unpack,
            mount_from: mount_from(&from, &to),
            ..Outputs::new(&store, &settings, stdout)
        };
        let progress = cx.progress();
        let done = with(&from, &inputs, |source| {
            into(&to, &outputs, |sink| copy::copy(source, sink, &options, &*progress))
        })?;
        let pipe =
            matches!(to, Place::OciArchive(File::Std, _) | Place::DockerArchive(File::Std, _));
        match (pipe, cx.json) {
            (true, _) => Ok(()),
            (false, true) => cx.print_json(&json!({ "digest": done.digest, "size": done.size })),
            (false, false) => cx.line(done.digest),
        }
    }

    fn recode(&self) -> Result<Recode> {
        let packing = match self.compress.as_deref() {
            None => Packing::AsTheyAre,
            Some("none") => Packing::All(Compression::None),
            Some(text) => Packing::All(form::compression(text)?),
        };
        let mut kind = self.format.as_deref().map(form::kind).transpose()?;
        if kind.is_none() && packing == Packing::All(Compression::Zstd) {
            kind = Some(Kind::Oci);
        }
        let recode = Recode { kind, packing, level: self.level, habit: false };
        recode.check().map(|()| recode)
    }
}
