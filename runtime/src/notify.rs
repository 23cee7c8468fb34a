//! `NOTIFY_SOCKET`: a container says that it is ready, and whoever started the runtime hears it.
//!
//! SPEC: sd_notify(3). The container's own socket stands in a directory of the container's state,
//! bound read-only at /run/notify. As runc, READY alone is passed on, with the pid to watch and a
//! barrier: other words would come from a process that the service manager doesn't know.

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Error, Result};
use crate::log::{Level, Log};
use crate::validate::spec::{Mount, Spec, Text};

/// Where the container has it.
const INSIDE: &str = "/run/notify";

const SOCKET: &str = "notify.sock";

/// How many words of the container's are heard before anything else is looked at.
const AT_ONCE: usize = 16;

/// How long the service manager may take to let go of the barrier, in milliseconds.
const PATIENCE: u16 = 30_000;

/// Adds the mount and the variable to a config; `dir` is the directory on the host.
pub fn ask<'a>(spec: &mut Spec<'a>, dir: &'a Path) -> Result<()> {
    let Some(source) = dir.to_str() else {
        return Err(Error::rule("NOTIFY_SOCKET: the path of --root is not UTF-8"));
    };
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"];
    spec.mounts.push(Mount {
        destination: Text(INSIDE.into()),
        source: Text(source.into()),
        options: options.map(|option| Text(option.into())).to_vec(),
        ..Mount::default()
    });
    if let Some(process) = &mut spec.process {
        process.env.push(Text(format!("NOTIFY_SOCKET={INSIDE}/{SOCKET}").into()));
    }
    Ok(())
}

/// Makes the directory.
pub fn prepare(dir: &Path) -> Result<()> {
    let io = |e| Error::io("make", dir.to_string_lossy(), &e);
    fs::DirBuilder::new().mode(0o755).create(dir).map_err(io)?;
    // Whatever the caller's umask is, the container's user must get through.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(io)
}

/// The container's socket, and where it leads.
#[derive(Debug)]
pub struct Notify {
    socket: UnixDatagram,
    host: Option<UnixDatagram>,
    /// It has been said: a container is not to keep the service manager busy.
    told: Cell<bool>,
}

impl Notify {
    /// Opens the socket in the container's directory and connects to the host's.
    ///
    /// A manager that can't be reached is no reason to do without the container, as with runc's
    /// `run`: it is warned of, and what the container says is taken all the same.
    pub fn open(dir: &Path, host: &str, log: &Log) -> Result<Self> {
        let path = dir.join(SOCKET);
        let io = |e| Error::io("bind", path.to_string_lossy(), &e);
        let socket = UnixDatagram::bind(&path).map_err(io)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).map_err(io)?;
        socket.set_nonblocking(true).map_err(io)?;
        let far = connect(host).inspect_err(|e| {
            let why = Error::io("connect to NOTIFY_SOCKET", host, e);
            log.line(Level::Warning, &format!("{why}: nobody is told that the container is ready"));
        });
        Ok(Self { socket, host: far.ok(), told: Cell::new(false) })
    }

    /// Waits until the container is ready and says so, or has ended.
    pub fn until_ready(&self, main: i32, ended: BorrowedFd<'_>) -> Result<()> {
        if self.host.is_none() {
            return Ok(());
        }
        loop {
            let mut fds = [
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                PollFd::new(ended, PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other.map_err(|e| Error::system("wait for", "READY", e))?,
            };
            let gone = fds[1].any().unwrap_or(false);
            if self.pass(main)? {
                return self.barrier();
            }
            if gone {
                return Ok(());
            }
        }
    }

    /// Passes on what has come; whether the container is ready.
    ///
    /// A part of it at a time: a container that never stops talking must not keep us from signals.
    pub fn pass(&self, main: i32) -> Result<bool> {
        let mut buffer = [0; 4096];
        for _ in 0..AT_ONCE {
            let n = match self.socket.recv(&mut buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                other => other.map_err(|e| Error::io("hear", "the container's READY", &e))?,
            };
            let Some(ready) = ready(&buffer[..n]).filter(|_| !self.told.replace(true)) else {
                continue;
            };
            self.say(&[ready, b"\n"].concat())?;
            self.say(format!("MAINPID={main}\n").as_bytes())?;
            return Ok(true);
        }
        Ok(false)
    }

    fn say(&self, text: &[u8]) -> Result<()> {
        let Some(host) = &self.host else { return Ok(()) };
        host.send(text).map(drop).map_err(|e| Error::io("tell", "NOTIFY_SOCKET", &e))
    }

    /// Waits until what was said has been worked on.
    ///
    /// SPEC: sd_notify_barrier(3): the receiver closes the descriptor then. One that doesn't
    /// know it closes it too, or is waited for no longer than its patience.
    fn barrier(&self) -> Result<()> {
        let Some(host) = &self.host else { return Ok(()) };
        let system = |e| Error::system("wait for", "NOTIFY_SOCKET's barrier", e);
        let (ours, theirs) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(system)?;
        dhow_kernel::rights::send(host.as_fd(), b"BARRIER=1", &[theirs.as_fd()]).map_err(system)?;
        drop(theirs);
        let mut fds = [PollFd::new(ours.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(PATIENCE)).map(drop).map_err(system)
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn connect(host: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    // SPEC: sd_notify(3): an @ stands for the NUL of an abstract name.
    let address = match host.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(host)?,
    };
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// The line that says READY, if there is one.
fn ready(text: &[u8]) -> Option<&[u8]> {
    text.split(|b| *b == b'\n').find(|line| line.starts_with(b"READY="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_found_among_other_lines() {
        assert_eq!(ready(b"STATUS=up\nREADY=1\n"), Some(&b"READY=1"[..]));
        assert_eq!(ready(b"READY=1"), Some(&b"READY=1"[..]));
        assert_eq!(ready(b"STATUS=READY=1\nWATCHDOG=1"), None);
    }

    #[test]
    fn bug_a_container_could_flood_the_manager() {
        let (socket, theirs) = UnixDatagram::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let (host, far) = UnixDatagram::pair().unwrap();
        let notify = Notify { socket, host: Some(host), told: Cell::default() };
        for first in [true, false, false] {
            theirs.send(b"READY=1").unwrap();
            assert_eq!(notify.pass(1).unwrap(), first);
        }
        far.set_nonblocking(true).unwrap();
        let heard = std::iter::from_fn(|| far.recv(&mut [0; 64]).ok());
        assert_eq!(heard.count(), 2, "READY and MAINPID, once");
    }

    #[test]
    fn a_container_that_never_stops_talking_keeps_nobody_from_other_work() {
        let (socket, theirs) = UnixDatagram::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        let notify = Notify { socket, host: UnixDatagram::unbound().ok(), told: Cell::default() };
        let talking = std::thread::spawn(move || while theirs.send(b"STATUS=on").is_ok() {});
        // Had it to the last word, this would not come back.
        assert!((0..20).all(|_| matches!(notify.pass(1), Ok(false))));
        drop(notify);
        talking.join().unwrap();
    }

    #[test]
    fn a_config_is_given_the_mount_and_the_variable() {
        let json = r#"{"process":{"args":["x"],"cwd":"/"}}"#;
        let mut spec: Spec<'_> = serde_json::from_str(json).unwrap();
        ask(&mut spec, Path::new("/state/x/notify")).unwrap();
        assert_eq!(&*spec.mounts[0].destination, "/run/notify");
        assert_eq!(&*spec.process.unwrap().env[0], "NOTIFY_SOCKET=/run/notify/notify.sock");
    }
}
