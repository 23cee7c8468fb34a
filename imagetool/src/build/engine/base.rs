//! What a stage begins from: an image of the store, pulled if it lacks, or a context.

use std::path::Path;
use std::sync::PoisonError;

use super::stage::Work;
use super::state::{Layer, State};
use super::tell::Pulling;
use super::{Engine, Told};
use crate::build::context::Named;
use crate::build::dockerfile::Copy;
use crate::build::progress::Event;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::pull;
use crate::recode;
use crate::reference::Reference;
use crate::snapshot::pairs;
use crate::store::Stored;

impl Work<'_> {
    /// FROM an image, which is a step.
    pub fn image(&mut self, name: &str, platform: Option<&Platform>) -> Result<State> {
        let count = self.count();
        let mut state = self.engine.image(name, platform, &count)?;
        state.begin();
        Ok(state)
    }

    /// An image that only files are taken from.
    pub fn other_image(&self, name: &str) -> Result<State> {
        self.engine.image(name, None, "")
    }

    /// FROM a context.
    pub fn named_base(&mut self, name: &str, platform: Option<&Platform>) -> Result<State> {
        let Some(Named::Files(_)) = self.engine.what.named.get(name) else {
            let count = self.count();
            let mut state = self.named_image(name, platform, &count)?;
            state.begin();
            return Ok(state);
        };
        // A directory is an image of one layer.
        let what = Copy {
            sources: vec![".".into()],
            dest: "/".into(),
            from: Some(name.to_owned()),
            ..Copy::default()
        };
        let title = format!("{}FROM {name}", self.count());
        self.state = State::scratch(platform.unwrap_or(&self.engine.plan.platform));
        self.copy(&title, &what, false)?;
        let mut state = self.state.clone();
        state.image.history.clear();
        Ok(state)
    }

    /// The image that a context names.
    pub fn named_image(
        &self,
        name: &str,
        platform: Option<&Platform>,
        count: &str,
    ) -> Result<State> {
        match self.engine.what.named.get(name) {
            Some(Named::Image(reference)) => {
                self.engine.image(&reference.to_string(), platform, count)
            }
            Some(Named::Layout(dir, rest)) => {
                let place = format!("oci-layout://{}{rest}", dir.display());
                let told = self.engine.begin(&format!("{count}FROM {place}"));
                let done = self.engine.layout(dir, rest, platform);
                told.ended(&done, self.engine.what.cancel.is_stopped());
                done
            }
            _ => Err(Error::NotFound {
                what: "build context",
                name: name.to_owned(),
                hint: "it is a directory, not an image".into(),
            }),
        }
    }
}

/// Whether an image of the store is the one to build upon. If no platform was asked for, one for
/// another than this machine's is, unless its name leads to several: then there may be a better one.
fn will_do(stored: &Stored, wanted: Option<&Platform>, fits: &Platform) -> bool {
    let only = |name: &Reference| name.digest() == Some(&stored.manifest.digest);
    stored.platform.fits(fits).is_some()
        || (wanted.is_none() && stored.repo_digests.iter().all(only))
}

