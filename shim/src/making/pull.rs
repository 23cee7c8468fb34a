//! Pulling an image, told as docker tells it; and the image of a new container, pulled when it lacks.

use dhow_image::platform::Platform;
use dhow_image::progress::Progress;
use dhow_image::pull::{Options, Pulled};
use dhow_image::reference::Reference;
use dhow_image::store::{Store, Stored};

use super::image::{hello, of_image, reference};
use super::platform;
use crate::error::{Error, Kind, Result};
use crate::events;
use crate::host::Host;
use crate::options::{Flags, Pull};
use crate::output::Output;
use crate::output::progress::{Act, Lines, Stream};

/// The image that `typed` names, pulled as `--pull` says.
pub fn find_or_pull(
    host: &Host,
    typed: &str,
    (flags, when): (&Flags, Pull),
    out: &mut Output,
) -> Result<Stored> {
    // As docker: `create` ends with 1 here, not with a wrong flag's 125.
    let wanted = platform::parse(flags.platform.as_deref())
        .map_err(|e| Error::engine(format!("error parsing specified platform: {e}")))?;
    let image = found_or_pulled(host, typed, (flags, when), wanted.as_ref(), out)?;
    platform::check(&image, typed, wanted.as_ref())?;
    platform::warn(&image, wanted.as_ref(), out);
    Ok(image)
}

fn found_or_pulled(
    host: &Host,
    typed: &str,
    (flags, when): (&Flags, Pull),
    wanted: Option<&Platform>,
    out: &mut Output,
) -> Result<Stored> {
    let store = host.images()?;
    if when != Pull::Always {
        match find(store, typed, wanted) {
            Err(e) if e.kind == Kind::NotFound => {}
            other => return other,
        }
        if let Some(image) = hello(store, typed)? {
            return Ok(image);
        }
    }
    let reference = reference(typed)?;
    if when == Pull::Never {
        let name = reference.familiar();
        return Err(Error::not_found(format!(
            "No such image: {name}; --pull never keeps it from being pulled"
        )));
    }
    if when == Pull::Missing && !flags.quiet {
        out.note(&format!("Unable to find image '{}' locally", reference.familiar()));
    }
    let stream = if flags.quiet { Stream::Nowhere } else { Stream::Stderr };
    let pulled = pull(host, &reference, wanted, stream)?;
    store.find(&pulled.reference.to_string()).map_err(of_image)
}

fn find(store: &Store, typed: &str, wanted: Option<&Platform>) -> Result<Stored> {
    let image = store.find(typed).map_err(of_image)?;
    platform::check(&image, typed, wanted)?;
    Ok(image)
}

/// Pulls `reference`, telling of it as docker does.
pub fn pull(
    host: &Host,
    reference: &Reference,
    wanted: Option<&Platform>,
    stream: Stream,
) -> Result<Pulled> {
    let lines = Lines::new(stream, Act::Pull);
    let pulled = fetch(host, reference, wanted, &lines)?;
    lines.message(&format!("{} for {}", status(pulled.changed), reference.familiar()));
    if let Some(wanted) = wanted.filter(|wanted| pulled.platform.fits(wanted).is_none()) {
        let words = platform::mismatch(&reference.familiar(), &pulled.platform, wanted);
        lines.message(&format!("WARNING: {words}"));
    }
    Ok(pulled)
}

/// Pulls every tag of a repository; the last line tells of all of them.
pub fn pull_all(
    host: &Host,
    repository: &Reference,
    wanted: Option<&Platform>,
    stream: Stream,
) -> Result<()> {
    let lines = Lines::new(stream, Act::Pull);
    let tags = dhow_image::pull::tags(repository, &host.registry()?)
        .map_err(|e| of_pull(e, repository))?;
    let mut changed = false;
    for tag in tags {
        let reference = repository.with_tag(&tag).map_err(of_image)?;
        changed |= fetch(host, &reference, wanted, &lines)?.changed;
    }
    lines.message(&format!("{} for {}", status(changed), repository.familiar_name()));
    Ok(())
}

fn status(changed: bool) -> &'static str {
    if changed { "Status: Downloaded newer image" } else { "Status: Image is up to date" }
}

fn fetch(
    host: &Host,
    reference: &Reference,
    wanted: Option<&Platform>,
    lines: &Lines,
) -> Result<Pulled> {
    let options = Options { platform: wanted.cloned(), unpack: true, settings: host.registry()? };
    let what = match (reference.tag(), reference.digest()) {
        (_, Some(digest)) => digest.to_string(),
        (tag, None) => tag.unwrap_or("latest").to_owned(),
    };
    lines.heading(format!("{what}: Pulling from {}", reference.path()));
    let pulled = dhow_image::pull::pull(host.images()?, reference, &options, lines)
        .map_err(|e| of_pull(e, reference))?;
    lines.message(&format!("Digest: {}", pulled.digest));
    events::of_image(&host.paths, "pull", &reference.familiar(), &reference.familiar_name());
    Ok(pulled)
}

/// An error of a pull, in the words that scripts look for.
fn of_pull(error: dhow_image::Error, reference: &Reference) -> Error {
    let name = reference.familiar();
    match &error {
        dhow_image::Error::NotFound { what: "image", hint, .. } => {
            Error::not_found(format!("manifest for {name} not found: manifest unknown: {hint}"))
        }
        dhow_image::Error::NotFound { what: "manifest", name, hint } => {
            let wanted = name.rsplit(" for ").next().unwrap_or_default();
            Error::not_found(format!(
                "no matching manifest for {wanted} in the manifest list entries: no match for platform in manifest of {}: {hint}; choose one with --platform",
                reference.familiar()
            ))
        }
        dhow_image::Error::Auth { why, .. } => Error::engine(format!(
            "pull access denied for {}, repository does not exist or may require 'dhow login': {why}",
            reference.familiar_name()
        )),
        _ => of_image(error),
    }
}
