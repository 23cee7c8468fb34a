//! argv as typed. runc's command line, to the letter; nothing is resolved here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "dhow-runtime",
    about = "A low-level OCI runtime: an OCI bundle in, a container out",
    disable_version_flag = true,
    subcommand_required = false
)]
pub struct Cli {
    /// Where the state of containers is kept
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Write log lines to this file instead of standard error
    #[arg(long, global = true, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// The form of log lines
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub log_format: Format,
    /// Log more
    #[arg(long, global = true)]
    pub debug: bool,
    /// Let systemd make the cgroups
    #[arg(long, global = true)]
    pub systemd_cgroup: bool,
    /// Do without what an unprivileged user can't have
    #[arg(long, global = true, value_name = "auto|true|false", default_value = "auto")]
    pub rootless: Rootless,
    /// Print the version
    #[arg(long, short = 'v')]
    pub version: bool,
    /// The verb.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// time="…" level=… msg="…"
    Text,
    /// {"level":…,"msg":…,"time":…}
    Json,
}

/// `--rootless`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Rootless {
    /// By who runs this.
    Auto,
    /// Yes.
    True,
    /// No.
    False,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a container, up to where only its start is missing
    Create(Create),
    /// Start a created container
    Start {
        /// Container
        id: String,
    },
    /// Create, start, and wait for a container
    Run(Run),
    /// Show a container's state as JSON
    State {
        /// Container
        id: String,
    },
    /// Send a signal to a container's first process
    Kill(Kill),
    /// Delete what is left of a stopped container
    Delete {
        /// Container
        id: String,
        /// Kill it first if it runs; a missing one is no failure
        #[arg(long, short)]
        force: bool,
    },
    /// Show what init would do for a bundle, without doing it
    Plan {
        /// The bundle's directory
        #[arg(long, short, value_name = "DIR", default_value = ".")]
        bundle: PathBuf,
    },
    /// What else runc has, refused by name
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// What create and run share.
#[derive(Debug, Args)]
pub struct Create {
    /// Container
    pub id: String,
    /// The bundle's directory
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// Write the first process's pid here
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Send the terminal's master to this socket
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Leave this many descriptors from 3 on to the container
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Move the root instead of pivoting, for a root on a ramfs
    #[arg(long)]
    pub no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
}

/// `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Shared flags.
    #[command(flatten)]
    pub create: Create,
    /// Leave as soon as the program runs
    #[arg(long, short)]
    pub detach: bool,
    /// Keep the container after its end
    #[arg(long)]
    pub keep: bool,
    /// Leave orphans to the machine's init
    #[arg(long)]
    pub no_subreaper: bool,
}

/// `kill`.
#[derive(Debug, Args)]
pub struct Kill {
    /// Container
    pub id: String,
    /// Name or number
    #[arg(default_value = "SIGTERM", allow_hyphen_values = true)]
    pub signal: String,
    /// All processes
    #[arg(long, short)]
    pub all: bool,
}
