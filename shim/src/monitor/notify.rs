//! `NOTIFY_SOCKET`: whoever started this client hears when the container is up, sd_notify(3).
//!
//! The client says it, not the monitor: a service manager listens to the processes of the unit,
//! and a monitor has left it. The container's own socket stands in RUN/monitors/ID/notify, which
//! the bundle binds at /run/notify. Of what comes there READY alone is passed on, as by runc and
//! podman: other words would tell of processes that the manager doesn't know.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::attach::Line;
use super::protocol::Role;
use super::socket::Address;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{Record, Sdnotify};

/// The container's socket in its directory.
pub const SOCKET: &str = "notify.sock";
/// How long the manager may take to let go of the barrier, in milliseconds.
const PATIENCE: u16 = 10_000;

/// Who wants to hear of a start, and from whom.
#[derive(Debug, Clone)]
pub struct Notice {
    /// `NOTIFY_SOCKET`
    pub address: OsString,
    /// Who says it.
    pub how: Sdnotify,
}

impl Notice {
    /// For the value of `NOTIFY_SOCKET`; nothing where nobody listens, or is to hear anything.
    pub fn of(address: Option<OsString>, how: Sdnotify) -> Option<Self> {
        let address = address.filter(|a| !a.is_empty() && how != Sdnotify::Ignore)?;
        Some(Self { address, how })
    }

    /// For a container that runs already, whoever started it: what it had to say is said.
    pub fn tell_running(&self) {
        if let Ok(manager) = connect(&self.address) {
            Notify { manager: Some(manager), container: None, warning: None }.stay();
        }
    }
}

/// The manager, if it can be reached, and the container's socket if it is the container who speaks.
#[derive(Debug)]
pub struct Notify {
    manager: Option<UnixDatagram>,
    container: Option<UnixDatagram>,
    /// Why nobody will be told.
    warning: Option<String>,
}

impl Notify {
    /// Before the start; the caller holds the container's lock.
    ///
    /// A manager that can't be reached is no reason to do without the container: as the runtime has
    /// it, it is warned of, and the container has its socket all the same.
    pub fn prepare(host: &Host, id: &str, notice: Option<&Notice>) -> Result<Option<Self>> {
        let dir = host.paths.notify(id);
        let _ = fs::remove_dir_all(&dir); // what a killed monitor left
        let Some(notice) = notice else { return Ok(None) };
        let (manager, warning) = match connect(&notice.address) {
            Ok(manager) => (Some(manager), None),
            Err(e) => {
                let why = Error::io("connect to NOTIFY_SOCKET", notice.address.as_ref(), e);
                (None, Some(format!("{why}: nobody is told that the container is ready")))
            }
        };
        let container = (notice.how == Sdnotify::Container)
            .then(|| {
                // Whatever the caller's umask is, the container's user must get through.
                fs::DirBuilder::new().mode(0o755).create(&dir)?;
                fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
                let socket = UnixDatagram::bind(Address::of(&dir, SOCKET)?.path)?;
                fs::set_permissions(dir.join(SOCKET), fs::Permissions::from_mode(0o777))?;
                Ok(socket)
            })
            .transpose()
            .map_err(|e: io::Error| Error::io("make", &dir, e))?;
        Ok(Some(Self { manager, container, warning }))
    }

    /// What the user is to hear of it, once.
    pub fn warning(&mut self) -> Option<String> {
        self.warning.take()
    }

    /// The container runs, and this process stays: it is the one to watch.
    pub fn stay(self) {
        let main = std::process::id();
        let Some(container) = &self.container else {
            self.tell(main);
            return;
        };
        let Ok(container) = container.try_clone() else { return };
        // Said once: who is up stays so for the manager, and no container is to keep it busy. Heard as
        // long as this process is there: nobody in the container is to wait for room.
        std::thread::spawn(move || {
            let (mut buffer, mut told) = ([0; 4096], false);
            while let Ok(n) = container.recv(&mut buffer) {
                if !told && is_ready(&buffer[..n]) {
                    self.tell(main);
                    told = true;
                }
            }
        });
    }

