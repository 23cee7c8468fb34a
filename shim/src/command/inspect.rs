//! `dhow inspect`: containers, images, networks and volumes by one name.

use clap::Args;
use serde_json::Value;

use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{find_image, name_of};
use crate::model::{picture, view};
use crate::output::{Output, Template, compact, pretty};

/// Show all about containers, images, networks or volumes, as JSON
#[derive(Debug, Args)]
pub struct Inspect {
    /// A Go template for each, or json
    #[arg(short, long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// Measure a container's files too
    #[arg(short, long)]
    pub size: bool,
    /// Only this kind: container, image, network or volume
    #[arg(long = "type", value_name = "KIND")]
    pub kind: Option<String>,
    /// Names or ids
    #[arg(required = true, value_name = "NAME|ID")]
    pub names: Vec<String>,
}

/// What docker has kinds of.
const KINDS: [&str; 10] = [
    "config",
    "container",
    "image",
    "network",
    "node",
    "plugin",
    "secret",
    "service",
    "task",
    "volume",
];

impl Inspect {
    /// An array of what was found; errors for the rest.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let kind = self.kind.as_deref().unwrap_or_default();
        if !kind.is_empty() && !KINDS.contains(&kind) {
            let kinds = KINDS.map(|k| format!("\"{k}\"")).join(", ");
            let wrong = format!("unknown type: \"{kind}\": must be one of {kinds}");
            return out.end(Err(Error::usage(wrong)));
        }
        show(out, &self.names, self.format.as_deref(), |needle| match kind {
            "container" => self.container(host, needle),
            "image" => image(host, needle),
            "network" => network(host, needle),
            "volume" => volume(host, needle),
            "" if needle.is_empty() => self.container(host, needle),
            "" => self
                .container_or(host, needle, || {
                    image(host, needle).inspect(|_| self.no_size("image"))
                })
                .or_else(|e| {
                    unless_missing(e, || network(host, needle).inspect(|_| self.no_size("network")))
                })
                .or_else(|e| {
                    unless_missing(e, || volume(host, needle).inspect(|_| self.no_size("volume")))
                })
                .map_err(|e| match e.kind {
                    Kind::NotFound => Error::not_found(format!("No such object: {needle}")),
                    _ => e,
                }),
            other => Err(Error::not_found(format!(
                "{other} {needle} not found: dhow has none of that kind"
            ))),
        })
    }

    fn no_size(&self, kind: &str) {
        if self.size {
            Output::default().note(&format!("WARNING: --size ignored for {kind}"));
        }
    }

    /// A container, or what is found where there is none.
    fn container_or(
        &self,
        host: &Host,
        needle: &str,
        next: impl FnOnce() -> Result<Value>,
    ) -> Result<Value> {
        match host.containers.seek(needle) {
            Ok(Some(found)) => {
                view::container(host, &found.record, self.size).or_else(|e| unless_missing(e, next))
            }
            Ok(None) => next(),
            Err(e) => unless_missing(e, next),
        }
    }

    fn container(&self, host: &Host, needle: &str) -> Result<Value> {
        view::container(host, &host.containers.find(needle)?.record, self.size)
    }
}

fn network(host: &Host, needle: &str) -> Result<Value> {
    view::network(host, &crate::command::network::find(host, needle)?)
}

fn volume(host: &Host, needle: &str) -> Result<Value> {
    view::volume(&host.volumes.find(needle)?)
}

fn image(host: &Host, needle: &str) -> Result<Value> {
    let store = host.images()?;
    picture::image(store, &find_image(store, name_of(store, needle))?)
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
    let format = format.filter(|f| !f.is_empty());
    let template = match format.filter(|f| *f != "json").map(Template::parse).transpose() {
        Ok(template) => template,
        Err(e) => {
            out.error(&Error::usage(e.message.replace("failed to parse template", WRONG)));
            return Exit::TEMPLATE;
        }
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
            let mut text = String::new();
            for value in &found {
                match template.render(value) {
                    Ok(line) => text += &(line + "\n"),
                    Err(e) => {
                        let why = e.message.replace("failed to execute template", WRONG);
                        errors.insert(0, Error::usage(why));
                        break;
                    }
                }
            }
            // As docker: nothing to show is an empty line.
            out.text(if text.is_empty() { "\n" } else { &text });
        }
        (None, Some(_)) => out.line(&compact(&Value::Array(found))),
        (None, None) => out.line(&pretty(&Value::Array(found))),
    }
    let mut exit = out.exit();
    for error in errors {
        out.error(&error);
        exit = exit.and(Exit::of_verb(error.kind));
    }
    exit
}

/// docker's words for a template that can't be parsed or filled in here.
const WRONG: &str = "template parsing error";
