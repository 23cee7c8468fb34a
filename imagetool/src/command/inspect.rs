//! `dhow-image inspect IMAGE…`: JSON about images; with a transport in skopeo's form, else in
//! the store's own.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use dhow_image::digest::Algorithm;
use dhow_image::inspect::{self, Page};
use dhow_image::manifest::{MAX_CONFIG, MAX_MANIFEST};
use dhow_image::pull::tags;
use dhow_image::reference::Reference;
use dhow_image::registry::Settings;
use dhow_image::source::{Inputs, Source, with};
use dhow_image::store::{Store, Stored};
use dhow_image::transport::Place;
use dhow_image::{Error, Result};
use dhow_template::Template;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::RegistryFlags;
use crate::context::{Context, stdin};

/// Flags of `inspect`.
#[derive(Args)]
pub struct Inspect {
    /// Names or ids in the store, or a place: docker://REF, oci:DIR, …
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Print the manifest, byte for byte; with --config the config
    #[arg(long)]
    raw: bool,
    /// Print the image config: of the store byte for byte, else as the image-spec has it
    #[arg(long)]
    config: bool,
    /// Print it by a Go template, or as json
    #[arg(long, short, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Don't ask for the repository's tags
    #[arg(long, short)]
    no_tags: bool,
    /// The digest's algorithm: sha256 or sha512 [default: the config's]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    manifest_digest: Option<String>,
    /// Which platform of a list: OS/ARCH[/VARIANT]
    #[arg(long)]
    platform: Option<String>,
    /// The layout's blobs are in this directory, shared by several
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    shared_blob_dir: Option<PathBuf>,
    /// Where the daemon of docker-daemon: listens
    #[arg(long, value_name = "HOST", hide_short_help = true)]
    daemon_host: Option<String>,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Inspect {
    /// Inspects; one document an image.
    pub fn run(self, cx: &Context) -> Result<()> {
        if self.raw && self.format.is_some() {
            return Err(Error::Conflict("raw output does not support format option".into()));
        }
        let places: Vec<Place> = self.images.iter().map(|i| i.parse()).collect::<Result<_>>()?;
        let store = cx.store_for(&places)?;
        // All of the store's are there before the first is printed.
        let found = |place: &Place| match place {
            Place::Store(needle) => store.find(needle).map(Some),
            _ => Ok(None),
        };
        let stored: Vec<Option<Stored>> = places.iter().map(found).collect::<Result<_>>()?;
        let settings = cx.settings(&self.registry)?;
        for (place, stored) in places.iter().zip(stored) {
            match stored {
                Some(image) => self.stored(cx, &store, &image)?,
                None => self.elsewhere(cx, &store, &settings, place)?,
            }
        }
        Ok(())
    }

    fn stored(&self, cx: &Context, store: &Store, image: &Stored) -> Result<()> {
        if self.config {
            write(&store.read_blob(&image.config_digest, MAX_CONFIG)?)
        } else if self.raw {
            write(&store.read_blob(&image.manifest.digest, MAX_MANIFEST)?)
        } else {
            let shape = shape(store, image)?;
            match self.format.as_deref() {
                Some(format) if !is_json(format) => cx.line(filled(format, &shape)?),
                _ => cx.print_json(&shape),
            }
        }
    }

    fn elsewhere(
        &self,
        cx: &Context,
        store: &Store,
        settings: &Settings,
        place: &Place,
    ) -> Result<()> {
        let inputs = Inputs {
            tmpdir: cx.tmpdir.as_deref(),
            shared_blobs: self.shared_blob_dir.as_deref(),
            daemon_host: self.daemon_host.as_deref(),
            ..Inputs::new(store, settings, stdin)
        };
        let platform = cx.platform(self.platform.as_deref())?;
        with(place, &inputs, |source: &dyn Source| {
            if self.raw && !self.config {
                return write(&inspect::raw(source)?.bytes);
            }
            let looked = inspect::look(source, platform.as_ref())?;
            if self.raw {
                return write(looked.config_bytes());
            }
            if self.config {
                let config = looked.config()?;
                return self.print(cx, &config, || config.fields());
            }
            let mut page = looked.page(self.algorithm()?)?;
            self.name(cx, place, source, settings, &mut page)?;
            self.print(cx, &page, || page.fields())
        })
    }

    /// The repository, and what else is in it.
    fn name(
        &self,
        cx: &Context,
        place: &Place,
        source: &dyn Source,
        settings: &Settings,
        page: &mut Page,
    ) -> Result<()> {
        let Place::Registry(reference) = place else {
            if matches!(place, Place::DockerDaemon(_) | Place::ContainersStorage(_)) {
                page.name = source.names().first().map(Reference::name).unwrap_or_default();
            }
            return Ok(());
        };
        page.name = reference.name();
        if self.no_tags {
            return Ok(());
        }
        match tags(reference, settings) {
            Ok(tags) => page.repo_tags = tags,
            // Some registries keep their tags to themselves.
            Err(Error::Registry { status: 403, .. } | Error::NotFound { .. }) => {
                cx.warn("Registry disallows tag list retrieval; skipping");
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    fn algorithm(&self) -> Result<Option<Algorithm>> {
        match self.manifest_digest.as_deref() {
            None => Ok(None),
            Some("sha256" | "") => Ok(Some(Algorithm::Sha256)),
            Some("sha512") => Ok(Some(Algorithm::Sha512)),
            Some(other) => {
                Err(Error::Conflict(format!("digest algorithm \"{other}\" is not available")))
            }
        }
    }

    fn print(
        &self,
        cx: &Context,
        json: &impl Serialize,
        fields: impl FnOnce() -> Value,
    ) -> Result<()> {
        match self.format.as_deref() {
            Some(format) if !is_json(format) => cx.line(filled(format, &fields())?),
            _ => cx.line(go_json(json)?),
        }
    }
}

/// `json`, `{{json}}`, `{{json .}}`
fn is_json(format: &str) -> bool {
    let bare: String = format.split_whitespace().collect();
    matches!(bare.as_str(), "json" | "{{json}}" | "{{json.}}")
}

fn filled(format: &str, fields: &Value) -> Result<String> {
    let failed = |e: dhow_template::Error| Error::Conflict(e.message);
    Template::parse(format).and_then(|t| t.render(fields)).map_err(failed)
}

/// JSON as Go's MarshalIndent writes it, four columns a level.
fn go_json(value: &impl Serialize) -> Result<String> {
    let mut bytes = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut out = serde_json::Serializer::with_formatter(&mut bytes, form);
    value.serialize(&mut out).map_err(|e| Error::invalid("output", e))?;
    let text = String::from_utf8(bytes).map_err(|e| Error::invalid("output", e))?;
    // Outside of strings there are none of them.
    let escaped = text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    Ok(escaped.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029"))
}

fn write(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Error::at("write", "stdout"))
}

fn shape(store: &Store, image: &Stored) -> Result<Value> {
    let manifest = image.manifest(store)?;
    let config = image.config(store)?;
    let chain = image.chain_ids(store)?;
    let layers: Vec<Value> = (manifest.layers.iter().zip(&image.diff_ids).zip(&chain))
        .map(|((blob, diff_id), chain_id)| {
            json!({
                "mediaType": blob.media_type,
                "digest": blob.digest,
                "size": blob.size,
                "diffId": diff_id,
                "chainId": chain_id,
            })
        })
        .collect();
    Ok(json!({
        "id": image.id(),
        "names": image.names,
        "repoDigests": image.repo_digests,
        "manifest": { "mediaType": manifest.media_type, "digest": image.manifest.digest,
                      "size": image.manifest.size, "annotations": manifest.annotations },
        "created": image.created,
        "author": config.author,
        "platform": image.platform.to_string(),
        "size": image.size,
        "config": config.config,
        "layers": layers,
        "history": config.history,
    }))
}
