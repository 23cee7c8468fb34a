//! The monitor's loop: output to the log and to clients, input to the container, until it ends.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::living::{Answer, Life};
use super::peer::Peer;
use super::protocol::{Exited, Failed, Frame, Freeze, Role, Stopping, VERSION, encode_output};
use super::stdio::Streams;
use crate::error::{Error, Result};
use crate::logging::{Stream, Writer};
use crate::net::ports::{Next, after_accept};

/// More than this is not drained after the end: somebody else is still writing.
const DRAIN: usize = 4 << 20;

/// Everything a monitor serves.
pub struct Server {
    listener: UnixListener,
    /// There was no descriptor for a client: until then nobody looks whether there is one.
    starved: Option<Instant>,
    /// Where a slow client's output waits.
    dir: PathBuf,
    peers: Vec<Peer>,
    next_number: u64,
    streams: Streams,
    terminal: bool,
    stdin_once: bool,
    input: Input,
    /// What clients ask for, and have no answer to yet.
    wishes: Vec<(u64, Frame)>,
    log: Option<Writer>,
    /// What went wrong beside the container, a full log's disk say; it goes on without.
    pub trouble: Option<String>,
    /// The end that comes was asked for.
    pub stopping: Option<Stopping>,
    /// The container's first process is not our child.
    pub orphan: bool,
    buffer: Box<[u8]>,
}

/// stdin on its way into the container: whose it is, and how much of the first piece is in.
#[derive(Default)]
struct Input {
    queue: VecDeque<(u64, Vec<u8>)>,
    taken: usize,
    closing: bool,
}

/// What a descriptor in the poll set is.
#[derive(Clone, Copy)]
enum Source {
    Init,
    Children,
    Beside,
    Wires,
    Listener,
    Stdin,
    Output(Stream),
    Peer(usize),
}

impl Server {
    /// A server without streams and clients.
    pub fn new(
        listener: UnixListener,
        dir: PathBuf,
        terminal: bool,
        stdin_once: bool,
        log: Option<Writer>,
    ) -> Self {
        Self {
            listener,
            starved: None,
            dir,
            next_number: 0,
            peers: Vec::new(),
            streams: Streams::none(),
            terminal,
            stdin_once,
            input: Input::default(),
            wishes: Vec::new(),
            log,
            trouble: None,
            stopping: None,
            orphan: false,
            buffer: vec![0; 64 * 1024].into(),
        }
    }

    /// Serves these streams from now on.
    pub fn join(&mut self, streams: Streams) {
        self.streams = streams;
        self.input = Input::default();
    }

    /// Somebody is here.
    pub fn is_watched(&self) -> bool {
        !self.peers.is_empty()
    }

    /// Serves this client, too.
    pub fn welcome(&mut self, mut peer: Peer) {
        self.next_number += 1;
        peer.number = self.next_number;
        self.peers.push(peer);
    }

    /// Serves `life` to its end, the end of the container's first process.
    pub fn serve(&mut self, life: &mut Life<'_, '_>) -> Result<()> {
        life.reap();
        loop {
            for (source, events) in self.wait(Some(life), life.idle_time())? {
                match source {
                    Source::Init => return Ok(()),
                    Source::Children => life.reap(),
                    Source::Beside => life.pump(),
                    Source::Wires => life.attend_wires(),
                    Source::Listener => self.accept(),
                    Source::Stdin => self.feed(),
                    Source::Output(stream) => {
                        self.pump(stream);
                    }
                    Source::Peer(at) => self.attend(at, events),
                }
            }
            for (client, wish) in std::mem::take(&mut self.wishes) {
                let freeze = if let Frame::Freeze(freeze) = wish { Some(freeze) } else { None };
                let answer = life.obey(client, wish);
                if let (Some(freeze), Some((_, Frame::Done))) = (freeze, &answer) {
                    self.note_freeze(client, freeze);
                }
                self.answer(answer);
            }
            self.answer(life.tick());
            if self.peers.iter().any(|peer| peer.gone && peer.holds) {
                // Who was killed while it looked leaves nothing standing still.
                life.obey(0, Frame::Freeze(Freeze::Thaw));
                self.note_freeze(0, Freeze::Thaw);
            }
            self.drop_gone();
        }
    }

    /// Somebody holds the container now, or nobody does any more.
    fn note_freeze(&mut self, client: u64, freeze: Freeze) {
        for peer in &mut self.peers {
            peer.holds = freeze == Freeze::Hold && peer.number == client;
        }
    }

    fn answer(&mut self, answers: impl IntoIterator<Item = Answer>) {
        for (client, word) in answers {
            if let Some(peer) = self.peers.iter_mut().find(|peer| peer.number == client) {
                peer.send(&word);
            }
        }
    }

