//! docs/docker.md holds what the definition says, and this test holds it to that.
//! `DHOW_BLESS=1 cargo test -p dhow --lib cli::page` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use clap::Command;

use super::coverage::{EXTRAS, count, docker, find};
use super::{help, refusal};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/docker.md");

#[test]
fn docker_md_says_what_the_definition_says() {
    let root = super::definition();
    let page = std::fs::read_to_string(PAGE).expect("docs/docker.md is there");
    let mut fresh = page.clone();
    for (name, text) in [
        ("counts", counts(&root)),
        ("done", done(&root)),
        ("refused commands", refused_commands()),
        ("refused flags", refused_flags()),
        ("further", further(&root)),
    ] {
        fresh = with_block(&fresh, name, &text);
    }
    if fresh != page && std::env::var_os("DHOW_BLESS").is_some() {
        std::fs::write(PAGE, &fresh).expect("docs/docker.md can be written");
        return;
    }
    let changed: Vec<&str> = fresh.lines().filter(|l| !page.lines().any(|p| p == *l)).collect();
    assert!(
        fresh == page,
        "docs/docker.md differs; run `DHOW_BLESS=1 cargo test -p dhow --lib cli::page`:\n{}",
        changed.join("\n")
    );
}

/// The page with the text between the marks of this block replaced.
fn with_block(page: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = page.split_once(&begin).expect("the block has a beginning");
    let (_, after) = rest.split_once(&end).expect("the block has an end");
    format!("{before}{begin}\n{text}\n{end}{after}")
}

fn counts(root: &Command) -> String {
    let all = count(root, &docker(), &mut Vec::new());
    format!(
        "docker has {} commands, groups and second spellings counted, with {} flags. dhow does {} of the commands and\n\
         {} of the flags; the rest is refused by name.\n",
        all.commands.iter().sum::<usize>(),
        all.flags.iter().sum::<usize>(),
        all.commands[0],
        all.flags[0],
    )
}

/// A row a verb, once, with its spellings.
fn done(root: &Command) -> String {
    let mut rows = String::from("| command | spelled | flags |\n|---|---|---|\n");
    let mut seen = BTreeSet::new();
    let mut commands = docker().commands;
    commands.sort_by_key(|entry| refusal::canonical(&entry.command));
    for entry in commands {
        let canonical = refusal::canonical(&entry.command);
        let Some(command) = find(root, &canonical).filter(|c| !c.has_subcommands()) else {
            continue;
        };
        if !seen.insert(canonical.clone()) {
            continue;
        }
        let spelled = help::spellings(root, &canonical);
        let spelled: Vec<String> = spelled.iter().map(|s| format!("`{s}`")).collect();
        let mut flags: Vec<&str> = command
            .get_arguments()
            .filter(|a| !a.is_hide_set() && a.get_id() != "help")
            .filter_map(clap::Arg::get_long)
            .collect();
        flags.sort_unstable();
        let flags: Vec<String> = flags.iter().map(|f| format!("`--{f}`")).collect();
        let flags = if flags.len() > 30 {
            format!("{}, see `dhow {} --help`", flags.len(), entry.command)
        } else {
            flags.join(" ")
        };
        let _ = writeln!(rows, "| `{canonical}` | {} | {flags} |", spelled.join(" "));
    }
    rows
}

/// Commands by reason.
fn refused_commands() -> String {
    let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, reason) in refusal::commands() {
        match by_reason.iter_mut().find(|(r, _)| *r == reason) {
            Some((_, names)) => names.push(name),
            None => by_reason.push((reason, vec![name])),
        }
    }
    let mut rows = String::from("| commands | why, and what to do instead |\n|---|---|\n");
    for (reason, names) in by_reason {
        let names: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
        let _ = writeln!(rows, "| {} | {} |", names.join(" "), escaped(reason));
    }
    rows
}

/// Flags by verb and reason.
fn refused_flags() -> String {
    let mut all: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
    for (command, long, short, reason) in refusal::flags() {
        let verb = match command {
            "" => "before the verb",
            "container run" => "`run`, `create`",
            "container create" => continue,
            other => &format!("`{other}`"),
        };
        let flag =
            if short.is_empty() { format!("`{long}`") } else { format!("`{short}`, `{long}`") };
        all.entry((verb.to_owned(), reason)).or_default().push(flag);
    }
    let mut rows = String::from("| of | flags | why |\n|---|---|---|\n");
    for ((verb, reason), flags) in all {
        let _ = writeln!(rows, "| {verb} | {} | {} |", flags.join(" "), escaped(reason));
    }
    rows
}

/// What docker has not.
fn further(root: &Command) -> String {
    let mut rows = String::from("| what | |\n|---|---|\n");
    let docker = docker();
    let known: BTreeSet<String> = docker.commands.iter().flat_map(|c| c.spelled.clone()).collect();
    for group in std::iter::once(root).chain(root.get_subcommands().filter(|c| c.has_subcommands()))
    {
        for verb in group.get_subcommands().filter(|c| !c.is_hide_set() && !c.has_subcommands()) {
            let name = if group.get_name() == "dhow" {
                verb.get_name().to_owned()
            } else {
                format!("{} {}", group.get_name(), verb.get_name())
            };
            if !known.contains(&name) {
                let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
                let _ = writeln!(rows, "| `dhow {name}` | {about} |");
            }
        }
    }
    for (command, flag, why) in EXTRAS {
        let verb = command.rsplit(' ').next().unwrap_or(command);
        let _ = writeln!(rows, "| `dhow {verb} {flag}` | {why} |");
    }
    rows
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}
