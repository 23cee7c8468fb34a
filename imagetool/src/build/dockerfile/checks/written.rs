//! Checks of how things are written alone.

use std::ops::RangeInclusive;

use super::super::words::{at_blanks, split};
use super::super::{Dockerfile, Instruction, Stage};
use super::Lint;

pub(super) fn check(file: &Dockerfile, lint: &mut Lint) {
    for &line in &file.holes {
        let text = "Empty continuation line".to_owned();
        lint.tell("NoEmptyContinuation", text, &(line..=line), &[]);
    }
    for arg in &file.args {
        described("ARG", &[&arg.name], &arg.comments, &arg.lines, lint);
    }
    for stage in &file.stages {
        from(stage, file.escape, lint);
        for step in &stage.steps {
            match &step.what {
                Instruction::Arg(args) => {
                    let names: Vec<&str> = args.iter().map(|arg| arg.name.as_str()).collect();
                    described("ARG", &names, &step.comments, &step.lines, lint);
                }
                Instruction::Maintainer(_) => lint.tell(
                    "MaintainerDeprecated",
                    "Maintainer instruction is deprecated in favor of using label".into(),
                    &step.lines,
                    &step.comments,
                ),
                _ => {}
            }
        }
    }
    names(file, lint);
    casing(file, lint);
}

fn from(stage: &Stage, escape: char, lint: &mut Lint) {
    let (lines, comments) = (&stage.lines, &stage.comments);
    let parts = split(&stage.text, escape);
    let (word, args) = (parts.word, at_blanks(parts.rest));
    if let [_, as_word, name] = args.as_slice() {
        if *name != name.to_lowercase() {
            let text = format!("Stage name '{name}' should be lowercase");
            lint.tell("StageNameCasing", text, lines, comments);
        }
        let agree = match consistent(word) {
            Some(Case::Lower) => *as_word == as_word.to_lowercase(),
            Some(Case::Upper) => *as_word == as_word.to_uppercase(),
            None => true,
        };
        if !agree {
            let text = format!("'{as_word}' and '{word}' keywords' casing do not match");
            lint.tell("FromAsCasing", text, lines, comments);
        }
    }
    if !stage.name.is_empty() {
        described("FROM", &[&stage.name], comments, lines, lint);
    }
}

fn described(
    what: &str,
    names: &[&str],
    comments: &[String],
    lines: &RangeInclusive<usize>,
    lint: &mut Lint,
) {
    let (Some(comment), Some(first)) = (comments.last(), names.first()) else { return };
    let word = comment.split(' ').next().unwrap_or_default();
    if names.contains(&word) {
        return;
    }
    let name = if names.len() > 1 { "<arg_key>" } else { first };
    let text = format!("Comment for {what} should follow the format: `# {name} <description>`");
    lint.tell("InvalidDefinitionDescription", text, lines, comments);
}

fn names(file: &Dockerfile, lint: &mut Lint) {
    let mut seen: Vec<&str> = Vec::new();
    for stage in file.stages.iter().filter(|stage| !stage.name.is_empty()) {
        let name = stage.name.as_str();
        if matches!(name, "context" | "scratch") {
            let text =
                format!("Stage name should not use the same name as reserved stage {name:?}");
            lint.tell("ReservedStageName", text, &stage.lines, &[]);
        }
        if seen.contains(&name) {
            let text = format!("Duplicate stage name {name:?}, stage names should be unique");
            lint.tell("DuplicateStageName", text, &stage.lines, &[]);
        }
        seen.push(name);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Lower,
    Upper,
}

fn consistent(word: &str) -> Option<Case> {
    match word {
        w if *w == w.to_lowercase() => Some(Case::Lower),
        w if *w == w.to_uppercase() => Some(Case::Upper),
        _ => None,
    }
}

fn casing(file: &Dockerfile, lint: &mut Lint) {
    let mut words: Vec<(&str, &RangeInclusive<usize>)> = Vec::new();
    for stage in &file.stages {
        words.push((first(&stage.text), &stage.lines));
        words.extend(stage.steps.iter().map(|step| (first(&step.text), &step.lines)));
    }
    let count = |case| words.iter().filter(|(word, _)| consistent(word) == Some(case)).count();
    let (case, name) = if count(Case::Lower) > count(Case::Upper) {
        (Case::Lower, "lowercase")
    } else {
        (Case::Upper, "uppercase")
    };
    for (word, lines) in words.iter().filter(|(word, _)| consistent(word) != Some(case)) {
        let text =
            format!("Command '{word}' should match the case of the command majority ({name})");
        lint.tell("ConsistentInstructionCasing", text, lines, &[]);
    }
}

fn first(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}
