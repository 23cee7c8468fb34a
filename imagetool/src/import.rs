//! `import`: a tar of a root becomes an image of one layer, in one pass over the stream.

use std::io::{self, Read, Write};

use jiff::Timestamp;

use crate::changes;
use crate::config::{History, ImageConfig, RootFs};
use crate::digest::{ChainId, Digest};
use crate::error::{Error, Result};
use crate::layer::foreign;
use crate::manifest::{Compression, Descriptor, Manifest, OCI_CONFIG, OCI_MANIFEST};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::snapshot::{Layers, Step};
use crate::store::{BlobWriter, Store};

/// What the image will say of itself.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Its name; without one it dangles.
    pub name: Option<Reference>,
    /// Dockerfile instructions upon its config.
    pub changes: Vec<String>,
    /// The comment in its history.
    pub message: String,
    /// What it runs on; this machine by default.
    pub platform: Option<Platform>,
    /// When it was made (RFC 3339); now by default.
    pub created: Option<String>,
}

/// An imported image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Its id: the digest of its config.
    pub id: Digest,
    /// Its manifest.
    pub manifest: Descriptor,
    /// Attributes of files that the file system can't hold.
    pub lost: Vec<String>,
}

/// Imports a tar stream, plain or compressed. The bytes are kept as they come (but for bzip2
/// and xz, which no layer has), hashed, and unpacked, all while they stream.
pub fn import(store: &Store, tar: impl Read, options: &Options) -> Result<Imported> {
    let mut image = config(options)?;
    let lease = store.lease()?;
    let layers = Layers::open(store.root());
    let mut tee = Tee { from: foreign::peel(tar)?, blob: lease.blob()?, head: Vec::new() };
    let unpacked = layers.start_unknown(&lease)?.run(&mut tee)?;
    let layer = tee.blob.finish(Compression::sniff(&tee.head).oci_layer())?;
    let diff_id = unpacked.diff_id().clone();
    let lost = unpacked.applied.lost.clone();
    image.rootfs = RootFs { kind: "layers".into(), diff_ids: vec![diff_id.clone()] };
    let json = |what: &str, e: serde_json::Error| Error::invalid(what, e);
    let text = serde_json::to_vec(&image).map_err(|e| json("image config", e))?;
    let config = lease.put(OCI_CONFIG, &text)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: OCI_MANIFEST.into(),
        config: config.clone(),
        layers: vec![layer],
        annotations: std::collections::BTreeMap::default(),
    };
    let text = serde_json::to_vec(&manifest).map_err(|e| json("manifest", e))?;
    let manifest = lease.put(OCI_MANIFEST, &text)?;
    let chain: ChainId = diff_id;
    lease.hold([&chain, &manifest.digest])?;
    if layers.has(&chain) {
        drop(unpacked);
        lease.publish(&manifest, options.name.as_ref(), None, false)?;
    } else {
        // The commit's sync brings the blobs to disk, too.
        layers.commit_all(vec![Step { unpacked, chain, parent: None }])?;
        lease.publish(&manifest, options.name.as_ref(), None, true)?;
    }
    Ok(Imported { id: config.digest, manifest, lost })
}

fn config(options: &Options) -> Result<ImageConfig> {
    let platform = options.platform.clone().unwrap_or_else(Platform::host);
    let now = options.created.clone().unwrap_or_else(|| Timestamp::now().to_string());
    let history = History {
        created: Some(now.clone()),
        comment: options.message.clone(),
        ..History::default()
    };
    let mut image = ImageConfig {
        created: Some(now),
        architecture: platform.architecture,
        variant: platform.variant,
        os: platform.os,
        history: vec![history],
        ..ImageConfig::default()
    };
    changes::apply(&mut image.config, &options.changes)?;
    Ok(image)
}

/// Copies what is read into a blob.
struct Tee<'a, R> {
    from: R,
    blob: BlobWriter<'a>,
    head: Vec<u8>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buf)?;
        self.blob.write_all(&buf[..n])?;
        let missing = 4usize.saturating_sub(self.head.len());
        self.head.extend_from_slice(&buf[..n.min(missing)]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{OCI_LAYER, OCI_LAYER_ZSTD};

    fn tar() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(3);
        header.set_mode(0o644);
        builder.append_data(&mut header, "hello", &b"hi\n"[..]).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn a_tar_becomes_an_image() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let zipped = zstd::encode_all(&tar()[..], 1).unwrap();
        for (name, bytes, kind) in [("plain", tar(), OCI_LAYER), ("zstd", zipped, OCI_LAYER_ZSTD)] {
            let options = Options {
                name: Some(Reference::parse_normal(name).unwrap()),
                changes: vec!["CMD [\"/hello\"]".into()],
                message: "m".into(),
                ..Options::default()
            };
            let imported = import(&store, &bytes[..], &options).unwrap();
            let image = store.find(name).unwrap();
            assert_eq!(image.config_digest, imported.id);
            assert_eq!(image.diff_ids, [Digest::of(&tar())]);
            let layer = &image.manifest(&store).unwrap().layers[0];
            assert_eq!((layer.media_type.as_str(), &layer.digest), (kind, &Digest::of(&bytes)));
            let config = image.config(&store).unwrap();
            assert_eq!(config.config.cmd.unwrap(), ["/hello"]);
            assert_eq!(config.history[0].comment, "m");
            let fs = Layers::open(store.root()).lowerdirs(&image.diff_ids);
            assert_eq!(std::fs::read(fs[0].join("hello")).unwrap(), b"hi\n");
        }
    }

    #[test]
    fn what_is_no_tar_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let garbage = [&tar()[..1024], &[7; 600]].concat();
        for bad in [b"garbage".repeat(200), garbage] {
            assert!(import(&store, &bad[..], &Options::default()).is_err());
        }
        let bad = Options { changes: vec!["RUN x".into()], ..Options::default() };
        assert!(import(&store, &tar()[..], &bad).is_err());
        assert!(store.images().unwrap().is_empty());
        assert_eq!(std::fs::read_dir(store.tmp()).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(dir.path().join("layers")).unwrap().count(), 0);
    }
}
