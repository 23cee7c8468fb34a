//! The command line: what was typed, not yet what is meant. A new verb is a line in its group's file.

pub mod access;
mod archive;
mod bundle;
mod derive;
pub mod dest;
mod edit;
pub mod form;
mod global;
pub mod go;
mod index;
mod keep;
mod look;
pub mod maps;
#[cfg(test)]
mod page;
mod raw;
mod registry;
pub mod target;
mod transfer;
pub mod trust;
mod verbs;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::context::Context;

pub use access::RegistryFlags;
pub use global::{Global, TrustFlags};

/// OCI images made for pipes.
#[derive(Parser)]
#[command(name = "dhow-image", about, max_term_width = 100)]
#[command(version = concat!("version ", env!("CARGO_PKG_VERSION")))]
#[command(disable_help_subcommand = true, disable_version_flag = true)]
pub struct Cli {
    /// Flags before or after the verb.
    #[command(flatten, next_help_heading = "Options of every verb")]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// What was typed, read as skopeo's and umoci's command lines are.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let words = asked(words.into_iter().collect());
        let mut command = go::with_values(Self::command());
        let read = command.try_get_matches_from_mut(&words);
        // To take the definition apart costs as much as to read what was typed; the end is near.
        std::mem::forget(command);
        let matches = read.map_err(|e| match e.kind() {
            ErrorKind::DisplayHelp => help(&words).unwrap_or(e),
            _ => e,
        })?;
        Self::from_arg_matches(&matches)
    }

    /// The definition with all verbs' flags, as help, pages and completions show it.
    pub fn shown() -> clap::Command {
        let mut command = go::with_values(Self::command());
        command.build();
        go::without_values(command)
    }
}

/// `help VERB…` and `h VERB…`, as cobra's and umoci's programs have them, are `VERB… --help`.
fn asked(mut words: Vec<OsString>) -> Vec<OsString> {
    let is_help = |word: &OsString| word == "help" || word == "h";
    if words.get(1).is_some_and(is_help) {
        words.remove(1);
        words.push("--help".into());
    }
    words
}

/// The help that these words ask for.
fn help(words: &[OsString]) -> Option<clap::Error> {
    let asked = Cli::shown().try_get_matches_from(words).err();
    asked.filter(|e| e.kind() == ErrorKind::DisplayHelp)
}

/// The verbs in groups, a file each beside this one; each verb is a file in `command/`.
#[derive(Subcommand)]
#[allow(clippy::large_enum_variant)] // there is one of it
pub enum Command {
    #[command(flatten)]
    Transfer(transfer::Transfer),
    #[command(flatten)]
    Archive(archive::Archive),
    #[command(flatten)]
    Keep(keep::Keep),
    #[command(flatten)]
    Look(look::Look),
    #[command(flatten)]
    Derive(derive::Derive),
    #[command(flatten)]
    Bundle(bundle::Bundle),
    #[command(flatten)]
    Edit(edit::Edit),
    #[command(flatten)]
    Registry(registry::Registry),
    #[command(flatten)]
    Trust(trust::Trust),
}

impl Command {
    /// Whether it may make, read or remove unpacked layers, whose files have many owners.
    pub fn keeps_layers(&self) -> bool {
        !matches!(self, Self::Bundle(_) | Self::Edit(_) | Self::Registry(_) | Self::Trust(_))
    }

    /// Does what was asked.
    pub fn run(self, cx: &Context) -> dhow_image::Result<()> {
        match self {
            Self::Transfer(verb) => verb.run(cx),
            Self::Archive(verb) => verb.run(cx),
            Self::Keep(verb) => verb.run(cx),
            Self::Look(verb) => verb.run(cx),
            Self::Derive(verb) => verb.run(cx),
            Self::Bundle(verb) => verb.run(cx),
            Self::Edit(verb) => verb.run(cx),
            Self::Registry(verb) => verb.run(cx),
            Self::Trust(verb) => verb.run(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Cli, clap::Error> {
        Cli::read(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_command_line_is_well_formed() {
        go::with_values(Cli::command()).debug_assert();
    }

    #[test]
    fn help_shows_switches_bare_and_the_flags_of_every_verb_last() {
        assert!(read("x --quiet=false copy -h").err().unwrap().to_string().contains("--all"));
        let help = read("x copy -q --help").err().unwrap().to_string();
        let (own, all) = help.split_once("Options of every verb:").unwrap();
        assert!(own.contains("  -a, --all\n") && !own.contains("--json"), "{own}");
        assert!(all.contains("--json\n") && all.contains("--tls-verify[=<BOOL>]"), "{all}");
        assert!(
            read("x index append -h").err().unwrap().to_string().contains("--docker-empty-base ")
        );
    }

    #[test]
    fn help_is_a_verb_too() {
        let said = |line: &str| read(line).err().unwrap().to_string();
        assert_eq!(said("x help"), said("x --help"));
        assert_eq!(said("x h index append"), said("x index append --help"));
        assert!(said("x help nothing").contains("unrecognized subcommand"));
    }

    #[test]
    fn of_a_flag_given_twice_the_last_counts_and_lists_keep_all() {
        let line = "x config --author a --author b --config.env A=1 --config.env B=2 c";
        let matches = go::with_values(Cli::command()).get_matches_from(line.split(' '));
        let (_, config) = matches.subcommand().unwrap();
        assert_eq!(config.get_one::<String>("author").unwrap(), "b");
        assert_eq!(config.get_many::<String>("env").unwrap().count(), 2);
        read("x --root a --root b stat --image x --image y").unwrap();
    }

    #[test]
    fn switches_take_values_and_cluster() {
        let cli = read("x --debug=false inspect --raw=true -q=true y").unwrap();
        assert!(!cli.global.debug && cli.global.quiet);
        assert!(read("x inspect --raw=perhaps y").is_err());
        let help = read("x inspect --help").err().unwrap().to_string();
        assert!(help.contains("--raw\n"), "{help}");
        assert!(read("x --tls-verify=false inspect y").unwrap().global.tls_verify == Some(false));
    }

    #[test]
    fn global_flags_stand_before_the_verb_or_after() {
        for line in [
            "x --override-os linux --override-arch arm --command-timeout 5s copy a b",
            "x copy a b --override-os linux --override-arch arm --command-timeout 5s",
        ] {
            let global = read(line).unwrap().global;
            assert_eq!(global.override_arch.as_deref(), Some("arm"), "{line}");
            assert_eq!(global.command_timeout, Some(std::time::Duration::from_secs(5)));
        }
        assert!(read("x --insecure-policy --require-signed copy a b").is_err());
    }
}
