//! argv → verb → exit code.

mod refusal;
mod wording;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::command::{container, image, inspect, system, volume};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::{Host, Paths};
use crate::output::Output;

/// docker's command line without a daemon.
#[derive(Debug, Parser)]
#[command(
    name = "dhow",
    version,
    disable_help_subcommand = true,
    disable_version_flag = true,
    args_override_self = true,
    infer_subcommands = false,
    after_help = "Images, volumes and containers live under --root; a reboot clears --run.\n\
                  A verb's own help: dhow VERB --help"
)]
struct Cli {
    /// Where images, containers and volumes are kept [/var/lib/dhow, or DHOW_ROOT]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Where the state of what runs is kept [/run/dhow, or DHOW_RUN]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Print the version
    #[arg(short = 'v', long, action = ArgAction::Version)]
    version: (),
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(flatten)]
    Container(ContainerVerb),
    /// Remove containers
    Rm(container::rm::Rm),
    /// List images
    Images(image::ls::Ls),
    #[command(flatten)]
    Image(ImageVerb),
    /// Remove images
    Rmi(image::rm::Rm),
    /// List containers
    Ps(container::ls::Ls),
    /// Show all about containers or images, as JSON
    Inspect(inspect::Inspect),
    /// Show versions
    Version(system::version::Version),
    /// Show what dhow finds on this machine
    Info(system::info::Info),
    /// Containers
    #[command(name = "container", subcommand)]
    Containers(ContainerGroup),
    /// Images
    #[command(name = "image", subcommand)]
    Images2(ImageGroup),
    /// Volumes
    #[command(name = "volume", subcommand)]
    Volumes(VolumeGroup),
    /// The machine
    #[command(name = "system", subcommand)]
    System(SystemGroup),
}

/// Verbs that stand alone and in `container`.
#[derive(Debug, Subcommand)]
enum ContainerVerb {
    /// Make a container of an image and start it
    Run(Box<container::run::Run>),
    /// Make a container without starting it
    Create(Box<container::create::Create>),
    /// Start stopped containers
    Start(container::start::Start),
    /// Stop containers: their stop signal, then SIGKILL
    Stop(container::stop::Stop),
    /// Stop containers and start them again
    Restart(container::restart::Restart),
    /// Send a signal to containers
    Kill(container::kill::Kill),
    /// Show a container's output
    Logs(container::logs::Logs),
    /// Run a command in a running container
    Exec(container::exec::Exec),
    /// Join a running container's streams
    Attach(container::attach::Attach),
    /// Wait until containers end and print their exit codes
    Wait(container::wait::Wait),
    /// Give a container another name
    Rename(container::rename::Rename),
    /// Write a container's files as a tar
    Export(container::export::Export),
}

/// Verbs that stand alone and in `image`.
#[derive(Debug, Subcommand)]
enum ImageVerb {
    /// Get an image from a registry
    Pull(image::pull::Pull),
    /// Bring an image to a registry
    Push(image::push::Push),
    /// Give an image another name
    Tag(image::tag::Tag),
    /// Write images as a tar
    Save(image::save::Save),
    /// Read images from a tar
    Load(image::load::Load),
    /// Make an image of a tar of files
    Import(image::import::Import),
}

#[derive(Debug, Subcommand)]
enum ContainerGroup {
    #[command(flatten)]
    Verb(ContainerVerb),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(container::rm::Rm),
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(container::ls::Ls),
    /// Show all about containers, as JSON
    Inspect(container::inspect::Inspect),
    /// Remove all stopped containers
    Prune(container::prune::Prune),
}

#[derive(Debug, Subcommand)]
enum ImageGroup {
    #[command(flatten)]
    Verb(ImageVerb),
    /// List images
    #[command(visible_alias = "list")]
    Ls(image::ls::Ls),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(image::rm::Rm),
    /// Show all about images, as JSON
    Inspect(image::inspect::Inspect),
    /// Remove images without a name
    Prune(image::prune::Prune),
}

