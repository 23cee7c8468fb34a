//! `containers-storage:`, where podman, buildah and CRI-O keep images; read, so that they can be
//! taken elsewhere. Its layers lie unpacked: their tars are put together again bit for bit, plain,
//! and the manifest says so.

mod records;
mod spec;
mod split;

use std::fs::File;
use std::io::{BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use nix::fcntl::OFlag;
use serde_json::{Value, json};

use self::records::{Image, Layer, Records};
pub use self::spec::Storage;
use self::split::Assembled;
use super::{Document, Source};
use crate::digest::Verified;
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::manifest::{
    self, DOCKER_MANIFEST, Descriptor, MAX_CONFIG, MAX_MANIFEST, Manifest, OCI_LAYER, Parsed,
};
use crate::reference::Reference;
use crate::transport::Place;
use crate::trust::Origin;

/// A plain layer, in docker's types.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// One image of such a store, which no writer changes meanwhile.
pub struct Podman {
    records: Records,
    image: Image,
    manifest: Document,
    /// The manifest that it came with; its layers' blobs aren't there any more.
    recorded: Document,
    layers: Vec<(Descriptor, Layer)>,
    /// What was typed after the store.
    typed: String,
}

impl Podman {
    /// Opens the image that `text` names, as after `containers-storage:`; `usual` is the store
    /// that is meant where the text names none.
    pub fn open(text: &str, usual: &Storage) -> Result<Self> {
        let (storage, name) = spec::parse(text, usual)?;
        let records = Records::open(&storage.root, storage.driver.as_deref());
        // skopeo's words, which scripts look for.
        let unknown = |e: Error| match e {
            e if e.is_not_found() => e.noting(&format!("{name} does not resolve to an image ID")),
            e => e,
        };
        let records = records.map_err(unknown)?;
        let image = records.find(name)?.clone();
        let (bytes, parsed) = own_manifest(&records, &image, name)?;
        let chain: Vec<Layer> = records.chain(&image)?.into_iter().cloned().collect();
        let what = format!("image {} in {}", image.id, records.title());
        if chain.len() != parsed.layers.len() {
            let why =
                format!("it has {} layers, its manifest {}", chain.len(), parsed.layers.len());
            return Err(Error::invalid(what, why));
        }
        let kind =
            if parsed.media_type == DOCKER_MANIFEST { DOCKER_LAYER } else { OCI_LAYER }.to_owned();
        let mut layers = Vec::with_capacity(chain.len());
        for layer in chain {
            let digest = layer.digest.clone().ok_or_else(|| {
                let hint = "it was pulled in chunks and never read whole: use podman save";
                Error::unsupported(format!("layer {} without a digest", layer.id), hint)
            })?;
            let size = match u64::try_from(layer.size) {
                Ok(size) if size > 0 => size,
                _ => counted(&records, &layer)?,
            };
            layers.push((Descriptor::new(&kind, digest, size), layer));
        }
        let same = layers.iter().zip(&parsed.layers).all(|((d, _), m)| d.digest == m.digest);
        let document = |bytes: Vec<u8>| {
            let at = Descriptor::of(&parsed.media_type, &bytes);
            Document { bytes, at }
        };
        let made = if same { bytes.clone() } else { plain(&bytes, &layers, &what)? };
        let (manifest, recorded) = (document(made), document(bytes));
        Ok(Self { records, image, manifest, recorded, layers, typed: name.to_owned() })
    }

    /// Where it comes from, to a policy.
    pub(super) fn origin(&self, place: &Place) -> Origin {
        let (driver, root) = self.records.place();
        Origin::storage(place, driver, root, &self.typed)
    }
}

/// The manifest that is asked for by digest, or the image's own.
fn own_manifest(records: &Records, image: &Image, name: &str) -> Result<(Vec<u8>, Manifest)> {
    let asked = Reference::parse_normal(name).ok().and_then(|r| r.digest().cloned());
    let keys = asked.map(|d| format!("manifest-{d}")).into_iter().chain(["manifest".into()]);
    for key in keys {
        let bytes = match records.data(image, &key, MAX_MANIFEST) {
            Err(e) if e.is_not_found() => continue,
            other => other?,
        };
        let what = format!("manifest of image {}", image.id);
        // A list is kept beside its one image that is here.
        if let Parsed::Manifest(m) = manifest::parse(&bytes, "", &what)? {
            return Ok((bytes, m));
        }
    }
    Err(Error::NotFound {
        what: "manifest",
        name: format!("of image {} in {}", image.id, records.title()),
        hint: String::new(),
    })
}

/// The manifest with plain layers instead of the compressed ones, which nobody kept.
fn plain(bytes: &[u8], layers: &[(Descriptor, Layer)], what: &str) -> Result<Vec<u8>> {
    let failed = |e| Error::invalid(what, e);
    let mut value: Value = serde_json::from_slice(bytes).map_err(failed)?;
    let Some(list) = value["layers"].as_array_mut() else {
        return Err(Error::invalid(what, "its manifest has no layers"));
    };
    for (entry, (blob, _)) in list.iter_mut().zip(layers) {
        entry["mediaType"] = json!(blob.media_type);
        entry["digest"] = json!(blob.digest);
        entry["size"] = json!(blob.size);
        // They tell of what is inside the compressed blob.
        if let Some(annotations) = entry["annotations"].as_object_mut() {
            annotations.retain(|key, _| {
                !key.starts_with("io.github.containers.zstd-chunked")
                    && !key.starts_with("containerd.io/snapshot/stargz")
            });
        }
        let empty = entry["annotations"].as_object().is_none_or(serde_json::Map::is_empty);
        if let Some(entry) = entry.as_object_mut().filter(|_| empty) {
            entry.remove("annotations");
        }
    }
    serde_json::to_vec(&value).map_err(failed)
}

/// A layer's tar, put together.
fn assembled(records: &Records, layer: &Layer) -> Result<Box<dyn Read + Send>> {
    let (split, files) = records.places(layer);
    let title = format!("layer {} in {}", layer.id, records.title());
    let packed = match File::open(&split) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let hint = "podman has no tar-split of it: use podman save";
            return Err(Error::unsupported(title, hint));
        }
        other => other.map_err(Error::at("open", &split))?,
    };
    let lines = MultiGzDecoder::new(BufReader::with_capacity(128 << 10, packed));
    let root = RootDir::open(files)?;
    let open = move |name: &[u8], size: u64| -> Result<Box<dyn Read + Send>> {
        // Links on the way are the image's, and lead within it. What is no plain file is not read:
        // a FIFO would never end.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
        let fd = root.open_inside(name, flags).map_err(|e| root.error("open", name, e))?;
        let file = File::from(fd);
        let meta = file.metadata().map_err(Error::at("read", root.path()))?;
        if !meta.is_file() || meta.len() != size {
            let name = crate::layer::name::show(name);
            let why = format!("{name} isn't the file it was: somebody changed it");
            return Err(Error::invalid(root.path().display().to_string(), why));
        }
        Ok(Box::new(file))
    };
    Ok(Box::new(Assembled::new(BufReader::with_capacity(256 << 10, lines), Box::new(open), title)))
}

