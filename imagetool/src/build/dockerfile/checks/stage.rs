//! Checks of a stage's instructions, with the variables that each of them sees.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::super::ports::parts;
use super::super::suggest::suggest_exact;
use super::super::words::{quoted, split};
use super::super::{Command, Dockerfile, Instruction, Step, parse_one};
use super::from::Globals;
use super::{Asked, Lint};
use crate::build::expand;

pub(super) fn check(
    file: &Dockerfile,
    asked: &Asked,
    globals: &Globals,
    reached: &[usize],
    lint: &mut Lint,
) {
    let mut states: Vec<Option<State>> = Vec::new();
    for (index, stage) in file.stages.iter().enumerate() {
        if !reached.contains(&index) {
            states.push(None);
            continue;
        }
        let before = |at: &usize| file.stages[*at].name == globals.bases[index];
        let base = (0..index).rev().find(before).filter(|_| !globals.bases[index].is_empty());
        let mut state = match base {
            Some(base) => states[base].clone().unwrap_or_default(),
            None => State::of_image(index, &globals.bases[index], asked),
        };
        let triggers = std::mem::take(&mut state.triggers);
        let mut now = Stage { file, asked, globals, state, lint, seen: BTreeMap::new() };
        for text in &triggers {
            if let Ok(step) = parse_one(text, file.source.name()) {
                now.step(&Step { lines: stage.lines.clone(), ..step });
            }
        }
        stage.steps.iter().for_each(|step| now.step(step));
        states.push(Some(now.state));
    }
}

/// What an instruction sees.
#[derive(Clone, Default)]
struct State {
    values: BTreeMap<String, String>,
    /// ARGs, with a value or not.
    declared: BTreeSet<String>,
    /// All of the base's variables are known.
    known: bool,
    /// A SHELL was set.
    shell: bool,
    /// A WORKDIR was.
    workdir: bool,
    /// ONBUILD's.
    triggers: Vec<String>,
}

impl State {
    fn of_image(index: usize, base: &str, asked: &Asked) -> Self {
        let config = match base {
            "scratch" => Some(crate::config::RunConfig::default()),
            _ => (asked.base)(index),
        };
        let mut state = Self { known: config.is_some(), ..Self::default() };
        let config = config.unwrap_or_default();
        let pairs = config.env.iter().map(|v| v.split_once('=').unwrap_or((v, "")));
        state.values.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        // It is set for a build in any case.
        state.values.entry("PATH".into()).or_default();
        state.shell = config.shell.is_some_and(|shell| !shell.is_empty());
        state.triggers = config.on_build;
        state
    }
}

/// A stage while its instructions are gone through.
struct Stage<'a, 'l> {
    file: &'a Dockerfile,
    asked: &'a Asked<'a>,
    globals: &'a Globals,
    state: State,
    lint: &'a mut Lint<'l>,
    /// Where CMD, ENTRYPOINT and HEALTHCHECK were last.
    seen: BTreeMap<&'static str, (RangeInclusive<usize>, Vec<String>)>,
}

impl Stage<'_, '_> {
    fn tell(&mut self, step: &Step, check: &'static str, text: String) {
        self.lint.tell(check, text, &step.lines, &step.comments);
    }

    /// Expands by the values of now, and tells of names that nobody has set.
    fn expanded<T>(&mut self, step: &Step, f: impl FnOnce(expand::Lookup) -> T) -> T {
        let missing = RefCell::new(BTreeSet::new());
        let result = f(&|name| {
            let value = self.state.values.get(name).cloned();
            if value.is_none() {
                missing.borrow_mut().insert(name.to_owned());
            }
            value
        });
        for name in missing.into_inner() {
            if !self.state.known || self.state.declared.contains(&name) {
                continue;
            }
            let near = suggest_exact(&name, self.state.values.keys().map(String::as_str));
            let hint = near.map_or_else(String::new, |near| format!(" (did you mean ${near}?)"));
            let text = format!("Usage of undefined variable '${name}'{hint}");
            self.tell(step, "UndefinedVar", text);
        }
        result
    }

