//! Checks of what a stage begins from, and which arguments FROM sees.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::super::suggest::suggest_exact;
use super::super::{Dockerfile, Instruction, Stage};
use super::{Asked, Lint};
use crate::build::expand;
use crate::platform::Platform;
use crate::reference::Reference;

/// What every stage's ARGs and FROM see.
pub(super) struct Globals {
    /// With values.
    pub(super) values: BTreeMap<String, String>,
    /// For each stage: what it begins from, expanded.
    pub(super) bases: Vec<String>,
}

pub(super) fn check(file: &Dockerfile, asked: &Asked, lint: &mut Lint) -> Globals {
    if let Some(defaults) = values(file, asked, &BTreeMap::new()) {
        invalid_defaults(file, &defaults, lint);
    }
    let values = values(file, asked, asked.args).unwrap_or_else(|| asked.predefined.clone());
    let mut bases = Vec::new();
    for stage in &file.stages {
        let known: BTreeSet<&str> = file
            .args
            .iter()
            .map(|arg| &arg.name)
            .chain(values.keys())
            .map(String::as_str)
            .collect();
        let base = looked_up(&stage.from, file.escape, &values);
        undefined(stage, &known, &base, lint);
        if let Some(text) = &stage.platform {
            let platform = looked_up(text, file.escape, &values);
            undefined(stage, &known, &platform, lint);
            redundant(stage, text, &platform, &values, lint);
            constant(stage, &platform, lint);
        }
        bases.push(base.text);
    }
    Globals { values, bases }
}

/// The stages that `target` needs, itself with them; empty: the last one. None if there is none of
/// that name.
pub(super) fn reached(file: &Dockerfile, asked: &Asked, target: &str) -> Vec<usize> {
    let values = values(file, asked, asked.args).unwrap_or_else(|| asked.predefined.clone());
    let named = |name: &str, before: usize| {
        let fits = |at: &usize| file.stages[*at].name.eq_ignore_ascii_case(name);
        (0..before).rev().find(fits).filter(|_| !name.is_empty())
    };
    let numbered = |name: &str, before: usize| name.parse().ok().filter(|at| *at < before);
    let all = file.stages.len();
    let target = match target {
        "" => all.checked_sub(1),
        name => named(name, all).or_else(|| numbered(name, all)),
    };
    let mut todo: Vec<usize> = target.into_iter().collect();
    let mut reached = BTreeSet::new();
    while let Some(index) = todo.pop() {
        if !reached.insert(index) {
            continue;
        }
        let stage = &file.stages[index];
        todo.extend(named(&looked_up(&stage.from, file.escape, &values).text, index));
        for step in &stage.steps {
            let froms: Vec<&str> = match &step.what {
                Instruction::Copy(copy) => copy.from.as_deref().into_iter().collect(),
                Instruction::Run(run) => {
                    run.mounts.iter().filter_map(|mount| mount.from.as_deref()).collect()
                }
                _ => Vec::new(),
            };
            let stages =
                froms.iter().filter_map(|f| named(f, index).or_else(|| numbered(f, index)));
            todo.extend(stages);
        }
    }
    reached.into_iter().collect()
}

/// An expanded word, and the names in it.
struct LookedUp {
    text: String,
    found: BTreeSet<String>,
    missing: BTreeSet<String>,
}

fn looked_up(text: &str, escape: char, values: &BTreeMap<String, String>) -> LookedUp {
    let names = RefCell::new((BTreeSet::new(), BTreeSet::new()));
    let get = |name: &str| {
        let value = values.get(name).cloned();
        let (found, missing) = &mut *names.borrow_mut();
        if value.is_some() { found } else { missing }.insert(name.to_owned());
        value
    };
    let text = expand::word(text, escape, &get).unwrap_or_default();
    let (found, missing) = names.into_inner();
    LookedUp { text, found, missing }
}

/// The values of the ARGs before the first FROM, and of the predefined ones.
fn values(
    file: &Dockerfile,
    asked: &Asked,
    args: &BTreeMap<String, String>,
) -> Option<BTreeMap<String, String>> {
    let mut values = asked.predefined.clone();
    for arg in &file.args {
        let value = match (args.get(&arg.name), &arg.value) {
            (Some(given), _) => given.clone(),
            (None, Some(text)) => {
                expand::word(text, file.escape, &|name| values.get(name).cloned()).ok()?
            }
            (None, None) => continue,
        };
        values.insert(arg.name.clone(), value);
    }
    Some(values)
}

fn invalid_defaults(file: &Dockerfile, values: &BTreeMap<String, String>, lint: &mut Lint) {
    for stage in &file.stages {
        let get = |name: &str| values.get(name).cloned();
        let Ok(base) = expand::word(&stage.from, file.escape, &get) else { return };
        if Reference::parse_normal(&base).is_err() {
            let text = format!(
                "Default value for ARG {} results in empty or invalid base image name",
                stage.from
            );
            lint.tell("InvalidDefaultArgInFrom", text, &stage.lines, &[]);
        }
    }
}

fn undefined(stage: &Stage, known: &BTreeSet<&str>, names: &LookedUp, lint: &mut Lint) {
    for name in names.missing.iter().filter(|name| !known.contains(name.as_str())) {
        let near = suggest_exact(name, known.iter().copied());
        let hint = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
        let text = format!("FROM argument '{name}' is not declared{hint}");
        lint.tell("UndefinedArgInFrom", text, &stage.lines, &stage.comments);
    }
}

fn redundant(
    stage: &Stage,
    written: &str,
    platform: &LookedUp,
    values: &BTreeMap<String, String>,
    lint: &mut Lint,
) {
    const TARGET: &str = "TARGETPLATFORM";
    let alone = platform.found.len() == 1 && platform.missing.is_empty();
    if alone && platform.found.contains(TARGET) && values.get(TARGET) == Some(&platform.text) {
        let text = format!(
            "Setting platform to predefined {written} in FROM is redundant as this is the default behavior"
        );
        lint.tell("RedundantTargetPlatform", text, &stage.lines, &stage.comments);
    }
}

fn constant(stage: &Stage, platform: &LookedUp, lint: &mut Lint) {
    if !platform.found.is_empty() || !platform.missing.is_empty() {
        return;
    }
    let Ok(read) = platform.text.parse::<Platform>() else { return };
    // A stage named for its platform is meant to have that one.
    if stage.name.contains(&read.os) || stage.name.contains(&read.architecture) {
        return;
    }
    let text = format!("FROM --platform flag should not use constant value {:?}", platform.text);
    lint.tell("FromPlatformFlagConstDisallowed", text, &stage.lines, &stage.comments);
}
