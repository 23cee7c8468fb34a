//! What podman's store says of itself: `DRIVER-images/images.json`, `DRIVER-layers/layers.json`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::fcntl::{FcntlArg, fcntl};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::source::Files;
use crate::source::files::Directory;

/// A busy machine's list of layers is a few megabytes.
const MAX_RECORDS: u64 = 256 << 20;
/// As podman: what is shorter isn't taken for the beginning of an id.
const MIN_ID: usize = 3;

/// An image.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Image {
    pub id: String,
    #[serde(default)]
    pub names: Vec<String>,
    /// Its topmost layer's id.
    #[serde(default, rename = "layer")]
    pub top: String,
    /// What is kept of it, by name.
    #[serde(default, rename = "big-data-digests")]
    pub digests: BTreeMap<String, String>,
}

/// A layer.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Layer {
    pub id: String,
    #[serde(default)]
    pub parent: String,
    /// Of its plain tar.
    #[serde(default, rename = "diff-digest")]
    pub digest: Option<Digest>,
    #[serde(default, rename = "diff-size")]
    pub size: i64,
}

/// How a driver lays the layers' files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    Overlay,
    Vfs,
}

impl Driver {
    fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Vfs => "vfs",
        }
    }
}

/// A store's directory, held against writers as long as this lives.
#[derive(Debug)]
pub(super) struct Records {
    root: PathBuf,
    driver: Driver,
    images: Vec<Image>,
    layers: BTreeMap<String, Layer>,
    _locks: Vec<File>,
}

impl Records {
    /// Reads it. Without a driver's name, the one that has images.
    pub(super) fn open(root: &Path, driver: Option<&str>) -> Result<Self> {
        let driver = choose(root, driver)?;
        let at = |part: &str| root.join(format!("{}-{part}", driver.name()));
        let locks = [at("layers").join("layers.lock"), at("images").join("images.lock")];
        let locks =
            locks.iter().filter_map(|path| held(path).transpose()).collect::<Result<_>>()?;
        let images: Vec<Image> = json(&at("images"), "images.json")?;
        let layers: Vec<Layer> = json(&at("layers"), "layers.json")?;
        for id in images.iter().map(|i| &i.id).chain(layers.iter().map(|l| &l.id)) {
            if !is_id(id) {
                let what = format!("containers-storage at {}", root.display());
                return Err(Error::invalid(what, format!("{id:?} is no id")));
            }
        }
        let layers = layers.into_iter().map(|l| (l.id.clone(), l)).collect();
        Ok(Self { root: root.to_owned(), driver, images, layers, _locks: locks })
    }

    /// Its driver's name, and its directory.
    pub(super) fn place(&self) -> (&'static str, &Path) {
        (self.driver.name(), &self.root)
    }

    /// The image of a name, an id, the beginning of one, or `NAME@ID`.
    pub(super) fn find(&self, text: &str) -> Result<&Image> {
        let missing = |hint: &str| Error::NotFound {
            what: "image",
            name: format!("{text} in containers-storage at {}", self.root.display()),
            hint: hint.to_owned(),
        };
        let (name, id) = apart(text);
        let by_id = id.or_else(|| (!text.contains(['@', ':'])).then_some(text));
        if let Some(id) = by_id.filter(|id| id.len() >= MIN_ID) {
            let mut found = self.images.iter().filter(|i| i.id.starts_with(id));
            match (found.next(), found.next()) {
                (Some(_), Some(_)) => {
                    return Err(Error::Ambiguous { what: "image", name: text.to_owned() });
                }
                (Some(image), None) => return Ok(image),
                (None, _) => {}
            }
        }
        if id.is_some() {
            return Err(missing(""));
        }
        let wanted = Reference::parse_normal(name)?.tagged();
        let full = wanted.to_string();
        let named = self.images.iter().find(|i| i.names.contains(&full));
        let digest = wanted.digest().map(ToString::to_string);
        let by_digest = |i: &&Image| {
            let same_name =
                |n: &String| n.parse::<Reference>().is_ok_and(|n| n.name() == wanted.name());
            digest.as_ref().is_some_and(|d| i.digests.values().any(|v| v == d))
                && i.names.iter().any(same_name)
        };
        let local = format!("localhost/{name}");
        let there = self.images.iter().flat_map(|i| &i.names).any(|n| n.starts_with(&local));
        let hint = if there {
            format!("there is {local}")
        } else {
            "it does not resolve to an image ID".to_owned()
        };
        named.or_else(|| self.images.iter().find(by_digest)).ok_or_else(|| missing(&hint))
    }

