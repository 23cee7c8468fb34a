//! A seccomp agent: answers the calls that `SCMP_ACT_NOTIFY` asks about, and keeps what it was told.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

pub use dhow_kernel::notify::{Answer, Question};
use dhow_kernel::{notify, rights};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

/// An agent on a socket of its own, until it is dropped.
pub struct Agent {
    path: PathBuf,
    told: Arc<Mutex<Vec<Value>>>,
}

impl Agent {
    /// Listens at `path`; each call gets what `answer` says.
    pub fn new(path: PathBuf, answer: fn(&Question) -> Answer) -> Self {
        let listener = UnixListener::bind(&path).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&told);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Some((text, fd)) = hear(stream.unwrap().as_fd()) else { break };
                keep.lock().unwrap().push(text);
                thread::spawn(move || serve(&fd, answer));
            }
        });
        Self { path, told }
    }

    /// Its socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The container process states it was sent, in order.
    pub fn told(&self) -> Vec<Value> {
        self.told.lock().unwrap().clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Whoever connects and says nothing ends it.
        let _ = std::os::unix::net::UnixStream::connect(&self.path);
        let _ = std::fs::remove_file(&self.path);
    }
}

/// One container process state and its descriptor; `None` when nothing is said.
fn hear(stream: std::os::fd::BorrowedFd<'_>) -> Option<(Value, OwnedFd)> {
    let (mut text, mut fds) = (Vec::new(), Vec::new());
    let mut buffer = [0; 4096];
    loop {
        let (n, more) = rights::receive(stream, &mut buffer).unwrap();
        fds.extend(more);
        match n {
            0 => break,
            n => text.extend_from_slice(&buffer[..n]),
        }
    }
    let text = serde_json::from_slice(&text).ok()?;
    assert_eq!(fds.len(), 1, "one descriptor goes with a state");
    Some((text, fds.remove(0)))
}

/// Answers until nobody is left whom the filter judges.
fn serve(listener: &OwnedFd, answer: fn(&Question) -> Answer) {
    loop {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE).unwrap();
        if !fds[0].revents().is_some_and(|e| e.contains(PollFlags::POLLIN)) {
            break;
        }
        if let Ok(question) = notify::receive(listener.as_fd()) {
            let _ = notify::answer(listener.as_fd(), question.id, answer(&question));
        }
    }
}
