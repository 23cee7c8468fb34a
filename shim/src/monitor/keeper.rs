//! Who waits for a process of `exec`: a process of our own that nobody stops.
//!
//! KERNEL: pid_namespaces(7): a container's first process ends only when whoever else was in its
//! namespace has been waited for. A client waits for nobody while it is stopped (Ctrl-Z), and with it
//! would the container's end, and all who wait for that. The keeper leaves the terminal's group of
//! processes, ends with the client, and tells it the code when it goes on.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use dhow_kernel::process::{Fork, Side, exit_now, fork, reap};
use dhow_kernel::{close, rights};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid, setpgid};

use super::process;
use super::runtime::{ExecCall, Runtime};
use crate::error::{Error, Result};

/// A process in a container, and the one that waits for it.
pub struct Kept {
    process: OwnedFd,
    keeper: UnixStream,
}

impl Kept {
    /// Calls the runtime for a process, by a keeper.
    pub fn begin(runtime: &Runtime<'_>, call: ExecCall<'_>) -> Result<Self> {
        let cannot = |e: Errno| Error::engine(format!("make a process beside us: {}", e.desc()));
        let pid_file = call.pid_file;
        let pair = UnixStream::pair().map_err(|e| Error::engine(format!("make sockets: {e}")))?;
        let (keeper, client) = pair;
        let ours = getpid();
        // Nothing of ours has threads.
        match fork(&Fork::default()).map_err(cannot)? {
            Side::Child => keep(ours, runtime, call, &client),
            Side::Parent(..) => {}
        }
        // Our copies of its streams, and of the keeper's end.
        drop((call, client));
        let mut said = [0; 1024];
        let (length, fds) = rights::receive(keeper.as_fd(), &mut said).map_err(cannot)?;
        let status = match &said[..length] {
            [b'0', status @ ..] => number(status),
            [b'1', why @ ..] => return Err(Error::engine(String::from_utf8_lossy(why))),
            _ => None,
        };
        let gone = || Error::engine("who called the runtime has ended before it");
        let pid = runtime.end_exec(ExitStatus::from_raw(status.ok_or_else(gone)?), pid_file)?;
        let unknown = || Error::engine(format!("open process {pid}: it has no descriptor"));
        let process = fds.into_iter().next().ok_or_else(unknown)?;
        Ok(Self { process, keeper })
    }

    /// The code with which the process has ended; -1 where nobody knows.
    pub fn code(self) -> i32 {
        let mut said = [0; 4];
        match rights::receive(self.keeper.as_fd(), &mut said) {
            Ok((4, _)) => i32::from_ne_bytes(said),
            // Somebody ended the keeper, and the process became ours.
            _ => reap(self.process.as_fd()).ok().flatten().unwrap_or(-1),
        }
    }
}

impl AsFd for Kept {
    /// The process; readable when it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

fn number(bytes: &[u8]) -> Option<i32> {
    bytes.try_into().ok().map(i32::from_ne_bytes)
}

/// The keeper's life. What we own is left to the end of the process.
fn keep(client: Pid, runtime: &Runtime<'_>, call: ExecCall<'_>, socket: &UnixStream) -> ! {
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    let _ = prctl::set_child_subreaper(true);
    let _ = prctl::set_name(c"dhow-keeper");
    // It may have ended before.
    if getppid() != client {
        exit_now(1);
    }
    let pid_file = call.pid_file;
    let status = runtime.begin_exec(call).and_then(|mut child| {
        child.wait().map_err(|e| Error::engine(format!("wait for the runtime: {e}")))
    });
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            let word = [b"1", error.message.as_bytes()].concat();
            let _ = rights::send(socket.as_fd(), &word, &[]);
            exit_now(1);
        }
    };
    let process =
        runtime.end_exec(status, pid_file).ok().and_then(|pid| process::open_pid(pid).ok());
    // Until now what ends or stops the client by its terminal does so to the runtime, too.
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    let fds: Vec<BorrowedFd<'_>> = process.iter().map(AsFd::as_fd).collect();
    let word = [b"0".as_slice(), &status.into_raw().to_ne_bytes()].concat();
    let (Ok(_), Some(process)) = (rights::send(socket.as_fd(), &word, &fds), &process) else {
        exit_now(1);
    };
    // Whoever reads or writes our client's streams is not to wait for us.
    let kept = [process.as_raw_fd(), socket.as_raw_fd()].map(i32::cast_unsigned);
    let _ = close::close_but(0, &mut { kept });
    let mut ended = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    while let Err(Errno::EINTR) = poll(&mut ended, PollTimeout::NONE) {}
    if let Ok(Some(code)) = reap(process.as_fd()) {
        let _ = rights::send(socket.as_fd(), &code.to_ne_bytes(), &[]);
    }
    exit_now(0);
}
