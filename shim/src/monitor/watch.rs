//! A directory's changes by inotify(7): readers sleep until there is something to read.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::error::{Error, Result};

/// A directory that is watched.
pub struct Watch(Inotify);

impl Watch {
    /// Watches `dir`; what changes from now on wakes [`Watch::wait`].
    pub fn of(dir: &Path) -> Result<Self> {
        let cause = |e: Errno| Error::io("watch", dir, e.desc());
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC).map_err(cause)?;
        let events = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DELETE_SELF;
        inotify.add_watch(dir, events).map_err(cause)?;
        Ok(Self(inotify))
    }

    /// Waits for changes and names them; nothing when the directory itself has gone.
    pub fn wait(&self) -> Option<Vec<OsString>> {
        loop {
            match self.0.read_events() {
                Ok(events) => {
                    let gone = AddWatchFlags::IN_DELETE_SELF
                        | AddWatchFlags::IN_MOVE_SELF
                        | AddWatchFlags::IN_IGNORED;
                    let stays = !events.iter().any(|event| event.mask.intersects(gone));
                    return stays.then(|| events.into_iter().filter_map(|e| e.name).collect());
                }
                Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
