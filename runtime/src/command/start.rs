//! `start`: releases a created container, and learns whether its program runs.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use super::World;
use crate::error::{Error, Result};
use crate::init::fault::Fault;
use crate::lifecycle;
use crate::notify::Notify;
use crate::state::{Held, Record, Status, file};
use crate::validate::{self, hook, spec};

/// Starts it.
///
/// DIFFERS: runc comes back when init has read the byte, so that a failing startContainer hook is
/// told by nobody and the poststart hooks run all the same. Here it is this command's error.
pub fn start(id: &str, world: &World) -> Result<()> {
    let (held, record) = world.store.hold(id)?;
    match held.status(&record)? {
        Status::Created => {}
        Status::Stopped => {
            return Err(Error::rule(format!("cannot start a container that has stopped: {id}")));
        }
        Status::Running => {
            return Err(Error::rule(format!("cannot start an already running container: {id}")));
        }
        other => {
            return Err(Error::rule(format!(
                "cannot start a container in the {other} state: {id}"
            )));
        }
    }
    let text = held.dir.config()?;
    let trace = &world.log.trace;
    let dir = held.dir.file(file::NOTIFY);
    let host = world.notify.as_ref().filter(|_| dir.is_dir());
    let notify = host.map(|host| Notify::open(&dir, host, &world.log)).transpose()?;
    trace.step("go", || release(&held, &record))?;
    if text.contains("\"poststart\"") {
        let hooks = hook::read(&validate::parse::<spec::Spec<'_>>(&text)?.hooks)?;
        let told = trace.step("poststart", || lifecycle::poststart(&hooks, &record));
        // SPEC: runtime.md §Lifecycle 9: a failure goes on with steps 12 and 13.
        told.inspect_err(|_| {
            if held.take_back() {
                let _ = lifecycle::destroy(&held, &record, &world.log);
            }
        })?;
    }
    match (notify, record.process.open()?) {
        (Some(notify), Some(process)) => notify.until_ready(record.process.pid, process.as_fd()),
        _ => Ok(()),
    }
}

fn release(held: &Held, record: &Record) -> Result<()> {
    let dir = &held.dir;
    let start = dir.file(file::START);
    let io = |e: std::io::Error| Error::io("start", &record.id, &e);
    // KERNEL: fifo(7): without waiting, opening for reading always works, and then for writing too.
    let mut open = OpenOptions::new();
    open.custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
    let mut heard = open.clone().read(true).open(&start).map_err(io)?;
    open.write(true).open(&start).and_then(|mut fifo| fifo.write_all(b"0")).map_err(io)?;
    fs::remove_file(&start).map_err(io)?;
    // It counts as running now, and hooks, which may take their time, must not keep others
    // from ending it.
    held.release();
    wait_for_end(&heard)?;
    let mut bytes = Vec::new();
    match heard.read_to_end(&mut bytes) {
        Ok(0) => Ok(()),
        _ => Err(Fault::decode(&bytes).map_or_else(|| Error::rule("start failed"), Error::from)),
    }
}

/// Until init has executed, or ended: no sooner, for until it has read our byte that is what is in
/// there.
fn wait_for_end(heard: &fs::File) -> Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    loop {
        let mut fds = [PollFd::new(heard.as_fd(), PollFlags::empty())];
        // KERNEL: poll(2): POLLHUP, which says that no writer is left, comes unasked.
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => {}
            other => {
                return other.map(drop).map_err(|e| Error::system("wait for", "the start", e));
            }
        }
    }
}