#[derive(Debug, Subcommand)]
enum VolumeGroup {
    /// Make volumes
    Create(volume::create::Create),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(volume::ls::Ls),
    /// Show all about volumes, as JSON
    Inspect(volume::inspect::Inspect),
    /// Remove volumes
    #[command(visible_alias = "remove")]
    Rm(volume::rm::Rm),
}

#[derive(Debug, Subcommand)]
enum SystemGroup {
    /// Show what dhow finds on this machine
    Info(system::info::Info),
}

/// The whole program.
pub fn main() -> ExitCode {
    // Before anything else: a monitor has no options, and no memory to waste on them.
    if std::env::args_os().nth(1).is_some_and(|a| a == crate::monitor::ARGUMENT) {
        return crate::monitor::main();
    }
    let mut out = Output::default();
    let exit = match parse() {
        Ok(cli) => dispatch(cli, &mut out),
        Err(error) => wording::tell(&error, &out),
    };
    exit.into()
}

/// clap's derive, with Go's `--flag=false` for switches where somebody wrote one.
fn parse() -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    if std::env::args().any(|a| a.starts_with('-') && is_switch_value(&a)) {
        command = with_switch_values(command);
    }
    let matches = command.try_get_matches()?;
    Cli::from_arg_matches(&matches)
}

fn is_switch_value(argument: &str) -> bool {
    let value = argument.split_once('=').map(|(_, v)| v);
    matches!(value, Some("true" | "false" | "1" | "0" | "t" | "f" | "T" | "F" | "TRUE" | "FALSE"))
}

fn with_switch_values(command: clap::Command) -> clap::Command {
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let command = command.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_parser(switch),
        _ => arg,
    });
    names.into_iter().fold(command, |c, name| c.mut_subcommand(name, with_switch_values))
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
        default_missing_value = "true", value_parser = switch, hide_default_value = true)]
    pub sig_proxy: bool,
}

fn dispatch(cli: Cli, out: &mut Output) -> Exit {
    let Some(verb) = cli.verb else {
        out.text(&Cli::command().render_help().to_string());
        return out.exit();
    };
    let host = match host(cli.root, cli.run) {
        Ok(host) => host,
        Err(e) => {
            out.error(&e);
            return Exit::ENGINE;
        }
    };
    let host = &host;
    match verb {
        Verb::Container(verb) | Verb::Containers(ContainerGroup::Verb(verb)) => {
            container_verb(verb, host, out)
        }
        Verb::Image(verb) | Verb::Images2(ImageGroup::Verb(verb)) => image_verb(verb, host, out),
        Verb::Ps(v) | Verb::Containers(ContainerGroup::Ls(v)) => v.run(host, out),
        Verb::Rm(v) | Verb::Containers(ContainerGroup::Rm(v)) => v.run(host, out),
        Verb::Containers(ContainerGroup::Inspect(v)) => v.run(host, out),
        Verb::Containers(ContainerGroup::Prune(v)) => v.run(host, out),
        Verb::Images(v) | Verb::Images2(ImageGroup::Ls(v)) => v.run(host, out),
        Verb::Rmi(v) | Verb::Images2(ImageGroup::Rm(v)) => v.run(host, out),
        Verb::Images2(ImageGroup::Inspect(v)) => v.run(host, out),
        Verb::Images2(ImageGroup::Prune(v)) => v.run(host, out),
        Verb::Volumes(VolumeGroup::Create(v)) => v.run(host, out),
        Verb::Volumes(VolumeGroup::Ls(v)) => v.run(host, out),
        Verb::Volumes(VolumeGroup::Inspect(v)) => v.run(host, out),
        Verb::Volumes(VolumeGroup::Rm(v)) => v.run(host, out),
        Verb::Inspect(v) => v.run(host, out),
        Verb::Version(v) => v.run(host, out),
        Verb::Info(v) | Verb::System(SystemGroup::Info(v)) => v.run(host, out),
    }
}

