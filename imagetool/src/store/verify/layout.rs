//! Plain OCI layouts: verified, and rid of what no image of theirs leads to.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::content;
use super::needs::Needs;
use super::{Finding, Findings};
use crate::digest::{Algorithm, Digest, Hashing};
use crate::error::{Error, Result};
use crate::leftovers;
use crate::manifest::{Descriptor, Index};
use crate::sink::change_index;
use crate::source::{self, Directory, Layout};
use crate::store::gc::names;
use crate::transport::Which;

/// Verifies a layout: one of its images, or with [`Which::Only`] all that is in it.
pub fn verify_layout(dir: &Path, which: &Which) -> Result<Vec<Finding>> {
    let index = source::layout_index(&Directory(dir.to_owned()))?;
    let findings = Findings::default();
    let entries: Vec<&Descriptor> = match which {
        Which::Only => index.manifests.iter().collect(),
        which => vec![source::choose(&index, which, &dir.display().to_string())?],
    };
    let needs = read(dir, &index, &entries, &findings);
    let nothing = Descriptor::of("", b"");
    let files = Layout::at(Directory(dir.to_owned()), nothing, &index);
    content::blobs(&files, &needs, &findings, None)?;
    if *which == Which::Only {
        let mut named: BTreeMap<&str, &Digest> = BTreeMap::new();
        for entry in &entries {
            let Some(name) = entry.ref_name() else { continue };
            if named.insert(name, &entry.digest).is_some_and(|other| *other != entry.digest) {
                let images = BTreeSet::from([name.to_owned()]);
                findings.damage("name", name, "two entries of index.json have it", &images, None);
            }
        }
        strangers(dir, &findings);
        orphans(dir, &idle(dir, &needs), &findings)?;
    }
    Ok(findings.sorted().into_iter().map(|(finding, _)| finding).collect())
}

/// What [`collect_layout`] has removed, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayoutCollected {
    /// Blobs gone.
    pub blobs: Vec<Digest>,
    /// Bytes given back.
    pub freed: u64,
}

/// Removes the blobs of a layout that no image in its index leads to, and files that copies
/// into it have left half made. Where a document can't be read nothing is removed: what it
/// leads to is unknown.
pub fn collect_layout(dir: &Path, dry_run: bool) -> Result<LayoutCollected> {
    let _reserved = reserve(dir)?;
    let _index = locked(dir)?;
    let index = source::layout_index(&Directory(dir.to_owned()))?;
    let entries: Vec<&Descriptor> = index.manifests.iter().collect();
    let needs = known(dir, &index, &entries, "nothing is collected")?;
    own_blobs(dir)?;
    let mut done = LayoutCollected::default();
    for digest in idle(dir, &needs) {
        let path = dir.join(source::blob_name(&digest));
        done.freed += fs::metadata(&path).map_or(0, |m| m.blocks() * 512);
        if !dry_run {
            fs::remove_file(&path).map_err(Error::at("remove", &path))?;
        }
        done.blobs.push(digest);
    }
    for half in names(dir).iter().filter(|_| !dry_run) {
        // Whoever makes such a file holds the lock meanwhile.
        if half.starts_with(leftovers::PREFIX) {
            let _ = fs::remove_file(dir.join(half));
        } else if half.starts_with(".umoci-") {
            // umoci locks its own as long as it lives.
            let path = dir.join(half);
            let dead = fs::File::open(&path).is_ok_and(|d| d.try_lock().is_ok());
            if dead && path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }
    Ok(done)
}

/// Deletes an image from a layout: its name, and the blobs that no other image there leads to. What
/// nothing leads to already stays. With `shared` the blobs lie where other layouts have theirs: all stay.
pub fn delete_from_layout(dir: &Path, which: &Which, shared: bool) -> Result<Digest> {
    // That there is a layout is checked before anything in it is locked.
    source::layout_index(&Directory(dir.to_owned()))?;
    let _reserved = reserve(dir)?;
    let (gone, doomed) = change_index(dir, |index| {
        let gone = source::choose(index, which, &dir.display().to_string())?.clone();
        let its = read(dir, index, &[&gone], &Findings::default());
        let at = index.manifests.iter().position(|d| *d == gone);
        index.manifests.remove(at.expect("it was chosen among them"));
        if shared {
            return Ok((gone.digest, Vec::new()));
        }
        own_blobs(dir)?;
        let left: Vec<&Descriptor> = index.manifests.iter().collect();
        let needs = known(dir, index, &left, "nothing is deleted")?;
        let doomed: Vec<Digest> =
            its.known.into_keys().filter(|digest| !needs.known.contains_key(digest)).collect();
        Ok((gone.digest, doomed))
    })?;
    for digest in doomed {
        let path = dir.join(source::blob_name(&digest));
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &path, e));
            }
            _ => {}
        }
    }
    Ok(gone)
}

