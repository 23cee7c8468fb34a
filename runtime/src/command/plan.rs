//! `plan`: what would be performed for a bundle, without doing any of it.

use std::fmt::Write;

use serde::Serialize;

use super::World;
use super::launch::Flags;
use super::list::Format;
use crate::error::{Result, one_line};
use crate::lifecycle::{self, Decided};
use crate::plan::print::hooks;
use crate::{state, validate};

/// A step, and what is done in it.
#[derive(Serialize)]
struct Step {
    /// Which side of the fork.
    by: &'static str,
    #[serde(rename = "step")]
    name: &'static str,
    does: Vec<String>,
}

/// The plan as text, or as JSON.
pub fn plan(flags: &Flags, format: Format, world: &World) -> Result<String> {
    let (bundle, text) = state::bundle(&flags.bundle, flags.config.as_deref())?;
    let container = validate::container(validate::parse(&text)?, &bundle)?;
    let steps = steps(&lifecycle::decide(&flags.wanted(world, true), container)?);
    Ok(match format {
        Format::Json => serde_json::to_string_pretty(&steps).unwrap_or_default() + "\n",
        Format::Table => shown(&steps),
    })
}

/// The parent's before the fork and while init waits for its hooks, then init's.
fn steps(decided: &Decided) -> Vec<Step> {
    let Decided { plan, rest, group, .. } = decided;
    let parent = |name, does| Step { by: "parent", name, does };
    let mut out = vec![parent("groups", group.lines())];
    for &phase in &plan.phases {
        if phase == crate::plan::Phase::Hooks && plan.runtime_hooks {
            out.push(parent("hooks", rest.before_root()));
        }
        out.push(Step { by: "init", name: phase.name(), does: plan.lines(phase) });
    }
    for (step, list) in [("poststart", &rest.hooks.poststart), ("poststop", &rest.hooks.poststop)] {
        if !list.is_empty() {
            out.push(parent(step, hooks(step, list)));
        }
    }
    out
}

fn shown(steps: &[Step]) -> String {
    let mut out = String::new();
    for step in steps {
        let by = if step.by == "init" { "" } else { " (parent)" };
        // Into a string: this can't fail.
        let _ = writeln!(out, "{}{by}", step.name);
        for line in &step.does {
            let _ = writeln!(out, "  {}", one_line(line));
        }
    }
    out
}