/// The size of a layer whose record doesn't tell it.
fn counted(records: &Records, layer: &Layer) -> Result<u64> {
    let mut from = assembled(records, layer)?;
    std::io::copy(&mut from, &mut std::io::sink())
        .map_err(|e| Error::from_io("read", format!("layer {}", layer.id), e))
}

impl Source for Podman {
    fn root(&self) -> Result<Document> {
        Ok(self.manifest.clone())
    }

    fn recorded(&self) -> Result<Document> {
        Ok(self.recorded.clone())
    }

    fn document(&self, at: &Descriptor) -> Result<Document> {
        Err(Error::invalid(format!("manifest {}", at.digest), "the store keeps no lists"))
    }

    fn blob<'a>(&'a self, blob: &'a Descriptor) -> Result<Box<dyn Read + Send + 'a>> {
        let what = format!("blob {} in {}", blob.digest, self.records.title());
        let layer = self.layers.iter().find(|(d, _)| d.digest == blob.digest);
        let from: Box<dyn Read + Send> = if let Some((_, layer)) = layer {
            assembled(&self.records, layer)?
        } else {
            let key = blob.digest.to_string();
            Box::new(std::io::Cursor::new(self.records.data(&self.image, &key, MAX_CONFIG)?))
        };
        Ok(Box::new(Verified::new(from, &blob.digest, blob.size, what)))
    }

    fn names(&self) -> Vec<Reference> {
        let names = self.image.names.iter().filter_map(|n| n.parse::<Reference>().ok());
        let mut names: Vec<_> = names.filter(|n| n.tag().is_some() && n.can_be_given()).collect();
        // The one that was typed comes first.
        let (typed, _) = records::apart(&self.typed);
        let typed = Reference::parse_normal(typed).map(Reference::tagged).ok();
        names.sort_by_key(|n| Some(n) != typed.as_ref());
        names
    }
}
