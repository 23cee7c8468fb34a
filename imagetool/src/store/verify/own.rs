//! What only a store has: names, unpacked layers, containers, and what nobody needs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io;

use super::content::{self, Unpacked};
use super::needs::Needs;
use super::{Depth, Fault, Finding, Findings, layout};
use crate::digest::{ChainId, Digest};
use crate::error::Result;
use crate::manifest::{Descriptor, Index, REF_NAME};
use crate::reference::Reference;
use crate::snapshot::Layers;
use crate::source::Layout;
use crate::store::gc::{Standing, names};
use crate::store::index::{REPO_DIGEST, name_of, repo_digest_of};
use crate::store::{Blobs, Lease, Store};

/// A check's outcome, and what a repair needs to know.
pub(super) struct Checked {
    pub found: Vec<(Finding, Option<Fault>)>,
    pub needs: Needs,
    /// Under which `name@digest` an image, by its title, can be had again.
    pub origins: BTreeMap<String, Vec<Reference>>,
    pub lease: Lease,
}

impl Store {
    /// Verifies some images, or with none named everything.
    pub fn verify(&self, images: &[String], depth: Depth) -> Result<Vec<Finding>> {
        let checked = self.check(images, depth)?;
        Ok(checked.found.into_iter().map(|(finding, _)| finding).collect())
    }

    pub(super) fn check(&self, images: &[String], depth: Depth) -> Result<Checked> {
        let lease = self.lease()?;
        let (mut findings, mut needs, mut index);
        loop {
            (findings, needs) = (Findings::default(), Needs::default());
            index = match self.index() {
                Ok(index) => index,
                Err(e @ crate::Error::Io { .. }) => return Err(e),
                Err(e) => {
                    let path = self.layout().join("index.json");
                    let why = format!("{e}; put back a copy of it, or pull the images again");
                    findings.damage("file", path.display(), why, &BTreeSet::new(), None);
                    index = Index::default();
                    break;
                }
            };
            for entry in self.chosen(&index, images)? {
                let source = Layout::at(Blobs(self.clone()), entry.clone(), &index);
                needs.document(&source, entry, &title(entry), &findings, 0);
            }
            lease.hold(needs.known.keys().chain(needs.chains()))?;
            // What was removed before it was held isn't damage: then all is looked at again.
            if self.index().is_ok_and(|now| now == index) {
                break;
            }
        }
        let nothing = Descriptor::of("", b"");
        let source = Layout::at(Blobs(self.clone()), nothing, &index);
        let layers = Layers::open(self.root());
        let unpacked = Unpacked { lease: &lease, layers, depth };
        content::blobs(&source, &needs, &findings, Some(&unpacked))?;
        if images.is_empty() {
            let own = Own { store: self, needs: &needs, findings: &findings };
            own.index(&index);
            own.layers(&unpacked.layers);
            own.containers(&unpacked.layers);
            own.files();
            own.orphans()?;
        }
        let mut origins: BTreeMap<String, Vec<Reference>> = BTreeMap::new();
        for entry in &index.manifests {
            origins.entry(title(entry)).or_default().extend(repo_digest_of(entry));
        }
        Ok(Checked { found: findings.sorted(), needs, origins, lease })
    }

    /// The entries that are meant. One whose documents are damaged is found by its name, too.
    fn chosen<'a>(&self, index: &'a Index, images: &[String]) -> Result<Vec<&'a Descriptor>> {
        if images.is_empty() {
            return Ok(index.manifests.iter().collect());
        }
        let mut chosen = Vec::new();
        for needle in images {
            let name = Reference::parse_normal(needle).ok().map(Reference::tagged);
            let by_name = |d: &&Descriptor| name.is_some() && name_of(d) == name;
            if let Some(entry) = index.manifests.iter().find(by_name) {
                chosen.push(entry);
                continue;
            }
            let image = self.find(needle)?;
            chosen.extend(index.manifests.iter().find(|d| d.digest == image.root.digest));
        }
        Ok(chosen)
    }
}

/// What an entry is called in findings.
fn title(entry: &Descriptor) -> String {
    match name_of(entry) {
        Some(name) => name.familiar(),
        None => entry.digest.short().to_owned(),
    }
}

struct Own<'a> {
    store: &'a Store,
    needs: &'a Needs,
    findings: &'a Findings,
}

