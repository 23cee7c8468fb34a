//! A Dockerfile and an order become a plan: which stages are wanted, what each begins from, and
//! which it needs. Nothing is read or fetched for it.

mod args;
mod vars;

use std::collections::BTreeSet;

pub(crate) use args::{platforms, proxies};
pub(crate) use vars::Vars;

use super::Order;
use super::dockerfile::{Dockerfile, Instruction, Stage, suggest};
use super::expand;
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::reference::Reference;

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// The Dockerfile.
    pub file: &'a Dockerfile,
    /// One a stage of the Dockerfile.
    pub stages: Vec<Staged<'a>>,
    /// The stage that is wanted.
    pub target: usize,
    /// The global ARGs' values.
    pub globals: Vars,
    /// What the image is for.
    pub platform: Platform,
}

/// A stage.
#[derive(Debug)]
pub(crate) struct Staged<'a> {
    /// As written.
    pub stage: &'a Stage,
    /// What progress calls it; empty if it is the only one.
    pub title: String,
    /// What it begins from.
    pub from: From,
    /// `--platform=`
    pub platform: Option<Platform>,
    /// The stages it needs.
    pub needs: BTreeSet<usize>,
    /// The target needs it.
    pub wanted: bool,
    /// Its layers are part of the image.
    pub packed: bool,
    /// The steps that are counted.
    pub total: usize,
}

/// What a stage begins from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image.
    Image(String),
    /// A `--build-context`.
    Named(String),
}

/// Where a COPY, an ADD or a mount takes files from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The context.
    Context,
    /// A stage.
    Stage(usize),
    /// An image.
    Image(String),
    /// A `--build-context`.
    Named(String),
}

impl<'a> Plan<'a> {
    /// Plans. `named` says whether there is a context of this name.
    pub fn new(
        file: &'a Dockerfile,
        order: &Order,
        named: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        if file.stages.is_empty() {
            return Err(file.source.error_whole("the Dockerfile contains no stages to build"));
        }
        let platform = order.platform.clone().unwrap_or_else(Platform::host);
        let last = file.stages.last().map(|stage| stage.name.as_str()).unwrap_or_default();
        let target = if order.target.is_empty() { last } else { &order.target };
        let globals = args::globals(file, &order.args, &platform, target)?;
        let mut plan = Self { file, stages: Vec::new(), target: 0, globals, platform };
        for (index, stage) in file.stages.iter().enumerate() {
            let staged = plan.staged(index, stage, named)?;
            plan.stages.push(staged);
        }
        for index in 0..plan.stages.len() {
            let needs = plan.needs(index, named)?;
            plan.stages[index].needs.extend(needs);
        }
        plan.target = plan.find_target(&order.target)?;
        plan.want();
        Ok(plan)
    }

    fn staged(
        &self,
        index: usize,
        stage: &'a Stage,
        named: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Staged<'a>> {
        let fail = |why: String| self.file.source.error(&stage.lines, why);
        let expand = |text: &str| {
            expand::word(text, self.file.escape, &|name| self.globals.get(name)).map_err(fail)
        };
        let name = expand(&stage.from)?;
        if name.is_empty() {
            return Err(fail(format!("base name ({}) should not be blank", stage.from)));
        }
        let platform = match &stage.platform {
            Some(text) => {
                let value = expand(text)?;
                if value.is_empty() {
                    return Err(fail(format!("empty platform value from expression {text}")));
                }
                let parsed = value.parse::<Platform>();
                Some(parsed.map_err(|e| fail(format!("failed to parse platform {text}: {e}")))?)
            }
            None => None,
        };
        let instead = Some(stage.name.as_str()).filter(|name| !name.is_empty()).and_then(named);
        let replaced = instead.is_some();
        let from = match (instead, self.stage_named(&name, index)) {
            (Some(context), _) => From::Named(context),
            (None, Some(stage)) => From::Stage(stage),
            (None, None) if name == "scratch" => From::Scratch,
            (None, None) => match named(&name) {
                Some(context) => From::Named(context),
                None => From::Image(name),
            },
        };
        let counted = |step: &&crate::build::dockerfile::Step| {
            matches!(
                step.what,
                Instruction::Add(_)
                    | Instruction::Copy(_)
                    | Instruction::Run(_)
                    | Instruction::Workdir(_)
            )
        };
        let own = if replaced { 0 } else { stage.steps.iter().filter(counted).count() };
        let based = matches!(from, From::Image(_) | From::Named(_));
        let title = match (self.file.stages.len(), stage.name.as_str()) {
            (1, _) => String::new(),
            (_, "") => format!("stage-{index}"),
            (_, name) => name.to_owned(),
        };
        let needs = match from {
            From::Stage(stage) => BTreeSet::from([stage]),
            _ => BTreeSet::new(),
        };
        let total = own + usize::from(based);
        let (wanted, packed) = (false, false);
        Ok(Staged { stage, title, from, platform, needs, wanted, packed, total })
    }

