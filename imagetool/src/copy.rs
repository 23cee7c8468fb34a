//! An image from a source into a sink: its config, its layers side by side, its manifest
//! byte for byte unless another form was asked for; of a list one platform, or all.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::config::ImageConfig;
use crate::digest::{Algorithm, Digest, Hashing, Verified};
use crate::error::{Error, Result};
use crate::manifest::{self, Descriptor, Index, MAX_CONFIG, Manifest, Parsed};
use crate::platform::Platform;
use crate::progress::{Counted, Progress};
use crate::recode::{self, Kind, Recode};
use crate::reference::Reference;
use crate::sink::{Fill, Layer, New, Part, Signatures, Sink};
use crate::snapshot::side_by_side_of;
use crate::source::schema1::{self, Upgraded};
use crate::source::{Document, Source};
use crate::trust::{Signature, Signing};

/// Lists within lists end here.
const MAX_DEPTH: u8 = 3;
/// No list is longer.
const MAX_CHILDREN: usize = 1000;

/// What of a list is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// One platform's image: the host's if `None`.
    One(Option<Platform>),
    /// The list and all that it names.
    All,
    /// The list alone; what it names is there already, or comes later.
    Index,
}

/// How an image is copied.
#[derive(Clone, Debug)]
pub struct Options {
    /// What of a list.
    pub choice: Choice,
    /// What becomes of signatures, and who signs.
    pub signing: Signing,
    /// Another form for it.
    pub recode: Recode,
    /// Where a layer lies while it is packed anew, for a destination that has to know its size
    /// before it takes it.
    pub spool: PathBuf,
    /// How many layers at once, if not as many as there are processors.
    pub parallel: Option<usize>,
}

impl From<Choice> for Options {
    fn from(choice: Choice) -> Self {
        let (signing, recode, spool) = (Signing::default(), Recode::default(), "/var/tmp".into());
        Self { choice, signing, recode, spool, parallel: None }
    }
}

/// Copies an image; what the sink now has at the top. The sink's own end is the caller's.
pub fn copy(
    source: &dyn Source,
    sink: &dyn Sink,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Descriptor> {
    let Options { choice, .. } = options;
    options.recode.check()?;
    let copying = Copying { source, sink, progress, options };
    copying.check_signers()?;
    let mut root = source.root()?;
    if schema1::is(&root.bytes) {
        source.permit(&root)?;
        let signed = !options.signing.remove && !source.signatures(&root.at.digest)?.is_empty();
        if signed && sink.signatures() != Signatures::Dropped {
            return Err(Error::unsupported(
                format!("manifest {}: changing what is signed", root.at.digest),
                "leave the signatures behind with --remove-signatures",
            ));
        }
        return copy(&Upgraded::new(source, &root)?, sink, options, progress);
    }
    let title = format!("manifest {}", root.at.digest);
    for depth in 0..MAX_DEPTH {
        match (manifest::parse(&root.bytes, &root.at.media_type, &title)?, choice) {
            (Parsed::Index(index), Choice::One(platform)) => {
                let wanted = platform.clone().unwrap_or_else(Platform::host);
                root = source.document(manifest::choose(&index, &wanted, &title)?)?;
            }
            (Parsed::Index(index), Choice::All) => return copying.index(&root, &index, true, 0),
            (Parsed::Index(index), Choice::Index) => return copying.index_only(root, &index),
            (Parsed::Manifest(m), _) => {
                let top = Document { at: typed(root.at, &m.media_type), bytes: root.bytes };
                // What a list says of its images is believed; what stands alone is asked itself.
                let wanted = match choice {
                    Choice::One(wanted) if depth == 0 => wanted.as_ref(),
                    _ => None,
                };
                return copying.image(&top, &m, true, wanted);
            }
        }
    }
    Err(Error::invalid(title, "lists within lists"))
}

/// The media type as the document itself has it, if none was announced.
fn typed(mut at: Descriptor, media_type: &str) -> Descriptor {
    media_type.clone_into(&mut at.media_type);
    at
}

struct Copying<'a> {
    source: &'a dyn Source,
    sink: &'a dyn Sink,
    progress: &'a dyn Progress,
    options: &'a Options,
}

