//! What create and run ask for alike.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::World;
use crate::error::{Error, Result};
use crate::lifecycle::Wanted;
use crate::plan;

/// Flags of both.
#[derive(Debug, Default)]
pub struct Flags {
    /// The id.
    pub id: String,
    /// `--bundle`.
    pub bundle: PathBuf,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--pid-file`.
    pub pid_file: Option<PathBuf>,
    /// `--console-socket`.
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`.
    pub pidfd_socket: Option<PathBuf>,
    /// `--preserve-fds`.
    pub preserve_fds: u32,
    /// `--no-pivot`.
    pub no_pivot: bool,
    /// `--no-new-keyring`.
    pub no_new_keyring: bool,
}

impl Flags {
    /// As the library wants it.
    pub fn wanted<'a>(&'a self, world: &'a World, waits: bool) -> Wanted<'a> {
        Wanted {
            id: &self.id,
            bundle: &self.bundle,
            config: self.config.as_deref(),
            manager: world.manager,
            systemd: &world.systemd,
            rootless: world.rootless,
            options: plan::Options { no_pivot: self.no_pivot, no_new_keyring: self.no_new_keyring },
            preserve: self.preserve_fds,
            listen: world.listen,
            notify: world.notify.as_ref().map(|_| world.store.notify(&self.id)),
            waits,
            now: false,
            reaps: false,
            log: &world.log,
        }
    }

    /// Writes the pid where it was asked for.
    pub fn write_pid(&self, pid: i32) -> Result<()> {
        self.pid_file.as_ref().map_or(Ok(()), |path| write_pid(path, pid))
    }
}

/// Writes a pid file whole: engines wait for it to appear.
pub fn write_pid(path: &Path, pid: i32) -> Result<()> {
    let io = |e| Error::io("write", path.to_string_lossy(), &e);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}"));
    fs::write(&temporary, pid.to_string()).map_err(io)?;
    fs::rename(&temporary, path).map_err(io).inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// Who wants a handle on the process: `--pidfd-socket`, connected before anything is made.
#[derive(Debug)]
pub struct Handle(Option<UnixStream>);

impl Handle {
    /// Connects, if there is one.
    pub fn connect(path: Option<&Path>) -> Result<Self> {
        let connect = |path: &Path| {
            let why = |e| Error::io("connect to --pidfd-socket", path.to_string_lossy(), &e);
            UnixStream::connect(path).map_err(why)
        };
        path.map(connect).transpose().map(Self)
    }

    /// Sends the handle with a word for its kind, as runc has it: `standard` or `setns`.
    pub fn send(&self, kind: &str, pidfd: BorrowedFd<'_>) -> Result<()> {
        let Some(socket) = &self.0 else { return Ok(()) };
        dhow_kernel::rights::send(socket.as_fd(), kind.as_bytes(), &[pidfd])
            .map(drop)
            .map_err(|e| Error::system("send", "the pidfd to --pidfd-socket", e))
    }
}

/// The engine's socket for the terminal of a process that nobody stays with.
pub fn detached_terminal(terminal: bool, socket: Option<&Path>) -> Result<Option<OwnedFd>> {
    match (terminal, socket) {
        (false, None) => Ok(None),
        (true, Some(path)) => {
            let stream = UnixStream::connect(path)
                .map_err(|e| Error::io("connect to", path.to_string_lossy(), &e))?;
            Ok(Some(stream.into()))
        }
        (true, None) => Err(Error::rule(
            "cannot allocate tty if dhow-runtime will detach without setting console socket: \
             give --console-socket",
        )),
        (false, Some(_)) => Err(Error::rule(
            "cannot use console socket if dhow-runtime will not detach or allocate tty: \
             process.terminal is false",
        )),
    }
}
