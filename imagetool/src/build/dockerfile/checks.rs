//! What can be built, and yet is probably not meant: BuildKit's checks, by their names there.

mod from;
mod rules;
mod stage;
mod written;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::{Check, Dockerfile, Warning, directives};
use crate::config::RunConfig;
use crate::error::{Error, Result};

/// What a Dockerfile is checked against.
pub struct Asked<'a> {
    /// The predefined arguments (`TARGETPLATFORM`, …) with their values.
    pub predefined: &'a BTreeMap<String, String>,
    /// `--build-arg`
    pub args: &'a BTreeMap<String, String>,
    /// The stage that is built (empty: the last one): with those it needs, it is what is told of.
    /// `None`: all are.
    pub target: Option<&'a str>,
    /// The config of the image that a stage begins from; `None` if it isn't known.
    pub base: &'a dyn Fn(usize) -> Option<RunConfig>,
    /// Whether .dockerignore leaves out a path of the context (`.`: all of it), and does so without
    /// exceptions.
    pub ignored: &'a dyn Fn(&str) -> bool,
}

/// All findings, in the order of their lines, without those that the Dockerfile skips.
pub fn check(file: &Dockerfile, asked: &Asked) -> Vec<Warning> {
    let given = given(asked.args);
    let mut lint = Lint { all: given.as_ref().unwrap_or(&file.check), found: Vec::new() };
    written::check(file, &mut lint);
    let globals = from::check(file, asked, &mut lint);
    let reached = match asked.target {
        Some(target) => from::reached(file, asked, target),
        None => (0..file.stages.len()).collect(),
    };
    stage::check(file, asked, &globals, &reached, &mut lint);
    let mut found = lint.found;
    found.sort_by(|a, b| (a.lines.start(), &a.text).cmp(&(b.lines.start(), &b.text)));
    found
}

/// The argument that stands in for `# check=`.
const GIVEN: &str = "BUILDKIT_DOCKERFILE_CHECK";

fn given(args: &BTreeMap<String, String>) -> Option<Check> {
    args.get(GIVEN).and_then(|value| directives::check(value).ok())
}

/// The build's end, if `# check=error=true` and something was found.
pub fn verdict(
    file: &Dockerfile,
    args: &BTreeMap<String, String>,
    found: &[Warning],
) -> Result<()> {
    if let Some(Err(why)) = args.get(GIVEN).map(|value| directives::check(value)) {
        return Err(Error::usage("build argument", GIVEN, why));
    }
    let mut names: Vec<&str> = found.iter().map(|warning| warning.check).collect();
    names.sort_unstable();
    names.dedup();
    let fatal = given(args).as_ref().unwrap_or(&file.check).error;
    match found.first() {
        Some(first) if fatal => {
            let why = format!("lint violation found for rules: {}", names.join(", "));
            Err(file.source.error(&first.lines, why))
        }
        _ => Ok(()),
    }
}

/// Findings as they come.
struct Lint<'a> {
    all: &'a Check,
    found: Vec<Warning>,
}

impl Lint<'_> {
    /// Tells it, unless it is skipped, by the Dockerfile or by a comment above the line itself.
    fn tell(
        &mut self,
        check: &'static str,
        text: String,
        lines: &RangeInclusive<usize>,
        comments: &[String],
    ) {
        let local = local(comments).unwrap_or_default();
        let named = |list: &[String]| list.iter().any(|name| name == check || name == "all");
        let wanted = if rules::is_experimental(check) {
            named(&self.all.experimental) || named(&local.experimental)
        } else {
            !named(&self.all.skip) && !named(&local.skip)
        };
        let warning = Warning { check, text, lines: lines.clone() };
        if wanted && !self.found.contains(&warning) {
            self.found.push(warning);
        }
    }
}

/// `# check=skip=…` right above a line.
fn local(comments: &[String]) -> Option<Check> {
    let value = comments.iter().find_map(|comment| {
        directives::directive(comment).filter(|(name, _)| name == "check").map(|(_, value)| value)
    })?;
    directives::check(&value).ok()
}

#[cfg(test)]
mod tests;
