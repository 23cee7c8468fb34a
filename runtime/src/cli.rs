//! argv as typed. runc's command line, to the letter; nothing is resolved here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use dhow_runtime::command;

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
    /// Let systemd make the cgroups (not yet: refused)
    #[arg(long, global = true)]
    pub systemd_cgroup: bool,
    /// Do without what an unprivileged user can't have
    // Not everywhere: `spec` has a flag of that name.
    #[arg(
        id = "rootless_cgroups",
        long = "rootless",
        value_name = "auto|true|false",
        default_value = "auto"
    )]
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
    /// Execute one more process in a running container
    Exec(Exec),
    /// List containers
    List {
        /// One of table and json
        #[arg(long, short, value_name = "FORMAT", default_value = "table")]
        format: command::list::Format,
        /// Show ids alone
        #[arg(long, short)]
        quiet: bool,
    },
    /// Show the processes of a container
    Ps {
        /// One of table and json
        #[arg(long, short, value_name = "FORMAT", default_value = "table")]
        format: command::list::Format,
        /// Container
        id: String,
        /// Options for ps(1), instead of -ef
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Stop every process of a container where it is
    Pause {
        /// Container
        id: String,
    },
    /// Let a paused container run again
    Resume {
        /// Container
        id: String,
    },
    /// Change a container's limits
    Update(Update),
    /// Show what a container uses, and that it ran out of memory, as JSON
    Events {
        /// How often
        #[arg(long, value_name = "DURATION", default_value = "5s", allow_hyphen_values = true)]
        interval: String,
        /// Once, at once
        #[arg(long)]
        stats: bool,
        /// Container
        id: String,
    },
    /// Write a config.json to start from
    Spec {
        /// The bundle's directory
        #[arg(long, short, value_name = "DIR", default_value = ".")]
        bundle: PathBuf,
        /// For an unprivileged user
        #[arg(long)]
        rootless: bool,
    },
    /// Show what this runtime does, as JSON
    Features,
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
    /// Send a pidfd of the container's first process to this socket
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
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

/// `exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// Send the terminal's master to this socket
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Send a pidfd of the process to this socket
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// Start in this directory
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Set a variable of the environment
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Give it a terminal
    #[arg(long, short)]
    pub tty: bool,
    /// Execute as this user
    #[arg(long, short, value_name = "UID[:GID]")]
    pub user: Option<String>,
    /// Add a supplementary group
    #[arg(long, short = 'g', value_name = "GID")]
    pub additional_gids: Vec<u32>,
    /// Take the whole process from this file
    #[arg(long, short, value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// Leave as soon as the program runs
    #[arg(long, short)]
    pub detach: bool,
    /// Write its pid here
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// SELinux label
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// Set no_new_privs
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub no_new_privs: Option<bool>,
    /// Add a capability
    #[arg(long, short, value_name = "CAP")]
    pub cap: Vec<String>,
    /// Leave this many descriptors from 3 on to it
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    /// Put it into a cgroup below the container's
    #[arg(long, value_name = "[CONTROLLER:]PATH")]
    pub cgroup: Vec<String>,
    /// Also in a paused container
    #[arg(long)]
    pub ignore_paused: bool,
    /// Container
    pub id: String,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

/// `update`.
#[derive(Debug, Args)]
pub struct Update {
    /// Container
    pub id: String,
    /// Take linux.resources from this file, or from standard input (-), and ignore all other options
    #[arg(long, short, value_name = "FILE")]
    pub resources: Option<PathBuf>,
    /// Weight of block I/O, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,
    /// Period that CPU time is limited in, in microseconds
    #[arg(long, value_name = "USEC")]
    pub cpu_period: Option<u64>,
    /// CPU time in each period, in microseconds; -1 for no limit
    #[arg(long, value_name = "USEC", allow_hyphen_values = true)]
    pub cpu_quota: Option<i64>,
    /// CPU time that may be saved up, in microseconds
    #[arg(long, value_name = "USEC")]
    pub cpu_burst: Option<u64>,
    /// CPU shares, against other groups
    #[arg(long, value_name = "SHARES")]
    pub cpu_share: Option<u64>,
    /// Period that realtime CPU time is limited in, in microseconds
    #[arg(long, value_name = "USEC")]
    pub cpu_rt_period: Option<u64>,
    /// Realtime CPU time in each period, in microseconds
    #[arg(long, value_name = "USEC", allow_hyphen_values = true)]
    pub cpu_rt_runtime: Option<i64>,
    /// CPUs to use
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// 1 to run only when nothing else wants to
    #[arg(long, value_name = "0|1")]
    pub cpu_idle: Option<i64>,
    /// Memory limit, as 512m; -1 for none
    #[arg(long, value_name = "BYTES", value_parser = command::update::bytes, allow_hyphen_values = true)]
    pub memory: Option<i64>,
    /// Soft memory limit
    #[arg(long, value_name = "BYTES", value_parser = command::update::bytes, allow_hyphen_values = true)]
    pub memory_reservation: Option<i64>,
    /// Limit of memory and swap together
    #[arg(long, value_name = "BYTES", value_parser = command::update::bytes, allow_hyphen_values = true)]
    pub memory_swap: Option<i64>,
    /// The most processes; 0 and below for no limit
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub pids_limit: Option<i64>,
}
