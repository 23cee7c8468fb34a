//! `ROOT/cache/listing`: all images as one short text, as long as `index.json` is the same file.
//! A thousand images are listed, or one found among them, without parsing a document.
//!
//! A line an image, its fields parted by tabs. It may be deleted at any time.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use memchr::memmem;

use super::{Store, Stored};
use crate::digest::{Algorithm, Digest};
use crate::manifest::Descriptor;
use crate::platform::Platform;
use crate::reference::Reference;

/// The field of a line that has the names.
const NAMES: usize = 14;

/// Changes with the form.
const FORM: &str = "dhow-listing-1";

/// Which `index.json` it was: it is replaced, never changed.
#[derive(PartialEq, Eq)]
pub(super) struct Stamp(String);

impl Stamp {
    /// Of the index as it is now; to be taken before it is read.
    pub(super) fn of(store: &Store) -> Option<Self> {
        let meta = fs::metadata(store.layout().join("index.json")).ok()?;
        let (at, part) = (meta.mtime(), meta.mtime_nsec());
        Some(Self(format!("{FORM} {} {at}.{part} {}", meta.ino(), meta.size())))
    }
}

fn path(store: &Store) -> PathBuf {
    store.root().join("cache/listing")
}

/// The images, if what is kept is of this index.
pub(super) fn read(store: &Store, stamp: &Stamp) -> Option<Vec<Stored>> {
    let text = fs::read_to_string(path(store)).ok()?;
    let mut lines = text.lines();
    if lines.next()? != stamp.0 {
        return None;
    }
    lines.map(|line| parse(store, line)).collect()
}

/// Ids and names alone, if what is kept is of this index.
pub(super) fn names(store: &Store, stamp: &Stamp) -> Option<Vec<(String, Vec<String>)>> {
    let text = fs::read_to_string(path(store)).ok()?;
    let mut lines = text.lines();
    if lines.next()? != stamp.0 {
        return None;
    }
    let of_line = |line: &str| {
        let mut fields = line.split('\t');
        let id = fields.next()?.to_owned();
        let names = fields.nth(NAMES - 1)?;
        Some((id, names.split_whitespace().map(str::to_owned).collect()))
    };
    lines.map(of_line).collect()
}

/// Those images that a needle may mean, if what is kept is of this index: the line of what it
/// means holds its full name, its digest, or begins with its short id.
pub(super) fn candidates(store: &Store, needle: &str) -> Option<Vec<Stored>> {
    let stamp = Stamp::of(store)?;
    let text = fs::read_to_string(path(store)).ok()?;
    // From here on each line has its newline before it.
    let text = text.strip_prefix(&stamp.0).filter(|rest| rest.starts_with('\n'))?;
    let hex = Digest::digits(needle);
    let ids = Algorithm::ALL.map(|algorithm| format!("\n{}:{hex}", algorithm.name()));
    let name = Reference::parse_normal(needle).ok().map(Reference::tagged);
    // Of `name@digest` the digest alone is looked for: a tag before it says nothing.
    let part = match name.as_ref().and_then(|name| name.digest()) {
        Some(digest) => Some(digest.to_string()),
        None => name.map(|name| name.to_string()),
    };
    let whole = needle.parse::<Digest>().or_else(|_| Digest::from_hex(needle)).ok();
    let whole = whole.map(|digest| digest.to_string());
    let found =
        |what: &str| memmem::find_iter(text.as_bytes(), what.as_bytes()).collect::<Vec<usize>>();
    let mut starts: BTreeSet<usize> =
        ids.iter().flat_map(|id| found(id)).map(|at| at + 1).collect();
    for part in [part, whole].into_iter().flatten() {
        let start = |at: usize| text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        starts.extend(found(&part).into_iter().map(start));
    }
    let line = |start: usize| text[start..].lines().next().unwrap_or_default();
    starts.into_iter().map(|start| parse(store, line(start))).collect()
}

/// Keeps the images. What can't be kept is no error, and read from the index again.
pub(super) fn write(store: &Store, stamp: &Stamp, images: &[(Stored, bool)]) {
    let mut text = stamp.0.clone();
    for (image, unpacked) in images {
        text.push('\n');
        let Some(line) = line(image, *unpacked) else { return };
        text.push_str(&line);
    }
    text.push('\n');
    let _ = store.replace_unsynced(&path(store), text.as_bytes());
}

