//! What clap found wrong, in docker's words, with docker's hint and docker's exit code.

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{help, refusal};
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{Output, nearest};

/// Tells it.
pub fn tell(error: &clap::Error, out: &mut Output) -> Exit {
    let root = super::definition();
    let mut typed = Typed::of_process(&root);
    if typed.globals.iter().any(|word| word.split('=').next() == Some(&*flag_of(error))) {
        typed = Typed { verb: Vec::new(), command: root.clone(), globals: Vec::new() };
    }
    match error.kind() {
        ErrorKind::DisplayVersion => {
            let _ = error.print();
            return Exit::OK;
        }
        ErrorKind::DisplayHelp => {
            out.text(&help::page(&root, &typed.verb, help::width()));
            return out.exit();
        }
        // Nobody asked for it: as docker, to stderr.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            out.note(help::page(&root, &typed.verb, help::width()).trim_end());
            return out.exit();
        }
        _ => {}
    }
    let (message, hint) = words(error, &typed);
    out.error(&Error::usage(message));
    if hint {
        out.note(&format!("See '{} --help'.", typed.spelled()));
    }
    match error.kind() {
        // As docker: unknown verbs and numbers of arguments are 1, all about flags is 125.
        ErrorKind::InvalidSubcommand
        | ErrorKind::MissingRequiredArgument
        | ErrorKind::TooFewValues => Exit::FAILED,
        ErrorKind::UnknownArgument if !flag_of(error).starts_with('-') => Exit::FAILED,
        _ => Exit::ENGINE,
    }
}

/// The verb that was typed, and its definition.
struct Typed {
    verb: Vec<String>,
    command: Command,
    /// Flags before the verb: dhow's own.
    globals: Vec<String>,
}

/// Global flags that take a value as their next word.
const WITH_VALUE: [&str; 11] = [
    "--root",
    "--run",
    "--config",
    "--host",
    "-H",
    "--context",
    "-c",
    "--log-level",
    "-l",
    "--tlscacert",
    "--tlscert",
];

impl Typed {
    /// What comes before flags of the verb, two words for a group.
    fn of_process(root: &Command) -> Self {
        let mut words = std::env::args().skip(1);
        let (mut verb, mut command, mut globals) = (Vec::new(), root.clone(), Vec::new());
        while let Some(word) = words.next() {
            if verb.is_empty() && WITH_VALUE.contains(&word.as_str()) {
                words.next();
                continue;
            }
            if word.starts_with('-') && verb.is_empty() {
                globals.push(word);
                continue;
            }
            let Some(inner) = command.find_subcommand(&word).cloned() else { break };
            command = inner;
            verb.push(command.get_name().to_owned());
        }
        Self { verb, command, globals }
    }

    fn name(&self) -> String {
        self.verb.join(" ")
    }

