//! Where a changed image goes, and the way there.

use clap::Args;
use dhow_image::copy::{Choice, copy};
use dhow_image::edit::{Changed, Draft};
use dhow_image::platform::Platform;
use dhow_image::progress::Progress;
use dhow_image::reference::Reference;
use dhow_image::registry::Settings;
use dhow_image::sink::{Outputs, into};
use dhow_image::source::{Inputs, Source, with};
use dhow_image::store::{Lease, Store};
use dhow_image::transport::{File, Place, Which};
use dhow_image::{Error, Result};
use serde_json::json;

use super::RegistryFlags;
use crate::context::{Context, stdin, stdout};

/// Where to.
#[derive(Args, Clone, Debug, Default)]
pub struct Dest {
    /// Where the result goes: a name of the store, or a place such as docker://REF; without it,
    /// it takes its base's name
    #[arg(long = "tag", short = 't', visible_alias = "new_tag", value_name = "DEST")]
    pub tag: Option<String>,
    /// Write the result to a tar that docker and podman load, and nowhere else
    #[arg(long, short, value_name = "FILE", conflicts_with = "tag")]
    pub output: Option<String>,
}

impl Dest {
    /// The place that is meant; `from` is where the image was, if it was anywhere.
    pub fn place(&self, from: Option<&Place>) -> Result<Place> {
        if let Some(file) = &self.output {
            let name = match from {
                Some(Place::Store(name)) => Reference::parse_normal(name).ok(),
                Some(Place::Registry(name)) => Some(name.clone()),
                _ => None,
            };
            let name = name.filter(|n| n.tag().is_some() || n.digest().is_none());
            let which = name.map_or(Which::Only, |n| Which::Named(n.tagged().to_string()));
            return Ok(Place::DockerArchive(File::new(file), which));
        }
        if let Some(tag) = &self.tag {
            return tag.parse();
        }
        match from {
            Some(place @ (Place::Store(_) | Place::Registry(_) | Place::Layout(..))) => {
                Ok(place.clone())
            }
            Some(place) => {
                let why = "nothing is changed there: say with -t where the result goes";
                Err(Error::usage("place", place.to_string(), why))
            }
            None => Err(Error::usage("--tag", "", "say where the result goes")),
        }
    }
}

/// What a verb needs to change images.
pub struct Work<'a> {
    cx: &'a Context,
    store: Store,
    settings: Settings,
    /// New layers lie here until they are taken.
    pub lease: Lease,
    /// Tells how it goes.
    pub progress: Box<dyn Progress>,
    /// Which image of a list.
    pub platform: Option<Platform>,
}

impl<'a> Work<'a> {
    /// From the flags.
    pub fn new(cx: &'a Context, registry: &RegistryFlags, platform: Option<&str>) -> Result<Self> {
        let store = cx.store()?;
        let lease = store.lease()?;
        let (settings, progress) = (cx.settings(registry)?, cx.progress());
        Ok(Self { cx, store, settings, lease, progress, platform: cx.platform(platform)? })
    }

    /// Calls `then` with the image at a place.
    pub fn with<T>(&self, place: &Place, then: impl FnOnce(&dyn Source) -> Result<T>) -> Result<T> {
        with(place, &Inputs::new(&self.store, &self.settings, stdin), then)
    }

    /// The image to be changed.
    pub fn draft<'s>(&self, source: &'s dyn Source) -> Result<Draft<'s>> {
        Draft::of(source, self.platform.as_ref())
    }

    /// Brings a changed image to its place. Of a list it stands alone from here on.
    pub fn put(&self, draft: Draft<'_>, to: &Place) -> Result<Changed> {
        self.put_by(draft, to, false)
    }

    /// The same; `by_digest`: in a registry it gets no tag.
    pub fn put_by(&self, draft: Draft<'_>, to: &Place, by_digest: bool) -> Result<Changed> {
        let derived = draft.finish()?.alone();
        let bare = match to {
            Place::Registry(name) if by_digest => {
                Some(Place::Registry(name.with_digest(&derived.manifest().at.digest)))
            }
            _ => None,
        };
        let to = bare.as_ref().unwrap_or(to);
        let manifest = derived.manifest().at.digest.clone();
        let config = derived.config_digest().clone();
        let root = self.put_all(&derived, to, Choice::One(None))?;
        Ok(Changed { root, manifest, config })
    }

    /// Brings whatever a source has to a place.
    pub fn put_all(
        &self,
        source: &dyn Source,
        to: &Place,
        choice: Choice,
    ) -> Result<dhow_image::manifest::Descriptor> {
        let outputs = Outputs::new(&self.store, &self.settings, stdout);
        into(to, &outputs, |sink| copy(source, sink, &choice.into(), &*self.progress))
    }

    /// Says what came of it, unless the result itself went to stdout.
    pub fn tell(&self, changed: &Changed, to: &Place) -> Result<()> {
        if matches!(to, Place::DockerArchive(File::Std, _) | Place::OciArchive(File::Std, _)) {
            return Ok(());
        }
        if self.cx.json {
            return self.cx.print_json(&json!({
                "digest": changed.root.digest,
                "manifest": changed.manifest,
                "id": changed.config,
            }));
        }
        self.cx.line(&changed.root.digest)
    }
}
