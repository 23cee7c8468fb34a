//! dhow-runtime: argv to exit code.
#![cfg_attr(not(test), no_main)]

mod argv;
mod cli;

use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use dhow_kernel::process::executed_by;
use dhow_kernel::signal::{hear_of_children, ignore_broken_pipes};
use dhow_kernel::start::is_read_only;

use argv::Stop;
use cli::{Command, Format, Global, Least, Manager, Rootless};
use dhow_runtime::cgroup;
use dhow_runtime::command::{self, World};
use dhow_runtime::error::{Error, Result, one_line};
use dhow_runtime::log::{self, Level, Log};
use dhow_runtime::sealed;
use dhow_runtime::state::Store;
use dhow_runtime::trace::Trace;

const NAME: &str = "dhow-runtime";

/// What is there, in crun's words: its scripts and tests look for them.
const ABILITIES: &str = "+SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP +EBPF +CRIU";

/// What this program was called by: it may be installed under another's name, as runc's help and
/// errors say runc's.
fn called() -> String {
    let words = std::env::args_os().next().unwrap_or_default();
    Path::new(&words).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// As runc: docker reads the lines with "version" and "commit:". As crun: the last one.
///
/// Under another's name the first line says that name, and a further one what this is.
fn version(name: &str) -> String {
    let commit = option_env!("DHOW_COMMIT")
        .filter(|commit| !commit.is_empty())
        .map(|commit| format!("commit: {commit}\n"));
    let commit = commit.unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    let truly = if name == NAME { String::new() } else { format!("program: {NAME} {version}\n") };
    format!("{name} version {version}\n{commit}spec: 1.3.0\n{truly}{ABILITIES}\n")
}

/// Commands that put a process into a container.
const ENTERING: [&str; 3] = ["create", "run", "exec"];

dhow_kernel::program!(program);

fn program() -> u8 {
    if !is_read_only()
        && std::env::args_os().any(|arg| ENTERING.iter().any(|verb| arg == *verb))
        && let Err(e) = sealed::ensure(std::env::args_os().collect(), std::env::vars_os().collect())
    {
        return fail(&Log::default(), &e, 1);
    }
    hear_of_children();
    let typed = argv::parse(std::env::args_os().skip(1));
    // A run that stays takes all signals as data, and writes nothing before that.
    let takes = |command: &Command| matches!(command, Command::Run(run) if !run.detach);
    if !typed.as_ref().is_ok_and(|typed| takes(&typed.command)) {
        ignore_broken_pipes();
    }
    let argv::Typed { global, command, id } = match typed {
        Ok(typed) => typed,
        Err(Stop::Help(verb)) => {
            return print(&argv::help(&called(), verb), &Log::default());
        }
        Err(Stop::Version) => return print(&version(&called()), &Log::default()),
        Err(Stop::Wrong { global, why }) => {
            let log = open_log(&global, "").unwrap_or_default();
            return fail(&log, &Error::rule(why), 1);
        }
    };
    // First of all: what is opened from here on has the same numbers.
    let handed = handed(&command);
    let log = match open_log(&global, &id) {
        Ok(log) => log,
        Err(e) => return fail(&Log::default(), &e, 1),
    };
    let world = match place(&global, &log) {
        Ok(root) => world(&global, root, log),
        Err(e) => return fail(&log, &e, 1),
    };
    let (verb, failed) = failure(&command);
    let performed = handed.and_then(|()| perform(command, &world));
    world.log.trace.note("parent", "end", Vec::new);
    match performed {
        Ok(Output::Text(text)) => print(&text, &world.log),
        Ok(Output::Code(code)) => code as u8,
        Ok(Output::Report(text, code)) => {
            let printed = print(&text, &world.log);
            if code == 0 { printed } else { code as u8 }
        }
        // As runc, whose init says this by itself: a line of its own on standard error.
        Err(e) if verb == "run" && e.is_execution() => bare(&world.log, &e.cause(), 255),
        Err(e) => fail(&world.log, &Error::rule(worded(verb, &e)), failed),
    }
}

/// The verb if its failures begin with its name, and the code of these.
const fn failure(command: &Command) -> (&'static str, u8) {
    match command {
        Command::Create(_) => ("create", 1),
        Command::Run(_) => ("run", 1),
        // As runc: what exec itself can't do must not look like the program's own code.
        Command::Exec(_) => ("exec", 255),
        _ => ("", 1),
    }
}

/// As runc: which command of which program failed, where a process was to be put into a container.
fn worded(verb: &str, e: &Error) -> String {
    match verb {
        "" => e.to_string(),
        "exec" => format!("exec failed: {e}"),
        verb => format!("{} {verb} failed: {e}", called()),
    }
}

/// Keeps apart the numbers of the descriptors that the container is to have; others end here where
/// a process of ours would hold them until `start`.
fn handed(command: &Command) -> Result<()> {
    let (preserve, listen) = match command {
        Command::Create(create) => (create.create.preserve_fds, listen()),
        Command::Run(run) => (run.create.preserve_fds, listen()),
        Command::Exec(exec) => (exec.preserve_fds, 0),
        _ => return Ok(()),
    };
    dhow_runtime::lifecycle::handed(preserve, listen)?;
    // A file may be named by its descriptor.
    let named = || std::env::args_os().any(|arg| arg.to_string_lossy().contains("/fd/"));
    if matches!(command, Command::Create(_)) && !named() {
        let first = 3 + preserve + listen;
        dhow_kernel::close::close_from(first)
            .map_err(|e| Error::system("close_range", first.to_string(), e))?;
    }
    Ok(())
}

/// Where containers are kept, the other global flags judged.
fn place(global: &Global, log: &Log) -> Result<PathBuf> {
    if global.criu.is_some() {
        log.line(
            Level::Warning,
            "--criu is obsolete and has no effect: criu is looked for in PATH",
        );
    }
    root(global.root.as_deref())
}

/// The global flags, resolved.
fn world(global: &Global, root: PathBuf, log: Log) -> World {
    let rootless = rootless(global.rootless);
    World {
        store: Store::new(root),
        chosen: global.root.is_some(),
        log,
        manager: match global.cgroup_manager {
            _ if global.systemd_cgroup => cgroup::Manager::Systemd,
            Manager::Systemd => cgroup::Manager::Systemd,
            Manager::Cgroupfs => cgroup::Manager::Cgroupfs,
            Manager::Disabled => cgroup::Manager::Disabled,
        },
        systemd: systemd(rootless),
        rootless,
        listen: listen(),
        notify: std::env::var("NOTIFY_SOCKET").ok().filter(|path| !path.is_empty()),
    }
}

/// What a command leaves to do.
enum Output {
    /// Something to print.
    Text(String),
    /// Something to exit with.
    Code(i32),
    /// Both.
    Report(String, i32),
}

fn perform(command: Command, world: &World) -> Result<Output> {
    match command {
        Command::Create(alone) => command::create::create(&alone.create.flags(), world).map(done),
        Command::Start(start) => command::start::start(&start.id, world).map(done),
        Command::Run(run) => {
            let extra = command::run::Extra {
                detach: run.detach,
                keep: run.keep,
                no_subreaper: run.no_subreaper,
            };
            command::run::run(&run.create.flags(), &extra, world).map(Output::Code)
        }
        Command::Checkpoint(asked) => cli::criu::checkpoint(asked, world).map(done),
        Command::Restore(asked) => cli::criu::restore(asked, world).map(Output::Code),
        Command::State(state) => command::state::state(&state.id, world).map(Output::Text),
        Command::Kill(kill) => {
            let one = |id: &str| command::kill::kill(id, kill.signal.as_deref(), kill.all, world);
            several(kill.regex, &kill.id, world, one)
        }
        Command::Delete(delete) => {
            let one = |id: &str| command::delete::delete(id, delete.force, world);
            several(delete.regex, &delete.id, world, one)
        }
        Command::Exec(exec) => command::exec::exec(&exec.flags(), world).map(Output::Code),
        Command::List(list) => {
            command::list::list(list.format, list.quiet, world).map(Output::Text)
        }
        Command::Ps(ps) => command::ps::ps(&ps.id, ps.format, &ps.options, world).map(Output::Text),
        Command::Pause(pause) => command::pause::pause(&pause.id, world).map(done),
        Command::Resume(resume) => command::resume::resume(&resume.id, world).map(done),
        Command::Mounts(m) => command::mounts::mounts(m.change, &m.id, &m.file, world).map(done),
        Command::Update(update) => update.perform(world).map(done),
        Command::Events(events) => {
            let mut out = io::stdout().lock();
            let mut sink = |line: &str| out.write_all(line.as_bytes()).and_then(|()| out.flush());
            let (id, interval) = (&events.id, &events.interval);
            command::events::events(id, interval, events.stats, world, &mut sink).map(done)
        }
        Command::Spec(spec) => {
            command::spec::write(&spec.bundle.join(&spec.file), spec.rootless).map(done)
        }
        Command::Features(_) => Ok(line(command::features::features())),
        Command::Plan(plan) => {
            let (id, bundle, config) = (plan.id, plan.bundle, plan.config);
            let flags = command::launch::Flags { id, bundle, config, ..Default::default() };
            command::plan::plan(&flags, plan.format, world).map(Output::Text)
        }
        Command::Check(check) => {
            let id = check.id.clone().unwrap_or_else(|| "check".into());
            let (bundle, config) = (check.bundle, check.config);
            let flags = command::launch::Flags { id, bundle, config, ..Default::default() };
            let told = command::check::check(&flags, check.id.as_deref(), check.format, world)?;
            Ok(Output::Report(told.0, i32::from(!told.1)))
        }
    }
}

/// One container, or with `--regex` all that match.
fn several(
    regex: bool,
    id: &str,
    world: &World,
    mut one: impl FnMut(&str) -> Result<()>,
) -> Result<Output> {
    if regex { command::several::each(id, world, one) } else { one(id) }.map(done)
}

const fn done((): ()) -> Output {
    Output::Code(0)
}

fn line(mut text: String) -> Output {
    text.push('\n');
    Output::Text(text)
}

/// Where containers are kept.
fn root(given: Option<&Path>) -> Result<PathBuf> {
    let Some(given) = given else {
        let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
        return Ok(match own.filter(|_| is_somebody_elses_root()) {
            Some(dir) => PathBuf::from(dir).join("dhow-runtime"),
            None => PathBuf::from("/run/dhow-runtime"),
        });
    };
    let absolute = std::path::absolute(given).map_err(|e| Error::io("find", "--root", &e))?;
    let mut clean = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            other => clean.push(other),
        }
    }
    if clean == Path::new("/") {
        return Err(Error::rule("Option --root argument should not be set to /"));
    }
    Ok(given.to_owned())
}

