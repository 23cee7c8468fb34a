//! The service manager's end of NOTIFY_SOCKET.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::World;

/// A socket in the manager's place; what waits longer than 20 s for a message fails.
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    /// One a world.
    #[must_use]
    pub fn new(w: &World) -> Self {
        let path = w.path("manager.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, path }
    }

    /// What NOTIFY_SOCKET is to be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next message.
    #[must_use]
    pub fn heard(&self) -> String {
        let mut buffer = [0; 256];
        let n = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }

    /// Whether a message waits.
    #[must_use]
    pub fn hears_more(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let more = self.socket.recv(&mut [0; 8]).is_ok();
        self.socket.set_nonblocking(false).unwrap();
        more
    }
}
