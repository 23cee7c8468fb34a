//! argv as typed: runc's command line, and crun's extras; nothing is resolved here. Help is
//! written from these definitions.

// Said so that `examples/pages.rs` finds them too.
#[path = "cli/criu.rs"]
pub mod criu;
#[path = "cli/exec.rs"]
pub mod exec;
#[path = "cli/launch.rs"]
pub mod launch;
#[path = "cli/update.rs"]
pub mod update;

use std::path::PathBuf;

use clap::{ArgMatches, Args, FromArgMatches, ValueEnum};
use dhow_runtime::command;

/// What stands before the verb (or, as runc takes it too, anywhere before the program's own).
#[derive(Debug, Default, Args)]
pub struct Global {
    /// Where the state of containers is kept
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Write log lines to this file, journald:[NAME] or syslog:[NAME] instead of standard error
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// The form of log lines
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    pub log_format: Format,
    /// The least that is logged
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Least::Warning)]
    pub log_level: Least,
    /// Log more, as --log-level debug
    #[arg(long)]
    pub debug: bool,
    /// Append each step with its microseconds to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Have systemd make the cgroups: linux.cgroupsPath is SLICE:PREFIX:NAME
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// Who makes the cgroups: systemd is --systemd-cgroup
    #[arg(long, value_name = "WHO", value_enum, default_value_t = Manager::Cgroupfs)]
    pub cgroup_manager: Manager,
    /// Do without what an unprivileged user can't have
    #[arg(
        long,
        value_name = "auto|true|false",
        default_value = "auto",
        value_parser = Rootless::read
    )]
    pub rootless: Rootless,
    /// (obsolete: criu is looked for in PATH)
    #[arg(long, value_name = "PATH", hide = true)]
    pub criu: Option<PathBuf>,
    /// Print the version
    #[arg(long, short = 'v', short_alias = 'V')]
    pub version: bool,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    /// time="…" level=… msg="…"
    Text,
    /// {"level":…,"msg":…,"time":…}
    Json,
}

/// `--log-level`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Least {
    /// Why a command failed
    Error,
    /// And what was survived
    #[default]
    Warning,
    /// And what was done
    Debug,
}

/// `--cgroup-manager`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Manager {
    /// This runtime
    #[default]
    Cgroupfs,
    /// systemd
    Systemd,
    /// Nobody: it stays in its caller's
    Disabled,
}

/// `--rootless`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Rootless {
    /// By who runs this.
    #[default]
    Auto,
    /// Yes.
    True,
    /// No.
    False,
}

impl Rootless {
    fn read(text: &str) -> Result<Self, String> {
        match boolean(text) {
            _ if text.eq_ignore_ascii_case("auto") => Ok(Self::Auto),
            Some(true) => Ok(Self::True),
            Some(false) => Ok(Self::False),
            None => Err("one of auto, true and false".to_owned()),
        }
    }
}

/// What Go's strconv.ParseBool takes.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A verb: only the one that was typed is built.
pub struct Verb {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    flags: fn(clap::Command) -> clap::Command,
    /// Its flags as they were typed.
    pub read: fn(&ArgMatches) -> Result<Command, clap::Error>,
}

impl Verb {
    /// Its flags.
    pub fn command(&self) -> clap::Command {
        // Said last: clap takes the struct's own documentation for the verb's.
        (self.flags)(settled(clap::Command::new(self.name))).about(self.about)
    }

    /// Whether all that follows the container's id is a program's: as runc, and as crun.
    pub fn ends_at_id(&self) -> bool {
        matches!(self.name, "exec" | "ps")
    }
}

/// The flags before the verb.
pub fn root() -> clap::Command {
    let about = "Open Container Initiative runtime: a bundle in, a container out";
    Global::augment_args(settled(clap::Command::new("dhow-runtime"))).about(about)
}

/// The whole command line, for help.
pub fn tree() -> clap::Command {
    root()
        .subcommand_value_name("COMMAND")
        .subcommands(VERBS.iter().map(Verb::command))
        .subcommand_help_heading("Commands")
}

/// A flag given twice is taken as it was given last.
fn settled(command: clap::Command) -> clap::Command {
    command.no_binary_name(true).args_override_self(true).disable_version_flag(true)
}

