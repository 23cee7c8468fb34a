//! Steps' results from elsewhere, and for elsewhere.
//!
//! A cache that travels is an OCI manifest whose layers are the layers' blobs, and whose config, of
//! a type of our own, lists the records. An image that has its own cache within says the same in an
//! annotation of its manifest. Of an import only the list is read first; a layer is fetched when a
//! step asks for it, and verified as in a pull.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::build::spec::CacheFrom;
use crate::digest::{DiffId, Digest};
use crate::edit::manifest_of;
use crate::error::{Error, Result};
use crate::manifest::{self, Descriptor, MAX_CONFIG, Manifest, OCI_MANIFEST, Parsed};
use crate::registry::Settings;
use crate::sink::{Part, Sink};
use crate::snapshot::{Layers, Unpacked};
use crate::source::{Directory, Document, Layout, Remote, Source};
use crate::store::{Lease, Store};
use crate::transport::Which;

/// The type of the list.
pub(crate) const LIST: &str = "application/vnd.dhow.build.cache.v1+json";
/// The annotation of an image that has its own cache within.
pub(crate) const INLINE: &str = "io.dhow.build.cache";
const VERSION: u32 = 1;
/// A step's keys, and those its record was made under.
const MAX_KEYS: usize = 4;

/// What was used of the cache, or put there, by one step.
#[derive(Clone, Debug)]
pub(crate) struct Used {
    /// Under which keys.
    pub keys: Vec<Digest>,
    /// What.
    pub record: Record,
    /// As which blob its layer is packed, if that is known.
    pub blob: Option<Descriptor>,
    /// It is of the image, not only of a stage that something was copied from.
    pub packed: bool,
}

/// The records of a cache that travels.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct List {
    version: u32,
    steps: Vec<Step>,
    /// As which blob each layer is packed, by its diff id.
    blobs: BTreeMap<String, Descriptor>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Step {
    keys: Vec<Digest>,
    record: Record,
}

impl List {
    /// Of these steps; `blob` says as what a layer is packed.
    pub fn new(used: &[Used], blob: impl Fn(&Used) -> Result<Descriptor>) -> Result<Self> {
        let mut list = Self { version: VERSION, steps: Vec::new(), blobs: BTreeMap::new() };
        for one in used {
            if let Some(layer) = &one.record.layer {
                list.blobs.insert(layer.diff_id.to_string(), blob(one)?);
            }
            list.steps.push(Step { keys: one.keys.clone(), record: one.record.clone() });
        }
        Ok(list)
    }

    /// As bytes.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::invalid("cache", e))
    }

    /// Writes it with its blobs, which lie in the store; the sink's own end is the caller's.
    pub fn send(&self, store: &Store, sink: &dyn Sink) -> Result<()> {
        let bytes = self.bytes()?;
        let config = Descriptor::of(LIST, &bytes);
        let mut blobs: Vec<&Descriptor> = self.blobs.values().collect();
        blobs.sort_by_key(|blob| &blob.digest);
        blobs.dedup_by_key(|blob| &blob.digest);
        for blob in &blobs {
            let open = || -> Result<Box<dyn Read + Send + '_>> {
                Ok(Box::new(store.open_verified(blob)?))
            };
            sink.put(Part { blob, open: &open, spooled: None, layer: None })?;
        }
        let open = || -> Result<Box<dyn Read + Send + '_>> { Ok(Box::new(bytes.as_slice())) };
        sink.put(Part { blob: &config, open: &open, spooled: None, layer: None })?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST.to_owned(),
            config,
            layers: blobs.into_iter().cloned().collect(),
            annotations: BTreeMap::new(),
        };
        let bytes = serde_json::to_vec(&manifest).map_err(|e| Error::invalid("cache", e))?;
        let document = Document { at: Descriptor::of(OCI_MANIFEST, &bytes), bytes };
        sink.document(&document, true)
    }
}

/// Caches from elsewhere.
#[derive(Default)]
pub(crate) struct Imported {
    places: Vec<Place>,
}

struct Place {
    source: Box<dyn Source>,
    records: HashMap<Digest, Arc<Record>>,
    blobs: BTreeMap<String, Descriptor>,
}

