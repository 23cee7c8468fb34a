//! argv → verb → exit code. A new verb is a line in its group's file.

mod builder;
mod completion;
mod container;
#[cfg(test)]
mod coverage;
mod deprecated;
mod help;
mod image;
mod network;
#[cfg(test)]
mod page;
mod refusal;
mod registry;
mod switch;
mod system;
mod top;
mod verbs;
mod volume;
mod wording;
mod world;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

use crate::exit::Exit;
use crate::output::Output;
use top::Verb;
use world::Globals;

pub use completion::{Shell, script};
pub use switch::{SigProxy, switch};

/// docker's command line without a daemon.
#[derive(Debug, Parser)]
#[command(
    name = "dhow",
    version = concat!("version ", env!("CARGO_PKG_VERSION")),
    disable_help_subcommand = true,
    disable_version_flag = true,
    args_override_self = true,
    infer_subcommands = false
)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// The whole program.
pub fn main() -> ExitCode {
    dhow_kernel::signal::hear_of_children();
    // Before anything else: a monitor has no options, and no memory to waste on them.
    match std::env::args_os().nth(1) {
        Some(what) if what == crate::monitor::ARGUMENT => return crate::monitor::main(),
        Some(what) if what == crate::logging::ARGUMENT => return crate::logging::compress_main(),
        _ => {}
    }
    let mut out = Output::default();
    let exit = match parse(&out) {
        Ok(cli) => dispatch(cli, &mut out),
        Err(error) => wording::tell(&error, &mut out),
    };
    exit.into()
}

/// clap's derive, with Go's `--flag=false`: verbs see to that themselves.
fn parse(out: &Output) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let outdated = std::env::args().any(|a| deprecated::may_be(&a));
    if outdated {
        command = deprecated::with(command);
    }
    if std::env::args().any(|a| switch::has_value(&a)) {
        command = switch::with_values(command);
    }
    let matches = command.try_get_matches()?;
    if outdated {
        deprecated::tell(&matches, out);
    }
    Cli::from_arg_matches(&matches)
}

fn dispatch(cli: Cli, out: &mut Output) -> Exit {
    let Some(verb) = cli.verb else {
        // As docker: asked for with --help, it goes to stdout.
        out.note(help::page(&definition(), &[], help::width()).trim_end());
        return out.exit();
    };
    match cli.globals.host(out, verb.enters()) {
        Ok(host) => verb.run(&host, out),
        Err(e) => {
            out.error(&e);
            if verb.makes_containers() { Exit::of_run(e.kind) } else { Exit::of_verb(e.kind) }
        }
    }
}

/// The definition of the whole command line.
pub fn definition() -> clap::Command {
    let mut all = deprecated::with(Cli::command());
    all.build(); // what was left until it is typed
    all
}

#[cfg(test)]
mod tests {
    use super::container::ContainerVerb;
    use super::verbs::Lazy;
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
        switch::with_values(Cli::command()).debug_assert();
    }

    #[test]
    fn options_end_at_the_image_and_switches_cluster() {
        let parse = |args: &[&str]| Cli::try_parse_from([&["dhow"], args].concat());
        let Ok(Cli { verb: Some(Verb::Container(ContainerVerb::Run(Lazy(run)))), .. }) = parse(&[
            "run", "-itd", "-e", "A=1", "-e", "B", "-h", "name", "busybox", "ls", "-l", "--rm",
        ]) else {
            panic!("run does not parse")
        };
        assert!(
            run.order.flags.interactive && run.order.flags.tty && run.detach && !run.order.flags.rm
        );
        assert_eq!(run.order.words, ["busybox", "ls", "-l", "--rm"]);
        assert_eq!(run.order.flags.env, ["A=1", "B"]);
        assert_eq!(run.order.flags.isolation.hostname.as_deref(), Some("name"));
        assert!(parse(&["run", "--nope", "busybox"]).is_err());
        assert!(parse(&["ps", "-aq"]).is_ok());
        assert!(parse(&["save", "x", "-o", "y"]).is_ok());
        assert!(parse(&["stop", "-t", "-1", "x"]).is_ok());
    }

    #[test]
    fn switches_take_values_as_in_go() {
        let command = switch::with_values(Cli::command());
        let args = ["dhow", "run", "-it=false", "--rm=true", "busybox", "x=true"];
        let matches = command.try_get_matches_from(args).unwrap();
        let cli = Cli::from_arg_matches(&matches).unwrap();
        let Some(Verb::Container(ContainerVerb::Run(Lazy(run)))) = cli.verb else { panic!() };
        assert!(run.order.flags.interactive && !run.order.flags.tty && run.order.flags.rm);
    }

    /// `--detach-keys=x` once turned `--sig-proxy` off.
    #[test]
    fn a_switch_that_is_on_stays_on_beside_values() {
        let attach = |args: &[&str]| {
            let command = switch::with_values(Cli::command());
            let matches =
                command.try_get_matches_from([&["dhow", "attach"], args].concat()).unwrap();
            let cli = Cli::from_arg_matches(&matches).unwrap();
            let Some(Verb::Container(ContainerVerb::Attach(Lazy(attach)))) = cli.verb else {
                panic!()
            };
            attach.sig_proxy.sig_proxy
        };
        assert!(attach(&["--detach-keys=ctrl-x", "one"]));
        assert!(!attach(&["--detach-keys=ctrl-x", "--sig-proxy=false", "one"]));
    }
}
