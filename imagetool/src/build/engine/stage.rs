//! A stage: its base, then its steps.

use std::ops::RangeInclusive;

use super::config::Given;
use super::{Engine, State};
use crate::build::dockerfile::{Dockerfile, Instruction, Step, parse_one};
use crate::build::expand;
use crate::build::plan::From;
use crate::error::{Error, Result};

/// A stage at work.
pub(super) struct Work<'a> {
    pub engine: &'a Engine<'a>,
    pub index: usize,
    pub state: State,
    /// How many of the counted steps were begun.
    pub begun: usize,
    pub total: usize,
    /// Whether earlier results are of no use.
    pub no_cache: bool,
    /// The step being made read files that changed: its result is nobody else's.
    pub unsteady: bool,
    /// It has had a CMD.
    commanded: bool,
}

impl Engine<'_> {
    /// Does a stage.
    pub(super) fn work(&self, index: usize) -> Result<State> {
        self.go_on()?;
        let staged = &self.plan.stages[index];
        let order = self.what.order;
        let filter = &order.no_cache_filter;
        let name = staged.stage.name.as_str();
        let no_cache = order.no_cache
            || filter.iter().any(|f| f.eq_ignore_ascii_case(name) && !name.is_empty());
        let mut work = Work {
            engine: self,
            index,
            state: State::scratch(&self.plan.platform),
            begun: 0,
            total: staged.total,
            no_cache,
            unsteady: false,
            commanded: false,
        };
        let at = |e: Error| located(self.plan.file, &staged.stage.lines, e);
        work.state = match &staged.from {
            From::Scratch => {
                State::scratch(staged.platform.as_ref().unwrap_or(&self.plan.platform))
            }
            From::Stage(below) => {
                let mut state = self.stage(*below)?;
                state.begin();
                state
            }
            From::Image(name) => work.image(name, staged.platform.as_ref()).map_err(at)?,
            From::Named(name) => work.named_base(name, staged.platform.as_ref()).map_err(at)?,
        };
        if self.plan.is_replaced(index, &|name| self.named(name)) {
            return Ok(work.state);
        }
        work.triggers()?;
        for step in &staged.stage.steps {
            work.step(step, false)?;
        }
        Ok(work.state)
    }
}

impl Work<'_> {
    /// What the base has for those who build upon it.
    fn triggers(&mut self) -> Result<()> {
        let texts = std::mem::take(&mut self.state.image.config.on_build);
        if texts.is_empty() {
            return Ok(());
        }
        let lines = self.engine.plan.stages[self.index].stage.lines.clone();
        let fail = |why: String| self.engine.plan.file.source.error(&lines, why);
        let mut steps = Vec::new();
        for text in &texts {
            let step = parse_one(text, "ONBUILD");
            let mut step = step.map_err(|e| fail(format!("ONBUILD {text}: {e}")))?;
            step.lines = lines.clone();
            steps.push(step);
        }
        self.total += steps.len();
        steps.iter().try_for_each(|step| self.step(step, true))
    }

    fn step(&mut self, step: &Step, trigger: bool) -> Result<()> {
        self.engine.go_on()?;
        let file = self.engine.plan.file;
        let done = self.one(step, trigger);
        done.map_err(|e| located(file, &step.lines, e))
    }

    fn one(&mut self, step: &Step, trigger: bool) -> Result<()> {
        let escape = self.engine.plan.file.escape;
        let env = self.state.env.clone();
        let get = |name: &str| env.get(name);
        let what = step.what.expanded(escape, &get).map_err(plain)?;
        let mut given = Given {
            args: &self.engine.what.order.args,
            globals: &self.engine.plan.globals,
            escape,
            commanded: &mut self.commanded,
        };
        if self.state.configure(&what, &mut given).map_err(plain)? {
            return Ok(());
        }
        let text = match &what {
            Instruction::Run(_) => expand::shown(&step.text, escape, &get),
            _ => expand::word(&step.text, escape, &get).unwrap_or_else(|_| step.text.clone()),
        };
        let name = self.title(step, trigger, &text);
        match &what {
            Instruction::Run(run) => self.run(&name, run),
            Instruction::Copy(copy) => self.copy(&name, copy, false),
            Instruction::Add(copy) => self.copy(&name, copy, true),
            Instruction::Workdir(path) => self.workdir(&name, path),
            _ => Ok(()),
        }
    }

    /// What progress calls a step: `[builder 2/5] RUN make`.
    fn title(&mut self, step: &Step, trigger: bool, text: &str) -> String {
        let mut text = text.to_owned();
        if let Some((word, rest)) = text.split_once(char::is_whitespace) {
            text = format!("{} {}", word.to_uppercase(), rest.trim_start());
        }
        if let Instruction::Run(run) = &step.what
            && let Some(doc) = run.heredocs.first()
        {
            let content = doc.content.trim();
            let first = content.lines().next().unwrap_or_default();
            let more = if content.lines().nth(1).is_some() { "..." } else { "" };
            text = format!("{text} ({first}{more})");
        }
        let on = if trigger { "ONBUILD " } else { "" };
        format!("{}{on}{text}", self.count())
    }

    /// `[builder 2/5] `: the next one.
    pub(super) fn count(&mut self) -> String {
        self.begun += 1;
        let title = &self.engine.plan.stages[self.index].title;
        let space = if title.is_empty() { "" } else { " " };
        let width = self.total.max(1).ilog10() as usize + 1;
        let order = self.engine.what.order;
        let platform = order.platform.as_ref().filter(|_| order.several);
        let platform = platform.map(|platform| format!("{platform} ")).unwrap_or_default();
        format!("[{platform}{title}{space}{:width$}/{}] ", self.begun, self.total)
    }
}

/// An error with the lines it comes of, if it has none yet.
fn located(file: &Dockerfile, lines: &RangeInclusive<usize>, e: Error) -> Error {
    match e {
        Error::Dockerfile(_) => e,
        e => file.source.error(lines, e),
    }
}

/// An error that its line is put before.
pub(super) fn plain(why: String) -> Error {
    Error::Conflict(why)
}
