//! dhow-runtime: argv to exit code.

mod cli;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use cli::{Cli, Command, Create, Exec, Format, Rootless, Update};
use dhow_runtime::cgroup;
use dhow_runtime::command::{self, World};
use dhow_runtime::error::{Error, Result};
use dhow_runtime::log::{self, Level, Log};
use dhow_runtime::sealed;
use dhow_runtime::state::Store;

const VERSION: &str =
    concat!("dhow-runtime version ", env!("CARGO_PKG_VERSION"), "\nspec: 1.3.0\n");

/// Commands that put a process into a container.
const ENTERING: [&str; 3] = ["create", "run", "exec"];

fn main() -> ExitCode {
    if std::env::args_os().any(|arg| ENTERING.iter().any(|verb| arg == *verb))
        && let Err(e) = sealed::ensure(std::env::args_os().collect(), std::env::vars_os().collect())
    {
        return fail(&Log::default(), &e, 1);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage(&e),
    };
    if cli.version {
        return print(VERSION);
    }
    let Some(command) = cli.command else {
        let e = Error::rule("a command is missing: try dhow-runtime --help");
        return fail(&Log::default(), &e, 1);
    };
    let log = match open_log(cli.log.as_ref(), cli.log_format, cli.debug) {
        Ok(log) => log,
        Err(e) => return fail(&Log::default(), &e, 1),
    };
    let world = World {
        store: Store::new(root(cli.root)),
        log,
        systemd: cli.systemd_cgroup,
        rootless: rootless(cli.rootless),
        listen: listen(),
    };
    // As runc: what exec itself can't do must not look like the program's own code.
    let failed = if matches!(command, Command::Exec(_)) { 255 } else { 1 };
    match perform(command, &world) {
        Ok(Output::Text(text)) => print(&text),
        Ok(Output::Code(code)) => ExitCode::from(code as u8),
        Err(e) => fail(&world.log, &e, failed),
    }
}

/// What a command leaves to do.
enum Output {
    /// Something to print.
    Text(String),
    /// Something to exit with.
    Code(i32),
}

fn perform(command: Command, world: &World) -> Result<Output> {
    match command {
        Command::Create(create) => command::create::create(&flags(create), world).map(done),
        Command::Start { id } => command::start::start(&id, world).map(done),
        Command::Run(run) => {
            let extra = command::run::Extra {
                detach: run.detach,
                keep: run.keep,
                no_subreaper: run.no_subreaper,
            };
            command::run::run(&flags(run.create), &extra, world).map(Output::Code)
        }
        Command::State { id } => command::state::state(&id, world).map(line),
        Command::Kill(kill) => {
            command::kill::kill(&kill.id, &kill.signal, kill.all, world).map(done)
        }
        Command::Delete { id, force } => command::delete::delete(&id, force, world).map(done),
        Command::Exec(exec) => command::exec::exec(&exec_flags(exec), world).map(Output::Code),
        Command::List { format, quiet } => {
            command::list::list(format, quiet, world).map(Output::Text)
        }
        Command::Ps { format, id, options } => {
            command::ps::ps(&id, format, &options, world).map(Output::Text)
        }
        Command::Pause { id } => command::pause::pause(&id, world).map(done),
        Command::Resume { id } => command::resume::resume(&id, world).map(done),
        Command::Update(update) => change(&update, world).map(done),
        Command::Events { interval, stats, id } => {
            let mut out = io::stdout().lock();
            let mut sink = |line: &str| out.write_all(line.as_bytes()).and_then(|()| out.flush());
            command::events::events(&id, &interval, stats, world, &mut sink).map(done)
        }
        Command::Spec { bundle, rootless } => command::spec::write(&bundle, rootless).map(done),
        Command::Features => Ok(line(command::features::features())),
        Command::Plan { bundle } => {
            let flags = command::launch::Flags { id: "plan".into(), bundle, ..Default::default() };
            command::plan::plan(&flags, world).map(Output::Text)
        }
        Command::Other(words) => Err(refused(words.first().map_or("", String::as_str))),
    }
}

const fn done((): ()) -> Output {
    Output::Code(0)
}

fn line(mut text: String) -> Output {
    text.push('\n');
    Output::Text(text)
}

fn refused(verb: &str) -> Error {
    match verb {
        "checkpoint" | "restore" => Error::unsupported(verb, "comes with a later release"),
        other => Error::rule(format!("unknown command {other:?}: try dhow-runtime --help")),
    }
}

