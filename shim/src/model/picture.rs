//! What `image inspect` shows: docker's keys over a stored image.

use std::path::Path;

use dhow_image::digest::Digest;
use dhow_image::reference::Reference;
use dhow_image::snapshot::Layers;
use dhow_image::store::{Store, Stored};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::making::of_image;

/// docker's `image inspect`.
pub fn image(store: &Store, image: &Stored) -> Result<Value> {
    let config = image.config(store).map_err(of_image)?;
    let layers: Vec<String> = config.rootfs.diff_ids.iter().map(ToString::to_string).collect();
    let sorted = |references: &[Reference]| {
        let mut all: Vec<String> = references.iter().map(Reference::familiar).collect();
        all.sort();
        all.dedup();
        all
    };
    let version = config.extra.get("docker_version").and_then(Value::as_str).unwrap_or_default();
    let comment = match config.extra.get("comment").and_then(Value::as_str) {
        Some(comment) if !comment.is_empty() => comment.to_owned(),
        _ => config.history.last().map(|h| h.comment.clone()).unwrap_or_default(),
    };
    let mut value = json!({
        "Id": image.id(),
        "RepoTags": sorted(&image.names),
        "RepoDigests": sorted(&image.repo_digests),
        "Parent": "",
        "Comment": comment,
        "Created": image.created.clone().unwrap_or_default(),
        "DockerVersion": version,
        "Author": config.author,
        "Config": run_config(&config.config)?,
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.size,
        "GraphDriver": {"Name": "overlay2", "Data": directories(store, image)},
        "RootFS": {"Type": "layers", "Layers": layers},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    });
    if !config.variant.is_empty() {
        value["Variant"] = config.variant.into();
    }
    Ok(value)
}

/// The config with those keys that docker shows whether they say something or not.
fn run_config(config: &impl serde::Serialize) -> Result<Value> {
    let said = serde_json::to_value(config).map_err(|e| Error::engine(format!("encode: {e}")))?;
    let mut all: Map<String, Value> = [
        ("Cmd", Value::Null),
        ("Entrypoint", Value::Null),
        ("Env", Value::Null),
        ("Labels", Value::Null),
        ("OnBuild", Value::Null),
        ("User", "".into()),
        ("Volumes", Value::Null),
        ("WorkingDir", "".into()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    if let Value::Object(said) = said {
        all.extend(said);
    }
    Ok(Value::Object(all))
}

/// Where the unpacked layers are, as docker's overlay2 tells it: the topmost, and those below it
/// from the top down. Nothing of an image that isn't unpacked.
fn directories(store: &Store, image: &Stored) -> Value {
    let layers = Layers::open(store.root());
    let chain = Digest::chain(&image.diff_ids);
    let shown = |path: &Path| path.display().to_string();
    let mut paths: Vec<String> = layers.lowerdirs(&chain).iter().map(|p| shown(p)).collect();
    if !chain.iter().all(|id| layers.has(id)) {
        return Value::Null;
    }
    let Some(top) = paths.pop() else { return Value::Null };
    paths.reverse();
    let mut data = Map::new();
    if !paths.is_empty() {
        data.insert("LowerDir".into(), paths.join(":").into());
    }
    // docker names these two as well; they are there while the image is mounted, here never.
    let beside = |name: &str| shown(&Path::new(&top).with_file_name(name));
    data.insert("MergedDir".into(), beside("merged").into());
    data.insert("WorkDir".into(), beside("work").into());
    data.insert("UpperDir".into(), top.into());
    Value::Object(data)
}
