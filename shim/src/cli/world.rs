//! Which world the command is about: global flags, then the environment, then the defaults.

use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};

use dhow_image::rootless::{self, Dirs};

use crate::error::{Error, Result};
use crate::host::{Host, Paths};
use crate::output::Output;
use crate::settings::Settings;

/// Flags that stand before the verb.
#[derive(Debug, Args)]
pub(super) struct Globals {
    /// Where docker's config.json is [~/.docker, or DOCKER_CONFIG]
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
    /// The only context there is
    #[arg(short, long)]
    context: Option<String>,
    /// Say on stderr which directories, settings and runtime are used
    #[arg(short = 'D', long)]
    debug: bool,
    /// A socket of this machine, which nobody asks; another machine is refused
    #[arg(short = 'H', long, value_name = "ADDRESS")]
    host: Vec<String>,
    /// debug, info, warn, error or fatal: debug is --debug, the rest are alike
    #[arg(short, long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Where images, containers and volumes are kept [/var/lib/dhow, a user's ~/.local/share/dhow, or DHOW_ROOT]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Where the state of what runs is kept [/run/dhow, a user's XDG_RUNTIME_DIR/dhow, or DHOW_RUN]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Print the version
    #[arg(short = 'v', long, action = ArgAction::Version)]
    version: (),
}

impl Globals {
    /// The two directories: typed, in the environment, or the usual ones of this user.
    fn paths(&self) -> Result<Paths> {
        let given = |flag: &Option<PathBuf>, name: &str| flag.clone().or_else(|| var(name));
        let settle = |path: PathBuf| {
            std::path::absolute(&path)
                .map(|path| real(&path))
                .map_err(|e| Error::io("directory", &path, e))
        };
        let (root, run) = (given(&self.root, "DHOW_ROOT"), given(&self.run, "DHOW_RUN"));
        let uid = nix::unistd::geteuid();
        if uid.is_root() {
            let root = root.unwrap_or_else(|| "/var/lib/dhow".into());
            return Ok(Paths {
                root: settle(root)?,
                run: settle(run.unwrap_or_else(|| "/run/dhow".into()))?,
            });
        }
        let (data, runtime, home) = (var("XDG_DATA_HOME"), var("XDG_RUNTIME_DIR"), var("HOME"));
        let dirs = Dirs {
            data: data.as_deref(),
            runtime: runtime.as_deref(),
            home: home.as_deref().filter(|home| home.is_absolute()),
        };
        let root = settle(root.or_else(|| dirs.root()).ok_or_else(|| {
            Error::usage("neither HOME nor XDG_DATA_HOME says where images are to be kept; name a directory with --root")
        })?)?;
        let run = settle(run.unwrap_or_else(|| dirs.run(uid.as_raw(), &root)))?;
        Ok(Paths { root, run })
    }

    /// The host that flags and environment mean. A verb that `enters` works with files and
    /// processes of containers: an ordinary user does that in a user namespace.
    pub(super) fn host(self, out: &Output, enters: bool) -> Result<Host> {
        self.local_only()?;
        let paths = self.paths()?;
        let daemon = own_daemon_json();
        if enters {
            let entered = rootless::enter(&paths.run, std::env::var_os("PATH").as_deref());
            entered.map_err(|e| Error::engine(e.to_string()))?;
        }
        let home = || var("HOME").map(|home| home.join(".docker"));
        let config = self.config.clone().or_else(|| var("DOCKER_CONFIG")).or_else(home);
        let client = config.map(|dir| dir.join("config.json"));
        let settings = Settings::of(client, var("DHOW_DAEMON_JSON").or(daemon));
        let host = Host::open(paths, settings, var("DHOW_RUNTIME").as_deref())?;
        if self.is_debug()? {
            let file = host.settings.client_file().map(|p| p.display().to_string());
            for (what, path) in [
                ("root", host.paths.root.display().to_string()),
                ("run", host.paths.run.display().to_string()),
                ("config", file.unwrap_or_default()),
                ("runtime", host.runtime_for(None)?.path.display().to_string()),
            ] {
                out.note(&format!("level=debug msg=\"{what} {path}\""));
            }
        }
        Ok(host)
    }

    fn is_debug(&self) -> Result<bool> {
        match self.log_level.as_deref() {
            None | Some("info" | "warn" | "warning" | "error" | "fatal" | "panic") => {
                Ok(self.debug)
            }
            Some("debug" | "trace") => Ok(true),
            Some(other) => Err(Error::usage(format!(
                "unable to parse logging level: {other}; use debug, info, warn, error or fatal"
            ))),
        }
    }

    /// Flags and variables may name this machine's socket, which nobody asks, and nothing else.
    fn local_only(&self) -> Result<()> {
        let text = |name: &str| var(name).map(|value| value.to_string_lossy().into_owned());
        let flags = self.host.iter().map(|address| ("--host ", address.clone()));
        for (from, address) in flags.chain(text("DOCKER_HOST").map(|a| ("DOCKER_HOST=", a))) {
            if !address.starts_with("unix://") && !address.starts_with('/') && !address.is_empty() {
                return Err(Error::usage(format!(
                    "{from}{address} names another machine, and dhow works on this one only; leave it away, or call dhow there by ssh"
                )));
            }
        }
        let flag = self.context.iter().map(|name| ("--context ", name.clone()));
        for (from, name) in flag.chain(text("DOCKER_CONTEXT").map(|n| ("DOCKER_CONTEXT=", n))) {
            if name != "default" {
                return Err(Error::usage(format!(
                    "{from}{name}: a context points at a daemon, and dhow has none but default; --root and --run choose a world"
                )));
            }
        }
        Ok(())
    }
}

/// An ordinary user's own daemon.json, before the machine's.
fn own_daemon_json() -> Option<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return None;
    }
    let config = var("XDG_CONFIG_HOME").or_else(|| var("HOME").map(|home| home.join(".config")))?;
    let files = ["dhow/daemon.json", "docker/daemon.json"].map(|name| config.join(name));
    files.into_iter().find(|file| file.is_file())
}

fn var(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// The path without symlinks, as far as it is there: runtimes refuse a root behind one.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => path.to_owned(),
    })
}