fn container_verb(verb: ContainerVerb, host: &Host, out: &mut Output) -> Exit {
    match verb {
        ContainerVerb::Run(v) => v.run(host, out),
        ContainerVerb::Create(v) => v.run(host, out),
        ContainerVerb::Start(v) => v.run(host, out),
        ContainerVerb::Stop(v) => v.run(host, out),
        ContainerVerb::Restart(v) => v.run(host, out),
        ContainerVerb::Kill(v) => v.run(host, out),
        ContainerVerb::Logs(v) => v.run(host, out),
        ContainerVerb::Exec(v) => v.run(host, out),
        ContainerVerb::Attach(v) => v.run(host, out),
        ContainerVerb::Wait(v) => v.run(host, out),
        ContainerVerb::Rename(v) => v.run(host, out),
        ContainerVerb::Export(v) => v.run(host, out),
    }
}

fn image_verb(verb: ImageVerb, host: &Host, out: &mut Output) -> Exit {
    match verb {
        ImageVerb::Pull(v) => v.run(host, out),
        ImageVerb::Push(v) => v.run(host, out),
        ImageVerb::Tag(v) => v.run(host, out),
        ImageVerb::Save(v) => v.run(host, out),
        ImageVerb::Load(v) => v.run(host, out),
        ImageVerb::Import(v) => v.run(host, out),
    }
}

/// How many of these words name a verb: two for `container ls`, one for `ps`.
fn names(words: &[String]) -> usize {
    let mut command = Cli::command();
    let mut known = 0;
    for word in words {
        match command.find_subcommand(word).cloned() {
            Some(inner) => command = inner,
            None => break,
        }
        known += 1;
    }
    known
}

/// Flags, then environment, then the defaults.
fn host(root: Option<PathBuf>, run: Option<PathBuf>) -> Result<Host> {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(address) = std::env::var_os("DOCKER_HOST").filter(|v| !v.is_empty()) {
        let address = address.to_string_lossy();
        if !address.starts_with("unix://") && !address.starts_with('/') {
            return Err(Error::usage(format!(
                "DOCKER_HOST={address} names another machine, and dhow works on this one only; unset it"
            )));
        }
    }
    let settle = |given: Option<PathBuf>, name: &str, default: &str| {
        let path = given.or_else(|| var(name)).unwrap_or_else(|| default.into());
        std::path::absolute(&path)
            .map(|path| real(&path))
            .map_err(|e| Error::io("directory", &path, e))
    };
    let paths = Paths {
        root: settle(root, "DHOW_ROOT", "/var/lib/dhow")?,
        run: settle(run, "DHOW_RUN", "/run/dhow")?,
    };
    Host::open(paths, var("DHOW_RUNTIME").as_deref())
}

/// The path without symlinks, as far as it is there: runtimes refuse a root behind one.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
        with_switch_values(Cli::command()).debug_assert();
    }

    #[test]
    fn options_end_at_the_image_and_switches_cluster() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["dhow"], args].concat());
        let Ok(Cli { verb: Some(Verb::Container(ContainerVerb::Run(run))), .. }) = parse(&[
            "run", "-itd", "-e", "A=1", "-e", "B", "-h", "name", "busybox", "ls", "-l", "--rm",
        ]) else {
            panic!("run does not parse")
        };
        assert!(run.flags.interactive && run.flags.tty && run.detach && !run.flags.rm);
        assert_eq!(run.words, ["busybox", "ls", "-l", "--rm"]);
        assert_eq!(run.flags.env, ["A=1", "B"]);
        assert_eq!(run.flags.isolation.hostname.as_deref(), Some("name"));
        assert!(parse(&["run", "--nope", "busybox"]).is_err());
        assert!(parse(&["ps", "-aq"]).is_ok());
        assert!(parse(&["save", "x", "-o", "y"]).is_ok());
        assert!(parse(&["stop", "-t", "-1", "x"]).is_ok());
    }

    #[test]
    fn switches_take_values_as_in_go() {
        let command = with_switch_values(Cli::command());
        let args = ["dhow", "run", "-it=false", "--rm=true", "busybox", "x=true"];
        let matches = command.try_get_matches_from(args).unwrap();
        let cli = Cli::from_arg_matches(&matches).unwrap();
        let Some(Verb::Container(ContainerVerb::Run(run))) = cli.verb else { panic!() };
        assert!(run.flags.interactive && !run.flags.tty && run.flags.rm);
    }
}
