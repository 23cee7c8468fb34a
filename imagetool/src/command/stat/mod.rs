//! `dhow-image stat IMAGE`: what an image is made of, as umoci prints it.

mod text;

use std::io::Read;

use clap::Args;
use dhow_image::config::{History, ImageConfig};
use dhow_image::digest::DiffId;
use dhow_image::edit::manifest_of;
use dhow_image::manifest::{self, Descriptor, MAX_CONFIG, Manifest, Parsed};
use dhow_image::source::{Document, Source};
use dhow_image::{Error, Result};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::RegistryFlags;
use crate::cli::target::{ImageFlag, Target, exactly};
use crate::context::Context;

/// SPEC: image-spec manifest.md: the config of an artifact that has none.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Flags of `stat`.
#[derive(Args)]
pub struct Stat {
    /// A name of the store, or a place such as oci:DIR:TAG or docker://REF
    #[arg(value_name = "IMAGE")]
    words: Vec<String>,
    #[command(flatten)]
    image: ImageFlag,
    /// Which platform's image of a list
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// What is told, in the shape of umoci's JSON.
#[derive(Serialize)]
struct Told {
    manifest: Part<Manifest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Part<Option<ImageConfig>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<Step>>,
}

#[derive(Serialize)]
struct Part<T> {
    descriptor: Descriptor,
    blob: Box<RawValue>,
    #[serde(skip)]
    read: T,
}

/// A step of the image's making, with the layer that it made.
#[derive(Serialize)]
struct Step {
    layer: Option<Descriptor>,
    diff_id: Option<DiffId>,
    #[serde(flatten)]
    history: History,
}

impl Stat {
    /// Prints it; JSON on one line.
    pub fn run(mut self, cx: &Context) -> Result<()> {
        let target = self.image.take(&mut self.words)?;
        let [] = exactly(std::mem::take(&mut self.words), [])?;
        let platform = cx.platform(self.platform.as_deref())?;
        let told = target.read(cx, &self.registry, |source| {
            let document = manifest_of(source, platform.as_ref())?;
            let entry = match &target {
                Target::Tagged(tagged) => tagged.entry()?.1,
                Target::Place(_) => document.at.clone(),
            };
            tell(source, document, entry)
        })?;
        if cx.json {
            return cx.line(told.json()?);
        }
        cx.line(told.text().trim_end_matches('\n'))
    }
}

fn tell(source: &dyn Source, document: Document, entry: Descriptor) -> Result<Told> {
    let title = format!("manifest {}", document.at.digest);
    let parsed = manifest::parse(&document.bytes, &document.at.media_type, &title)?;
    let Parsed::Manifest(read) = parsed else {
        return Err(Error::invalid(title, "it is a list"));
    };
    // The entry's annotations are shown, if it leads straight here.
    let mut descriptor = if entry.digest == document.at.digest { entry } else { document.at };
    descriptor.media_type.clone_from(&read.media_type);
    let blob = raw(&document.bytes, &title)?;
    let config = config(source, &read.config)?;
    let history = config.as_ref().and_then(|c| c.read.as_ref()).map(|c| steps(c, &read));
    Ok(Told { manifest: Part { descriptor, blob, read }, config, history })
}

/// The config, if it is JSON.
fn config(source: &dyn Source, blob: &Descriptor) -> Result<Option<Part<Option<ImageConfig>>>> {
    let image = manifest::is_image_config(&blob.media_type);
    if !image && blob.media_type != EMPTY {
        return Ok(None);
    }
    let what = format!("image config {}", blob.digest);
    if blob.size > MAX_CONFIG {
        return Err(Error::invalid(what, format!("it is over {MAX_CONFIG} bytes")));
    }
    let mut bytes = Vec::new();
    source.blob(blob)?.read_to_end(&mut bytes).map_err(|e| Error::from_io("read", &what, e))?;
    let read = image.then(|| ImageConfig::parse(&bytes, &what)).transpose()?;
    Ok(Some(Part { descriptor: blob.clone(), blob: raw(&bytes, &what)?, read }))
}

fn steps(config: &ImageConfig, manifest: &Manifest) -> Vec<Step> {
    let mut layers = manifest.layers.iter().zip(&config.rootfs.diff_ids);
    let step = |history: &History| {
        let made = if history.empty_layer { None } else { layers.next() };
        Step {
            layer: made.map(|(blob, _)| blob.clone()),
            diff_id: made.map(|(_, diff_id)| diff_id.clone()),
            history: history.clone(),
        }
    };
    config.history.iter().map(step).collect()
}

fn raw(bytes: &[u8], what: &str) -> Result<Box<RawValue>> {
    let text = std::str::from_utf8(bytes).map_err(|e| Error::invalid(what, e))?;
    RawValue::from_string(compact(text)).map_err(|e| Error::invalid(what, e))
}

/// JSON without its blanks: the answer is one line.
fn compact(text: &str) -> String {
    let (mut string, mut escaped) = (false, false);
    let keep = |c: &char| {
        let blank = !string && matches!(c, ' ' | '\n' | '\r' | '\t');
        match (string, escaped, c) {
            (true, true, _) => escaped = false,
            (true, false, '\\') => escaped = true,
            (_, _, '"') => string = !string,
            _ => {}
        }
        !blank
    };
    text.chars().filter(keep).collect()
}

impl Told {
    fn json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| Error::invalid("output", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_go_but_not_those_of_strings() {
        assert_eq!(compact(" {\"a \\\" b\" : [ 1,\n\"\\\\\" ] } "), "{\"a \\\" b\":[1,\"\\\\\"]}");
    }
}
