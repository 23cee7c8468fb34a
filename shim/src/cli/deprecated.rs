//! Flags that docker still takes, does nothing with, and says so.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::refusal::canonical;
use crate::output::Output;

const TRUST: &str = "support for docker content trust was removed";
const KERNEL: &str = "and no longer supported by the kernel";

/// Verb as its group spells it, flag, whether it takes a value (nothing: the
/// verb has it), what docker says of it.
const FLAGS: [(&str, &str, Option<bool>, &str); 10] = [
    ("container run", "disable-content-trust", Some(false), TRUST),
    ("container run", "kernel-memory", Some(true), KERNEL),
    ("container create", "disable-content-trust", Some(false), TRUST),
    ("container create", "kernel-memory", Some(true), KERNEL),
    ("container update", "kernel-memory", Some(true), KERNEL),
    ("image build", "disable-content-trust", Some(false), TRUST),
    ("image pull", "disable-content-trust", Some(false), TRUST),
    ("image push", "disable-content-trust", Some(false), TRUST),
    // These two are done, under another name.
    ("container stop", "time", None, "use --timeout instead"),
    ("container restart", "time", None, "use --timeout instead"),
];

/// Whether an argument may be one of them: the definition is made larger only then.
pub(super) fn may_be(argument: &str) -> bool {
    let name = argument.split('=').next().unwrap_or(argument);
    FLAGS.iter().any(|(_, flag, ..)| name.strip_prefix("--") == Some(flag))
}

/// The definition with them.
pub(super) fn with(root: Command) -> Command {
    each(root, "")
}

fn each(command: Command, path: &str) -> Command {
    let verb = canonical(path);
    let mut command = command;
    for (_, flag, takes_value, _) in FLAGS.iter().filter(|(of, ..)| *of == verb) {
        let action = match takes_value {
            Some(true) => ArgAction::Set,
            Some(false) => ArgAction::SetTrue,
            None => continue,
        };
        command = command.arg(Arg::new(*flag).long(*flag).hide(true).action(action));
    }
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| {
        let inner = if path.is_empty() { name.clone() } else { format!("{path} {name}") };
        command.mut_subcommand(name, |sub| each(sub, &inner))
    })
}

/// Says what docker says of those that were typed.
pub(super) fn tell(matches: &ArgMatches, out: &Output) {
    let (mut path, mut at) = (String::new(), matches);
    while let Some((name, inner)) = at.subcommand() {
        path = if path.is_empty() { name.to_owned() } else { format!("{path} {name}") };
        at = inner;
    }
    let verb = canonical(&path);
    for (_, flag, takes_value, why) in FLAGS.iter().filter(|(of, ..)| *of == verb) {
        let typed = match takes_value {
            Some(_) => at.value_source(flag) == Some(clap::parser::ValueSource::CommandLine),
            // Another name of a flag: these verbs have no arguments that could look like it.
            None => std::env::args().any(|a| a.split('=').next() == Some(&format!("--{flag}"))),
        };
        if typed {
            out.note(&format!("Flag --{flag} has been deprecated, {why}"));
        }
    }
}