impl Own<'_> {
    /// Names that none can type, and names that two images have.
    fn index(&self, index: &Index) {
        let mut seen: BTreeMap<Reference, &Digest> = BTreeMap::new();
        for entry in &index.manifests {
            let images = BTreeSet::from([title(entry)]);
            for (key, read) in [(REF_NAME, name_of(entry)), (REPO_DIGEST, repo_digest_of(entry))] {
                if let (Some(text), None) = (entry.annotations.get(key), &read) {
                    let why = "it is no name of an image; remove the image by its id";
                    self.findings.damage("name", format!("{text:?}"), why, &images, None);
                }
            }
            let Some(name) = name_of(entry) else { continue };
            let other = seen.insert(name.clone(), &entry.digest);
            if other.is_some_and(|other| *other != entry.digest) {
                let why = "two images have it; tag the one that is meant again";
                self.findings.damage("name", name, why, &images, None);
            }
        }
    }

    /// Every directory in `layers/`: its record, and what it stands on.
    fn layers(&self, layers: &Layers) {
        let dir = self.store.root().join("layers");
        for name in names(&dir) {
            let path = dir.join(&name);
            let Ok(chain) = Digest::from_hex(&name) else {
                self.findings.orphan("file", path.display(), "it is no layer; remove it by hand");
                continue;
            };
            // A collection may be at work beside us.
            if let Err(why) = sound(layers, &chain)
                && path.exists()
            {
                let images = self.needs.images_of(&chain);
                let subject = format!("{chain} unpacked");
                let fault = Some(Fault::Layer(chain));
                self.findings.damage("layer", subject, why, &images, fault);
            }
        }
    }

    /// Layers that containers stand on must be there, whoever's image they are of.
    fn containers(&self, layers: &Layers) {
        let none = BTreeSet::new();
        match self.store.standing() {
            Err(e) => {
                let why = format!("{e}; remove that container's directory if it isn't needed");
                self.findings.damage("file", "container record", why, &none, None);
            }
            Ok(standing) => {
                for Standing { id, layers: chain, .. } in standing {
                    for layer in chain.iter().filter(|chain| !layers.has(chain)) {
                        let why = format!("it is not there, and container {id} stands on it");
                        let fault = Some(Fault::Layer(layer.clone()));
                        let subject = format!("{layer} unpacked");
                        let images = self.needs.images_of(layer);
                        self.findings.damage("layer", subject, why, &images, fault);
                    }
                }
            }
        }
        if let Err(e) = crate::snapshot::mounts(self.store) {
            self.findings.damage("file", "mount record", e, &none, None);
        }
    }

    /// Files in `tmp` that nobody of ours would make.
    fn files(&self) {
        for name in names(&self.store.tmp()) {
            let ours = ["work-", "file-", "partial"];
            if !ours.iter().any(|begin| name.starts_with(begin)) {
                let path = self.store.tmp().join(name);
                self.findings.orphan("file", path.display(), "it is not dhow's; remove it by hand");
            }
        }
    }

    /// What `gc` would remove, and whether it harms meanwhile: a blob that lies there with
    /// other bytes would be taken for the right one.
    fn orphans(&self) -> Result<()> {
        // Where that can't be told, the reason is a finding already.
        let Ok(idle) = self.store.collectable(&HashSet::new()) else { return Ok(()) };
        layout::orphans(&self.store.layout(), &idle.blobs, self.findings)?;
        for chain in &idle.layers {
            let subject = format!("{chain} unpacked");
            self.findings.orphan("layer", subject, "nothing needs it; gc removes it");
        }
        layout::strangers(&self.store.layout(), self.findings);
        Ok(())
    }
}

/// Whether a layer's record says what its place says.
fn sound(layers: &Layers, chain: &ChainId) -> Result<(), String> {
    let record = match layers.record(chain) {
        Ok(record) => record,
        Err(crate::Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err("it has no layer.json: it was never whole".into());
        }
        Err(e) => return Err(e.to_string()),
    };
    let want = match &record.parent {
        None => Some(record.diff_id.clone()),
        Some(below) => Digest::chain(&[below.clone(), record.diff_id.clone()]).pop(),
    };
    if want.as_ref() != Some(chain) {
        return Err("its layer.json says that it is another layer".into());
    }
    if let Some(below) = record.parent.filter(|below| !layers.has(below)) {
        return Err(format!("the layer below it, {below}, is not there"));
    }
    match fs::symlink_metadata(layers.dir(chain).join("fs")) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err("its fs is no directory".into()),
        Err(e) => Err(format!("its fs can't be read: {e}")),
    }
}

impl Needs {
    /// The chain ids of all layers.
    pub(super) fn chains(&self) -> impl Iterator<Item = &ChainId> {
        self.blobs.values().flat_map(|need| need.layers.keys())
    }

    /// The images that stand on a layer.
    fn images_of(&self, chain: &ChainId) -> BTreeSet<String> {
        let mine = self.blobs.values().filter(|need| need.layers.contains_key(chain));
        mine.flat_map(|need| need.images.iter().cloned()).collect()
    }
}
