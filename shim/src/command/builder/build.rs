//! `dhow build`.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use dhow_image::build::cancel::Cancel;
use dhow_image::build::run::Oci;
use dhow_image::build::spec::{Meant, Typed};
use dhow_image::build::view::{Colors, Look, Mode, View};
use dhow_image::build::whole::{Came, Means, whole};

use super::ending::Ending;
use crate::build::Wired;
use crate::error::{Error, Result};
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::output::Output;

/// Build an image from a Dockerfile
#[derive(Debug, Args)]
pub struct Build {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub typed: Typed,
    /// No progress, the image's id alone
    #[arg(short, long)]
    pub quiet: bool,
    /// The context goes nowhere, so there is nothing to compress
    #[arg(long)]
    pub compress: bool,
    /// Containers of RUNs never outlive them (--rm=false is refused)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true", value_parser = crate::cli::switch)]
    pub rm: bool,
    /// Containers of RUNs never outlive them, failed ones neither
    #[arg(long)]
    pub force_rm: bool,
    /// Isolation technology: default
    #[arg(long, value_name = "NAME")]
    pub isolation: Option<String>,
}

impl Build {
    /// Progress goes to stderr; with --quiet the image's id to stdout.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let cancel = match Cancel::new() {
            Ok(cancel) => Arc::new(cancel),
            Err(e) => return out.end(Err(of_image(e))),
        };
        let ending = Ending::new(&cancel);
        let built = self.perform(host, out, &cancel);
        let exit = match built {
            Ok(exit) => exit,
            Err(Failed::Dockerfile(text)) => {
                // The place is shown below the words, in lines of its own.
                out.note(&format!("dhow: {text}"));
                Exit::FAILED
            }
            Err(Failed::Other(e)) => out.end(Err(e)),
        };
        ending.signal().filter(|_| exit != Exit::OK).map_or(exit, Exit::signal)
    }

    fn perform(
        &self,
        host: &Host,
        out: &mut Output,
        cancel: &Cancel,
    ) -> std::result::Result<Exit, Failed> {
        let typed = self.settled(host)?;
        let meant = typed.meant(&|name| std::env::var_os(name), io::stdout().is_terminal())?;
        let usual = word("BUILDKIT_PROGRESS");
        let mode =
            Mode::new(&typed.progress, self.quiet, usual.as_deref(), io::stderr().is_terminal())?;
        let quiet = self.quiet || matches!(typed.progress.as_str(), "quiet");
        let store = host.images()?;
        let settings = host.registry()?;
        let runtime = host.runtime_for(None)?;
        let home = host.paths.run.join("build");
        let runner = Oci::new(runtime.path, runtime.arguments, home, Wired::new(host))?;
        let search: Vec<PathBuf> =
            std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
        let agent = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
        let view = View::new(mode, look(), Box::new(io::stderr()));
        let means = Means {
            stdout,
            store,
            settings: &settings,
            search: &search,
            agent: agent.as_deref(),
            runner: &runner,
            watcher: &view,
            cancel,
        };
        let came = whole(&typed, &meant, &mut io::stdin(), &means);
        view.end();
        Ok(told(host, out, &meant, &came?, quiet))
    }

    /// What was typed, with what config.json says of proxies.
    fn settled(&self, host: &Host) -> Result<Typed> {
        if !self.rm {
            return Err(Error::usage(
                "--rm=false is not supported: containers of RUNs are gone when they end; --target builds up to a stage that can be looked at",
            ));
        }
        if let Some(name) = self.isolation.as_deref().filter(|n| !matches!(*n, "" | "default")) {
            return Err(Error::usage(format!(
                "--isolation {name} is not supported: it is for Windows containers"
            )));
        }
        let mut typed = self.typed.clone();
        if typed.limits.cgroup_parent.is_none() {
            typed.limits.cgroup_parent.clone_from(&host.settings.daemon()?.cgroup_parent);
        }
        for (name, value) in host.settings.client()?.proxy_env() {
            let known = |arg: &String| {
                let name_of = arg.split('=').next().unwrap_or(arg);
                name_of.eq_ignore_ascii_case(&name)
            };
            if !self.typed.build_arg.iter().any(known) {
                typed.build_arg.push(format!("{name}={value}"));
            }
        }
        Ok(typed)
    }
}

/// What is printed of a build in the end.
fn told(host: &Host, out: &mut Output, meant: &Meant, came: &Came, quiet: bool) -> Exit {
    if let Some(answer) = &came.answer {
        out.text(&answer.text);
        return if answer.well { out.exit() } else { Exit::FAILED };
    }
    if let Some(id) = &came.id {
        let id = id.to_string();
        for name in &came.names {
            events::of_image(&host.paths, "tag", &id, &name.familiar());
        }
        if quiet && !meant.writes_stdout() {
            out.line(&id);
        }
    }
    out.exit()
}

/// Why nothing was built.
enum Failed {
    /// A place in a Dockerfile, with the line.
    Dockerfile(String),
    Other(Error),
}

impl From<Error> for Failed {
    fn from(e: Error) -> Self {
        Self::Other(e)
    }
}

impl From<dhow_image::Error> for Failed {
    fn from(e: dhow_image::Error) -> Self {
        match e {
            e @ dhow_image::Error::Dockerfile(_) => Self::Dockerfile(e.to_string()),
            e => Self::Other(of_image(e)),
        }
    }
}

fn stdout() -> Box<dyn Write + Send> {
    Box::new(io::stdout())
}

fn word(name: &str) -> Option<String> {
    std::env::var_os(name).map(OsString::into_string).and_then(std::result::Result::ok)
}

/// What the environment says of colours and lines.
fn look() -> Look {
    let usual = Look::default();
    let plain = word("NO_COLOR").is_some_and(|v| !v.is_empty());
    let colors = if plain { Colors::default() } else { usual.colors };
    let typed = word("BUILDKIT_COLORS").filter(|_| !plain);
    let lines = word("BUILDKIT_TTY_LOG_LINES").and_then(|v| v.parse().ok());
    Look {
        size: || dhow_kernel::tty::size(io::stderr().as_fd()).ok(),
        colors: typed.map_or(colors.clone(), |typed| colors.with(&typed)),
        log_lines: lines.unwrap_or(usual.log_lines),
        limit: word("PROGRESS_NO_TRUNC").filter(|v| v == "0").map(|_| 72),
    }
}