    /// The last stage of this name before `before`.
    fn stage_named(&self, name: &str, before: usize) -> Option<usize> {
        let stages = self.file.stages.iter().take(before).enumerate();
        let mut fit =
            stages.filter(|(_, s)| !s.name.is_empty() && s.name.eq_ignore_ascii_case(name));
        fit.next_back().map(|(index, _)| index)
    }

    /// Where `--from=` leads, in a stage; `None` is the context.
    pub fn origin(
        &self,
        from: Option<&str>,
        stage: usize,
        named: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Origin, String> {
        let Some(from) = from.filter(|from| !from.is_empty()) else { return Ok(Origin::Context) };
        if let Ok(index) = from.parse::<usize>() {
            return match index {
                index if index < stage => Ok(Origin::Stage(index)),
                index if index < self.file.stages.len() => Err(format!(
                    "cannot copy from stage {index}, it needs to be defined before the current stage"
                )),
                _ => Err(format!("invalid stage index {index}")),
            };
        }
        if let Some(index) = self.stage_named(from, stage) {
            return Ok(Origin::Stage(index));
        }
        if let Some(context) = named(from) {
            return Ok(Origin::Named(context));
        }
        if from == "scratch" {
            return Ok(Origin::Image(from.to_owned()));
        }
        if self.stage_named(from, self.file.stages.len()).is_some() {
            return Err(format!(
                "cannot copy from stage {from:?}, it needs to be defined before the current stage"
            ));
        }
        if from.contains('$') {
            return Err("variable expansion is not supported for --from, define a new stage with \
                FROM using ARG from global scope as a workaround"
                .into());
        }
        match Reference::parse_normal(from) {
            Ok(_) => Ok(Origin::Image(from.to_owned())),
            Err(e) => Err(e.to_string()),
        }
    }

    /// The stages that a stage's steps take files from.
    fn needs(
        &self,
        index: usize,
        named: &dyn Fn(&str) -> Option<String>,
    ) -> Result<BTreeSet<usize>> {
        let mut needs = BTreeSet::new();
        if matches!(self.stages[index].from, From::Named(_)) && self.is_replaced(index, named) {
            return Ok(needs);
        }
        for step in &self.stages[index].stage.steps {
            let froms: Vec<&str> = match &step.what {
                Instruction::Copy(copy) => copy.from.as_deref().into_iter().collect(),
                Instruction::Run(run) => {
                    run.mounts.iter().filter_map(|m| m.from.as_deref()).collect()
                }
                _ => Vec::new(),
            };
            for from in froms {
                let origin = self.origin(Some(from), index, named);
                let origin = origin.map_err(|why| self.file.source.error(&step.lines, why))?;
                if let Origin::Stage(stage) = origin {
                    needs.insert(stage);
                }
            }
        }
        Ok(needs)
    }

    /// Whether a context stands for a stage: none of its steps is made.
    pub fn is_replaced(&self, index: usize, named: &dyn Fn(&str) -> Option<String>) -> bool {
        let name = &self.stages[index].stage.name;
        !name.is_empty() && named(name).is_some()
    }

    fn find_target(&self, name: &str) -> Result<usize> {
        if name.is_empty() {
            return Ok(self.stages.len() - 1);
        }
        if let Some(index) = self.stage_named(name, self.stages.len()) {
            return Ok(index);
        }
        if let Some(index) = name.parse().ok().filter(|index| *index < self.stages.len()) {
            return Ok(index);
        }
        let known = self.file.stages.iter().map(|s| s.name.as_str()).filter(|n| !n.is_empty());
        let hint = suggest(name, known).map(|near| format!("did you mean {near}?"));
        let why = format!("target stage {name:?} could not be found");
        Err(Error::NotFound {
            what: "build stage",
            name: name.to_owned(),
            hint: hint.unwrap_or(why),
        })
    }

    /// Marks what the target needs, and which stages its layers are of.
    fn want(&mut self) {
        let mut todo = vec![self.target];
        while let Some(index) = todo.pop() {
            if !std::mem::replace(&mut self.stages[index].wanted, true) {
                todo.extend(self.stages[index].needs.iter().copied());
            }
        }
        let mut next = Some(self.target);
        while let Some(index) = next {
            self.stages[index].packed = true;
            next = match self.stages[index].from {
                From::Stage(below) => Some(below),
                _ => None,
            };
        }
    }
}

#[cfg(test)]
mod tests;
