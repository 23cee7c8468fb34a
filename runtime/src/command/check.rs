//! `check`: what would fail for a bundle on this host, without doing any of it.

use super::World;
use super::launch::Flags;
use super::list::Format;
use crate::check;
use crate::error::Result;

/// The findings as text, and whether it would work.
pub fn check(
    flags: &Flags,
    id: Option<&str>,
    json: Format,
    world: &World,
) -> Result<(String, bool)> {
    let report = check::check(&world.store, &flags.wanted(world, true), id)?;
    let text = match json {
        Format::Json => {
            let mut text = serde_json::to_string_pretty(&report).unwrap_or_default();
            text.push('\n');
            text
        }
        Format::Table => report.to_string(),
    };
    Ok((text, report.problems.is_empty()))
}
