//! A seccomp agent: answers the calls that `SCMP_ACT_NOTIFY` asks about, and keeps what it was told.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
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
    ends: Arc<AtomicBool>,
}

impl Agent {
    /// Listens at `path`; each call gets what `answer` says.
    pub fn new(path: PathBuf, answer: fn(&Question) -> Answer) -> Self {
        let listener = UnixListener::bind(&path).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let ends = Arc::new(AtomicBool::new(false));
        let (keep, end) = (Arc::clone(&told), Arc::clone(&ends));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                // Who fails before it has said all is heard in vain.
                let Some((text, fd)) = hear(stream.unwrap().as_fd()) else { continue };
                keep.lock().unwrap().push(text);
                thread::spawn(move || serve(&fd, answer));
            }
        });
        Self { path, told, ends }
    }

    /// Its socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same, once there are so many: who has said all isn't kept until it is heard.
    #[track_caller]
    pub fn hears(&self, count: usize) -> Vec<Value> {
        crate::until(&format!("the agent has heard {count} states"), || self.told().len() >= count);
        self.told()
    }

    /// The container process states it was sent, in order.
    pub fn told(&self) -> Vec<Value> {
        self.told.lock().unwrap().clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = std::os::unix::net::UnixStream::connect(&self.path);
        let _ = std::fs::remove_file(&self.path);
    }
}

/// One container process state and its descriptor; `None` when it isn't said whole.
fn hear(stream: std::os::fd::BorrowedFd<'_>) -> Option<(Value, OwnedFd)> {
    let (mut text, mut fds) = (Vec::new(), Vec::new());
    let mut buffer = [0; 4096];
    loop {
        let (n, more) = rights::receive(stream, &mut buffer).ok()?;
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