    /// An image's layers, lowest first.
    pub(super) fn chain(&self, image: &Image) -> Result<Vec<&Layer>> {
        let mut chain = Vec::new();
        let mut next = image.top.as_str();
        while !next.is_empty() {
            let bad = |why: &str| Err(Error::invalid(format!("image {}", image.id), why));
            let Some(layer) = self.layers.get(next) else {
                return bad(&format!("its layer {next} isn't in the store"));
            };
            if chain.len() > crate::manifest::MAX_LAYERS {
                return bad("its layers have no end");
            }
            chain.push(layer);
            next = &layer.parent;
        }
        chain.reverse();
        Ok(chain)
    }

    /// Something kept of an image: `manifest`, or a digest.
    pub(super) fn data(&self, image: &Image, key: &str, max: u64) -> Result<Vec<u8>> {
        let dir = self.root.join(format!("{}-images", self.driver.name())).join(&image.id);
        Directory(dir).read(&file_of(key), max)
    }

    /// A layer's tar-split, and the directory of its files.
    pub(super) fn places(&self, layer: &Layer) -> (PathBuf, PathBuf) {
        let layers = self.root.join(format!("{}-layers", self.driver.name()));
        let files = match self.driver {
            Driver::Overlay => self.root.join("overlay").join(&layer.id).join("diff"),
            Driver::Vfs => self.root.join("vfs/dir").join(&layer.id),
        };
        (layers.join(format!("{}.tar-split.gz", layer.id)), files)
    }

    pub(super) fn title(&self) -> String {
        format!("containers-storage at {}", self.root.display())
    }
}

/// `NAME@ID`, apart.
pub(super) fn apart(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once('@') {
        Some((name, id)) if !id.contains(':') => (name, Some(id)),
        _ => (text, None),
    }
}

fn choose(root: &Path, driver: Option<&str>) -> Result<Driver> {
    let has = |d: Driver| root.join(format!("{}-images/images.json", d.name())).exists();
    match driver {
        Some("overlay" | "overlay2") => Ok(Driver::Overlay),
        Some("vfs") => Ok(Driver::Vfs),
        Some(other) => Err(Error::unsupported(
            format!("containers-storage's driver {other:?}"),
            "the drivers overlay and vfs are read; with others use podman save",
        )),
        None => [Driver::Overlay, Driver::Vfs].into_iter().find(|d| has(*d)).ok_or_else(|| {
            let hint =
                "is it where podman keeps images? write containers-storage:[overlay@DIR]NAME";
            Error::NotFound {
                what: "image store",
                name: format!("containers-storage at {}", root.display()),
                hint: hint.to_owned(),
            }
        }),
    }
}

/// A shared lock, as podman's own readers take it; `None` if nobody has ever locked there.
/// Held by the open file and not by this process, so that closing another doesn't lose it.
fn held(path: &Path) -> Result<Option<File>> {
    let file = match File::open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(Error::at("open", path))?,
    };
    #[allow(clippy::cast_possible_truncation)] // the kernel's own constants
    let shared = libc::flock {
        l_type: libc::F_RDLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    loop {
        match fcntl(&file, FcntlArg::F_OFD_SETLKW(&shared)) {
            Err(nix::errno::Errno::EINTR) => {}
            done => {
                done.map_err(|e| Error::io("lock", path, e.into()))?;
                return Ok(Some(file));
            }
        }
    }
}

fn json<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<Vec<T>> {
    let bytes = Directory(dir.to_owned()).read(name, MAX_RECORDS)?;
    let what = || dir.join(name).display().to_string();
    serde_json::from_slice(&bytes).map_err(|e| Error::invalid(what(), e))
}

