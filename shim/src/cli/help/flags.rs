//! The flags of a command as docker prints them: shorthand, name, type, words, default.

use std::any::TypeId;

use clap::{Arg, ArgAction, Command};

/// Types that neither the action nor the parser tells.
const TYPES: &[(&str, &str)] = &[
    ("annotation", "map"),
    ("aux-address", "map"),
    ("blkio-weight", "uint16"),
    ("cpus", "decimal"),
    ("filter", "filter"),
    ("gpus", "gpu-request"),
    ("health-interval", "duration"),
    ("health-retries", "int"),
    ("health-start-interval", "duration"),
    ("health-start-period", "duration"),
    ("health-timeout", "duration"),
    ("ip", "ip"),
    ("ip6", "ip"),
    ("ipam-opt", "map"),
    ("keep-storage", "bytes"),
    ("kernel-memory", "bytes"),
    ("last", "int"),
    ("limit", "int"),
    ("memory", "bytes"),
    ("memory-reservation", "bytes"),
    ("memory-swap", "bytes"),
    ("mount", "mount"),
    ("network", "network"),
    ("opt", "map"),
    ("shm-size", "bytes"),
    ("stop-timeout", "int"),
    ("sysctl", "map"),
    ("time", "int"),
    ("timeout", "int"),
    ("ulimit", "ulimit"),
];

/// What holds without the flag, where the definition has no value for that.
const DEFAULTS: &[(&str, &str)] = &[
    ("disable-content-trust", "true"),
    ("last", "-1"),
    ("memory-swappiness", "-1"),
    ("log-level", "info"),
    ("context", "default"),
];

/// Whether the flag takes true, false or nothing.
pub fn is_bool(arg: &Arg) -> bool {
    !arg.get_action().takes_values() || arg.get_value_parser().type_id() == TypeId::of::<bool>()
}

/// The word docker has for what a flag takes; nothing for a switch.
pub fn type_of(arg: &Arg) -> &'static str {
    let name = arg.get_long().unwrap_or_default();
    let many = matches!(arg.get_action(), ArgAction::Append);
    if is_bool(arg) {
        return "";
    }
    // A build's network is one of a few words.
    if name == "network" && !many {
        return "string";
    }
    if let Some((_, word)) = TYPES.iter().find(|(n, _)| *n == name) {
        return word;
    }
    let parsed = arg.get_value_parser().type_id();
    if parsed == TypeId::of::<i64>()
        || parsed == TypeId::of::<i32>()
        || parsed == TypeId::of::<usize>()
    {
        return "int";
    }
    if parsed == TypeId::of::<u16>() {
        return "uint16";
    }
    if parsed == TypeId::of::<u64>() || parsed == TypeId::of::<u32>() {
        return "uint";
    }
    match (name, many) {
        // Go's slices are lists with commas.
        ("gateway" | "link-local-ip", true) if arg.get_value_delimiter().is_some() => "ipSlice",
        ("ip-range", true) if arg.get_value_delimiter().is_some() => "ipNetSlice",
        (_, true) if arg.get_value_delimiter().is_some() => "strings",
        ("platform" | "os-features" | "cache-from", true) => "strings",
        (_, true) => "list",
        (_, false) => "string",
    }
}

/// The default as it is shown: a zero of its type isn't.
pub fn shown_default(value: &str) -> Option<String> {
    let zero = matches!(value, "" | "false" | "0" | "0s" | "[]" | "map[]" | "<nil>");
    (!zero).then(|| value.to_owned())
}

/// The default of a flag of ours, as it is shown.
pub fn default_of(arg: &Arg) -> Option<String> {
    let name = arg.get_long().unwrap_or_default();
    if let Some((_, value)) = DEFAULTS.iter().find(|(n, _)| *n == name) {
        return Some((*value).to_owned());
    }
    if arg.is_hide_default_value_set() {
        return None;
    }
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    if let Some((_, told)) = help.split_once("(default \"") {
        return told.split('"').next().map(str::to_owned);
    }
    let values = arg.get_default_values().iter();
    let value: Vec<_> = values.map(|v| v.to_string_lossy().into_owned()).collect();
    shown_default(&value.join(","))
}

/// All flags of a command, sorted by name and wrapped to `width`.
pub fn table(command: &Command, width: usize) -> String {
    let shown = command
        .get_arguments()
        .filter(|a| a.get_long().is_some() && a.get_id() != "help" && !a.is_hide_set());
    let mut args: Vec<&Arg> = shown.collect();
    args.sort_by_key(|a| a.get_long());
    let heads: Vec<String> = args.iter().map(|a| head(a)).collect();
    let indent = heads.iter().map(String::len).max().unwrap_or(0) + 3;
    let rows = heads.iter().zip(&args);
    let rows =
        rows.map(|(head, arg)| format!("{head:<indent$}{}\n", wrapped(&words(arg), indent, width)));
    rows.collect::<Vec<_>>().concat()
}

fn head(arg: &Arg) -> String {
    let long = arg.get_long().unwrap_or_default();
    let start = match arg.get_short() {
        Some(short) => format!("  -{short}, --{long}"),
        None => format!("      --{long}"),
    };
    match type_of(arg) {
        "" => start,
        word => format!("{start} {word}"),
    }
}

fn words(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    match default_of(arg) {
        Some(value) if type_of(arg) == "string" && !help.contains("(default") => {
            format!("{help} (default \"{value}\")")
        }
        Some(value) if !help.contains("(default") => format!("{help} (default {value})"),
        _ => help,
    }
}

/// Lines of at most `width`, all but the first indented.
fn wrapped(text: &str, indent: usize, width: usize) -> String {
    let room = width.saturating_sub(indent + 1).max(24);
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a first line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join(&format!("\n{}", " ".repeat(indent)))
}