fn flags(c: Create) -> command::launch::Flags {
    command::launch::Flags {
        id: c.id,
        bundle: c.bundle,
        pid_file: c.pid_file,
        console_socket: c.console_socket,
        pidfd_socket: c.pidfd_socket,
        preserve_fds: c.preserve_fds,
        no_pivot: c.no_pivot,
        no_new_keyring: c.no_new_keyring,
    }
}

fn exec_flags(e: Exec) -> command::exec::Flags {
    command::exec::Flags {
        id: e.id,
        args: e.args,
        process: e.process,
        cwd: e.cwd,
        env: e.env,
        tty: e.tty,
        user: e.user,
        additional_gids: e.additional_gids,
        process_label: e.process_label,
        apparmor: e.apparmor,
        no_new_privs: e.no_new_privs,
        cap: e.cap,
        cgroup: e.cgroup,
        detach: e.detach,
        pid_file: e.pid_file,
        console_socket: e.console_socket,
        pidfd_socket: e.pidfd_socket,
        preserve_fds: e.preserve_fds,
        ignore_paused: e.ignore_paused,
    }
}

fn change(u: &Update, world: &World) -> Result<()> {
    if let Some(file) = &u.resources {
        return command::update::update(&u.id, &command::update::Source::File(file), world);
    }
    let asked = cgroup::Resources {
        memory: cgroup::Memory {
            limit: u.memory,
            reservation: u.memory_reservation,
            swap: u.memory_swap,
            ..Default::default()
        },
        cpu: cgroup::Cpu {
            shares: u.cpu_share,
            quota: u.cpu_quota,
            burst: u.cpu_burst,
            period: u.cpu_period,
            realtime_runtime: u.cpu_rt_runtime,
            realtime_period: u.cpu_rt_period,
            cpus: u.cpuset_cpus.as_deref().unwrap_or_default().into(),
            mems: u.cpuset_mems.as_deref().unwrap_or_default().into(),
            idle: u.cpu_idle,
        },
        pids: cgroup::Pids { limit: u.pids_limit },
        block_io: cgroup::BlockIo { weight: u.blkio_weight, ..Default::default() },
        ..Default::default()
    };
    command::update::update(&u.id, &command::update::Source::Flags(&asked), world)
}

fn root(given: Option<PathBuf>) -> PathBuf {
    let runtime_dir = || std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    given.unwrap_or_else(|| match runtime_dir() {
        Some(dir) if !nix::unistd::geteuid().is_root() => PathBuf::from(dir).join("dhow-runtime"),
        _ => PathBuf::from("/run/dhow-runtime"),
    })
}

/// Whether to expect what an unprivileged user meets: by user id, or by being
/// in a user namespace that doesn't map everything.
fn rootless(flag: Rootless) -> bool {
    const WHOLE: &str = "0 0 4294967295";
    match flag {
        Rootless::True => true,
        Rootless::False => false,
        Rootless::Auto => {
            !nix::unistd::geteuid().is_root()
                || std::fs::read_to_string("/proc/self/uid_map")
                    .is_ok_and(|map| map.split_whitespace().collect::<Vec<_>>().join(" ") != WHOLE)
        }
    }
}

/// SPEC: sd_listen_fds(3): meant for us only when LISTEN_PID says so.
fn listen() -> u32 {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    // As runc: a wrapper that can't know our pid leaves LISTEN_PID out.
    let ours = number("LISTEN_PID").is_none_or(|pid| pid == std::process::id());
    if ours { number("LISTEN_FDS").unwrap_or(0) } else { 0 }
}

fn open_log(path: Option<&PathBuf>, format: Format, debug: bool) -> Result<Log> {
    let file = path
        .map(|path| {
            OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .map_err(|e| Error::io("open the log", path.to_string_lossy(), &e))
        })
        .transpose()?;
    let format = match format {
        Format::Text => log::Format::Text,
        Format::Json => log::Format::Json,
    };
    Ok(Log { file, format, debug })
}

fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The log has it; standard error too, once.
fn fail(log: &Log, e: &Error, code: u8) -> ExitCode {
    let message = e.to_string();
    log.line(Level::Error, &message);
    if log.file.is_some() {
        let _ = writeln!(io::stderr(), "{message}");
    }
    ExitCode::from(code)
}

fn usage(e: &clap::Error) -> ExitCode {
    let _ = e.print();
    match e.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