fn locked(path: &Path) -> Result<fs::File> {
    let file = fs::File::open(path).map_err(Error::at("open", path))?;
    file.lock().map_err(Error::at("lock", path))?;
    Ok(file)
}

/// Nobody copies into the layout as long as this lives; who writes its index locks the directory.
fn reserve(dir: &Path) -> Result<fs::File> {
    locked(&dir.join("oci-layout"))
}

/// What these images lead to, or an error where one of their documents can't be read.
fn known(dir: &Path, index: &Index, entries: &[&Descriptor], so: &str) -> Result<Needs> {
    let findings = Findings::default();
    let needs = read(dir, index, entries, &findings);
    let bad = findings.sorted().into_iter().find(|(f, _)| f.what != "image" && f.what != "layer");
    let Some((finding, _)) = bad else { return Ok(needs) };
    let why = format!("{so}, as what must stay is unknown: {finding}");
    Err(Error::invalid(dir.display().to_string(), why))
}

fn own_blobs(dir: &Path) -> Result<()> {
    for below in ["blobs", "blobs/sha256", "blobs/sha512"] {
        let path = dir.join(below);
        if path.symlink_metadata().is_ok_and(|m| !m.is_dir()) {
            let why = "it is no directory of the layout's own, and others may need what is there";
            return Err(Error::invalid(path.display().to_string(), why));
        }
    }
    Ok(())
}

fn read(dir: &Path, index: &Index, entries: &[&Descriptor], findings: &Findings) -> Needs {
    let mut needs = Needs::default();
    for entry in entries {
        let source = Layout::at(Directory(dir.to_owned()), (*entry).clone(), index);
        let title = entry.ref_name().unwrap_or_else(|| entry.digest.short());
        needs.document(&source, entry, title, findings, 0);
    }
    needs
}

/// The blobs that nothing leads to.
fn idle(dir: &Path, needs: &Needs) -> Vec<Digest> {
    let known: HashSet<&Digest> = needs.known.keys().collect();
    let all = Algorithm::ALL.into_iter().flat_map(|algorithm| {
        let algorithm = algorithm.name();
        let names = names(&dir.join("blobs").join(algorithm));
        names.into_iter().filter_map(move |n| format!("{algorithm}:{n}").parse::<Digest>().ok())
    });
    let mut idle: Vec<Digest> = all.filter(|digest| !known.contains(digest)).collect();
    idle.sort();
    idle
}

/// Tells of blobs that nothing needs. One with other bytes than its name says is damage even
/// so: who copies an image there finds it, and takes it for the right one.
pub(super) fn orphans(dir: &Path, idle: &[Digest], findings: &Findings) -> Result<()> {
    crate::snapshot::side_by_side(idle, |digest| {
        let path = dir.join(source::blob_name(digest));
        match hash(&path, digest) {
            Ok(got) if got == *digest => {
                findings.orphan("blob", digest, "nothing needs it; gc removes it");
            }
            Ok(got) => {
                let why = format!("its digest is {got}, and nothing needs it; gc removes it");
                findings.damage("blob", digest, why, &BTreeSet::new(), None);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => findings.damage("blob", digest, e, &BTreeSet::new(), None),
        }
        Ok(())
    })
    .map(drop)
}

fn hash(path: &Path, digest: &Digest) -> io::Result<Digest> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file; remove it by hand"));
    }
    let mut hashing = Hashing::new(fs::File::open(path)?, digest.algorithm());
    io::copy(&mut hashing, &mut io::sink())?;
    Ok(hashing.finish().1)
}

/// What lies among the blobs and is none.
pub(super) fn strangers(dir: &Path, findings: &Findings) {
    for algorithm in Algorithm::ALL.map(Algorithm::name) {
        let dir = dir.join("blobs").join(algorithm);
        for name in names(&dir) {
            if format!("{algorithm}:{name}").parse::<Digest>().is_err() {
                let path = dir.join(name);
                findings.orphan("file", path.display(), "it is no blob; remove it by hand");
            }
        }
    }
}