macro_rules! verbs {
    ($(#[doc = $about:literal] $variant:ident($flags:ty) = $name:literal,)+) => {
        /// What was typed.
        #[derive(Debug)]
        pub enum Command {
            $(#[doc = $about] $variant($flags),)+
        }

        /// The verbs.
        pub const VERBS: &[Verb] = &[
            $(Verb {
                name: $name,
                about: $about.trim_ascii(),
                flags: <$flags as Args>::augment_args,
                read: |typed| <$flags as FromArgMatches>::from_arg_matches(typed).map(Command::$variant),
            },)+
        ];
    };
}

verbs! {
    /// Make a container, up to where only its start is missing
    Create(launch::CreateAlone) = "create",
    /// Start a created container
    Start(One) = "start",
    /// Create, start, and wait for a container
    Run(launch::Run) = "run",
    /// Show a container's state as JSON
    State(One) = "state",
    /// Send a signal to a container's first process
    Kill(Kill) = "kill",
    /// Delete what is left of a stopped container
    Delete(Delete) = "delete",
    /// Save a running container's processes to a directory, through criu
    Checkpoint(criu::Checkpoint) = "checkpoint",
    /// Start a container from a checkpoint, where it stopped
    Restore(criu::Restore) = "restore",
    /// Execute one more process in a running container
    Exec(exec::Exec) = "exec",
    /// List containers
    List(List) = "list",
    /// Show the processes of a container
    Ps(Ps) = "ps",
    /// Stop every process of a container where it is
    Pause(One) = "pause",
    /// Let a paused container run again
    Resume(One) = "resume",
    /// Add mounts to a running container, or remove those that were added
    Mounts(Mounts) = "mounts",
    /// Change a container's limits
    Update(update::Update) = "update",
    /// Show what a container uses, and that it ran out of memory, as JSON
    Events(Events) = "events",
    /// Write a config.json to start from
    Spec(Spec) = "spec",
    /// Show what this runtime does, as JSON
    Features(Nothing) = "features",
    /// Show what init would do for a bundle, without doing it
    Plan(Plan) = "plan",
    /// Say what would fail for a bundle on this host, and why
    Check(Check) = "check",
}

/// A container alone.
#[derive(Debug, Args)]
pub struct One {
    /// Container
    pub id: String,
}

/// No flags.
#[derive(Debug, Args)]
pub struct Nothing {}

/// `mounts`.
#[derive(Debug, Args)]
pub struct Mounts {
    /// add or remove
    #[arg(value_name = "add|remove")]
    pub change: command::mounts::Change,
    /// Container
    pub id: String,
    /// A JSON file with a list of mounts, as config.json has it
    pub file: PathBuf,
}

/// `delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// Container
    pub id: String,
    /// Kill it first if it runs; a missing one is no failure
    #[arg(long, short)]
    pub force: bool,
    /// Take the id for a regular expression, and all containers it matches
    #[arg(long, short)]
    pub regex: bool,
}

/// `list`.
#[derive(Debug, Args)]
pub struct List {
    /// One of table and json
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub format: command::list::Format,
    /// Show ids alone
    #[arg(long, short)]
    pub quiet: bool,
}

/// `ps`.
#[derive(Debug, Args)]
pub struct Ps {
    /// One of table and json
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub format: command::list::Format,
    /// Container
    pub id: String,
    /// Options for ps(1), instead of -ef
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub options: Vec<String>,
}

/// `events`.
#[derive(Debug, Args)]
pub struct Events {
    /// How often
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub interval: String,
    /// Once, at once
    #[arg(long)]
    pub stats: bool,
    /// Container
    pub id: String,
}

/// `spec`.
#[derive(Debug, Args)]
pub struct Spec {
    /// The bundle's directory
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// Another name than config.json
    #[arg(long, short, value_name = "FILE", default_value = "config.json")]
    pub file: PathBuf,
    /// For an unprivileged user
    #[arg(long)]
    pub rootless: bool,
}

/// `plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// The bundle's directory
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// Another file than the bundle's config.json
    #[arg(long, short = 'f', value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One of table and json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: command::list::Format,
    /// The container it is to become
    #[arg(default_value = "plan")]
    pub id: String,
}

/// `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The bundle's directory
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// Another file than the bundle's config.json
    #[arg(long, short = 'f', value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One of table and json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: command::list::Format,
    /// The container it is to become
    pub id: Option<String>,
}

/// `kill`.
#[derive(Debug, Args)]
pub struct Kill {
    /// Container
    pub id: String,
    /// Name or number: without one, what the annotation org.opencontainers.image.stopSignal says, or SIGTERM
    #[arg(allow_hyphen_values = true)]
    pub signal: Option<String>,
    /// All processes
    #[arg(long, short)]
    pub all: bool,
    /// Take the id for a regular expression, and all containers it matches
    #[arg(long, short)]
    pub regex: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_and_flag_of_runc_is_there_and_takes_what_it_takes() {
        compare("runc", include_str!("../../tests/oracle/runc-1.5/flags"), 104);
    }

    #[test]
    fn every_verb_and_flag_of_crun_is_there_and_takes_what_it_takes() {
        compare("crun", include_str!("../../tests/oracle/crun-1.29/flags"), 94);
    }

    #[track_caller]
    fn compare(name: &str, flags: &str, all: usize) {
        let mut compared = 0;
        for line in flags.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let verb = VERBS.iter().find(|verb| verb.name == words[0]);
            let command = match (words[0], verb) {
                (word, _) if word == name => root(),
                (_, Some(verb)) => verb.command(),
                (name, None) => panic!("no such verb: {name}"),
            };
            let long = words[1].trim_start_matches('-');
            let ours = command.get_arguments().find(|arg| arg.get_long() == Some(long));
            let ours = ours.unwrap_or_else(|| panic!("not there: {line}"));
            let short = words.iter().find_map(|word| word.strip_prefix('-')?.chars().next());
            let short = short.filter(|first| *first != '-');
            if let Some(short) = short {
                let aliases = ours.get_all_short_aliases().unwrap_or_default();
                assert!(ours.get_short() == Some(short) || aliases.contains(&short), "{line}");
            }
            let valued = ours.get_action().takes_values() && !ours.is_require_equals_set();
            assert_eq!(valued, words.contains(&"VALUE"), "{line}");
            compared += 1;
        }
        assert_eq!(compared, all);
    }
}