impl Engine<'_> {
    /// An image by its name, found once in a build.
    fn image(&self, name: &str, platform: Option<&Platform>, count: &str) -> Result<State> {
        let wanted = platform.or(self.what.order.platform.as_ref());
        let known = format!("{name} {}", wanted.map(ToString::to_string).unwrap_or_default());
        let cell = {
            let mut bases = self.bases.lock().unwrap_or_else(PoisonError::into_inner);
            bases.entry(known).or_default().clone()
        };
        let mut cell = cell.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = &*cell {
            return Ok(state.clone());
        }
        let reference = Reference::parse_normal(name);
        let reference = reference
            .map_err(|e| Error::Conflict(format!("failed to parse stage name {name:?}: {e}")))?;
        let reference = reference.tagged();
        let told = self.begin(&format!("[internal] load metadata for {reference}"));
        let fits = wanted.unwrap_or(&self.plan.platform);
        let found = self.find_image(name, &reference);
        told.ended(&found, self.what.cancel.is_stopped());
        let found = found?.map(|stored| {
            let other = wanted.and_then(|wanted| self.what.store.for_platform(&stored, wanted));
            other.unwrap_or(stored)
        });
        let (found, other) = match found {
            Some(stored) if will_do(&stored, wanted, fits) => (Some(stored), None),
            other => (None, other.filter(|_| wanted.is_none())),
        };
        let title = match &found {
            Some(stored) => {
                let known = stored.repo_digests.iter().find_map(|r| r.digest()).cloned();
                let digest = known.unwrap_or_else(|| stored.root.digest.clone());
                match reference.digest() {
                    Some(_) => reference.to_string(),
                    None => format!("{reference}@{digest}"),
                }
            }
            None => reference.to_string(),
        };
        let told = self.begin(&format!("{count}FROM {title}"));
        let stored = found.map_or_else(
            // Where no other can be had, what is there is better than nothing.
            || self.pull(&reference, wanted, &told).or_else(|e| other.ok_or(e)),
            Ok,
        );
        let state = stored.and_then(|stored| {
            if stored.platform.fits(fits).is_none() {
                let text = format!(
                    "Base image {name} was pulled with platform \"{}\", expected \"{fits}\" for current build",
                    stored.platform
                );
                told.tell(Event::Warning("InvalidBaseImagePlatform", &text, 0));
            }
            self.base(&stored)
        });
        told.ended(&state, self.what.cancel.is_stopped());
        let state = state?;
        *cell = Some(state.clone());
        Ok(state)
    }

    /// The image, if it is in the store and nobody asks for a newer one.
    fn find_image(&self, name: &str, reference: &Reference) -> Result<Option<Stored>> {
        let store = self.what.store;
        let whole =
            name.len() >= 64 && name.parse::<Digest>().or_else(|_| Digest::from_hex(name)).is_ok();
        if whole && let Ok(stored) = store.find(name) {
            return Ok(Some(stored));
        }
        if self.what.order.pull {
            return Ok(None);
        }
        match reference.digest() {
            Some(_) => Ok(store.find(&reference.to_string()).ok()),
            None => store.find_name(reference),
        }
    }

    fn pull(
        &self,
        reference: &Reference,
        wanted: Option<&Platform>,
        told: &Told<'_>,
    ) -> Result<Stored> {
        let options = pull::Options {
            platform: wanted.cloned(),
            unpack: true,
            settings: self.what.fetch.settings.clone(),
        };
        let pulled = pull::pull(self.what.store, reference, &options, &Pulling::of(told))?;
        self.what.store.find(&pulled.manifest.digest.to_string())
    }

    /// A stored image as a state; all it needs is held.
    fn base(&self, stored: &Stored) -> Result<State> {
        let store = self.what.store;
        let chain = Digest::chain(&stored.diff_ids);
        self.lease.hold(chain.iter().chain([&stored.config_digest, &stored.manifest.digest]))?;
        self.layers.unpack(store, stored)?;
        let pairs = pairs(store, stored)?;
        self.lease.hold(pairs.iter().map(|(blob, _)| &blob.digest))?;
        let mut layers = Vec::with_capacity(chain.len());
        for (chain, (mut blob, diff_id)) in chain.into_iter().zip(pairs) {
            blob.media_type = recode::as_oci(&blob.media_type)?;
            layers.push(Layer { chain, diff_id, blob: Some(blob), base: true });
        }
        Ok(State::of(stored.config(store)?, layers))
    }

    /// An image out of an OCI layout, brought into the store.
    fn layout(&self, dir: &Path, rest: &str, platform: Option<&Platform>) -> Result<State> {
        let wanted = platform.or(self.what.order.platform.as_ref());
        let stored = super::layout::bring(self.what.store, dir, rest, wanted)?;
        self.base(&stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Descriptor, OCI_MANIFEST};

    #[test]
    fn another_platform_s_image_is_taken_only_if_its_name_leads_to_no_other() {
        let manifest = Descriptor::of(OCI_MANIFEST, b"m");
        let name: Reference = Reference::parse_normal("x").unwrap();
        let stored = |platform: &str, of: Option<&Digest>| Stored {
            root: manifest.clone(),
            manifest: manifest.clone(),
            config_digest: Digest::of(b"c"),
            names: Vec::new(),
            repo_digests: of.map(|digest| name.with_digest(digest)).into_iter().collect(),
            size: 0,
            created: None,
            platform: platform.parse().unwrap(),
            diff_ids: Vec::new(),
        };
        let here: Platform = "linux/amd64".parse().unwrap();
        let (list, own) = (Digest::of(b"list"), manifest.digest.clone());
        for (platform, of, asked, free) in [
            ("linux/amd64", Some(&list), true, true),
            ("linux/arm64", Some(&list), false, false),
            ("linux/arm64", Some(&own), false, true),
            ("linux/arm64", None, false, true),
        ] {
            let stored = stored(platform, of);
            assert_eq!(will_do(&stored, Some(&here), &here), asked, "{platform}");
            assert_eq!(will_do(&stored, None, &here), free, "{platform}");
        }
    }
}