/// An image's line; none if what it says of itself doesn't fit on one.
fn line(image: &Stored, unpacked: bool) -> Option<String> {
    fn joined<T: ToString>(all: &[T]) -> String {
        all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
    let Platform { architecture, os, variant, .. } = &image.platform;
    let fields = [
        image.config_digest.to_string(),
        image.root.digest.to_string(),
        image.root.size.to_string(),
        image.root.media_type.clone(),
        image.manifest.digest.to_string(),
        image.manifest.size.to_string(),
        image.manifest.media_type.clone(),
        image.size.to_string(),
        if unpacked { "u" } else { "p" }.to_owned(),
        if image.created.is_some() { "c" } else { "" }.to_owned(),
        image.created.clone().unwrap_or_default(),
        os.clone(),
        architecture.clone(),
        variant.clone(),
        joined(&image.names),
        joined(&image.repo_digests),
        joined(&image.diff_ids),
    ];
    let fits = |field: &String| !field.chars().any(char::is_control);
    fields.iter().all(fits).then(|| fields.join("\t"))
}

fn parse(store: &Store, line: &str) -> Option<Stored> {
    let mut fields = line.split('\t');
    let mut next = || fields.next();
    let digest = |text: &str| text.parse::<Digest>().ok();
    let config_digest = digest(next()?)?;
    let mut descriptor = || {
        let (at, size) = (digest(next()?)?, next()?.parse().ok()?);
        Some(Descriptor::new(next()?, at, size))
    };
    let (root, manifest) = (descriptor()?, descriptor()?);
    let size: u64 = next()?.parse().ok()?;
    let unpacked = next()? == "u";
    let (dated, created) = (next()? == "c", next()?.to_owned());
    let (os, architecture, variant) = (next()?.to_owned(), next()?.to_owned(), next()?.to_owned());
    let names = |text: &str| -> Option<Vec<Reference>> {
        text.split_whitespace().map(|n| Reference::parse_normal(n).ok()).collect()
    };
    let (names, repo_digests) = (names(next()?)?, names(next()?)?);
    let diff_ids: Vec<Digest> = next()?.split_whitespace().map(digest).collect::<Option<_>>()?;
    // Layers may have been unpacked since: that changes no index.
    let size = if unpacked { size } else { store.unpacked_size(&diff_ids).unwrap_or(size) };
    Some(Stored {
        root,
        manifest,
        config_digest,
        names,
        repo_digests,
        size,
        created: dated.then_some(created),
        platform: Platform { architecture, os, variant, ..Platform::default() },
        diff_ids,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_the_same_from_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let digest = Digest::of(b"x");
        let name = |n: &str| Reference::parse_normal(n).unwrap();
        let mut image = Stored {
            root: Descriptor::new("m/r", digest.clone(), 3),
            manifest: Descriptor::new("m/m", digest.clone(), 4),
            config_digest: digest.clone(),
            names: vec![name("a:1"), name("r.io:5000/b:2")],
            repo_digests: vec![name("a").with_digest(&digest)],
            size: 7,
            created: Some("2001-09-09T01:46:40Z".into()),
            platform: Platform { variant: "v8".into(), ..Platform::host() },
            diff_ids: vec![digest.clone(), Digest::of(b"y")],
        };
        let there = |image: &Stored| {
            let back = parse(&store, &line(image, true).unwrap()).unwrap();
            assert_eq!(format!("{back:?}"), format!("{image:?}"));
        };
        assert!(line(&image, true).unwrap().split('\t').nth(NAMES).unwrap().contains("/a:1 "));
        there(&image);
        (image.created, image.names, image.diff_ids) = (None, Vec::new(), Vec::new());
        there(&image);
        // What would break the line is not kept at all.
        image.created = Some("a\tb".into());
        assert!(line(&image, true).is_none());
    }

    #[test]
    fn another_index_is_another_listing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let stamp = Stamp::of(&store).unwrap();
        assert!(store.images().unwrap().is_empty());
        assert_eq!(read(&store, &stamp).unwrap().len(), 0);
        store
            .replace(&store.layout().join("index.json"), b"{\"schemaVersion\":2,\"manifests\":[]}")
            .unwrap();
        let stamp = Stamp::of(&store).unwrap();
        assert!(read(&store, &stamp).is_none());
        fs::write(path(&store), "garbage\n").unwrap();
        assert!(store.images().unwrap().is_empty());
    }
}
