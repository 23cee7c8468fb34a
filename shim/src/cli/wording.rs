//! What clap found wrong, in dhow's one line and with docker's exit code.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::refusal;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{Output, nearest};

/// Tells it.
pub fn tell(error: &clap::Error, out: &Output) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Help goes to stdout, colours only on a terminal: clap's own printing.
            let _ = error.print();
            return Exit::OK;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            return Exit::FAILED;
        }
        _ => {}
    }
    out.error(&Error::usage(line(error)));
    match error.kind() {
        // As docker: an unknown verb and a lacking argument are 1, everything about flags 125.
        ErrorKind::InvalidSubcommand
        | ErrorKind::MissingSubcommand
        | ErrorKind::MissingRequiredArgument
        | ErrorKind::TooFewValues => Exit::FAILED,
        _ => Exit::ENGINE,
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(list) => list.first().cloned(),
        _ => None,
    }
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

fn line(error: &clap::Error) -> String {
    let verb = verb();
    let see = format!("see 'dhow{}{verb} --help'", if verb.is_empty() { "" } else { " " });
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let flag = context(error, ContextKind::InvalidArg).unwrap_or_default();
            if !flag.starts_with('-') {
                return format!("\"dhow {verb}\" takes no argument \"{flag}\"; {see}");
            }
            if let Some(reason) = refusal::flag(&verb, &flag) {
                return format!("{flag} is not supported: {reason}");
            }
            let near = context(error, ContextKind::SuggestedArg);
            let near = near.map_or_else(String::new, |n| format!("; did you mean {n}?"));
            match flag.strip_prefix('-').filter(|short| !short.starts_with('-')) {
                Some(short) => format!("unknown shorthand flag: {}; {see}", cluster(short)),
                None => format!("unknown flag: {flag}{near}; {see}"),
            }
        }
        ErrorKind::InvalidSubcommand => {
            let name = context(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            let full = if verb.is_empty() { name.clone() } else { format!("{verb} {name}") };
            if let Some(reason) = refusal::command(&full) {
                return format!("'{full}' is not in this version: {reason}");
            }
            let near = suggestion(error, &name);
            let near = near.map_or_else(String::new, |n| format!("; did you mean '{n}'?"));
            format!("unknown command: dhow {full}{near}; see 'dhow --help'")
        }
        ErrorKind::MissingRequiredArgument | ErrorKind::TooFewValues => {
            format!("\"dhow {verb}\" requires at least 1 more argument; {see}")
        }
        ErrorKind::MissingSubcommand => format!("\"dhow {verb}\" needs a command; {see}"),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::NoEquals => {
            let flag = context(error, ContextKind::InvalidArg).unwrap_or_default();
            let flag = flag.split(' ').next().unwrap_or_default();
            let value = context(error, ContextKind::InvalidValue).unwrap_or_default();
            if value.is_empty() {
                return format!("flag needs an argument: {flag}; {see}");
            }
            format!("invalid argument \"{value}\" for {flag}{}; {see}", possible(error))
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            format!("{}; {see}", first.strip_prefix("error: ").unwrap_or(first))
        }
    }
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

fn possible(error: &clap::Error) -> String {
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(list)) if !list.is_empty() => {
            format!(" (use {})", list.join(", "))
        }
        _ => String::new(),
    }
}

/// The words that name the verb, as typed: what comes before flags, two for a group.
fn verb() -> String {
    let mut words = Vec::new();
    let mut skip = false;
    for word in std::env::args().skip(1) {
        if skip {
            skip = false;
        } else if matches!(word.as_str(), "--root" | "--run") {
            skip = true;
        } else if word.starts_with('-') {
            if !words.is_empty() {
                break;
            }
        } else {
            words.push(word);
        }
    }
    let known = crate::cli::names(&words);
    words.truncate(known);
    words.join(" ")
}