    /// Takes over what the container wrote before it ended.
    pub fn drain(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut total = 0;
            while total < DRAIN {
                match self.pump(stream) {
                    0 => break,
                    n => total += n,
                }
            }
        }
        if let Some(log) = &mut self.log
            && let Err(e) = log.finish()
        {
            self.trouble.get_or_insert(format!("write the log: {e}"));
        }
    }

    /// One life has ended: its clients hear how, and go.
    pub fn part(&mut self, exited: Exited) {
        for mut peer in self.peers.drain(..) {
            peer.send(&Frame::Exited(exited));
        }
        self.streams = Streams::none();
    }

    /// Serves between two lives for so long; true when the user wants no other.
    pub fn idle(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stopping.is_some() {
                return self.stopping.is_some();
            }
            let Ok(ready) = self.wait(None, Some(left)) else { return true };
            for (source, events) in ready {
                match source {
                    Source::Listener => self.accept(),
                    Source::Peer(at) => self.attend(at, events),
                    _ => {}
                }
            }
            for (client, _) in std::mem::take(&mut self.wishes) {
                let message = "Container is restarting, wait until the container is running".into();
                self.answer([(client, Frame::Failed(Failed { code: 1, message }))]);
            }
            self.drop_gone();
        }
    }

    /// Stops listening: who connects from now on finds the container's state on disk.
    pub fn farewell(mut self, exited: Exited) -> Result<()> {
        self.accept(); // who came just before the end
        for peer in &mut self.peers {
            peer.send(&Frame::Exited(exited));
        }
        self.streams = Streams::none();
        loop {
            self.peers.retain(|peer| !peer.gone && peer.waits());
            if self.peers.is_empty() {
                return Ok(());
            }
            for (source, events) in self.wait(None, None)? {
                match source {
                    Source::Peer(at) => self.attend(at, events),
                    // Too late: the disk knows by now.
                    _ => {
                        if let Err(e) = self.listener.accept() {
                            self.turn_away(e);
                        }
                    }
                }
            }
        }
    }

    fn wait(
        &self,
        life: Option<&Life<'_, '_>>,
        left: Option<Duration>,
    ) -> Result<Vec<(Source, PollFlags)>> {
        let (read, write) = (PollFlags::POLLIN, PollFlags::POLLOUT);
        let mut set: Vec<(Source, PollFd<'_>)> = Vec::with_capacity(5 + self.peers.len());
        if let Some(life) = life {
            set.push((Source::Init, PollFd::new(life.init(), read)));
            set.push((Source::Children, PollFd::new(life.children(), read)));
            set.extend(life.wires().map(|fd| (Source::Wires, PollFd::new(fd, read))));
            set.extend(life.outputs().map(|f| (Source::Beside, PollFd::new(f.as_fd(), read))));
            if let Some(stdin) =
                self.streams.stdin.as_ref().filter(|_| !self.input.queue.is_empty())
            {
                set.push((Source::Stdin, PollFd::new(stdin.as_fd(), write)));
            }
            for stream in [Stream::Stdout, Stream::Stderr] {
                if let Some(file) = self.output(stream).filter(|_| !self.is_behind()) {
                    set.push((Source::Output(stream), PollFd::new(file.as_fd(), read)));
                }
            }
        }
        // Without a descriptor for a client it is readable all along.
        let starved = self.starved.map(|until| until.saturating_duration_since(Instant::now()));
        let starved = starved.filter(|left| !left.is_zero());
        if starved.is_none() {
            set.push((Source::Listener, PollFd::new(self.listener.as_fd(), read)));
        }
        let timeout = timeout(left.into_iter().chain(starved).min());
        for (at, peer) in self.peers.iter().enumerate() {
            let wanted = if peer.waits() { read | write } else { read };
            set.push((Source::Peer(at), PollFd::new(peer.as_fd(), wanted)));
        }
        let (sources, mut fds): (Vec<_>, Vec<_>) = set.into_iter().unzip();
        loop {
            match poll(&mut fds, timeout) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(e) => return Err(Error::engine(format!("poll: {}", e.desc()))),
            }
        }
        let events = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        // The end comes last, so that what came before it is served before it.
        let mut ready: Vec<_> =
            sources.into_iter().zip(events).filter(|r| !r.1.is_empty()).collect();
        let ended = matches!(ready.first(), Some((Source::Init, _)));
        ready.rotate_left(usize::from(ended));
        Ok(ready)
    }

    fn is_behind(&self) -> bool {
        self.peers.iter().any(Peer::is_full)
    }

    fn output(&self, stream: Stream) -> Option<&File> {
        match stream {
            Stream::Stdout => self.streams.stdout.as_ref(),
            Stream::Stderr => self.streams.stderr.as_ref(),
        }
    }

    /// Reads once from the container; says how many bytes came.
    fn pump(&mut self, stream: Stream) -> usize {
        let slot = match stream {
            Stream::Stdout => &mut self.streams.stdout,
            Stream::Stderr => &mut self.streams.stderr,
        };
        let Some(file) = slot else { return 0 };
        let n = match file.read(&mut self.buffer) {
            Ok(n) if n > 0 => n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return 0;
            }
            // EIO: the last process has closed the terminal.
            Ok(_) | Err(_) => {
                *slot = None;
                return 0;
            }
        };
        let bytes = &self.buffer[..n];
        if let Some(log) = &mut self.log
            && let Err(e) = log.write(stream, bytes)
        {
            self.trouble.get_or_insert(format!("write the log: {e}"));
        }
        let stderr = stream == Stream::Stderr;
        let wants = |peer: &&mut Peer| {
            peer.role.is_some_and(|role| if stderr { role.stderr } else { role.stdout })
        };
        let mut encoded = Vec::new();
        for peer in self.peers.iter_mut().filter(wants) {
            if encoded.is_empty() {
                encode_output(stderr, bytes, &mut encoded);
            }
            peer.send_bytes(&encoded);
        }
        n
    }

    fn accept(&mut self) {
        self.starved = None;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Ok(peer) = Peer::stranger(stream, &self.dir) {
                        self.welcome(peer);
                    }
                }
                Err(e) => {
                    if self.turn_away(e) {
                        return;
                    }
                }
            }
        }
    }

    /// Nobody could be let in; whether that stays so for now.
    fn turn_away(&mut self, error: std::io::Error) -> bool {
        let next = after_accept(Errno::try_from(error).unwrap_or(Errno::EIO));
        if let Next::Pause(until) = next {
            self.starved = Some(until);
        }
        next != Next::Again
    }

    fn attend(&mut self, at: usize, events: PollFlags) {
        let peer = &mut self.peers[at];
        if events.contains(PollFlags::POLLOUT) {
            peer.flush();
        }
        if !events.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            return;
        }
        peer.receive(&mut self.buffer);
        while let Some(frame) = self.peers[at].next_frame() {
            self.obey(at, frame);
        }
    }

    fn obey(&mut self, at: usize, frame: Frame) {
        let peer = &mut self.peers[at];
        match (peer.role, frame) {
            (None, Frame::Hello(hello)) if hello.version == VERSION => {
                peer.role = Some(hello.role);
                peer.send(&Frame::Welcome(VERSION));
            }
            (None, Frame::Hello(hello)) => {
                let message = format!(
                    "this container's monitor speaks protocol {VERSION}, this dhow {}; \
                     restart the container",
                    hello.version
                );
                peer.send(&Frame::Failed(Failed { code: 125, message }));
                peer.gone = true;
            }
            (Some(Role { stdin: true, .. }), Frame::Stdin(bytes)) => {
                self.input.queue.push_back((self.peers[at].number, bytes));
                self.feed();
            }
            (Some(Role { stdin: true, .. }), Frame::StdinEnd) => self.end_input(),
            (Some(_), Frame::Resize(rows, columns)) => {
                if let Some(master) = self.streams.stdin.as_ref().filter(|_| self.terminal) {
                    let _ = dhow_kernel::tty::resize(master.as_fd(), rows, columns);
                }
            }
            (Some(_), Frame::Stopping(why)) => self.stopping = Some(why),
            (
                Some(_),
                wish @ (Frame::Exec(_)
                | Frame::Freeze(_)
                | Frame::Connect(_)
                | Frame::Disconnect(_)
                | Frame::Renew),
            ) => {
                self.wishes.push((peer.number, wish));
            }
            _ => peer.gone = true,
        }
    }

    /// The client that sent stdin has no more of it.
    fn end_input(&mut self) {
        if self.stdin_once && !self.terminal {
            self.input.closing = true;
            self.feed();
        }
    }

    /// Writes stdin as far as the container takes it, and gives its senders credit for more.
    fn feed(&mut self) {
        while let Some((number, bytes)) = self.input.queue.front() {
            let rest = &bytes[self.input.taken..];
            let n = match self.streams.stdin.as_mut().map(|stdin| stdin.write(rest)) {
                Some(Ok(n)) => n,
                Some(Err(e)) if e.kind() == ErrorKind::WouldBlock => return,
                Some(Err(e)) if e.kind() == ErrorKind::Interrupted => continue,
                Some(Err(_)) => {
                    // Nobody reads it any more. A terminal's master stays, for its size.
                    if !self.terminal {
                        self.streams.stdin = None;
                    }
                    rest.len()
                }
                None => rest.len(),
            };
            let number = *number;
            self.input.taken += n;
            if self.input.taken == bytes.len() {
                self.input.queue.pop_front();
                self.input.taken = 0;
            }
            if let Some(peer) = self.peers.iter_mut().find(|peer| peer.number == number) {
                peer.send(&Frame::Credit(n as u32));
            }
        }
        if self.input.closing {
            self.streams.stdin = None;
        }
    }

    fn drop_gone(&mut self) {
        let gave_stdin = |peer: &Peer| peer.gone && peer.role.is_some_and(|role| role.stdin);
        if self.peers.iter().any(gave_stdin) {
            self.end_input();
        }
        self.peers.retain(|peer| !peer.gone);
    }
}

/// Rounded up: who wakes too early would wake twice.
fn timeout(left: Option<Duration>) -> PollTimeout {
    left.map_or(PollTimeout::NONE, |left| {
        let whole = left.as_millis() + u128::from(left.subsec_nanos() % 1_000_000 > 0);
        PollTimeout::try_from(whole).unwrap_or(PollTimeout::MAX)
    })
}
