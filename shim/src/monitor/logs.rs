//! `dhow logs`: a container's log read back, and followed without polling.

use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::Path;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::attach::Line;
use super::protocol::{Frame, Role};
use super::watch::Watch;
use super::{LOST, process};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::logging::{Driver, Look, Part, Printer, Reached, read_journal, sync_journal};
use crate::model::Record;
use crate::store::Tail;

/// Which entries to show, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on until the container ends.
    pub follow: bool,
    /// Only so many of the last entries.
    pub tail: Option<u64>,
    /// What to show of each.
    pub look: Look,
}

/// Writes the container's log to `out` (its stdout) and `err` (its stderr).
pub fn logs(
    host: &Host,
    record: &Record,
    options: &LogOptions,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<()> {
    let path = host.paths.log(&record.id);
    let mut printer = Printer::new(options.look, out, err);
    let done = match Driver::of(&record.host_config.log_config.kind)? {
        Driver::None => {
            return Err(Error::usage("configured logging driver does not support reading"));
        }
        Driver::Journald => journal(host, record, options, &mut printer)?,
        _ if options.follow => follow(host, record, &path, options, &mut printer),
        _ => Tail::open(&path, options.tail)
            .and_then(|mut tail| print(&mut tail, &mut printer))
            .map(drop),
    };
    let lost = std::fs::read_to_string(host.paths.monitor(&record.id).join(LOST)).ok();
    match done.and_then(|()| printer.finish(lost.as_deref())) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()), // head has seen enough
        other => other.map_err(|e| Error::io("read log", &path, e)),
    }
}

/// Prints every whole line there is by now.
fn print(tail: &mut Tail, printer: &mut Printer<'_>) -> std::io::Result<Reached> {
    while let Some(line) = tail.next_line()? {
        if printer.line(line)? == Reached::Until {
            return Ok(Reached::Until);
        }
    }
    printer.flush()?;
    Ok(Reached::More)
}

fn follow(
    host: &Host,
    record: &Record,
    path: &Path,
    options: &LogOptions,
    printer: &mut Printer<'_>,
) -> std::io::Result<()> {
    let other = |e: Error| std::io::Error::other(e.message);
    let watch = Watch::of(&host.paths.container(&record.id)).map_err(other)?;
    let mut tail = Tail::open(path, options.tail)?;
    loop {
        // Asked before the reading: what is written up to the end is then read for sure.
        let (line, _) = Line::of_living(host, record, Role::default()).map_err(other)?;
        let Some(mut line) = line else { return print(&mut tail, printer).map(drop) };
        loop {
            if print(&mut tail, printer)? == Reached::Until {
                return Ok(());
            }
            match wait(&watch, &line, options.look.until)? {
                Woken::Log => {}
                // DOCKER: the end of a life is the end of the following, whatever its policy. A
                // monitor that went without a word was killed: the next one goes on.
                Woken::Monitor if line.wait_exited().is_none() => break,
                Woken::Monitor | Woken::Gone | Woken::Until => {
                    return print(&mut tail, printer).map(drop);
                }
            }
        }
    }
}

/// What ended a wait.
enum Woken {
    /// The directory changed.
    Log,
    /// The monitor has said something, or has gone.
    Monitor,
    /// The container was removed.
    Gone,
    /// `--until` has come.
    Until,
}

fn wait(watch: &Watch, line: &Line, until: Option<Timestamp>) -> std::io::Result<Woken> {
    let mut fds = [watch.as_fd(), line.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    let left = until.map(|until| until.as_millisecond() - Timestamp::now().as_millisecond() + 1);
    let timeout = match left {
        None => PollTimeout::NONE,
        Some(ms) => PollTimeout::try_from(ms.clamp(0, i64::from(i32::MAX)) as i32)
            .unwrap_or(PollTimeout::ZERO),
    };
    match poll(&mut fds, timeout) {
        Ok(0) => return Ok(Woken::Until),
        Err(Errno::EINTR) => return Ok(Woken::Log),
        Err(e) => return Err(e.into()),
        Ok(_) => {}
    }
    if fds[0].any() == Some(true) {
        return Ok(if watch.wait().is_some() { Woken::Log } else { Woken::Gone });
    }
    Ok(Woken::Monitor)
}

/// As [`follow`], of a log that is in systemd's journal.
fn journal(
    host: &Host,
    record: &Record,
    options: &LogOptions,
    printer: &mut Printer<'_>,
) -> Result<std::io::Result<()>> {
    let living = Line::of_living(host, record, Role::default())?.0.filter(|_| options.follow);
    let Some(mut line) = living else {
        let mut reading = read_journal(&record.id, Part::Last(options.tail))?;
        return Ok(reading.print(printer).map(drop));
    };
    let mut reading = read_journal(&record.id, Part::Follow(options.tail))?;
    let reader = process::open_pid(reading.pid())
        .map_err(|e| Error::engine(format!("open journalctl: {}", e.desc())))?;
    // It follows for ever; the container does not.
    std::thread::spawn(move || {
        while !matches!(line.wait_frame(), None | Some(Frame::Exited(_))) {}
        let _ = dhow_kernel::process::pidfd_signal(reader.as_fd(), libc::SIGTERM);
    });
    match reading.print(printer) {
        Ok(Reached::More) => {}
        other => return Ok(other.map(drop)),
    }
    // What was said last may have been on its way when the following was ended.
    sync_journal();
    let rest = reading.cursor().map_or(Part::Last(options.tail), Part::After);
    Ok(read_journal(&record.id, rest)?.print(printer).map(drop))
}
