//! The command line: what was typed, not yet what is meant. A new verb is a line in its group's file.

pub mod access;
mod archive;
mod bundle;
mod keep;
mod transfer;
mod verbs;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::context::Context;

pub use access::RegistryFlags;

/// OCI images made for pipes.
#[derive(Parser)]
#[command(name = "dhow-image", version, about, max_term_width = 100)]
#[command(disable_help_subcommand = true, infer_subcommands = false)]
pub struct Cli {
    /// Flags before or after the verb.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every verb.
#[derive(Args)]
pub struct Global {
    /// Where images and layers are kept [default: /var/lib/dhow, or DHOW_ROOT]
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Where dhow keeps what runs; taken so that one set of flags fits both programs
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub run: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress; lists print ids only
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more on stderr
    #[arg(long, global = true)]
    pub debug: bool,
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
    Bundle(bundle::Bundle),
}

impl Command {
    /// Does what was asked.
    pub fn run(self, cx: &Context) -> dhow_image::Result<()> {
        match self {
            Self::Transfer(verb) => verb.run(cx),
            Self::Archive(verb) => verb.run(cx),
            Self::Keep(verb) => verb.run(cx),
            Self::Bundle(verb) => verb.run(cx),
        }
    }
}
