//! The journal read back, and followed without polling.

use std::os::fd::AsFd;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::event::Event;
use super::journal;
use crate::error::{Error, Result};
use crate::host::Paths;
use crate::monitor::Watch;
use crate::store::{Tail, make_dir};

/// Which time to tell of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    /// Nothing before this; with neither end, nothing before now.
    pub since: Option<Timestamp>,
    /// Nothing after this; when it comes, that's all.
    pub until: Option<Timestamp>,
}

impl Span {
    fn nanos(at: Option<Timestamp>) -> Option<i128> {
        at.map(Timestamp::as_nanosecond)
    }

    fn holds(self, event: &Event) -> bool {
        let at = i128::from(event.nanos);
        Self::nanos(self.since).is_none_or(|since| at >= since)
            // As docker: up to 0 means all there is.
            && Self::nanos(self.until).is_none_or(|until| until == 0 || at <= until)
    }
}

/// Tells `each` of every event of `span`, and of those to come until its end.
pub fn read(paths: &Paths, span: Span, mut each: impl FnMut(&Event) -> Result<()>) -> Result<()> {
    let journal = journal::path(&paths.root, 0);
    let cause = |e: std::io::Error| Error::io("read events", &journal, e);
    make_dir(&paths.root)?;
    // Watched before it is read: what comes between the two wakes us.
    let watch = Watch::of(&paths.root)?;
    let past = span.since.is_some() || span.until.is_some();
    let mut tail = Tail::open(&journal, (!past).then_some(0)).map_err(cause)?;
    loop {
        let over = span.until.is_some_and(|until| until <= Timestamp::now());
        while let Some(line) = tail.next_line().map_err(cause)? {
            if let Some(event) = journal::parse(line).filter(|event| span.holds(event)) {
                each(&event)?;
            }
        }
        // Looked at the clock first: what was written before the end has been read.
        if over {
            return Ok(());
        }
        wait(&watch, span.until)?;
    }
}

fn wait(watch: &Watch, until: Option<Timestamp>) -> Result<()> {
    let left = until.map(|until| until.as_millisecond() - Timestamp::now().as_millisecond() + 1);
    let timeout = left.map_or(Ok(PollTimeout::NONE), |ms| {
        PollTimeout::try_from(ms.clamp(0, i64::from(i32::MAX)) as i32)
    });
    let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, timeout.unwrap_or(PollTimeout::MAX)) {
        Ok(0) | Err(Errno::EINTR) => Ok(()),
        Ok(_) => {
            watch.wait().map(drop).ok_or_else(|| Error::engine("the events' directory is gone"))
        }
        Err(e) => Err(Error::engine(format!("wait for events: {}", e.desc()))),
    }
}
