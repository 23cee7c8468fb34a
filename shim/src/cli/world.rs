//! Which world the command is about: global flags, then the environment, then the defaults.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::host::{Host, Paths};
use crate::settings::Settings;

/// The host that flags and environment mean.
pub(super) fn host(root: Option<PathBuf>, run: Option<PathBuf>) -> Result<Host> {
    local_only()?;
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
    let home = var("HOME").map(|home| home.join(".docker"));
    let client = var("DOCKER_CONFIG").or(home).map(|dir| dir.join("config.json"));
    Host::open(paths, Settings::of(client, var("DHOW_DAEMON_JSON")), var("DHOW_RUNTIME").as_deref())
}

fn var(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)
}

/// DOCKER_HOST may name this machine's socket, which nobody asks, and nothing else.
fn local_only() -> Result<()> {
    let Some(address) = var("DOCKER_HOST") else { return Ok(()) };
    let address = address.to_string_lossy();
    if address.starts_with("unix://") || address.starts_with('/') {
        return Ok(());
    }
    Err(Error::usage(format!(
        "DOCKER_HOST={address} names another machine, and dhow works on this one only; unset it"
    )))
}

/// The path without symlinks, as far as it is there: runtimes refuse a root behind one.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => path.to_owned(),
    })
}