    /// The container runs, and this process goes: waits until it is ready, or has ended. Its
    /// monitor is the one to watch.
    pub fn leave(self, host: &Host, record: &Record) -> Result<()> {
        if self.manager.is_none() {
            return Ok(());
        }
        let (line, state) = Line::of_living(host, record, Role::default())?;
        let Some(line) = line else { return Ok(()) };
        if let Some(container) = &self.container
            && !until_ready(container, &line)?
        {
            return Ok(());
        }
        self.tell(state.monitor_pid as u32);
        self.barrier();
        Ok(())
    }

    /// A manager that doesn't listen any more is told nothing; the container runs nevertheless.
    fn tell(&self, main: u32) {
        let Some(manager) = &self.manager else { return };
        let _ = manager.send(format!("READY=1\nMAINPID={main}\n").as_bytes());
    }

    /// Waits until what was said has been worked on: the manager asks who its sender is.
    ///
    /// SPEC: sd_notify_barrier(3): the receiver closes the descriptor then, also one that doesn't
    /// know it.
    fn barrier(&self) {
        let (Some(manager), Ok((ours, theirs))) = (&self.manager, std::io::pipe()) else { return };
        let _ = dhow_kernel::rights::send(manager.as_fd(), b"BARRIER=1", &[theirs.as_fd()]);
        drop(theirs);
        let _ =
            poll(&mut [PollFd::new(ours.as_fd(), PollFlags::empty())], PollTimeout::from(PATIENCE));
    }
}

/// Whether the container said so before its end.
fn until_ready(container: &UnixDatagram, line: &Line) -> Result<bool> {
    let failed = |why: io::Error| Error::engine(format!("hear the container's READY: {why}"));
    let mut buffer = [0; 4096];
    loop {
        let mut fds =
            [container.as_fd(), line.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other.map_err(|e| failed(e.into()))?,
        };
        if fds[0].any() == Some(true) {
            let n = container.recv(&mut buffer).map_err(failed)?;
            if is_ready(&buffer[..n]) {
                return Ok(true);
            }
        } else if fds[1].any() == Some(true) {
            return Ok(false); // a monitor tells such a client of the end alone
        }
    }
}

/// SPEC: sd_notify(3): an @ stands for the NUL of an abstract name.
fn connect(address: &OsString) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match address.as_bytes() {
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        [b'/', ..] => socket.connect(address)?,
        _ => return Err(io::Error::other("it is no path, and no abstract name")),
    }
    Ok(socket)
}

fn is_ready(text: &[u8]) -> bool {
    text.split(|b| *b == b'\n').any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_a_line_of_its_own() {
        assert!(is_ready(b"STATUS=x\nREADY=1\n") && is_ready(b"READY=1"));
        assert!(!is_ready(b"STATUS=READY=1") && !is_ready(b"READY=10") && !is_ready(b""));
    }

    #[test]
    fn nobody_is_told_where_nobody_listens() {
        assert!(Notice::of(None, Sdnotify::Container).is_none());
        assert!(Notice::of(Some(OsString::new()), Sdnotify::Conmon).is_none());
        assert!(Notice::of(Some("/x".into()), Sdnotify::Ignore).is_none());
        assert!(connect(&"relative".into()).is_err());
    }

    #[test]
    fn bug_a_container_could_flood_the_manager() {
        let (manager, far) = UnixDatagram::pair().unwrap();
        let (container, inside) = UnixDatagram::pair().unwrap();
        Notify { manager: Some(manager), container: Some(container), warning: None }.stay();
        // Each is heard, or there were no room for so many; and so were those before the last.
        for _ in 0..1000 {
            inside.send(b"READY=1").unwrap();
        }
        inside.shutdown(std::net::Shutdown::Both).unwrap();
        let mut buffer = [0; 64];
        let n = far.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..n], *format!("READY=1\nMAINPID={}\n", std::process::id()).as_bytes());
        far.set_nonblocking(true).unwrap();
        assert!(far.recv(&mut buffer).is_err(), "said once");
    }

    #[test]
    fn the_manager_hears_of_the_process_to_watch() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manager");
        let manager = UnixDatagram::bind(&path).unwrap();
        let connected = connect(&path.into()).ok();
        let notify = Notify { manager: connected, container: None, warning: None };
        notify.tell(7);
        let mut buffer = [0; 64];
        let n = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"READY=1\nMAINPID=7\n");
    }
}
