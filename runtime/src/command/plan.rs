//! `plan`: what init would perform for a bundle, without doing any of it.

use super::World;
use super::launch::Flags;
use crate::error::Result;
use crate::{plan, state, validate};

/// The plan as text.
pub fn plan(flags: &Flags, world: &World) -> Result<String> {
    let (bundle, text) = state::bundle(&flags.bundle, flags.config.as_deref())?;
    let container = validate::container(validate::parse(&text)?, &bundle)?;
    let options = flags.wanted(world, true).options;
    plan::plan(&flags.id, container, options).map(|(plan, _)| plan.to_string())
}