impl Imported {
    /// Reads one more list.
    pub fn add(&mut self, from: &CacheFrom, settings: &Settings) -> Result<()> {
        let source: Box<dyn Source> = match from {
            CacheFrom::Registry(reference) => Box::new(Remote::new(settings, reference)?),
            CacheFrom::Local { dir, which } => {
                let which = match which.as_deref().unwrap_or("latest") {
                    digest if digest.contains(':') => Which::Of(digest.parse()?),
                    tag => Which::Named(tag.to_owned()),
                };
                let whole = dir.canonicalize().map_err(Error::at("open", dir))?;
                Box::new(Layout::open(Directory(whole), &which)?)
            }
        };
        let document = manifest_of(&*source, None)?;
        let what = format!("cache {}", document.at.digest);
        let parsed = manifest::parse(&document.bytes, &document.at.media_type, &what)?;
        let Parsed::Manifest(manifest) = parsed else {
            return Err(Error::invalid(what, "it is a list"));
        };
        let list: List = if manifest.config.media_type == LIST {
            if manifest.config.size > MAX_CONFIG {
                return Err(Error::invalid(what, format!("it is over {MAX_CONFIG} bytes")));
            }
            let mut bytes = Vec::new();
            let mut reader = source.blob(&manifest.config)?;
            reader.read_to_end(&mut bytes).map_err(|e| Error::from_io("read", &what, e))?;
            drop(reader);
            serde_json::from_slice(&bytes).map_err(|e| Error::invalid(what.as_str(), e))?
        } else {
            let Some(text) = manifest.annotations.get(INLINE) else {
                return Err(Error::invalid(what, "the image has no cache within"));
            };
            serde_json::from_str(text).map_err(|e| Error::invalid(what.as_str(), e))?
        };
        if list.version != VERSION {
            let what = format!("{what}, version {}", list.version);
            return Err(Error::unsupported(what, "it was written by another dhow"));
        }
        let records = by_key(list.steps, &what)?;
        self.places.push(Place { source, records, blobs: list.blobs });
        Ok(())
    }

    /// The records of a key, each with the number of the place that has it.
    pub fn find(&self, key: &Digest) -> impl Iterator<Item = (usize, &Record)> {
        let places = self.places.iter().enumerate();
        places.filter_map(|(n, place)| Some((n, &**place.records.get(key)?)))
    }

    /// Fetches a layer: unpacked, and kept as the blob it is.
    pub fn fetch(
        &self,
        place: usize,
        diff_id: &DiffId,
        layers: &Layers,
        lease: &Lease,
    ) -> Result<(Unpacked, Descriptor)> {
        let missing = || Error::NotFound {
            what: "layer",
            name: diff_id.to_string(),
            hint: "the cache doesn't have it".into(),
        };
        let place = self.places.get(place).ok_or_else(missing)?;
        let blob = place.blobs.get(&diff_id.to_string()).ok_or_else(missing)?;
        lease.hold([&blob.digest])?;
        let mut both = Both { from: place.source.blob(blob)?, to: lease.blob()? };
        let unpacked = layers.start(lease, diff_id, &blob.media_type)?.run(&mut both)?;
        let rest = io::copy(&mut both, &mut io::sink());
        rest.map_err(|e| Error::from_io("read", blob.digest.to_string(), e))?;
        let kept = both.to.finish(&blob.media_type)?;
        Ok((unpacked, kept))
    }
}

/// The records of a list, each once. Foreign ones may be of any size, under any number of keys.
fn by_key(steps: Vec<Step>, what: &str) -> Result<HashMap<Digest, Arc<Record>>> {
    let mut records = HashMap::new();
    for Step { keys, record } in steps {
        if keys.len() > MAX_KEYS || !record.is_ours() {
            return Err(Error::invalid(what, "a step's text or its keys are too many"));
        }
        let record = Arc::new(record);
        records.extend(keys.into_iter().map(|key| (key, record.clone())));
    }
    Ok(records)
}

/// Keeps what is read.
struct Both<R, W> {
    from: R,
    to: W,
}

impl<R: Read, W: Write> Read for Both<R, W> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buf)?;
        self.to.write_all(&buf[..n])?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::Index;

    #[test]
    fn a_foreign_list_has_small_steps() {
        let key = |n: usize| Digest::of(n.to_string().as_bytes());
        let step = |keys: usize, held: usize, text: usize| {
            let mut record = Record::new(None, None, None, jiff::Timestamp::UNIX_EPOCH, "");
            record.text = "é".repeat(text);
            record.keys = (0..held).map(key).collect();
            vec![Step { keys: (0..keys).map(key).collect(), record }]
        };
        assert_eq!(by_key(step(4, 2, 400), "x").unwrap().len(), 4);
        for (keys, held, text) in [(5, 0, 1), (1, 3, 1), (1, 0, 401)] {
            assert!(by_key(step(keys, held, text), "x").is_err(), "{keys} {held} {text}");
        }
    }

    proptest! {
        #[test]
        fn any_list_is_read_or_refused(at in any::<Index>(), to in any::<u8>(), word in "[a-z0-9:\"\\[\\]{},-]{0,9}") {
            let key = Digest::of(b"k");
            let layer = super::super::record::Layer { diff_id: key.clone(), size: 7 };
            let time = jiff::Timestamp::UNIX_EPOCH;
            let record = Record::new(None, Some(key.clone()), Some(layer), time, "RUN x");
            let used = Used { keys: vec![key.clone()], record, blob: None, packed: true };
            let blob = |_: &Used| Ok(Descriptor::of("x", b"x"));
            let bytes = List::new(&[used], blob).unwrap().bytes().unwrap();
            let at = at.index(bytes.len());
            let longer = [&bytes[..at], word.as_bytes(), &bytes[at..]].concat();
            let mut changed = bytes;
            changed[at] = to;
            for bytes in [longer, changed] {
                let Ok(list) = serde_json::from_slice::<List>(&bytes) else { continue };
                if let Ok(records) = by_key(list.steps, "x") {
                    prop_assert!(records.len() <= MAX_KEYS);
                }
            }
        }
    }
}
