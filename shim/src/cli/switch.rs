//! Go's switches: `--flag=false`.

use clap::{ArgAction, Args};

/// Whether an argument may give a switch a value, as `-it=false` does.
pub(super) fn has_value(argument: &str) -> bool {
    argument.starts_with('-') && argument.contains('=')
}

/// The command line with every switch taking `=true` and `=false`.
pub(super) fn with_values(command: clap::Command) -> clap::Command {
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let command = command.mut_args(|arg| match arg.get_action() {
        // One that is on unless said otherwise has a default, and takes values already.
        ArgAction::SetTrue if arg.get_default_values().is_empty() => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_parser(switch),
        _ => arg,
    });
    names.into_iter().fold(command, |c, name| c.mut_subcommand(name, with_values))
}

/// Go's strconv.ParseBool.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("\"{other}\" is neither true nor false")),
    }
}

/// A switch that is on unless said otherwise.
#[derive(Debug, Clone, Args)]
pub struct SigProxy {
    /// Pass signals on to the process (--sig-proxy=false: don't)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true", value_parser = switch)]
    pub sig_proxy: bool,
}