/// As runc: an unprivileged user, or root in a user namespace that such a user made and that
/// `$USER` still names; the host's /run is not theirs.
fn is_somebody_elses_root() -> bool {
    executed_by() != 0 || is_mapped() && std::env::var_os("USER").is_none_or(|user| user != "root")
}

/// Whether this is a user namespace that doesn't map everything.
fn is_mapped() -> bool {
    const WHOLE: &str = "0 0 4294967295";
    // KERNEL: linux/nsfs.h USER_NS_INIT_INO: the first one's number, the same on every boot since 3.8.
    if std::fs::read_link("/proc/self/ns/user").is_ok_and(|is| is == Path::new("user:[4026531837]"))
    {
        return false;
    }
    std::fs::File::open("/proc/self/uid_map")
        .and_then(|file| io::read_to_string(file.take(1 << 16)))
        .is_ok_and(|map| map.split_whitespace().collect::<Vec<_>>().join(" ") != WHOLE)
}

/// Whether to expect what an unprivileged user meets: by user id, or by user namespace.
fn rootless(flag: Rootless) -> bool {
    match flag {
        Rootless::True => true,
        Rootless::False => false,
        Rootless::Auto => executed_by() != 0 || is_mapped(),
    }
}

/// Where systemd listens. As runc: an unprivileged user's own.
fn systemd(rootless: bool) -> cgroup::Addresses {
    if !rootless {
        return cgroup::Addresses::system();
    }
    let own = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let runtime = own("XDG_RUNTIME_DIR").unwrap_or_else(|| format!("/run/user/{}", executed_by()));
    cgroup::Addresses::user(own("DBUS_SESSION_BUS_ADDRESS"), &runtime)
}