/// What can be a file's name beside others.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// The name of the file that keeps what is called so.
fn file_of(key: &str) -> String {
    let plain = |b: u8| b == b'.' || b.is_ascii_digit() || b.is_ascii_lowercase();
    if key.bytes().all(plain) { key.to_owned() } else { format!("={}", STANDARD.encode(key)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::Index;

    fn store(images: &str, layers: &str) -> (tempfile::TempDir, Result<Records>) {
        let dir = tempfile::tempdir().unwrap();
        for (part, name, text) in
            [("overlay-images", "images.json", images), ("overlay-layers", "layers.json", layers)]
        {
            std::fs::create_dir_all(dir.path().join(part)).unwrap();
            std::fs::write(dir.path().join(part).join(name), text).unwrap();
        }
        let records = Records::open(dir.path(), None);
        (dir, records)
    }

    #[test]
    fn images_are_found_as_podman_finds_them() {
        let (_dir, records) = store(
            r#"[{"id":"abcdef","names":["docker.io/library/x:1"],"layer":"b"},
                {"id":"abcxyz","names":["localhost/y:latest"]}]"#,
            r#"[{"id":"a","diff-size":-1},{"id":"b","parent":"a"},{"id":"loop","parent":"loop"}]"#,
        );
        let records = records.unwrap();
        for name in ["x:1", "docker.io/library/x:1", "abcd", "abcdef", "x:1@abcdef", "@abcdef"] {
            assert_eq!(records.find(name).unwrap().id, "abcdef", "{name}");
        }
        assert_eq!(records.find("localhost/y").unwrap().id, "abcxyz");
        assert!(matches!(records.find("abc"), Err(Error::Ambiguous { .. })));
        assert!(records.find("x:2").unwrap_err().is_not_found());
        assert!(records.find("y").unwrap_err().to_string().contains("localhost/y"));
        let chain = records.chain(records.find("x:1").unwrap()).unwrap();
        assert_eq!(chain.iter().map(|l| l.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let looped = Image { top: "loop".into(), ..records.find("x:1").unwrap().clone() };
        assert!(records.chain(&looped).is_err());
        let lost = Image { top: "lost".into(), ..looped };
        assert!(records.chain(&lost).is_err());
    }

    #[test]
    fn an_id_is_no_path_and_a_missing_store_is_named() {
        let (_dir, records) = store(r#"[{"id":"../../etc"}]"#, "[]");
        assert!(records.unwrap_err().to_string().contains("is no id"));
        let (_dir, records) = store("{", "[]");
        assert!(records.is_err());
        let nothing = Records::open(Path::new("/nonexistent"), None).unwrap_err();
        assert!(nothing.is_not_found(), "{nothing}");
        assert!(Records::open(Path::new("/nonexistent"), Some("zfs")).is_err());
    }

    #[test]
    fn data_lies_under_a_name_that_any_file_system_takes() {
        assert_eq!(file_of("manifest"), "manifest");
        assert_eq!(file_of("sha256:0"), "=c2hhMjU2OjA=");
    }

    proptest! {
        #[test]
        fn near_misses_never_panic(at in any::<Index>(), to in any::<u8>(), name in "[a-c:/@.]{0,8}") {
            let images = br#"[{"id":"abcdef","names":["docker.io/library/x:1"],"layer":"b",
                "big-data-digests":{"manifest":"sha256:00"}}]"#;
            let layers = br#"[{"id":"a","diff-size":-1},{"id":"b","parent":"a","diff-digest":null}]"#;
            let (mut i, mut l) = (images.to_vec(), layers.to_vec());
            let at = at.index(i.len() + l.len());
            *i.iter_mut().chain(&mut l).nth(at).unwrap() = to;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (_dir, records) = store(&text(&i), &text(&l));
            let Ok(records) = records else { return Ok(()) };
            for name in [&name[..], "x:1", "abc"] {
                let Ok(image) = records.find(name) else { continue };
                if let Ok(chain) = records.chain(image) {
                    prop_assert!(chain.len() <= 2);
                }
                let _ = records.data(image, name, 9);
            }
        }
    }
}
