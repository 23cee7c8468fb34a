//! The container's name server: its sockets, and what becomes of each question.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::Config;
use super::forward::Forward;
use super::names::{self, Known};
use super::outside::{Inside, Target, token, untoken, watch};
use super::streams::{Kinds, Streams};
use super::wire::{self, LONGEST_QUERY, Query, Read};
use crate::bundle::etc::INTERNAL;
use crate::error::{Error, Result};
use crate::net::nft;
use crate::net::ports::{Next, PAUSE, after_accept};

const DATAGRAMS: u32 = 0;
const LISTENER: u32 = 1;
const LINE: u32 = 2;
const CLIENT: u32 = 3;
const CALL: u32 = 4;

/// Descriptors looked at, and questions read, before somebody else has his turn.
const AT_ONCE: usize = 64;
/// What a datagram can hold.
const LARGEST: usize = 64 * 1024;

/// A container's name server. Its descriptor is readable when there is something to do.
pub struct Server {
    epoll: Epoll,
    inside: Inside,
    datagrams: UdpSocket,
    listener: TcpListener,
    networks: Vec<Known>,
    ndots: bool,
    own: Vec<IpAddr>,
    forward: Forward,
    streams: Streams,
    buffer: Vec<u8>,
    due: Option<Instant>,
    /// There was no descriptor for a client: until then nobody looks whether there is one.
    starved: Option<Instant>,
}

/// What becomes of a question.
enum Outcome {
    Answer(Vec<u8>),
    Forward(Query),
    Nothing,
}

impl Server {
    /// Listens at 127.0.0.11 in the namespace `ns`, whose loopback is up, and leads port 53 there.
    pub fn open(ns: BorrowedFd<'_>, config: Config) -> Result<Self> {
        let server = Self::listen(ns, config)
            .map_err(|e| Error::engine(format!("name server at {INTERNAL}: {e}")))?;
        let (udp, tcp) = server.ports().map_err(|e| Error::engine(e.to_string()))?;
        nft::inside::redirect_dns(ns, udp, tcp)?;
        Ok(server)
    }

    fn listen(ns: BorrowedFd<'_>, config: Config) -> io::Result<Self> {
        let inside = Inside::of(ns)?;
        let (datagrams, listener) = inside.make(|| {
            let at = SocketAddr::from((INTERNAL, 0));
            Ok((UdpSocket::bind(at)?, TcpListener::bind(at)?))
        })?;
        datagrams.set_nonblocking(true)?;
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        watch(&epoll, &datagrams, EpollFlags::EPOLLIN, token(DATAGRAMS, 0))?;
        watch(&epoll, &listener, EpollFlags::EPOLLIN, token(LISTENER, 0))?;
        Ok(Self {
            epoll,
            inside,
            datagrams,
            listener,
            networks: config.networks.into_iter().map(Known::new).collect(),
            ndots: config.ndots,
            own: config.own,
            forward: Forward::new(Target::usable(&config.upstream, config.forwards), LINE),
            streams: Streams::new(Kinds { client: CLIENT, call: CALL }),
            buffer: Vec::new(),
            due: None,
            starved: None,
        })
    }

    /// Where it listens, UDP and TCP.
    fn ports(&self) -> io::Result<(u16, u16)> {
        Ok((self.datagrams.local_addr()?.port(), self.listener.local_addr()?.port()))
    }

    /// The container's networks have changed.
    pub fn reconfigure(&mut self, config: Config) {
        self.networks = config.networks.into_iter().map(Known::new).collect();
        self.ndots = config.ndots;
        self.own = config.own;
        let targets = Target::usable(&config.upstream, config.forwards);
        if targets != self.forward.targets() {
            self.forward.redirect(targets, &self.datagrams);
            for client in self.streams.hang_up() {
                self.serve_client(client);
            }
        }
        self.look_ahead();
    }

