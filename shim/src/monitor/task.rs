//! What a client hands to the monitor it starts: one message, with the container's lock.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use dhow_image::rootless::{self, Inside};
use serde::{Deserialize, Serialize};

use super::listen::Sockets;
use super::lock::Lock;
use super::protocol::Role;
use crate::delegation::Delegation;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::Record;

/// The hidden argument that makes the dhow program a monitor.
pub const ARGUMENT: &str = "__monitor";

/// What a monitor is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Start the container; the sender is its first client.
    Start {
        /// What the sender came for.
        role: Role,
        /// The sender's terminal, rows and columns.
        size: Option<(u16, u16)>,
    },
    /// Go on for a monitor that was killed.
    Adopt,
    /// Begin the next life of a container that has lost its monitor and its process.
    Revive,
}

/// A monitor's task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// ROOT
    pub root: PathBuf,
    /// RUN
    pub run: PathBuf,
    /// The runtime program.
    pub runtime: PathBuf,
    /// The container's full id.
    pub id: String,
    /// What to do.
    pub purpose: Purpose,
    /// The sender is an ordinary user in a namespace, and so is the monitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<Inside>,
    /// `XDG_RUNTIME_DIR` of the sender's systemd, where that makes the container's groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<PathBuf>,
    /// Names of the sockets that come after it: a service manager's, for the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<String>,
}

impl Task {
    /// The task `purpose` for `record`.
    pub fn new(host: &Host, record: &Record, purpose: Purpose) -> Self {
        Self {
            root: host.paths.root.clone(),
            run: host.paths.run.clone(),
            runtime: host.runtime_of(record).to_owned(),
            id: record.id.clone(),
            purpose,
            inside: rootless::inside().cloned(),
            scopes: rootless::is_confined()
                .then(Delegation::of_caller)
                .and_then(Delegation::scopes)
                .filter(|_| record.host_config.cgroup_parent.is_empty()),
            sockets: Vec::new(),
        }
    }

    /// The same with sockets for the container.
    #[must_use]
    pub fn with(self, sockets: &Sockets) -> Self {
        Self { sockets: sockets.names().to_vec(), ..self }
    }

    /// Starts a monitor, hands it the task, the lock and the socket that clients connect to,
    /// and answers with the connection to it.
    ///
    /// The socket is there before the monitor is: who finds the lock held can connect and wait.
    pub fn hand_over(&self, lock: Lock, listener: UnixListener) -> Result<UnixStream> {
        let cause = |e: std::io::Error| Error::engine(format!("start the monitor: {e}"));
        let (mut ours, theirs) = UnixStream::pair().map_err(cause)?;
        let mut command = Command::new("/proc/self/exe");
        // The arguments after the first are for who reads a process list.
        command.arg0("dhow").arg(ARGUMENT).arg(&self.root).arg(&self.id);
        if !self.sockets.is_empty() {
            // But for this one: so many places are to be kept before anything is opened.
            command.arg(self.sockets.len().to_string());
        }
        command.stdin(OwnedFd::from(theirs));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // The caller's secrets are none of the monitor's business, nor of the hooks it runs.
        command.env_clear().env("PATH", search_path()).current_dir("/");
        command.spawn().map_err(cause)?;
        drop(command); // it holds the other side of the socket
        let text = serde_json::to_vec(self).map_err(|e| cause(e.into()))?;
        let mut message = (text.len() as u32).to_le_bytes().to_vec();
        message.extend(text);
        let sent =
            dhow_kernel::rights::send(ours.as_fd(), &message, &[lock.as_fd(), listener.as_fd()])
                .map_err(|e| cause(e.into()))?;
        ours.write_all(&message[sent..]).map_err(cause)?;
        if !self.sockets.is_empty() {
            Sockets::ours().send(ours.as_fd()).map_err(|e| cause(e.into()))?;
        }
        Ok(ours)
    }

    /// The monitor's side of [`Task::hand_over`].
    pub fn receive(socket: &mut UnixStream) -> Option<(Self, Lock, UnixListener)> {
        let mut length = [0; 4];
        let (n, mut fds) = dhow_kernel::rights::receive(socket.as_fd(), &mut length).ok()?;
        let (listener, lock) = (fds.pop()?, Lock::from(fds.pop().filter(|_| n == 4)?));
        let mut text = vec![0; u32::from_le_bytes(length) as usize];
        socket.read_exact(&mut text).ok()?;
        Some((serde_json::from_slice(&text).ok()?, lock, listener.into()))
    }
}

fn search_path() -> std::ffi::OsString {
    let usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    std::env::var_os("PATH").unwrap_or_else(|| usual.into())
}
