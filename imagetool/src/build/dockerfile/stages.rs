//! Lines become stages of instructions.

use super::flags::{Flags, Kind};
use super::instruction::{self, about};
use super::line::{Line, Lines, Node, Wrong};
use super::{Dockerfile, Instruction, Source, Stage, Step};
use crate::error::Result;

/// Reads a Dockerfile; `name` is what errors call it.
///
/// # Errors
///
/// With file, line, column and the line itself ([`super::Fault`]).
pub fn parse(text: &[u8], name: &str) -> Result<Dockerfile> {
    let source = Source::new(text, name);
    let mut file = empty(&source);
    if text.is_empty() {
        return Err(source.error_whole("the Dockerfile cannot be empty"));
    }
    let mut lines = Lines::new(text, &source);
    let mut nothing = true;
    while let Some(mut line) = lines.next(&mut file)? {
        let node = Node::read(&line.text, file.escape).map_err(|w| line.fault(&source, &w))?;
        if node.has_heredocs() {
            lines.heredocs(&mut line)?;
        }
        nothing = false;
        file.holes.extend(line.hole.then_some(line.head));
        add(&mut file, node, &line).map_err(|w| line.fault(&source, &w))?;
    }
    if nothing {
        return Err(source.error_whole("file with no instructions"));
    }
    if file.stages.is_empty() {
        return Err(source.error_whole("dockerfile contains no stages to build"));
    }
    Ok(file)
}

/// Reads one instruction alone, such as ONBUILD's; FROM isn't one. Whatever the Dockerfile's escape
/// is, a trigger's is a backslash.
///
/// # Errors
///
/// As [`parse`].
pub fn parse_one(text: &str, name: &str) -> Result<Step> {
    let source = Source::new(text.as_bytes(), name);
    let mut scratch = empty(&source);
    let mut lines = Lines::new(text.as_bytes(), &source);
    let Some(mut line) = lines.next(&mut scratch)? else {
        return Err(source.error_whole("file with no instructions"));
    };
    let node = Node::read(&line.text, scratch.escape).map_err(|w| line.fault(&source, &w))?;
    if node.has_heredocs() {
        lines.heredocs(&mut line)?;
    }
    let step = step(node, &line).map_err(|w| line.fault(&source, &w))?;
    match lines.next(&mut scratch)? {
        None => Ok(step),
        Some(more) => Err(more.fault(&source, &"it should be a single instruction".into())),
    }
}

fn empty(source: &Source) -> Dockerfile {
    Dockerfile {
        source: source.clone(),
        escape: '\\',
        syntax: None,
        check: super::Check::default(),
        args: Vec::new(),
        stages: Vec::new(),
        holes: Vec::new(),
    }
}

fn add(file: &mut Dockerfile, node: Node, line: &Line) -> Result<(), Wrong> {
    if node.word.eq_ignore_ascii_case("FROM") {
        file.stages.push(stage(&node, line)?);
        return Ok(());
    }
    let step = step(node, line)?;
    match (file.stages.last_mut(), step.what) {
        (None, Instruction::Arg(args)) => file.args.extend(args),
        (None, _) => return Err("no build stage in current context: begin with FROM".into()),
        (Some(stage), what) => stage.steps.push(Step { what, ..step }),
    }
    Ok(())
}

fn step(node: Node, line: &Line) -> Result<Step, Wrong> {
    let what = instruction::read(node, line)?;
    let (text, comments) = (line.text.trim().to_owned(), line.comments.clone());
    Ok(Step { what, comments, text, lines: line.first..=line.last })
}

fn stage(node: &Node, line: &Line) -> Result<Stage, Wrong> {
    let (from, name) = match node.args.as_slice() {
        [from] => (from, String::new()),
        [from, word, name] if word.eq_ignore_ascii_case("AS") => {
            let lower = name.to_lowercase();
            let mut chars = lower.chars();
            let fits = chars.next().is_some_and(|c| c.is_ascii_lowercase())
                && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
            if !fits {
                let why = format!(
                    "invalid name for build stage: {name:?}, name can't start with a number or contain symbols"
                );
                return Err(Wrong::near(why, name.as_str()));
            }
            (from, lower)
        }
        _ => return Err("FROM requires either one or three arguments".into()),
    };
    let flags = Flags::read(&node.flags, &[("platform", Kind::Text)])?;
    Ok(Stage {
        from: from.clone(),
        platform: flags.filled("platform"),
        about: about(&line.comments, &name),
        name,
        comments: line.comments.clone(),
        text: line.text.trim().to_owned(),
        lines: line.first..=line.last,
        steps: Vec::new(),
    })
}
