//! `dhow inspect`: containers, images and volumes by one name.

use clap::Args;
use serde_json::Value;

use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{name_of, of_image};
use crate::model::{picture, view};
use crate::output::{Output, Template, pretty};

/// Show all about containers, images or volumes, as JSON
#[derive(Debug, Args)]
pub struct Inspect {
    /// A Go template for each, or json
    #[arg(short, long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// Measure a container's files too
    #[arg(short, long)]
    pub size: bool,
    /// Only this kind: container, image or volume
    #[arg(long = "type", value_name = "KIND")]
    pub kind: Option<String>,
    /// Names or ids
    #[arg(required = true, value_name = "NAME|ID")]
    pub names: Vec<String>,
}

impl Inspect {
    /// An array of what was found; errors for the rest.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let kind = self.kind.as_deref().unwrap_or_default();
        if !matches!(kind, "" | "container" | "image" | "volume") {
            return out.end(Err(Error::usage(format!(
                "--type {kind} is not supported; use container, image or volume"
            ))));
        }
        show(out, &self.names, self.format.as_deref(), |needle| match kind {
            "container" => self.container(host, needle),
            "image" => image(host, needle),
            "volume" => view::volume(&host.volumes.find(needle)?),
            _ => self
                .container(host, needle)
                .or_else(|e| unless_missing(e, || image(host, needle)))
                .or_else(|e| unless_missing(e, || view::volume(&host.volumes.find(needle)?)))
                .map_err(|e| match e.kind {
                    Kind::NotFound => Error::not_found(format!("no such object: {needle}")),
                    _ => e,
                }),
        })
    }

    fn container(&self, host: &Host, needle: &str) -> Result<Value> {
        view::container(host, &host.containers.find(needle)?.record, self.size)
    }
}

fn image(host: &Host, needle: &str) -> Result<Value> {
    let store = host.images()?;
    picture::image(store, &store.find(name_of(store, needle)).map_err(of_image)?)
}

fn unless_missing(error: Error, next: impl FnOnce() -> Result<Value>) -> Result<Value> {
    // A name that is no valid one of the next kind is simply not of that kind.
    if matches!(error.kind, Kind::NotFound | Kind::Usage) { next() } else { Err(error) }
}

/// Shows each object found, then tells each error.
pub fn show(
    out: &mut Output,
    needles: &[String],
    format: Option<&str>,
    find: impl Fn(&str) -> Result<Value>,
) -> Exit {
    let template = match format.filter(|f| *f != "json").map(Template::parse).transpose() {
        Ok(template) => template,
        Err(e) => return out.end(Err(e)),
    };
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for needle in needles {
        match find(needle) {
            Ok(value) => found.push(value),
            Err(e) => errors.push(e),
        }
    }
    match (&template, format) {
        (Some(template), _) => {
            for value in &found {
                match template.render(value) {
                    Ok(text) => out.line(&text),
                    Err(e) => errors.push(e),
                }
            }
        }
        (None, Some(_)) => out.line(&Value::Array(found).to_string()),
        (None, None) => out.line(&pretty(&Value::Array(found))),
    }
    let mut exit = out.exit();
    for error in errors {
        out.error(&error);
        exit = exit.and(Exit::of_verb(error.kind));
    }
    exit
}
