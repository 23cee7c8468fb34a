//! A container's streams: FIFOs, or the master of its terminal.
//!
//! The FIFOs have names in RUN/monitors/ID, and the container's ends of stdout
//! and stderr are open for reading too: when a monitor is killed, the container
//! neither gets SIGPIPE nor loses a byte, and an adopter opens the same FIFOs.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;

use super::runtime::Stdio3;
use super::socket::{self, Address};
use crate::error::{Error, Result};

/// The monitor's ends; none of them ever blocks.
pub struct Streams {
    /// Into the container; none when it has no stdin, or it was closed. With a terminal, its master.
    pub stdin: Option<File>,
    /// Out of the container; with a terminal, its master.
    pub stdout: Option<File>,
    /// Out of the container; none with a terminal.
    pub stderr: Option<File>,
}

/// What the container's stdin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// /dev/null.
    Closed,
    /// Ends when the first client that sends it ends.
    Once,
    /// Outlives every client, and the monitor.
    Open,
}

/// Makes the FIFOs in `dir` and opens both sides.
pub fn pipes(dir: &Path, stdin: Stdin) -> Result<(Streams, Stdio3)> {
    let (stdout, out) = output(dir, "stdout")?;
    let (stderr, err) = output(dir, "stderr")?;
    let (ours, theirs) = match stdin {
        Stdin::Closed => (None, Stdio::null()),
        kind => {
            make(dir, "stdin")?;
            // Opened both ways first: neither end has to wait for the other.
            let both = open(dir, "stdin", true, true)?;
            let theirs = open(dir, "stdin", true, kind == Stdin::Open)?;
            let ours = open(dir, "stdin", false, true)?;
            drop(both);
            set_blocking(&theirs)?;
            (Some(ours), theirs.into())
        }
    };
    let streams = Streams { stdin: ours, stdout: Some(stdout), stderr: Some(stderr) };
    Ok((streams, Stdio3 { stdin: theirs, stdout: out.into(), stderr: err.into() }))
}

/// Opens the FIFOs of a container whose monitor was killed. What lacks is left out.
pub fn reopen(dir: &Path) -> Streams {
    Streams {
        stdin: open(dir, "stdin", false, true).ok(),
        stdout: open(dir, "stdout", true, true).ok(),
        stderr: open(dir, "stderr", true, true).ok(),
    }
}

fn output(dir: &Path, name: &str) -> Result<(File, File)> {
    make(dir, name)?;
    let ours = open(dir, name, true, true)?;
    let theirs = open(dir, name, true, true)?;
    set_blocking(&theirs)?;
    Ok((ours, theirs))
}

fn make(dir: &Path, name: &str) -> Result<()> {
    let path = dir.join(name);
    let _ = std::fs::remove_file(&path);
    nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)
        .map_err(|e| Error::io("make FIFO", &path, e.desc()))
}

fn open(dir: &Path, name: &str, read: bool, write: bool) -> Result<File> {
    let path = dir.join(name);
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    OpenOptions::new()
        .read(read)
        .write(write)
        .custom_flags(flags)
        .open(&path)
        .map_err(|e| Error::io("open", &path, e))
}

fn set_blocking(file: &File) -> Result<()> {
    change_flags(file, |flags| flags - OFlag::O_NONBLOCK)
}

/// Makes `file` answer EAGAIN instead of waiting.
pub fn set_nonblocking(file: &File) -> Result<()> {
    change_flags(file, |flags| flags | OFlag::O_NONBLOCK)
}

fn change_flags(file: &File, change: impl Fn(OFlag) -> OFlag) -> Result<()> {
    fcntl(file, FcntlArg::F_GETFL)
        .map(|flags| change(OFlag::from_bits_retain(flags)))
        .and_then(|flags| fcntl(file, FcntlArg::F_SETFL(flags)))
        .map(drop)
        .map_err(|e| Error::engine(format!("set flags of a stream: {}", e.desc())))
}

/// Where the runtime sends the master of a new terminal.
pub struct Console {
    listener: UnixListener,
    /// What `--console-socket` gets.
    pub address: Address,
}

impl Console {
    /// Waits at `dir`/`name`.
    pub fn listen(dir: &Path, name: &str) -> Result<Self> {
        let cause = |e| Error::io("make console socket in", dir, e);
        let listener = socket::listen(dir, name).map_err(cause)?;
        let address = Address::of(dir, name).map_err(cause)?;
        Ok(Self { listener, address })
    }

    /// The master that the runtime sent; it has returned, so nothing is waited for.
    pub fn master(self) -> Result<File> {
        let none = || Error::engine("the runtime sent no terminal to the console socket");
        let (stream, _) = match self.listener.accept() {
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Err(none()),
            other => other.map_err(|e| Error::engine(format!("accept the terminal: {e}")))?,
        };
        let mut name = [0; 4096];
        let (_, mut fds) = dhow_kernel::rights::receive(stream.as_fd(), &mut name)
            .map_err(|e| Error::engine(format!("receive the terminal: {}", e.desc())))?;
        let master = File::from(if fds.is_empty() { return Err(none()) } else { fds.remove(0) });
        set_nonblocking(&master)?;
        Ok(master)
    }
}

impl Streams {
    /// No streams at all.
    pub fn none() -> Self {
        Self { stdin: None, stdout: None, stderr: None }
    }

    /// A terminal's streams: one descriptor for both ways.
    pub fn terminal(master: File) -> Result<Self> {
        let other = master
            .try_clone()
            .map_err(|e| Error::engine(format!("duplicate the terminal: {e}")))?;
        Ok(Self { stdin: Some(other), stdout: Some(master), stderr: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::process::Command;

    fn run(script: &str, stdio: Stdio3) -> std::process::Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(stdio.stdin).stdout(stdio.stdout).stderr(stdio.stderr);
        command.spawn().unwrap()
    }

    #[test]
    fn stdin_once_ends_with_our_end() {
        let dir = tempfile::tempdir().unwrap();
        let (mut ours, theirs) = pipes(dir.path(), Stdin::Once).unwrap();
        let mut child = run("cat; echo done", theirs);
        ours.stdin.take().unwrap().write_all(b"in\n").unwrap();
        assert!(child.wait().unwrap().success());
        let mut got = [0; 64];
        let n = ours.stdout.unwrap().read(&mut got).unwrap();
        assert_eq!(&got[..n], b"in\ndone\n");
    }

    #[test]
    fn output_survives_a_reader_that_goes_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = pipes(dir.path(), Stdin::Open).unwrap();
        let mut child = run("read x; echo first; echo $x", theirs);
        drop(ours);
        let mut again = reopen(dir.path());
        again.stdin.take().unwrap().write_all(b"second\n").unwrap();
        assert!(child.wait().unwrap().success());
        let mut got = [0; 64];
        let n = again.stdout.unwrap().read(&mut got).unwrap();
        assert_eq!(&got[..n], b"first\nsecond\n");
    }
}