    /// So long there is nothing to do, if nothing comes.
    pub fn idle_time(&self) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(Instant::now()))
    }

    /// Does what there is to do, and not too much of it at once.
    pub fn attend(&mut self) {
        let mut events = [EpollEvent::empty(); AT_ONCE];
        let ready = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Ok(n) => n,
            Err(Errno::EINTR) => 0,
            Err(_) => return,
        };
        if self.buffer.is_empty() && ready > 0 {
            self.buffer = vec![0; LARGEST];
        }
        for event in &events[..ready] {
            match untoken(event.data()) {
                (DATAGRAMS, _) => self.read_datagrams(),
                (LISTENER, _) => self.accept(),
                (LINE, at) => {
                    let world = (&self.epoll, &self.inside);
                    self.forward.hear(world, at, &mut self.buffer, &self.datagrams);
                }
                (CLIENT, at) => {
                    let gone = EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
                    let gone = event.events().intersects(gone);
                    if self.streams.attend(at, gone, &mut self.buffer) {
                        self.serve_client(at);
                    }
                }
                (_, at) => {
                    let (world, targets) = ((&self.epoll, &self.inside), self.forward.targets());
                    let told = self.streams.hear(world, targets, at, &mut self.buffer);
                    if let Some(client) = told {
                        self.serve_client(client);
                    }
                }
            }
        }
        let now = Instant::now();
        if self.due.is_some_and(|due| now >= due) {
            let world = (&self.epoll, &self.inside);
            self.forward.tick(world, now, &self.datagrams);
            for client in self.streams.tick(world, self.forward.targets(), now) {
                self.serve_client(client);
            }
            self.recover(now);
        }
        self.look_ahead();
    }

    fn look_ahead(&mut self) {
        let due = [self.forward.due(), self.streams.due()];
        self.due = due.into_iter().chain([self.starved]).flatten().min();
        if self.due.is_none() {
            // Nobody is waiting: the memory of a busy time goes back.
            self.buffer = Vec::new();
        }
    }

    fn read_datagrams(&mut self) {
        for _ in 0..AT_ONCE {
            let room = self.buffer.len().min(LONGEST_QUERY + 1);
            let (n, from) = match self.datagrams.recv_from(&mut self.buffer[..room]) {
                Ok(received) => received,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            // A forged source would make others get answers that they never asked for.
            if !(from.ip().is_loopback() || self.own.contains(&from.ip())) {
                continue;
            }
            let answer = match self.consider(n, false) {
                Outcome::Answer(answer) => answer,
                Outcome::Nothing => continue,
                Outcome::Forward(query) => {
                    let (bytes, end) = (&self.buffer[..n], query.end);
                    let world = (&self.epoll, &self.inside);
                    match self.forward.ask(world, (bytes, end), from) {
                        Ok(()) => continue,
                        Err(code) => wire::error(bytes, end, code),
                    }
                }
            };
            // Who doesn't read loses datagrams, as everywhere.
            let _ = self.datagrams.send_to(&answer, from);
        }
    }

    fn accept(&mut self) {
        for _ in 0..AT_ONCE {
            match self.listener.accept() {
                Ok((stream, from)) => {
                    if from.ip().is_loopback() || self.own.contains(&from.ip()) {
                        self.streams.welcome(&self.epoll, stream);
                    }
                }
                Err(e) => match after_accept(Errno::try_from(e).unwrap_or(Errno::EIO)) {
                    Next::Again => {}
                    Next::Wait => return,
                    Next::Pause(until) => {
                        // It stays readable, and the monitor would do nothing else.
                        let _ = self.epoll.delete(&self.listener);
                        self.starved = Some(until);
                        return;
                    }
                },
            }
        }
    }

    /// Looks for clients again when there may be descriptors for them.
    fn recover(&mut self, now: Instant) {
        if self.starved.is_some_and(|until| now >= until) {
            let listens =
                watch(&self.epoll, &self.listener, EpollFlags::EPOLLIN, token(LISTENER, 0));
            self.starved = listens.is_err().then(|| now + PAUSE);
        }
    }

    /// Answers what a client has asked so far.
    fn serve_client(&mut self, at: usize) {
        if self.buffer.is_empty() {
            self.buffer = vec![0; LARGEST];
        }
        while let Some((bytes, client)) = self.streams.next_query(at) {
            let n = bytes.len();
            self.buffer[..n].copy_from_slice(&bytes);
            match self.consider(n, true) {
                Outcome::Answer(answer) => self.streams.answer(client, &answer),
                Outcome::Nothing => self.streams.answer(client, &[]),
                Outcome::Forward(query) => {
                    let id = self.forward.random();
                    let (world, targets) = ((&self.epoll, &self.inside), self.forward.targets());
                    let asked = (&bytes[..], query.end, id);
                    if let Err(code) = self.streams.call(world, targets, asked, client) {
                        let answer = wire::error(&bytes, query.end, code);
                        self.streams.answer(client, &answer);
                    }
                }
            }
        }
        self.streams.settle(&self.epoll, at);
    }

    /// Questions that wait for other servers.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.forward.waiting()
    }

    /// What to do about the first `n` bytes of the buffer.
    fn consider(&mut self, n: usize, over_tcp: bool) -> Outcome {
        let query = match wire::read(&self.buffer[..n]) {
            Read::Query(query) => query,
            Read::Refused(answer) => return Outcome::Answer(answer),
            Read::Nothing => return Outcome::Nothing,
        };
        if !query.is_internet() {
            return Outcome::Forward(query);
        }
        if query.kind() == RecordType::PTR {
            let name = query.reversed().and_then(|ip| names::reverse(&mut self.networks, ip));
            let answer = name.and_then(|name| query.named(&name, over_tcp));
            return answer.map_or(Outcome::Forward(query), Outcome::Answer);
        }
        let Some(host) = query.host() else { return Outcome::Forward(query) };
        if let Some(mut found) = names::resolve(&mut self.networks, &host) {
            let turn = usize::from(self.forward.random()) % found.len().max(1);
            found.rotate_left(turn);
            return Outcome::Answer(query.addresses(&found, over_tcp));
        }
        // Who set ndots wants a search domain behind it first.
        let is_address = matches!(query.kind(), RecordType::A | RecordType::AAAA);
        if is_address && self.ndots && !host.contains('.') {
            return Outcome::Answer(query.addresses(&[], over_tcp));
        }
        Outcome::Forward(query)
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}
