//! Help laid out as docker lays it out, from the definition that clap parses by.

pub mod flags;
mod usage;

use clap::{Args, Command};

use super::refusal;
use crate::error::Error;
use crate::exit::Exit;
use crate::host::Host;
use crate::output::Output;

pub use flags::type_of;
pub use usage::{arity, usage};

/// The verbs that `dhow --help` names first.
const COMMON: [&str; 12] = [
    "run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search", "version",
    "info",
];

/// The width of the caller's terminal, or docker's 80.
pub fn width() -> usize {
    crate::monitor::terminal_size().map_or(80, |(_, columns)| usize::from(columns).max(40))
}

/// Help of the command that `path` names (none: dhow itself), for lines of `width` characters.
pub fn page(root: &Command, path: &[String], width: usize) -> String {
    let command = path.iter().try_fold(root, |at, word| at.find_subcommand(word)).unwrap_or(root);
    let spelled: Vec<&str> =
        std::iter::once("dhow").chain(path.iter().map(String::as_str)).collect();
    let spelled = spelled.join(" ");
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut parts = vec![format!("Usage:  {}\n\n{about}\n", usage(command, &spelled))];
    if path.is_empty() {
        parts.push(overview(root));
    } else if command.has_subcommands() {
        parts.push(section("Commands", command.get_subcommands()));
    }
    if let Some(aliases) = aliases(root, path) {
        parts.push(format!("\nAliases:\n  {aliases}\n"));
    }
    let title = if path.is_empty() { "Global Options" } else { "Options" };
    let options = flags::table(command, width);
    if !options.is_empty() {
        parts.push(format!("\n{title}:\n{options}"));
    }
    if command.has_subcommands() {
        let more = "COMMAND --help' for more information on a command.";
        parts.push(format!("\nRun '{spelled} {more}\n"));
    }
    if path.is_empty() {
        let where_ = "Images, volumes and containers are kept under --root; a reboot clears --run.";
        parts.push(format!("\n{where_}\n"));
    }
    parts.concat()
}

fn overview(root: &Command) -> String {
    let common = COMMON.iter().filter_map(|name| root.find_subcommand(name));
    let groups = root.get_subcommands().filter(|c| c.has_subcommands());
    let others =
        root.get_subcommands().filter(|c| !c.has_subcommands() && !COMMON.contains(&c.get_name()));
    section("Common Commands", common)
        + &section("Management Commands", sorted(groups))
        + &section("Commands", sorted(others))
}

fn sorted<'a>(commands: impl Iterator<Item = &'a Command>) -> impl Iterator<Item = &'a Command> {
    let mut all: Vec<_> = commands.collect();
    all.sort_by_key(|c| c.get_name());
    all.into_iter()
}

fn section<'a>(title: &str, commands: impl Iterator<Item = &'a Command>) -> String {
    let mut rows: Vec<(&str, String)> = commands
        .filter(|c| !c.is_hide_set())
        .map(|c| (c.get_name(), c.get_about().map(ToString::to_string).unwrap_or_default()))
        .collect();
    if title == "Commands" {
        rows.sort();
    }
    if rows.is_empty() {
        return String::new();
    }
    let lines: Vec<String> =
        rows.iter().map(|(name, about)| format!("  {name:<11} {about}\n")).collect();
    format!("\n{title}:\n{}", lines.concat())
}

/// Every spelling of a verb that has several: `dhow container ls, …, dhow ps`.
pub fn aliases(root: &Command, path: &[String]) -> Option<String> {
    let all = spellings(root, &path.join(" "));
    let all: Vec<String> = all.iter().map(|name| format!("dhow {name}")).collect();
    (all.len() > 1).then(|| all.join(", "))
}

/// The spellings of a verb: its group's name for it and the aliases, then how it stands alone.
pub fn spellings(root: &Command, verb: &str) -> Vec<String> {
    let canonical = refusal::canonical(verb);
    let Some((group, name)) = canonical.split_once(' ') else { return vec![canonical] };
    let Some(command) = root.find_subcommand(group).and_then(|g| g.find_subcommand(name)) else {
        return vec![canonical];
    };
    let mut all = vec![canonical.clone()];
    all.extend(command.get_visible_aliases().map(|alias| format!("{group} {alias}")));
    let alone = root.get_subcommands().map(Command::get_name);
    all.extend(
        alone.filter(|n| *n != canonical && refusal::canonical(n) == canonical).map(Into::into),
    );
    // What stands in two groups.
    let groups = root.get_subcommands().filter(|g| !g.is_hide_set() && g.get_name() != group);
    let others = groups.flat_map(|g| {
        g.get_subcommands().map(move |c| format!("{} {}", g.get_name(), c.get_name()))
    });
    all.extend(others.filter(|name| refusal::canonical(name) == canonical));
    all
}

/// `dhow help VERB`, which is `dhow VERB --help`.
#[derive(Debug, Args)]
pub struct HelpVerb {
    /// The verb, with its group
    #[arg(value_name = "COMMAND")]
    words: Vec<String>,
}

impl HelpVerb {
    /// The page of the verb.
    pub(super) fn run(self, _: &Host, out: &mut Output) -> Exit {
        let root = super::definition();
        let full = self.words.join(" ");
        let mut words = self.words.iter();
        if words.try_fold(&root, |at, word| at.find_subcommand(word)).is_some() {
            out.text(&page(&root, &self.words, width()));
            return out.exit();
        }
        let reason = refusal::command(&refusal::canonical(&full));
        out.error(&Error::usage(match reason {
            Some(reason) => format!("'{full}' is not supported: {reason}"),
            None => format!("unknown help topic: {full}"),
        }));
        Exit::FAILED
    }
}
