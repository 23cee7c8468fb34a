//! What goes with every record: labels, variables, a tag.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::json;

use super::Settings;
use crate::error::Result;
use crate::model::Record;

/// The labels and variables that `settings` ask for.
pub fn wanted(record: &Record, settings: &Settings) -> BTreeMap<String, String> {
    let fits = |key: &str, keys: &[String], regex: &Option<Regex>| {
        keys.iter().any(|k| k == key) || regex.as_ref().is_some_and(|regex| regex.is_match(key))
    };
    let labels = record.config.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let labels = labels.filter(|(key, _)| fits(key, &settings.labels, &settings.labels_regex));
    let env = record.config.env.iter().filter_map(|variable| variable.split_once('='));
    let env = env.filter(|(key, _)| fits(key, &settings.env, &settings.env_regex));
    labels.chain(env).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The tag, or the id's beginning when `settings` name none.
pub fn tag(record: &Record, settings: &Settings) -> Result<String> {
    let Some(template) = &settings.tag else { return Ok(record.short_id().to_owned()) };
    let image = &record.image.id;
    let command: Vec<&str> =
        std::iter::once(&record.path).chain(&record.args).map(String::as_str).collect();
    Ok(template.render(&json!({
        "ID": record.short_id(),
        "FullID": record.id,
        "Name": record.name,
        "ImageID": image.get(..12).unwrap_or(image),
        "ImageFullID": image,
        "ImageName": record.config.image,
        "DaemonName": "docker",
        "Command": command.join(" "),
        "ContainerID": record.id,
        "ContainerName": format!("/{}", record.name),
        "ContainerEntrypoint": record.path,
        "ContainerArgs": record.args,
        "ContainerImageID": image,
        "ContainerImageName": record.config.image,
        "ContainerCreated": record.created.to_string(),
        "ContainerEnv": record.config.env,
        "ContainerLabels": record.config.labels,
    }))?)
}

/// docker's `attrs` of a json-file record; empty when there are none.
pub fn json(record: &Record, settings: &Settings) -> Result<String> {
    let mut all = wanted(record, settings);
    if settings.tag.is_some() {
        all.insert("tag".to_owned(), tag(record, settings)?);
    }
    if all.is_empty() {
        return Ok(String::new());
    }
    let text = serde_json::to_string(&all).unwrap_or_default();
    // As Go does; outside of texts JSON has none of these.
    Ok(text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}
