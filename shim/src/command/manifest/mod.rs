//! Verbs of manifest lists.

pub mod annotate;
pub mod create;
pub mod inspect;
pub mod push;
pub mod rm;

use dhow_image::lists::{self, Entry, Lists, Remote};
use dhow_image::reference::Reference;
use dhow_image::registry::Settings;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::making::{of_image, reference};

fn lists(host: &Host) -> Result<Lists> {
    Ok(Lists::new(host.images()?))
}

/// How to speak to registries: `--insecure` leaves certificates unchecked and allows http.
fn settings(host: &Host, insecure: bool) -> Result<Settings> {
    let mut settings = host.registry()?;
    settings.insecure |= insecure;
    Ok(settings)
}

/// An image of a registry.
fn image(settings: &Settings, name: &Reference) -> Result<Entry> {
    match lists::remote(settings, name).map_err(|e| of_remote(e, name))? {
        Remote::Image(entry) => Ok(entry),
        Remote::List(_) => Err(Error::usage(format!("{} is a manifest list", name.familiar()))),
    }
}

/// docker's words for what isn't there.
fn of_remote(error: dhow_image::Error, name: &Reference) -> Error {
    if error.is_not_found() {
        return Error::not_found(format!("no such manifest: {}", name.familiar()));
    }
    of_image(error)
}

/// There is no such list here.
fn missing(name: &Reference) -> Error {
    Error::not_found(format!("No such manifest: {name}"))
}

fn named(typed: &str) -> Result<Reference> {
    reference(typed)
}
