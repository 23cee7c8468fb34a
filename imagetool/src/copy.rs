//! An image from a source into a sink: its config, its layers side by side, its manifest
//! byte for byte; of a list one platform, or all.

use std::collections::HashSet;
use std::io::{self, Read};

use crate::config::ImageConfig;
use crate::digest::{Digest, Verified};
use crate::error::{Error, Result};
use crate::manifest::{self, Descriptor, Index, MAX_CONFIG, Manifest, Parsed};
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::sink::{Layer, Part, Signatures, Sink};
use crate::snapshot::side_by_side;
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
}

/// How an image is copied.
#[derive(Clone, Debug)]
pub struct Options {
    /// What of a list.
    pub choice: Choice,
    /// What becomes of signatures, and who signs.
    pub signing: Signing,
}

impl From<Choice> for Options {
    fn from(choice: Choice) -> Self {
        Self { choice, signing: Signing::default() }
    }
}

/// Copies an image; what the sink now has at the top. The sink's own end is the caller's.
pub fn copy(
    source: &dyn Source,
    sink: &dyn Sink,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Descriptor> {
    let Options { choice, signing } = options;
    let copying = Copying { source, sink, progress, signing };
    copying.check_signers()?;
    let mut root = source.root()?;
    let title = format!("manifest {}", root.at.digest);
    for depth in 0..MAX_DEPTH {
        match (manifest::parse(&root.bytes, &root.at.media_type, &title)?, choice) {
            (Parsed::Index(index), Choice::One(platform)) => {
                let wanted = platform.clone().unwrap_or_else(Platform::host);
                root = source.document(manifest::choose(&index, &wanted, &title)?)?;
            }
            (Parsed::Index(index), Choice::All) => {
                copying.index(&root, &index, true, 0)?;
                return Ok(typed(root.at, &index.media_type));
            }
            (Parsed::Manifest(m), _) => {
                let top = Document { at: typed(root.at, &m.media_type), bytes: root.bytes };
                // What a list says of its images is believed; what stands alone is asked itself.
                let wanted = match choice {
                    Choice::One(wanted) if depth == 0 => wanted.as_ref(),
                    _ => None,
                };
                copying.image(&top, &m, true, wanted)?;
                return Ok(top.at);
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
    signing: &'a Signing,
}

impl Copying<'_> {
    /// That what is signed can be kept, and has a name.
    fn check_signers(&self) -> Result<()> {
        if self.signing.signers.is_empty() {
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
        self.signing.identity.clone().or_else(|| self.sink.name()).ok_or_else(|| {
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
        if self.signing.remove || keeping == Signatures::Dropped {
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
    fn finish(&self, document: &Document, top: bool, mut carried: Vec<Signature>) -> Result<()> {
        self.sink.document(document, top)?;
        for signer in &self.signing.signers {
            carried.push(signer.sign(&document.at.digest, &self.identity()?)?);
        }
        match self.sink.signatures() {
            Signatures::Kept => self.sink.put_signatures(document, top, &carried),
            _ => Ok(()),
        }
    }

    fn index(&self, document: &Document, index: &Index, top: bool, depth: u8) -> Result<()> {
        let what = format!("manifest list {}", document.at.digest);
        if depth >= MAX_DEPTH || index.manifests.len() > MAX_CHILDREN {
            return Err(Error::invalid(what, "it is too deep or too long"));
        }
        let carried = self.carried(&document.at.digest)?;
        for child in &index.manifests {
            let inner = self.source.document(child)?;
            match manifest::parse(&inner.bytes, &child.media_type, &what)? {
                Parsed::Index(list) => self.index(&inner, &list, false, depth + 1)?,
                Parsed::Manifest(m) => self.image(&inner, &m, false, None)?,
            }
        }
        let at = typed(document.at.clone(), &index.media_type);
        self.finish(&Document { bytes: document.bytes.clone(), at }, top, carried)
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
    ) -> Result<()> {
        // Before anything else of it is read.
        self.source.permit(document)?;
        if let Some(wanted) = wanted {
            self.check(document, manifest, wanted)?;
        }
        let carried = self.carried(&document.at.digest)?;
        let config = self.config(document, manifest)?;
        let diff_ids =
            config.as_ref().map(|(_, c)| c.rootfs.diff_ids.as_slice()).unwrap_or_default();
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
            self.blob(blob, layer)
        };
        side_by_side(&first, put)?;
        // The same blob again is another layer of the chain, and there already as a blob.
        again.iter().filter(|_| !diff_ids.is_empty()).try_for_each(put)?;
        match config {
            Some((bytes, _)) => self.bytes(&manifest.config, &bytes)?,
            None => self.blob(&manifest.config, None)?,
        }
        let at = typed(document.at.clone(), &manifest.media_type);
        self.finish(&Document { bytes: document.bytes.clone(), at }, top, carried)
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

/// A reader that tells the progress.
struct Counted<'a> {
    from: Box<dyn Read + Send + 'a>,
    id: &'a str,
    progress: &'a dyn Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buf)?;
        self.progress.advance(self.id, n as u64);
        Ok(n)
    }
}