    fn spelled(&self) -> String {
        std::iter::once("dhow")
            .chain(self.verb.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// `-n, --last`: how docker names a flag.
    fn flag(&self, shown: &str) -> String {
        let bare = shown.split([' ', '=', '[']).next().unwrap_or(shown);
        let found = self.command.get_arguments().find(|a| {
            let long = a.get_long().map(|l| format!("--{l}"));
            let short = a.get_short().map(|s| format!("-{s}"));
            long.as_deref() == Some(bare) || short.as_deref() == Some(bare)
        });
        match found.map(|a| (a.get_short(), a.get_long())) {
            Some((Some(short), Some(long))) => format!("-{short}, --{long}"),
            _ => bare.to_owned(),
        }
    }

    fn kind_of(&self, shown: &str) -> &'static str {
        let bare = shown.split([' ', '=', '[']).next().unwrap_or(shown);
        let mut all = self.command.get_arguments();
        let found = all.find(|a| a.get_long().is_some_and(|l| Some(l) == bare.strip_prefix("--")));
        found.map_or("string", help::type_of)
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(list) => list.first().cloned(),
        _ => None,
    }
}

fn flag_of(error: &clap::Error) -> String {
    context(error, ContextKind::InvalidArg).unwrap_or_default()
}

/// The line, and whether docker's hint follows it.
fn words(error: &clap::Error, typed: &Typed) -> (String, bool) {
    match error.kind() {
        ErrorKind::UnknownArgument => unknown(error, typed),
        ErrorKind::InvalidSubcommand => {
            let name = context(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            let full = format!("{} {name}", typed.name());
            unknown_command(full.trim(), &typed.command, suggestion(error, &name))
        }
        ErrorKind::MissingRequiredArgument | ErrorKind::TooFewValues => (arguments(typed), true),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::NoEquals => {
            (value(error, typed), true)
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            (first.strip_prefix("error: ").unwrap_or(first).to_owned(), true)
        }
    }
}

fn arguments(typed: &Typed) -> String {
    let demand = help::arity(&typed.command, &typed.name()).demand();
    format!("'{}' {demand}", typed.spelled())
}

fn unknown(error: &clap::Error, typed: &Typed) -> (String, bool) {
    let flag = flag_of(error);
    if !flag.starts_with('-') {
        return (arguments(typed), true);
    }
    let verb = refusal::canonical(&typed.name());
    if let Some(reason) = refusal::flag(&verb, &flag) {
        return (format!("{flag} is not supported: {reason}"), false);
    }
    let near = context(error, ContextKind::SuggestedArg);
    let near = near.map_or_else(String::new, |n| format!("; did you mean {n}?"));
    let Some(short) = flag.strip_prefix('-').filter(|rest| !rest.starts_with('-')) else {
        return (format!("unknown flag: {flag}{near}"), true);
    };
    (format!("unknown shorthand flag: {}", cluster(short)), true)
}

/// `'e' in -e`: an unknown letter, and what was typed from it on.
fn cluster(short: &str) -> String {
    let letter = short.chars().next().unwrap_or_default();
    let typed = std::env::args().skip(1).find_map(|word| {
        let letters = word.strip_prefix('-').filter(|w| !w.starts_with('-'))?;
        letters.find(letter).map(|at| letters[at..].to_owned())
    });
    format!("'{letter}' in -{}", typed.unwrap_or_else(|| short.to_owned()))
}

/// What is said of a command that dhow hasn't.
pub fn unknown_command(full: &str, group: &Command, near: Option<String>) -> (String, bool) {
    if let Some(reason) = refusal::command(&refusal::canonical(full)) {
        return (format!("'{full}' is not supported: {reason}"), false);
    }
    let name = full.rsplit(' ').next().unwrap_or(full);
    let names = group.get_subcommands().map(|c| c.get_name().to_owned());
    let near = nearest(name, names).or(near);
    let near = near.map_or_else(String::new, |n| format!("; did you mean '{n}'?"));
    (format!("unknown command: dhow {full}{near}"), true)
}

/// The nearest of the verbs that clap thinks were meant.
fn suggestion(error: &clap::Error, typed: &str) -> Option<String> {
    match error.get(ContextKind::SuggestedSubcommand)? {
        ContextValue::Strings(list) => {
            nearest(typed, list.clone()).or_else(|| list.last().cloned())
        }
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn value(error: &clap::Error, typed: &Typed) -> String {
    let shown = flag_of(error);
    let value = context(error, ContextKind::InvalidValue).unwrap_or_default();
    if value.is_empty() {
        return needs_argument(&shown, typed);
    }
    let why = match typed.kind_of(&shown) {
        "int" | "uint" | "uint16" => {
            format!("strconv.ParseInt: parsing \"{value}\": invalid syntax")
        }
        "" => format!("strconv.ParseBool: parsing \"{value}\": invalid syntax"),
        _ => match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(list)) if !list.is_empty() => {
                format!("use {}", list.join(", "))
            }
            _ => std::error::Error::source(error).map(ToString::to_string).unwrap_or_default(),
        },
    };
    let why = why.strip_prefix(&format!("\"{value}\" ")).unwrap_or(&why);
    format!("invalid argument \"{value}\" for \"{}\" flag: {why}", typed.flag(&shown))
}

/// As docker tells it: the long name, or the letter and where it stands.
fn needs_argument(shown: &str, typed: &Typed) -> String {
    let last = std::env::args().next_back().unwrap_or_default();
    let both = typed.flag(shown);
    match both.strip_prefix('-').and_then(|rest| rest.chars().next()) {
        Some(short) if short != '-' && !last.starts_with("--") && last.starts_with('-') => {
            format!("flag needs an argument: '{short}' in {last}")
        }
        _ => format!(
            "flag needs an argument: {}",
            shown.split([' ', '=', '[']).next().unwrap_or(shown)
        ),
    }
}