    fn step(&mut self, step: &Step) {
        let escape = self.file.escape;
        let what = self.expanded(step, |get| step.what.expanded(escape, get));
        let Ok(what) = what else { return };
        match &what {
            Instruction::Arg(_) => self.arguments(step),
            Instruction::Env(pairs) => {
                self.legacy(step);
                for (name, value) in pairs {
                    self.secret(step, "ENV", name);
                    self.state.values.insert(name.clone(), value.clone());
                }
            }
            Instruction::Label(_) => self.legacy(step),
            Instruction::Cmd(command) => {
                self.once(step, "CMD");
                self.signals(step, command);
            }
            Instruction::Entrypoint(command) => {
                self.once(step, "ENTRYPOINT");
                self.signals(step, command);
            }
            Instruction::Healthcheck(_) => self.once(step, "HEALTHCHECK"),
            Instruction::Shell(_) => self.state.shell = true,
            Instruction::Workdir(path) => {
                if !self.state.workdir && !path.starts_with('/') {
                    let text = format!(
                        "Relative workdir {path:?} can have unexpected results if the base image changes"
                    );
                    self.tell(step, "WorkdirRelativePath", text);
                }
                self.state.workdir = true;
            }
            Instruction::Expose(ports) => ports.iter().for_each(|port| self.port(step, port)),
            Instruction::Copy(copy) if copy.from.is_none() => {
                copy.sources.iter().for_each(|path| self.ignored(step, "Copy", path));
            }
            Instruction::Add(add) => {
                let local = |path: &&String| !remote(path);
                add.sources.iter().filter(local).for_each(|path| self.ignored(step, "Add", path));
            }
            Instruction::Onbuild(text) => self.state.triggers.push(text.clone()),
            Instruction::Run(run) => {
                for mount in &run.mounts {
                    let _ = self.expanded(step, |get| {
                        mount.read(&|value| expand::word(value, escape, get))
                    });
                }
            }
            _ => {}
        }
    }

    fn arguments(&mut self, step: &Step) {
        let Instruction::Arg(args) = &step.what else { return };
        for arg in args {
            self.secret(step, "ARG", &arg.name);
            let value = match (self.asked.args.get(&arg.name), &arg.value) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(text)) => {
                    let escape = self.file.escape;
                    self.expanded(step, |get| expand::word(text, escape, get)).ok()
                }
                (None, None) => self.globals.values.get(&arg.name).cloned(),
            };
            if let Some(value) = value {
                self.state.values.insert(arg.name.clone(), value);
            }
            self.state.declared.insert(arg.name.clone());
        }
    }

    fn secret(&mut self, step: &Step, what: &str, name: &str) {
        const SECRET: [&str; 10] = [
            "apikey",
            "auth",
            "credential",
            "credentials",
            "key",
            "password",
            "pword",
            "passwd",
            "secret",
            "token",
        ];
        let lower = name.to_lowercase();
        let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
        if has(&SECRET) && !has(&["public", "file", "version"]) {
            let text =
                format!("Do not use ARG or ENV instructions for sensitive data ({what} {name:?})");
            self.tell(step, "SecretsUsedInArgOrEnv", text);
        }
    }

    fn legacy(&mut self, step: &Step) {
        let parts = split(&step.text, self.file.escape);
        let first = quoted(parts.rest, self.file.escape).into_iter().next();
        if first.is_some_and(|word| !word.contains('=')) {
            let word = parts.word;
            let text = format!(
                "\"{word} key=value\" should be used instead of legacy \"{word} key value\" format"
            );
            self.tell(step, "LegacyKeyValueFormat", text);
        }
    }

    fn once(&mut self, step: &Step, name: &'static str) {
        let here = (step.lines.clone(), step.comments.clone());
        if let Some((lines, _)) = self.seen.insert(name, here) {
            let word = step.text.split_whitespace().next().unwrap_or(name);
            let text = format!(
                "Multiple {word} instructions should not be used in the same stage because only the last one will be used"
            );
            self.lint.tell("MultipleInstructionsDisallowed", text, &lines, &step.comments);
        }
    }

    fn signals(&mut self, step: &Step, command: &Command) {
        if matches!(command, Command::Shell(_)) && !self.state.shell {
            let word = step.text.split_whitespace().next().unwrap_or_default();
            let text = format!(
                "JSON arguments recommended for {word} to prevent unintended behavior related to OS signals"
            );
            self.tell(step, "JSONArgsRecommended", text);
        }
    }

    fn port(&mut self, step: &Step, text: &str) {
        let (ip, host, container) = parts(text);
        let protocol = container.split_once('/').map_or("", |(_, protocol)| protocol);
        if protocol != protocol.to_lowercase() {
            let text =
                format!("Defined protocol '{text}' in EXPOSE instruction should be lowercase");
            self.tell(step, "ExposeProtoCasing", text);
        }
        if !ip.is_empty() || !host.is_empty() {
            let text = format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{text}'"
            );
            self.tell(step, "ExposeInvalidFormat", text);
        }
    }

    fn ignored(&mut self, step: &Step, what: &str, path: &str) {
        let path = clean(path);
        if (self.asked.ignored)(&path) {
            let text =
                format!("Attempting to {what} file {path:?} that is excluded by .dockerignore");
            self.tell(step, "CopyIgnoredFile", text);
        }
    }
}

/// Go's filepath.Clean of a path in the context, without a slash before it.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".into() } else { parts.join("/") }
}

/// It isn't of the context.
fn remote(source: &str) -> bool {
    source.contains("://") || source.starts_with("git@") || source.starts_with("github.com/")
}
