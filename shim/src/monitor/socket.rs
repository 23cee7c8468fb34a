//! Unix sockets in directories whose paths may be longer than a socket address (108 bytes).

use std::fs::File;
use std::io::Result;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::ATTACH;
use crate::error::Error;
use crate::host::Host;

/// Longest path in a sockaddr_un, without its NUL.
const LONGEST: usize = 107;

/// A path to a socket that fits, and what must stay open while it is used.
pub struct Address {
    /// Fits into a socket address; good for child processes too.
    pub path: PathBuf,
    _dir: Option<File>,
}

impl Address {
    /// The address of `dir`/`name`.
    pub fn of(dir: &Path, name: &str) -> Result<Self> {
        let path = dir.join(name);
        if path.as_os_str().len() <= LONGEST {
            return Ok(Self { path, _dir: None });
        }
        let dir =
            File::options().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(dir)?;
        let path = format!("/proc/{}/fd/{}/{name}", std::process::id(), dir.as_raw_fd());
        Ok(Self { path: path.into(), _dir: Some(dir) })
    }
}

/// Listens at `dir`/`name`; what a dead listener left there is replaced.
pub fn listen(dir: &Path, name: &str) -> Result<UnixListener> {
    let _ = std::fs::remove_file(dir.join(name));
    let listener = UnixListener::bind(Address::of(dir, name)?.path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Listens for the clients of a container's monitor; the caller holds its lock.
pub fn listen_for(host: &Host, id: &str) -> crate::Result<UnixListener> {
    let dir = host.paths.monitor(id);
    listen(&dir, ATTACH).map_err(|e| Error::io("listen in", &dir, e))
}

/// Connects to `dir`/`name`.
pub fn connect(dir: &Path, name: &str) -> Result<UnixStream> {
    UnixStream::connect(Address::of(dir, name)?.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_beyond_the_address_length_work() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let listener = listen(&deep, "attach.sock").unwrap();
        connect(&deep, "attach.sock").unwrap();
        listener.accept().unwrap();
    }
}
