//! The line of a usage, and how many arguments a verb takes.

use clap::{Arg, Command};

use crate::cli::refusal::canonical;

/// Arguments that the definition holds otherwise than people write them.
const SPELLED: &[(&str, &str)] = &[
    ("container run", "IMAGE [COMMAND] [ARG...]"),
    ("container create", "IMAGE [COMMAND] [ARG...]"),
    ("container exec", "CONTAINER COMMAND [ARG...]"),
    ("container top", "CONTAINER [ps OPTIONS]"),
    ("image tag", "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"),
    ("image pull", "NAME[:TAG|@DIGEST]"),
    ("image push", "NAME[:TAG]"),
    ("image import", "file|URL|- [REPOSITORY[:TAG]]"),
    ("container commit", "CONTAINER [REPOSITORY[:TAG]]"),
    ("container cp", "CONTAINER:SRC_PATH DEST_PATH|-"),
    ("inspect", "NAME|ID [NAME|ID...]"),
    ("manifest inspect", "[MANIFEST_LIST] MANIFEST"),
];

/// Verbs whose flags docker's line doesn't tell of.
const SILENT: &[&str] = &["builder prune", "manifest create", "network rm"];

/// How `dhow VERB` is called.
pub fn usage(command: &Command, spelled: &str) -> String {
    if spelled == "dhow" {
        return "dhow [OPTIONS] COMMAND".to_owned();
    }
    if command.has_subcommands() {
        return format!("{spelled} COMMAND");
    }
    let mut line = spelled.to_owned();
    let name = canonical(spelled.strip_prefix("dhow ").unwrap_or(spelled));
    if !SILENT.contains(&name.as_str())
        && command.get_arguments().any(|a| !a.is_positional() && a.get_id() != "help")
    {
        line += " [OPTIONS]";
    }
    if let Some((_, arguments)) = SPELLED.iter().find(|(verb, _)| *verb == name) {
        return format!("{line} {arguments}");
    }
    for arg in command.get_positionals() {
        line = format!("{line} {}", shape(arg));
    }
    line
}

fn name_of(arg: &Arg) -> String {
    let named = arg.get_value_names().and_then(|names| names.first());
    named.map_or_else(|| arg.get_id().as_str().to_uppercase(), ToString::to_string)
}

fn shape(arg: &Arg) -> String {
    let name = name_of(arg);
    match (arg.is_required_set(), is_many(arg)) {
        (true, true) => format!("{name} [{name}...]"),
        (true, false) => name,
        (false, true) => format!("[{name}...]"),
        (false, false) => format!("[{name}]"),
    }
}

fn is_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), clap::ArgAction::Append)
        || arg.get_num_args().is_some_and(|range| range.max_values() > 1)
}

/// How many arguments a verb takes.
#[derive(Debug, PartialEq, Eq)]
pub struct Arity {
    least: usize,
    most: usize,
}

/// How many arguments a verb takes, by its definition.
pub fn arity(command: &Command, verb: &str) -> Arity {
    let name = canonical(verb);
    if let Some((_, words)) = SPELLED.iter().find(|(v, _)| *v == name) {
        let all: Vec<&str> = words.split(' ').collect();
        let least =
            all.iter().filter(|word| !word.starts_with('[') && !word.ends_with("S]")).count();
        let most =
            if words.contains("...") || words.ends_with("S]") { usize::MAX } else { all.len() };
        return Arity { least, most };
    }
    let positional = || command.get_positionals();
    let least = positional().filter(|a| a.is_required_set()).count();
    let most = if positional().any(is_many) { usize::MAX } else { positional().count() };
    Arity { least, most }
}

impl Arity {
    /// docker's words for it.
    pub fn demand(&self) -> String {
        let arguments = |n: usize| if n == 1 { "argument" } else { "arguments" };
        match (self.least, self.most) {
            (_, 0) => "accepts no arguments".to_owned(),
            (n, usize::MAX) => format!("requires at least {n} {}", arguments(n)),
            (n, m) if n == m => format!("requires {n} {}", arguments(n)),
            (0, m) => format!("requires at most {m} {}", arguments(m)),
            (n, m) => format!("requires at least {n} and at most {m} arguments"),
        }
    }
}
