//! The foreground side of a container: our terminal or pipes, joined to its monitor.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::lock::Lock;
use super::outlet::Outlet;
use super::protocol::{Decoder, Frame, Hello, Role, VERSION, WINDOW};
use super::signals::{PROXIED, Signals, TERMINAL};
use super::terminal::{self, DetachKeys, Raw};
use super::{ATTACH, Attach, Ended, socket};
use crate::error::{Error, Result};
use crate::events;
use crate::exit::Exit;
use crate::host::Host;
use crate::model::{Record, State};

/// Output that waits for our reader before the monitor has to wait too.
const BEHIND: usize = 256 * 1024;
/// DOCKER: so many Ctrl-C on a container that ignores them, and the client goes alone.
const PATIENCE: u32 = 3;

/// A connection to a monitor.
pub struct Line {
    stream: UnixStream,
    decoder: Decoder,
    unsent: Vec<u8>,
}

impl Line {
    /// The line on which a start was asked for.
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, decoder: Decoder::default(), unsent: Vec::new() }
    }

    /// Connects to the container's monitor; nothing when there is none (any more).
    pub fn connect(host: &Host, id: &str, role: Role) -> Result<Option<Self>> {
        let Ok(stream) = socket::connect(&host.paths.monitor(id), ATTACH) else { return Ok(None) };
        let mut line = Self::new(stream);
        line.send(&Frame::Hello(Hello { version: VERSION, role }));
        match line.wait_frame() {
            Some(Frame::Welcome(_)) => Ok(Some(line)),
            Some(Frame::Failed(failed)) => Err(Error::engine(failed.message)),
            // It ended just then: what it had to say is on disk.
            Some(_) | None => Ok(None),
        }
    }

    /// Connects to the monitor of a container that runs; else its last state.
    pub fn of_living(host: &Host, record: &Record, role: Role) -> Result<(Option<Self>, State)> {
        loop {
            let state = super::state(host, record)?;
            if !super::is_active(&state) {
                return Ok((None, state));
            }
            if let Some(line) = Self::connect(host, &record.id, role)? {
                // Between the look and the call another life may have begun: the line is of that.
                let now = host.containers.state(&record.id)?;
                if now.started_at == state.started_at {
                    return Ok((Some(line), state));
                }
                continue;
            }
            // It ends just now; or somebody else has just taken its lock to put things right,
            // and will listen before anything else.
            Lock::wait_ending(host, &record.id);
            std::thread::yield_now();
        }
    }

    /// Has the container's monitor do something. One that is killed over a change of networks has a
    /// successor, who is asked once more: such a change made twice is made once.
    pub fn ask(host: &Host, record: &Record, wish: &Frame) -> Result<()> {
        let repeats = matches!(wish, Frame::Connect(_) | Frame::Disconnect(_) | Frame::Renew);
        for _ in 0..=u8::from(repeats) {
            if let Some(word) = Self::word(host, record, wish)? {
                return match word {
                    Frame::Failed(failed) => Err(failed.into()),
                    _ => Ok(()),
                };
            }
        }
        Err(gone(record))
    }

    /// What the container's monitor says to `wish`; nothing when it went without a word.
    fn word(host: &Host, record: &Record, wish: &Frame) -> Result<Option<Frame>> {
        let (line, _) = Self::of_living(host, record, Role::default())?;
        let mut line = line.ok_or_else(|| gone(record))?;
        line.send(wish);
        loop {
            match line.wait_frame() {
                Some(Frame::Exited(_)) => return Err(gone(record)),
                None => return Ok(None),
                word @ Some(Frame::Done | Frame::Failed(_)) => return Ok(word),
                Some(_) => {}
            }
        }
    }

    /// Sends `frame`, waiting for room.
    pub fn send(&mut self, frame: &Frame) {
        let _ = self.stream.write_all(&frame.to_bytes());
    }

    /// The next frame, waiting for it; nothing at the end.
    pub fn wait_frame(&mut self) -> Option<Frame> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = self.decoder.next_frame().ok()? {
                return Some(frame);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => self.decoder.push(&buffer[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// Waits until the container has ended; nothing when the monitor went without a word.
    pub fn wait_exited(&mut self) -> Option<i32> {
        loop {
            if let Frame::Exited(exited) = self.wait_frame()? {
                return Some(exited.code);
            }
        }
    }

    fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.unsent.clear(), // its end is read, not written
            }
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Why the loop stopped.
enum Stop {
    Ended(Ended),
    /// The monitor went without a word.
    Lost,
}

/// One foreground.
struct Foreground<'a> {
    host: &'a Host,
    record: &'a Record,
    line: Line,
    stdout: Outlet,
    stderr: Outlet,
    keys: DetachKeys,
    raw: Option<Raw>,
    signals: Option<Signals>,
    /// stdin is read, and so much more of it may be sent.
    stdin: bool,
    window: usize,
    interrupts: u32,
    buffer: Box<[u8]>,
}

fn gone(record: &Record) -> Error {
    Error::conflict(format!("Container {} is not running", record.name))
}

/// Joins our streams to the container behind `line` until it ends or the user leaves.
pub fn follow(host: &Host, record: &Record, how: &Attach, line: Line) -> Result<Ended> {
    let tty = record.config.tty;
    let keys = DetachKeys::of(host, how.detach_keys.as_deref(), record, tty)?;
    let outlet = |fd| Outlet::of(fd).map_err(|e| Error::engine(format!("open our output: {e}")));
    let signals = match (tty, how.sig_proxy) {
        (true, _) => Some(Signals::take(&TERMINAL)?),
        (false, true) => Some(Signals::take(&PROXIED)?),
        (false, false) => None,
    };
    let mut foreground = Foreground {
        host,
        record,
        line,
        stdout: outlet(std::io::stdout().as_fd())?,
        stderr: outlet(std::io::stderr().as_fd())?,
        keys,
        raw: if tty && how.stdin { Raw::enter() } else { None },
        signals,
        stdin: how.stdin,
        window: WINDOW,
        interrupts: 0,
        buffer: vec![0; 64 * 1024].into(),
    };
    let ended = loop {
        let ended = match foreground.run()? {
            Stop::Ended(ended) => Some(ended),
            Stop::Lost => foreground.find_again(role_of(how))?,
        };
        if let Some(ended) = ended {
            break ended;
        }
    };
    let _ = foreground.stdout.finish();
    let _ = foreground.stderr.finish();
    drop(foreground);
    if ended == Ended::Detached {
        events::of_container(&host.paths, record, "detach", &[]);
        tell_left();
    }
    Ok(ended)
}

/// docker's words when the keys that leave were typed.
pub fn tell_left() {
    let _ = writeln!(std::io::stderr(), "read escape sequence");
}

/// A size that is not ours first: who sees the same again draws nothing anew.
pub fn nudge(line: &mut Line) {
    if let Some((rows, columns)) = terminal::size() {
        line.send(&Frame::Resize(rows.saturating_add(1), columns.saturating_add(1)));
    }
}

/// What `how` asks of the monitor.
pub fn role_of(how: &Attach) -> Role {
    Role { stdin: how.stdin, stdout: how.stdout, stderr: how.stderr }
}

impl Foreground<'_> {
    fn run(&mut self) -> Result<Stop> {
        self.line
            .stream
            .set_nonblocking(true)
            .map_err(|e| Error::engine(format!("talk to the monitor: {e}")))?;
        self.resize();
        loop {
            if let Some(stop) = self.take_frames()? {
                return Ok(stop);
            }
            let ready = self.wait()?;
            let written = self.stdout.flush().and_then(|()| self.stderr.flush());
            if let Some(ended) = lost_reader(written)? {
                return Ok(Stop::Ended(ended));
            }
            self.line.flush();
            if ready.signal
                && let Some(ended) = self.take_signals()?
            {
                return Ok(Stop::Ended(ended));
            }
            if ready.stdin && self.take_stdin() {
                return Ok(Stop::Ended(Ended::Detached));
            }
            if ready.line && self.take_bytes() {
                return Ok(self.take_frames()?.unwrap_or(Stop::Lost));
            }
        }
    }

    fn wait(&self) -> Result<Ready> {
        let stdin = std::io::stdin();
        let none = PollFlags::empty();
        let when = |wanted: bool, flags| if wanted { flags } else { none };
        let behind = self.stdout.pending() + self.stderr.pending() > BEHIND;
        let line = when(!behind, PollFlags::POLLIN)
            | when(!self.line.unsent.is_empty(), PollFlags::POLLOUT);
        let takes_stdin = self.stdin && self.window > 0;
        let mut fds = Vec::with_capacity(5);
        // A closed line always says so: while our reader is behind, it isn't asked.
        if !line.is_empty() {
            fds.push(PollFd::new(self.line.as_fd(), line));
        }
        for outlet in [&self.stdout, &self.stderr] {
            if outlet.pending() > 0 {
                fds.push(PollFd::new(outlet.as_fd(), PollFlags::POLLOUT));
            }
        }
        let signal_at = fds.len();
        fds.extend(self.signals.iter().map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN)));
        let stdin_at = fds.len();
        if takes_stdin {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(Error::engine(format!("poll: {}", e.desc()))),
        }
        let events = |at: usize| fds.get(at).and_then(PollFd::revents).unwrap_or(none);
        Ok(Ready {
            line: !behind && events(0).intersects(!PollFlags::POLLOUT),
            signal: self.signals.is_some() && !events(signal_at).is_empty(),
            stdin: takes_stdin && !events(stdin_at).is_empty(),
        })
    }

    /// Reads from the monitor; true at the end.
    fn take_bytes(&mut self) -> bool {
        match self.line.stream.read(&mut self.buffer) {
            Ok(0) => true,
            Ok(n) => {
                self.line.decoder.push(&self.buffer[..n]);
                false
            }
            Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    fn take_frames(&mut self) -> Result<Option<Stop>> {
        loop {
            let frame =
                self.line.decoder.next_frame().map_err(|_| {
                    Error::engine("the container's monitor speaks another protocol")
                })?;
            let written = match frame {
                None => return Ok(None),
                Some(Frame::Stdout(bytes)) => self.stdout.put(&bytes),
                Some(Frame::Stderr(bytes)) => self.stderr.put(&bytes),
                Some(Frame::Credit(bytes)) => {
                    self.window += bytes as usize;
                    Ok(())
                }
                Some(Frame::Exited(exited)) => {
                    return Ok(Some(Stop::Ended(Ended::Exited(exited.code))));
                }
                Some(_) => Ok(()),
            };
            if let Some(ended) = lost_reader(written)? {
                return Ok(Some(Stop::Ended(ended)));
            }
        }
    }

    /// Reads our stdin; true when the keys that leave were typed.
    fn take_stdin(&mut self) -> bool {
        let room = self.window.min(self.buffer.len());
        let n = match nix::unistd::read(std::io::stdin(), &mut self.buffer[..room]) {
            Ok(n) => n,
            Err(Errno::EINTR | Errno::EAGAIN) => return false,
            Err(_) => 0,
        };
        let tty = self.record.config.tty;
        let typed = &self.buffer[..n];
        let mut through = Vec::with_capacity(n);
        let mut leave = false;
        if n == 0 {
            self.stdin = false;
            if tty {
                through.push(4); // a terminal has no end, but Ctrl-D
            } else {
                Frame::StdinEnd.encode(&mut self.line.unsent);
            }
        } else if tty {
            leave = self.keys.filter(typed, &mut through);
        } else {
            through.extend(typed);
        }
        if !through.is_empty() {
            self.window = self.window.saturating_sub(through.len());
            Frame::Stdin(through).encode(&mut self.line.unsent);
        }
        self.line.flush();
        leave
    }

    fn take_signals(&mut self) -> Result<Option<Ended>> {
        while let Some(signal) = self.signals.as_ref().and_then(Signals::next_signal) {
            match signal {
                libc::SIGWINCH => self.resize(),
                libc::SIGCONT => {
                    self.raw.iter().for_each(Raw::again);
                    self.resize();
                }
                _ if self.record.config.tty => {
                    return Ok(Some(Ended::Exited(Exit::signal(signal).0.into())));
                }
                _ => self.hand_on(signal)?,
            }
        }
        Ok(None)
    }

    fn hand_on(&mut self, signal: i32) -> Result<()> {
        if matches!(signal, libc::SIGINT | libc::SIGTERM) {
            self.interrupts += 1;
        }
        if self.interrupts >= PATIENCE {
            return Err(Error::engine(format!(
                "got {PATIENCE} SIGTERM/SIGINTs, forcefully exiting; \
                 the container runs on: dhow kill {}",
                self.record.name
            )));
        }
        // It may have ended meanwhile: the next frame says so.
        let _ = super::signal(self.host, self.record, signal);
        Ok(())
    }

    fn resize(&mut self) {
        if self.record.config.tty
            && let Some((rows, columns)) = terminal::size()
        {
            let (height, width) = (rows.to_string(), columns.to_string());
            let size = [("height", height.as_str()), ("width", width.as_str())];
            events::of_container(&self.host.paths, self.record, "resize", &size);
            Frame::Resize(rows, columns).encode(&mut self.line.unsent);
            self.line.flush();
        }
    }

    /// The monitor was killed: the container has ended, or has another monitor by now.
    fn find_again(&mut self, role: Role) -> Result<Option<Ended>> {
        let (line, state) = Line::of_living(self.host, self.record, role)?;
        if let Some(line) = line {
            self.line = line;
            self.window = WINDOW;
            return Ok(None);
        }
        Ok(Some(Ended::Exited(state.exit_code)))
    }
}

/// What [`Foreground::wait`] found.
struct Ready {
    line: bool,
    signal: bool,
    stdin: bool,
}

/// Whoever read our output has gone: end as SIGPIPE would end us; the container runs on.
fn lost_reader(written: std::io::Result<()>) -> Result<Option<Ended>> {
    match written {
        Ok(()) => Ok(None),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => {
            Ok(Some(Ended::Exited(Exit::signal(libc::SIGPIPE).0.into())))
        }
        Err(e) => Err(Error::engine(format!("write our output: {e}"))),
    }
}