impl Copying<'_> {
    /// That what is signed can be kept, and has a name.
    fn check_signers(&self) -> Result<()> {
        if self.options.signing.signers.is_empty() {
            return Ok(());
        }
        match self.sink.signatures() {
            Signatures::Kept => self.identity().map(drop),
            Signatures::Dropped => Err(Error::unsupported(
                "signing into the store",
                "it keeps no signatures; sign on the way to a registry or a dir:",
            )),
            Signatures::Refused(what) => Err(Error::unsupported(
                format!("signing into {what}"),
                "it keeps no signatures; sign on the way to a registry or a dir:",
            )),
        }
    }

    /// What new signatures speak of.
    fn identity(&self) -> Result<Reference> {
        self.options.signing.identity.clone().or_else(|| self.sink.name()).ok_or_else(|| {
            Error::usage(
                "signature",
                "",
                "the destination has no name to sign: give --sign-identity",
            )
        })
    }

    /// The source's signatures, as far as they go along; a destination must take them.
    fn carried(&self, of: &Digest) -> Result<Vec<Signature>> {
        let keeping = self.sink.signatures();
        if self.options.signing.remove || keeping == Signatures::Dropped {
            return Ok(Vec::new());
        }
        let found = self.source.signatures(of)?;
        match keeping {
            Signatures::Refused(what) if !found.is_empty() => Err(Error::unsupported(
                format!("keeping the image's signatures in {what}"),
                "leave them behind with --remove-signatures",
            )),
            _ => Ok(found),
        }
    }

    /// Puts a manifest, its old signatures, and new ones.
    fn finish(
        &self,
        document: Document,
        top: bool,
        mut carried: Vec<Signature>,
    ) -> Result<Descriptor> {
        self.sink.document(&document, top)?;
        for signer in &self.options.signing.signers {
            carried.push(signer.sign(&document.at.digest, &self.identity()?)?);
        }
        if self.sink.signatures() == Signatures::Kept {
            self.sink.put_signatures(&document, top, &carried)?;
        }
        Ok(document.at)
    }

    fn index(
        &self,
        document: &Document,
        index: &Index,
        top: bool,
        depth: u8,
    ) -> Result<Descriptor> {
        let what = format!("manifest list {}", document.at.digest);
        if depth >= MAX_DEPTH || index.manifests.len() > MAX_CHILDREN {
            return Err(Error::invalid(what, "it is too deep or too long"));
        }
        let carried = self.carried(&document.at.digest)?;
        let mut entries = Vec::with_capacity(index.manifests.len());
        for child in &index.manifests {
            let inner = self.source.document(child)?;
            let new = match manifest::parse(&inner.bytes, &child.media_type, &what)? {
                Parsed::Index(list) => self.index(&inner, &list, false, depth + 1)?,
                Parsed::Manifest(m) => self.image(&inner, &m, false, None)?,
            };
            let (media_type, digest, size) = (new.media_type, new.digest, new.size);
            entries.push(Descriptor { media_type, digest, size, ..child.clone() });
        }
        let kind = self.options.recode.kind_of(&index.media_type);
        let same = |(new, old): (&Descriptor, &Descriptor)| new.digest == old.digest;
        let changed = Recode::default().kind_of(&index.media_type) != kind
            || !entries.iter().zip(&index.manifests).all(same);
        if changed && self.may_change(&carried, &what)? {
            let (bytes, media_type) = recode::index(index, kind, entries)?;
            let at = Descriptor::of(media_type, &bytes);
            return self.finish(Document { bytes, at }, top, carried);
        }
        let at = typed(document.at.clone(), &index.media_type);
        self.finish(Document { bytes: document.bytes.clone(), at }, top, carried)
    }

    fn index_only(&self, document: Document, index: &Index) -> Result<Descriptor> {
        if self.sink.images_only() {
            let hint = "it takes whole images only: take --multi-arch all, or system";
            return Err(Error::unsupported("a list without its images in this destination", hint));
        }
        self.source.permit(&document)?;
        let carried = self.carried(&document.at.digest)?;
        let at = typed(document.at, &index.media_type);
        self.finish(Document { bytes: document.bytes, at }, true, carried)
    }

    /// Whether a document may become another one: not under signatures that speak of it.
    fn may_change(&self, carried: &[Signature], what: &str) -> Result<bool> {
        if carried.is_empty() {
            return Ok(true);
        }
        if self.options.recode.habit {
            return Ok(false);
        }
        Err(Error::unsupported(
            format!("{what}: changing what is signed"),
            "leave the signatures behind with --remove-signatures",
        ))
    }

    /// That an image is for a platform.
    fn check(&self, document: &Document, manifest: &Manifest, wanted: &Platform) -> Result<()> {
        let Some((_, config)) = self.config(document, manifest)? else { return Ok(()) };
        let have = config.platform();
        if have.architecture.is_empty() || have.fits(wanted).is_some() {
            return Ok(());
        }
        let names = self.source.names();
        let name =
            names.first().map_or_else(|| document.at.digest.to_string(), Reference::familiar);
        Err(Error::NotFound {
            what: "manifest",
            name: format!("{name} for {wanted}"),
            hint: format!("it has {have}"),
        })
    }

    fn image(
        &self,
        document: &Document,
        manifest: &Manifest,
        top: bool,
        wanted: Option<&Platform>,
    ) -> Result<Descriptor> {
        // Before anything else of it is read.
        self.source.permit(document)?;
        if let Some(wanted) = wanted {
            self.check(document, manifest, wanted)?;
        }
        let carried = self.carried(&document.at.digest)?;
        let config = self.config(document, manifest)?;
        let diff_ids =
            config.as_ref().map(|(_, c)| c.rootfs.diff_ids.as_slice()).unwrap_or_default();
        let form = self.form(document, manifest, &carried)?;
        let chain = Digest::chain(diff_ids);
        let mut seen = HashSet::new();
        let blobs: Vec<(usize, &Descriptor)> = manifest.layers.iter().enumerate().collect();
        let (first, again): (Vec<_>, Vec<_>) =
            blobs.into_iter().partition(|(_, b)| seen.insert(&b.digest));
        let put = |&(i, blob): &(usize, &Descriptor)| {
            let layer = diff_ids.get(i).map(|diff_id| Layer {
                diff_id,
                chain: &chain[i],
                parent: i.checked_sub(1).map(|below| &chain[below]),
            });
            self.layer(blob, layer, form)
        };
        let most = if self.sink.in_turn() { Some(1) } else { self.options.parallel };
        let made = side_by_side_of(most, &first, put)?;
        // The same blob again is another layer of the chain, and there already as a blob.
        let rest = again.iter().filter(|_| !diff_ids.is_empty());
        let more: Vec<Descriptor> = rest.map(put).collect::<Result<_>>()?;
        match &config {
            Some((bytes, _)) => self.bytes(&manifest.config, bytes)?,
            None => self.blob(&manifest.config, None)?,
        }
        let Some(kind) = form else {
            let at = typed(document.at.clone(), &manifest.media_type);
            return self.finish(Document { bytes: document.bytes.clone(), at }, top, carried);
        };
        let mut layers = manifest.layers.clone();
        let news = first.iter().zip(made).chain(again.iter().zip(more));
        news.for_each(|((i, _), new)| layers[*i] = new);
        let config = recode::config_as(&manifest.config, kind);
        let what = format!("manifest {}", document.at.digest);
        let bytes = recode::manifest(&document.bytes, kind, config, layers, &what)?;
        let media_type = match kind {
            Kind::Oci => manifest::OCI_MANIFEST,
            Kind::Docker => manifest::DOCKER_MANIFEST,
        };
        let at = Descriptor::of(media_type, &bytes);
        self.finish(Document { bytes, at }, top, carried)
    }

    /// Whose manifest the image gets, if it doesn't stay as it is.
    fn form(
        &self,
        document: &Document,
        manifest: &Manifest,
        carried: &[Signature],
    ) -> Result<Option<Kind>> {
        let recode = &self.options.recode;
        if !manifest::is_image_config(&manifest.config.media_type) {
            // An artifact's blobs are nobody's layers.
            return Ok(None);
        }
        let kind = recode.kind_of(&manifest.media_type);
        let changed = kind != Recode::default().kind_of(&manifest.media_type)
            || manifest.layers.iter().any(|l| recode.repack(l, kind).is_some());
        let what = format!("manifest {}", document.at.digest);
        Ok((changed && self.may_change(carried, &what)?).then_some(kind))
    }

    /// A layer, packed anew if that is its new form.
    fn layer(
        &self,
        blob: &Descriptor,
        layer: Option<Layer<'_>>,
        form: Option<Kind>,
    ) -> Result<Descriptor> {
        let Some(kind) = form else { return self.blob(blob, layer).map(|()| blob.clone()) };
        let Some(packed) = self.options.recode.repack(blob, kind) else {
            self.blob(blob, layer)?;
            return Ok(recode::layer_as(blob, kind));
        };
        let id = blob.digest.short();
        let what = format!("layer {}", blob.digest);
        self.progress.start(id, "packing", Some(blob.size));
        let mut fill = |to: &mut dyn Write| {
            let from = self.source.blob(blob)?;
            let mut from = Counted { from, id, progress: self.progress };
            // A plain blob's digest is its diff_id, and the source's to check.
            let diff_id = layer.map(|l| l.diff_id).filter(|id| **id != blob.digest);
            recode::squeeze(&mut from, to, packed, self.options.recode.level, diff_id, &what)
        };
        let media_type = recode::layer_type(&blob.media_type, packed, kind);
        let new = New { media_type: &media_type, fill: &mut fill, layer };
        let made = match self.sink.learn(new) {
            Some(made) => made?,
            None => self.spooled(&media_type, &mut fill, layer)?,
        };
        self.progress.done(id, "packed");
        Ok(Descriptor { annotations: kept(blob, kind), ..made })
    }

    /// A new blob by way of a file, as the sink wants to know its size first.
    fn spooled(
        &self,
        media_type: &str,
        fill: Fill<'_>,
        layer: Option<Layer<'_>>,
    ) -> Result<Descriptor> {
        let dir = &self.options.spool;
        let file = tempfile::tempfile_in(dir).map_err(Error::at("create a file in", dir))?;
        let mut file = Hashing::new(file, Algorithm::Sha256);
        fill(&mut file)?;
        let (file, digest, size) = file.finish();
        let blob = Descriptor::new(media_type, digest, size);
        let open = || -> Result<Box<dyn Read + Send + '_>> { Ok(Box::new(FromStart(&file, 0))) };
        self.sink.put(Part { blob: &blob, open: &open, spooled: None, layer })?;
        Ok(blob)
    }

    /// The image's config, checked; `None` for an artifact that is no container image.
    fn config(
        &self,
        document: &Document,
        manifest: &Manifest,
    ) -> Result<Option<(Vec<u8>, ImageConfig)>> {
        let blob = &manifest.config;
        let what = format!("image config {}", blob.digest);
        if !manifest::is_image_config(&blob.media_type) {
            if self.sink.images_only() {
                return Err(Error::unsupported(
                    format!("manifest {}: type {:?}", document.at.digest, blob.media_type),
                    "this is an artifact, not a container image",
                ));
            }
            return Ok(None);
        }
        if blob.size > MAX_CONFIG {
            return Err(Error::invalid(what, format!("it is over {MAX_CONFIG} bytes")));
        }
        let mut bytes = Vec::new();
        let mut reader =
            Verified::new(self.source.blob(blob)?, &blob.digest, blob.size, what.as_str());
        reader.read_to_end(&mut bytes).map_err(|e| Error::from_io("read", &what, e))?;
        let config = ImageConfig::parse(&bytes, &what)?;
        let (have, want) = (config.rootfs.diff_ids.len(), manifest.layers.len());
        if have != want {
            let why = format!("it names {have} layers, the manifest {want}");
            return Err(Error::invalid(what, why));
        }
        Ok(Some((bytes, config)))
    }

    fn blob(&self, blob: &Descriptor, layer: Option<Layer<'_>>) -> Result<()> {
        let id = blob.digest.short();
        self.progress.start(id, "copying", Some(blob.size));
        let open = || -> Result<Box<dyn Read + Send + '_>> {
            let from = self.source.blob(blob)?;
            Ok(Box::new(Counted { from, id, progress: self.progress }))
        };
        let spooled = self.source.spooled(&blob.digest);
        let how = self.sink.put(Part { blob, open: &open, spooled, layer })?;
        self.progress.done(id, how);
        Ok(())
    }

    fn bytes(&self, blob: &Descriptor, bytes: &[u8]) -> Result<()> {
        let open = || -> Result<Box<dyn Read + Send + '_>> { Ok(Box::new(bytes)) };
        self.sink.put(Part { blob, open: &open, spooled: None, layer: None }).map(drop)
    }
}

/// What a layer's descriptor says besides, as far as it is true of other bytes, too: not the
/// tables of zstd:chunked and eStargz.
fn kept(blob: &Descriptor, kind: Kind) -> BTreeMap<String, String> {
    let of_bytes = |key: &str| {
        [
            "io.github.containers.zstd-chunked",
            "containerd.io/snapshot/stargz",
            "io.containers.estargz",
        ]
        .iter()
        .any(|prefix| key.starts_with(prefix))
    };
    let all = blob.annotations.iter().filter(|(key, _)| kind == Kind::Oci && !of_bytes(key));
    all.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Reads a file from its beginning, however often it is opened.
struct FromStart<'a>(&'a File, u64);

impl Read for FromStart<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read_at(buf, self.1)?;
        self.1 += n as u64;
        Ok(n)
    }
}
