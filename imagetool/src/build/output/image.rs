//! `type=image`, `type=registry`, `--push`.

use super::{Delivered, Ways, source};
use crate::build::engine::Told;
use crate::build::image::Built;
use crate::build::spec::ImageOutput;
use crate::copy::{Choice, Options, copy};
use crate::error::{Error, Result};
use crate::progress::Silent;
use crate::reference::Reference;
use crate::sink::{Outputs, into};
use crate::transport::Place;

/// Names it in the store, and pushes it.
pub fn deliver(
    built: &Built,
    wanted: &ImageOutput,
    ways: &Ways<'_>,
    told: &Told<'_>,
    delivered: &mut Delivered,
) -> Result<()> {
    let names = wanted.all_names(ways);
    if wanted.store {
        let id = built.id.as_ref().map(ToString::to_string).unwrap_or_default();
        told.part(&format!("writing image {id}"), || built.publish(&names))?;
        for name in &names {
            told.part(&format!("naming to {name}"), || Ok(()))?;
        }
    }
    for name in names.iter().filter(|_| wanted.push) {
        push(built, wanted, name, ways, told, delivered)?;
    }
    delivered.names = names;
    Ok(())
}

fn push(
    built: &Built,
    wanted: &ImageOutput,
    name: &Reference,
    ways: &Ways<'_>,
    told: &Told<'_>,
    delivered: &mut Delivered,
) -> Result<()> {
    let lease = ways.store.lease()?;
    let options =
        Options { recode: wanted.recode, spool: lease.dir().to_owned(), ..Choice::All.into() };
    let outputs = Outputs::new(ways.store, ways.settings, ways.stdout);
    let source = source(built)?;
    let pushed = told.part(&format!("pushing layers of {name}"), || {
        into(&Place::Registry(name.clone()), &outputs, |sink| {
            copy(&source, sink, &options, &Silent)
        })
        .map_err(|e| denied(e, name))
    })?;
    told.part(&format!("pushing manifest for {name}@{}", pushed.digest), || Ok(()))?;
    delivered.pushed = Some(pushed);
    Ok(())
}

/// docker's words for what a registry forbids.
fn denied(error: Error, name: &Reference) -> Error {
    match error {
        Error::Auth { why, .. } => Error::Conflict(format!(
            "failed to push {name}: denied: requested access to {} is denied: {why}; log in first",
            name.familiar_name()
        )),
        other => other,
    }
}