/// SPEC: sd_listen_fds(3): meant for us only when LISTEN_PID says so.
fn listen() -> u32 {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    // As runc: a wrapper that can't know our pid leaves LISTEN_PID out.
    let ours = number("LISTEN_PID").is_none_or(|pid| pid == std::process::id());
    if ours { number("LISTEN_FDS").unwrap_or(0) } else { 0 }
}

fn open_log(global: &Global, id: &str) -> Result<Log> {
    let least = match global.log_level {
        _ if global.debug => Level::Debug,
        Least::Debug => Level::Debug,
        Least::Warning => Level::Warning,
        Least::Error => Level::Error,
    };
    let format = match global.log_format {
        Format::Text => log::Format::Text,
        Format::Json => log::Format::Json,
    };
    let mut log = Log::open(global.log.as_deref(), format, least, id)?;
    if let Some(file) = &global.trace {
        log.trace = Trace::open(file)?;
        log.trace.note("parent", "begin", || {
            let words = std::env::args_os().skip(1);
            words.map(|word| word.to_string_lossy().into_owned()).collect()
        });
    }
    Ok(log)
}

fn print(text: &str, log: &Log) -> u8 {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => 0,
        // Who has stopped reading wants to hear no more.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => 1,
        Err(e) => fail(log, &Error::io("write", "standard output", &e), 1),
    }
}

/// The log has it; standard error too, once.
fn fail(log: &Log, e: &Error, code: u8) -> u8 {
    let message = e.to_string();
    if log.is_stderr() {
        log.line(Level::Error, &message);
        return code;
    }
    bare(log, &message, code)
}

/// Standard error has it as it is; a log that is elsewhere, too.
fn bare(log: &Log, message: &str, code: u8) -> u8 {
    if !log.is_stderr() {
        log.line(Level::Error, message);
    }
    let _ = writeln!(io::stderr(), "{}", one_line(message));
    code
}
