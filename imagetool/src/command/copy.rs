//! `dhow-image copy SRC DST`: between any two places; prints the digest.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Once;

use clap::Args;
use dhow_image::copy::{self, Choice};
use dhow_image::digest::Digest;
use dhow_image::progress::Progress;
use dhow_image::pull::{self, pull_as};
use dhow_image::recode::Recode;
use dhow_image::reference::Reference;
use dhow_image::registry::Settings;
use dhow_image::sink::{Outputs, into};
use dhow_image::source::{Inputs, with};
use dhow_image::transport::{File, Place};
use dhow_image::{Error, Result};
use serde_json::json;

use crate::cli::RegistryFlags;
use crate::cli::access::{SourceFlags, TargetFlags};
use crate::cli::form::{FormFlags, PackFlags};
use crate::cli::trust::SignFlags;
use crate::context::{Context, stdin, stdout};

/// Flags of `copy`.
#[derive(Args)]
pub struct Copy {
    /// docker://REF, oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], dir:DIR,
    /// docker-daemon:NAME, containers-storage:NAME, or a name in the store; the FILE `-` is stdin
    #[arg(value_name = "SRC")]
    from: String,
    /// The same, but for containers-storage:; the FILE `-` is stdout
    #[arg(value_name = "DST")]
    to: String,
    /// A list with all its platforms, not just one of them
    #[arg(long, short, conflicts_with = "platform")]
    all: bool,
    /// What of a list: system (one platform's image), all, or index-only
    #[arg(long, value_name = "WHICH", conflicts_with = "all")]
    multi_arch: Option<String>,
    /// Which platform of a list: OS/ARCH[/VARIANT]
    #[arg(long)]
    platform: Option<String>,
    #[command(flatten)]
    form: FormFlags,
    #[command(flatten)]
    pack: PackFlags,
    /// Give it more names, in a docker archive or in the store
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    additional_tag: Vec<String>,
    /// Write the digest to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    #[command(flatten)]
    signing: SignFlags,
    /// Sign under this name [default: the destination's]
    #[arg(long, value_name = "NAME")]
    sign_identity: Option<String>,
    /// Copy so many layers at once [default: as many as there are processors]
    #[arg(long, value_name = "N")]
    image_parallel_copies: Option<usize>,
    /// The source layout's blobs are in this directory, shared by several
    #[arg(long, value_name = "DIR")]
    src_shared_blob_dir: Option<PathBuf>,
    /// Put the destination layout's blobs into this directory, shared by several
    #[arg(long, value_name = "DIR")]
    dest_shared_blob_dir: Option<PathBuf>,
    /// Where the daemon of docker-daemon: listens
    #[arg(long, value_name = "HOST")]
    src_daemon_host: Option<String>,
    /// Where the daemon of a docker-daemon: destination listens
    #[arg(long, value_name = "HOST")]
    dest_daemon_host: Option<String>,
    /// Encrypted layers are neither read nor written
    #[arg(long, value_name = "KEY", hide = true)]
    encryption_key: Vec<String>,
    /// As --encryption-key
    #[arg(long, value_name = "N", hide = true, allow_hyphen_values = true)]
    encrypt_layer: Vec<String>,
    /// As --encryption-key
    #[arg(long, value_name = "KEY", hide = true)]
    decryption_key: Vec<String>,
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
        self.refuse(&to)?;
        let pipe =
            matches!(to, Place::OciArchive(File::Std, _) | Place::DockerArchive(File::Std, _));
        if pipe && std::io::stdout().is_terminal() {
            return Err(Error::usage("place", self.to, "a terminal can't take a tar"));
        }
        let source = cx.settings(&self.source.over(&self.registry))?;
        let target = cx.settings(&self.target.over(&self.registry))?;
        let options = self.options(cx, &to)?;
        let more = self.more_names(&to)?;
        let plain = options.recode == Recode::default() && options.signing.signers.is_empty();
        let progress = cx.progress();
        let progress = Greeting { inner: progress, said: Once::new() };
        let digest = match (&from, &to, &options.choice) {
            (Place::Registry(_), Place::Store(_), Choice::One(_)) if plain && more.is_empty() => {
                self.pulled(cx, (&from, &to), options, source, &progress)?
            }
            _ => self.copied(cx, (&from, &to), &options, (&source, &target), &more, &progress)?,
        };
        progress.message("Writing manifest to image destination");
        if let Some(file) = &self.digestfile {
            std::fs::write(file, digest.to_string()).map_err(Error::at("write", file))?;
        }
        match (pipe, cx.json) {
            (true, _) => Ok(()),
            (false, true) => cx.print_json(&json!({ "digest": digest })),
            (false, false) => cx.line(digest),
        }
    }

    /// What can't be done is said before anything is.
    fn refuse(&self, to: &Place) -> Result<()> {
        let keys = [&self.encryption_key, &self.encrypt_layer, &self.decryption_key];
        if keys.iter().any(|k| !k.is_empty()) {
            return Err(Error::unsupported(
                "the encryption of layers (--encryption-key, --encrypt-layer, --decryption-key)",
                "it is skopeo's experiment, in no image-spec; encrypt the archive instead",
            ));
        }
        if self.dest_shared_blob_dir.is_some() && !matches!(to, Place::Layout(..)) {
            let flag = "--dest-shared-blob-dir";
            return Err(Error::usage("flag", flag, "only oci: layouts share their blobs"));
        }
        Ok(())
    }

    fn choice(&self, cx: &Context) -> Result<Choice> {
        let one = || cx.platform(self.platform.as_deref()).map(Choice::One);
        match self.multi_arch.as_deref() {
            _ if self.all => Ok(Choice::All),
            None | Some("system") => one(),
            Some("all") => Ok(Choice::All),
            Some("index-only") => Ok(Choice::Index),
            Some(other) => Err(Error::Conflict(format!(
                "unknown multi-arch option \"{other}\". Choose one of the supported options: 'system', 'all', or 'index-only'"
            ))),
        }
    }

    fn options(&self, cx: &Context, to: &Place) -> Result<copy::Options> {
        Ok(copy::Options {
            recode: self.form.recode(cx, to, &self.pack)?,
            parallel: self.image_parallel_copies.filter(|n| *n > 0),
            spool: cx.spool(),
            signing: self.signing.signing(self.sign_identity.as_deref())?,
            ..self.choice(cx)?.into()
        })
    }

    fn more_names(&self, to: &Place) -> Result<Vec<Reference>> {
        if !self.additional_tag.is_empty()
            && !matches!(to, Place::DockerArchive(..) | Place::Store(_))
        {
            let what = format!("--additional-tag with {to}");
            return Err(Error::unsupported(
                what,
                "only docker archives and the store have several",
            ));
        }
        let tagged = |text: &String| {
            let name = Reference::parse_normal(text)?;
            if name.tag().is_none() || name.digest().is_some() {
                let why = format!("additional-tag '{text}' must be a tagged reference");
                return Err(Error::Conflict(why));
            }
            Ok(name)
        };
        self.additional_tag.iter().map(tagged).collect()
    }

    fn copied(
        &self,
        cx: &Context,
        (from, to): (&Place, &Place),
        options: &copy::Options,
        (source, target): (&Settings, &Settings),
        more_names: &[Reference],
        progress: &dyn Progress,
    ) -> Result<Digest> {
        let store = if let Place::Store(_) = to { cx.store() } else { cx.store_for([from]) }?;
        let inputs = Inputs {
            tmpdir: cx.tmpdir.as_deref(),
            shared_blobs: self.src_shared_blob_dir.as_deref(),
            daemon_host: self.src_daemon_host.as_deref(),
            ..Inputs::new(&store, source, stdin)
        };
        let outputs = Outputs {
            unpack: !self.no_unpack,
            mount_from: mount_from(from, to),
            chunk: self.chunk_size,
            shared_blobs: self.dest_shared_blob_dir.as_deref(),
            more_names,
            daemon_host: self.dest_daemon_host.as_deref(),
            ..Outputs::new(&store, target, stdout)
        };
        let done = with(from, &inputs, |source| {
            into(to, &outputs, |sink| copy::copy(source, sink, options, progress))
        })?;
        Ok(done.digest)
    }

    /// From a registry into the store is a pull under another name: resumable.
    fn pulled(
        &self,
        cx: &Context,
        (from, to): (&Place, &Place),
        options: copy::Options,
        settings: Settings,
        progress: &dyn Progress,
    ) -> Result<Digest> {
        let (Place::Registry(reference), Place::Store(name)) = (from, to) else {
            return Err(Error::usage("place", to.to_string(), "not a name in the store"));
        };
        let Choice::One(platform) = options.choice else {
            return Err(Error::usage("place", to.to_string(), "a pull takes one platform"));
        };
        let name = Reference::parse_normal(name)?.tagged();
        let options = pull::Options { platform, unpack: !self.no_unpack, settings };
        let pulled = pull_as(&cx.store()?, reference, Some(&name), &options, progress)?;
        Ok(pulled.manifest.digest)
    }
}

/// skopeo's first line, which scripts look for: said when there is anything to say, so after the
/// source was found.
struct Greeting {
    inner: Box<dyn Progress>,
    said: Once,
}

impl Greeting {
    fn inner(&self) -> &dyn Progress {
        self.said.call_once(|| self.inner.message("Getting image source signatures"));
        &*self.inner
    }
}

impl Progress for Greeting {
    fn start(&self, id: &str, what: &str, total: Option<u64>) {
        self.inner().start(id, what, total);
    }
    fn advance(&self, id: &str, n: u64) {
        self.inner().advance(id, n);
    }
    fn done(&self, id: &str, how: &str) {
        self.inner().done(id, how);
    }
    fn message(&self, text: &str) {
        self.inner().message(text);
    }
}

/// A repository of the registry that is copied to, that has the blobs.
pub fn mount_from(from: &Place, to: &Place) -> Option<String> {
    match (from, to) {
        (Place::Registry(a), Place::Registry(b))
            if a.domain() == b.domain() && a.path() != b.path() =>
        {
            Some(a.path().to_owned())
        }
        _ => None,
    }
}
