//! Every blob read to its end once, several at a time: its digest and size, what it inflates
//! to, and whether what was unpacked of it is still that.

use std::io::{self, Cursor, Read};

use super::needs::{Layer, Need, Needs};
use super::{Depth, Fault, Findings, worded};
use crate::digest::ChainId;
use crate::error::{Error, Result};
use crate::layer::Limits;
use crate::layer::compress::detect;
use crate::layer::verify::pipeline;
use crate::manifest::Compression;
use crate::snapshot::{Layers, Step, side_by_side};
use crate::source::Source;
use crate::store::Lease;

/// Where unpacked layers are, to be compared.
pub(super) struct Unpacked<'a> {
    pub lease: &'a Lease,
    pub layers: Layers,
    pub depth: Depth,
}

/// Checks all blobs; with `unpacked`, the layers that were made of them, too.
pub(super) fn blobs(
    source: &dyn Source,
    needs: &Needs,
    findings: &Findings,
    unpacked: Option<&Unpacked<'_>>,
) -> Result<()> {
    // The largest first, so that none of them runs alone at the end.
    let mut all: Vec<&Need> = needs.blobs.values().collect();
    all.sort_by_key(|need| std::cmp::Reverse(need.at.size));
    side_by_side(&all, |need| {
        Check { source, need, findings, unpacked }.run();
        Ok(())
    })
    .map(drop)
}

struct Check<'a> {
    source: &'a dyn Source,
    need: &'a Need,
    findings: &'a Findings,
    unpacked: Option<&'a Unpacked<'a>>,
}

impl Check<'_> {
    fn run(&self) {
        let there = |chain: &&ChainId| self.unpacked.is_some_and(|u| u.layers.has(chain));
        let (mine, plain): (Vec<_>, Vec<_>) =
            self.need.layers.iter().partition(|(chain, _)| there(chain));
        if mine.is_empty() && plain.is_empty() {
            self.read(|reader| {
                io::copy(reader, &mut io::sink()).map_err(|e| Error::from_io("read", "blob", e))
            });
            return;
        }
        // What isn't unpacked needs its diff id checked, once for each that there is.
        let mut diff_ids: Vec<_> = plain.iter().map(|(_, layer)| &layer.diff_id).collect();
        diff_ids.sort();
        diff_ids.dedup();
        let again = |d: &&&crate::digest::DiffId| !mine.iter().any(|(_, l)| l.diff_id == ***d);
        for diff_id in diff_ids.iter().filter(again) {
            let told = self.read(|reader| {
                pipeline(reader, diff_id.algorithm(), Limits::default().bytes, |mut plain| {
                    plain.drain_and_check(diff_id)
                })
            });
            if let Some(Err(e)) = told {
                self.layer_blob(&e);
            }
        }
        for (chain, layer) in mine {
            self.compare(chain, layer);
        }
    }

    /// Reads the blob through `work` and then to its end. `None` if its bytes are not what they
    /// should be, which has been told then.
    fn read<T>(&self, work: impl FnOnce(&mut dyn Read) -> Result<T>) -> Option<Result<T>> {
        let mut reader = match self.source.blob(&self.need.at) {
            Ok(reader) => reader,
            Err(e) => return self.bad(&e),
        };
        let mut head = [0; 6];
        let n = match read_some(&mut reader, &mut head) {
            Ok(n) => n,
            Err(e) => return self.bad(&Error::from_io("read", "blob", e)),
        };
        let done = work(&mut Cursor::new(head).take(n as u64).chain(&mut reader));
        // The end is where the digest is checked, and `work` may have stopped before.
        if let Err(e) = io::copy(&mut reader, &mut io::sink()) {
            return self.bad(&Error::from_io("read", "blob", e));
        }
        self.media_type(&head[..n]);
        Some(done)
    }

    fn bad<T>(&self, e: &Error) -> Option<Result<T>> {
        let Need { at, what, images, .. } = self.need;
        self.findings.damage(what, &at.digest, worded(e), images, Some(Fault::Blob(at.clone())));
        None
    }

    /// The bytes are the blob's, but not what the image says of them.
    fn layer_blob(&self, e: &Error) {
        let Need { at, what, images, .. } = self.need;
        let why = match e {
            Error::Digest { want, got, .. } => {
                format!("it unpacks to {got}, the image's config says {want}")
            }
            e => e.to_string(),
        };
        self.findings.damage(what, &at.digest, why, images, None);
    }

    /// Whether the media type says how the bytes are compressed.
    fn media_type(&self, head: &[u8]) {
        let Need { at, what, images, .. } = self.need;
        if *what != "layer" {
            return;
        }
        let (Some(said), Ok(have)) = (Compression::of_layer(&at.media_type), detect(head)) else {
            return;
        };
        if said != have {
            let why = format!("its media type {:?} is wrong: it is {}", at.media_type, word(have));
            self.findings.damage(what, &at.digest, why, images, None);
        }
    }

    /// Unpacks the layer once more, and compares.
    fn compare(&self, chain: &ChainId, layer: &Layer) {
        let Some(u) = self.unpacked else { return };
        let told = self.read(|reader| {
            let begun = u.layers.start(u.lease, &layer.diff_id, &self.need.at.media_type)?;
            let unpacked = begun.hollow(!u.depth.contents).run(reader)?;
            Ok(Step { unpacked, chain: chain.clone(), parent: layer.parent.clone() })
        });
        let step = match told {
            None => return,
            // A full disk or the like says nothing about the layer.
            Some(Err(e @ Error::Io { .. })) => return self.layer(chain, &unknown(&e), false),
            Some(Err(e)) => return self.layer_blob(&e),
            Some(Ok(step)) => step,
        };
        match u.layers.compare(step, u.depth.contents) {
            Ok(differences) if differences.count == 0 => {}
            Ok(differences) => {
                let more = differences.count - differences.first.len() as u64;
                let mut told = differences.first;
                told.extend((more > 0).then(|| format!("and {more} more")));
                self.layer(chain, &told.join("; "), true);
            }
            Err(e) => self.layer(chain, &unknown(&e), false),
        }
    }

    fn layer(&self, chain: &ChainId, why: &str, known: bool) {
        let fault = known.then(|| Fault::Layer(chain.clone()));
        let subject = format!("{chain} unpacked");
        self.findings.damage("layer", subject, why, &self.need.images, fault);
    }
}

fn unknown(e: &Error) -> String {
    format!("it can't be compared with its blob: {e}")
}

fn word(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "not compressed",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    }
}

/// Reads until `buf` is full or the stream ends.
fn read_some(reader: &mut dyn Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buf.len() {
        match reader.read(&mut buf[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}
