//! Putting right: what is bad is fetched again from where it came, and nothing else; layers are
//! unpacked again from good blobs. Each takes the bad one's place in one step.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::own::Checked;
use super::{Depth, Fault, Finding};
use crate::digest::{ChainId, Digest};
use crate::error::{Error, Result};
use crate::manifest::Descriptor;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::Settings;
use crate::snapshot::{Layers, Step};
use crate::source::{Remote, Source};
use crate::store::Store;

/// Documents lead to documents: so often is looked again.
const ROUNDS: usize = 6;

/// What a repair came to.
#[derive(Clone, Debug, Default)]
pub struct Repaired {
    /// What is right again, and how.
    pub done: Vec<String>,
    /// What is not, and why.
    pub left: Vec<Finding>,
}

impl Store {
    /// Verifies, and repairs what it can; then verifies again, until nothing changes.
    pub fn repair(
        &self,
        images: &[String],
        depth: Depth,
        settings: &Settings,
        progress: &dyn Progress,
    ) -> Result<Repaired> {
        let mut done = Vec::new();
        let mut failed: BTreeMap<(&'static str, String), String> = BTreeMap::new();
        for _ in 0..ROUNDS {
            let checked = self.check(images, depth)?;
            let repair = Repair { store: self, checked: &checked, settings };
            let before = done.len();
            let mut tried = BTreeSet::new();
            let bad: Vec<&ChainId> =
                checked.found.iter().filter_map(|(_, fault)| fault.as_ref()?.layer()).collect();
            for (finding, fault) in &checked.found {
                let key = (finding.what, finding.subject.clone());
                let Some(fault) = fault else { continue };
                // What stands on a bad layer may be right when that is.
                let waits = fault.layer().is_some_and(|chain| repair.stands_on(chain, &bad));
                if waits || failed.contains_key(&key) || !tried.insert(key.clone()) {
                    continue;
                }
                match repair.mend(fault, finding) {
                    Ok(how) => {
                        progress.message(&format!("{} {}: {how}", key.0, key.1));
                        done.push(format!("{} {}: {how}", key.0, key.1));
                    }
                    Err(e) => drop(failed.insert(key, e.to_string())),
                }
            }
            if done.len() == before {
                let left = checked.found.into_iter().map(|(finding, _)| finding);
                return Ok(Repaired { done, left: left.map(|f| explained(f, &failed)).collect() });
            }
        }
        let left = self.verify(images, depth)?;
        Ok(Repaired { done, left })
    }
}

fn explained(mut finding: Finding, failed: &BTreeMap<(&'static str, String), String>) -> Finding {
    if let Some(why) = failed.get(&(finding.what, finding.subject.clone())) {
        finding.why = format!("{}; not repaired: {why}", finding.why);
    }
    finding
}

struct Repair<'a> {
    store: &'a Store,
    checked: &'a Checked,
    settings: &'a Settings,
}

impl Repair<'_> {
    /// Whether one of these lies below a layer.
    fn stands_on(&self, chain: &ChainId, bad: &[&ChainId]) -> bool {
        let parent = |chain: &ChainId| {
            let mut needs = self.checked.needs.blobs.values();
            needs.find_map(|need| need.layers.get(chain)).and_then(|layer| layer.parent.clone())
        };
        std::iter::successors(parent(chain), parent).any(|below| bad.contains(&&below))
    }

    fn mend(&self, fault: &Fault, finding: &Finding) -> Result<String> {
        match fault {
            Fault::Document(at) => self.fetched(finding, at, Self::document),
            Fault::Blob(at) => self.fetched(finding, at, Self::blob),
            Fault::Layer(chain) => self.layer(chain),
        }
    }

    /// Asks each registry that an image of this was pulled from.
    fn fetched(
        &self,
        finding: &Finding,
        at: &Descriptor,
        fetch: fn(&Self, &Reference, &Descriptor) -> Result<()>,
    ) -> Result<String> {
        let origins = finding.images.iter().filter_map(|title| self.checked.origins.get(title));
        let mut last = Error::unsupported(
            format!("fetching {} again", at.digest),
            "no registry is known that it came from: pull, load or copy the image again",
        );
        for origin in origins.flatten() {
            match fetch(self, origin, at) {
                Ok(()) => return Ok(format!("fetched again from {}", origin.name())),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    fn document(&self, origin: &Reference, at: &Descriptor) -> Result<()> {
        let remote = Remote::new(self.settings, &origin.with_digest(&at.digest))?;
        self.checked.lease.put_as(&at.digest, &remote.document(at)?.bytes)?;
        self.checked.lease.bear(false)
    }

    fn blob(&self, origin: &Reference, at: &Descriptor) -> Result<()> {
        let remote = Remote::new(self.settings, origin)?;
        let (mut file, path) = self.checked.lease.file()?;
        io::copy(&mut remote.blob(at)?, &mut file)
            .map_err(|e| Error::from_io("write", &path, e))?;
        self.checked.lease.adopt(path, at.digest.clone());
        self.checked.lease.bear(false)
    }

    /// Unpacks a layer again, and those below it that are bad have been before.
    fn layer(&self, chain: &ChainId) -> Result<String> {
        let user = |by: String| Error::InUse { what: "layer", name: chain.to_string(), by };
        for container in self.store.standing()? {
            if container.layers.contains(chain) && Layers::open(self.store.root()).has(chain) {
                let by = format!("container {}: commit or remove that first", container.id);
                return Err(user(by));
            }
        }
        if crate::snapshot::mounted_layers(self.store)?.contains(chain) {
            return Err(user("a mounted image: unmount it first".into()));
        }
        let mut blobs = self.checked.needs.blobs.values();
        let found = blobs.find_map(|need| Some((&need.at, need.layers.get(chain)?)));
        let Some((blob, layer)) = found else {
            return Err(Error::unsupported(
                "unpacking it again",
                "no image has it any more; gc removes it if no container stands on it",
            ));
        };
        let layers = Layers::open(self.store.root());
        if let Some(below) = layer.parent.as_ref().filter(|below| !layers.has(below)) {
            self.layer(below)?;
        }
        let begun = layers.start(&self.checked.lease, &layer.diff_id, &blob.media_type)?;
        let unpacked = begun.run(self.store.open_verified(blob)?)?;
        let parent: Option<Digest> = layer.parent.clone();
        layers.replace(Step { unpacked, chain: chain.clone(), parent })?;
        Ok("unpacked again".into())
    }
}
