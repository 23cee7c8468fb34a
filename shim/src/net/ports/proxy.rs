//! The proxy of one container: all its doors, connections and flows behind one descriptor.
//!
//! A turn does a bounded amount of work, so that logs and health checks of the same monitor go on.
//! The kernel tells each change once (edges); who is not done when a turn ends stands in a queue.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, SockFlag, accept4, recv};

use super::files::{Next, PAUSE};
use super::pipe::Pipes;
use super::reserve::Held;
use super::tcp::{Connection, Progress, Refused};
use super::udp::Flows;
use super::{Target, files, socket};
use crate::error::{Error, Result};
use crate::model::{Protocol, Published};

/// Connections at once; more wait where the kernel keeps them.
const MOST: usize = 16 * 1024;
/// Bytes of one connection before others have their turn, and of all in one turn.
const PORTION: usize = 512 * 1024;
const TURN: usize = 4 << 20;
/// Clients let in, and events looked at, in one turn.
const ROW: usize = 64;

/// Carries what comes by a container's ports.
#[derive(Debug)]
pub struct Proxy {
    epoll: Epoll,
    to: Target,
    doors: Vec<Held>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    generation: u32,
    flows: Flows,
    queue: VecDeque<Token>,
    pipes: Pipes,
    /// Clients wait for descriptors until then.
    starved: Option<Instant>,
    /// One that is in already, and its door: there was no descriptor for its other half.
    waiting: Option<(OwnedFd, usize)>,
}

/// What an event or a place in the queue is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Door(usize),
    Side { slot: usize, side: usize, generation: u32 },
    Flow(u32),
}

impl Token {
    fn number(self) -> u64 {
        match self {
            Self::Door(at) => at as u64,
            Self::Side { slot, side, generation } => {
                1 << 62 | u64::from(generation) << 33 | (side as u64) << 32 | slot as u64
            }
            Self::Flow(number) => 2 << 62 | u64::from(number),
        }
    }

    fn of(number: u64) -> Self {
        let low = number as u32;
        match number >> 62 {
            0 => Self::Door(low as usize),
            1 => Self::Side {
                slot: low as usize,
                side: (number >> 32 & 1) as usize,
                generation: (number >> 33) as u32 & GENERATIONS,
            },
            _ => Self::Flow(low),
        }
    }
}

const GENERATIONS: u32 = (1 << 29) - 1;

impl Proxy {
    /// Serves `doors` for the container at `to`. Who came from outside before rules were there
    /// is sent away: its address would be lost.
    pub(super) fn new(doors: Vec<Held>, to: Target) -> Result<Self> {
        let failed = |e: Errno| Error::engine(format!("proxy of published ports: {}", e.desc()));
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        let mut early = Vec::new();
        for (at, door) in doors.iter().enumerate() {
            early.extend(dismiss(door, to).into_iter().map(|client| (client, at)));
            // KERNEL: SCTP isn't carried: nobody listens, and the kernel says so to who tries.
            if door.published.protocol != Protocol::Sctp {
                let token = Token::Door(at).number();
                let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, token);
                epoll.add(&door.socket, event).map_err(failed)?;
            }
        }
        let mut proxy = Self {
            epoll,
            to,
            doors,
            connections: Vec::new(),
            free: Vec::new(),
            generation: 0,
            flows: Flows::default(),
            queue: VecDeque::new(),
            pipes: Pipes::default(),
            starved: None,
            waiting: None,
        };
        for (client, at) in early {
            proxy.begin(client, at);
        }
        Ok(proxy)
    }

    /// What it serves.
    pub fn published(&self) -> Vec<Published> {
        self.doors.iter().map(|door| door.published).collect()
    }

    /// Carries to this place from now on; connections that are there stay where they are.
    pub fn lead_to(&mut self, to: Target) {
        if self.to != to {
            self.to = to;
            self.flows.clear();
        }
    }

    /// How many connections it carries.
    pub fn connections(&self) -> usize {
        self.connections.len() - self.free.len()
    }

    /// When it wants a turn even if its descriptor is silent; now when there is work left.
    pub fn due(&self) -> Option<Instant> {
        if !self.queue.is_empty() {
            return Some(Instant::now());
        }
        [self.starved, self.flows.due()].into_iter().flatten().min()
    }

    /// How long it can go without a turn.
    pub fn idle_time(&self) -> Option<Duration> {
        self.due().map(|due| due.saturating_duration_since(Instant::now()))
    }

    /// One turn; true when there is work left.
    pub fn attend(&mut self) -> bool {
        self.tick();
        let mut events = [EpollEvent::empty(); ROW];
        let n = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        for event in &events[..n] {
            self.note(Token::of(event.data()), event.events());
        }
        let mut carried = 0;
        for _ in 0..self.queue.len() {
            if carried >= TURN {
                break;
            }
            if let Some(token) = self.queue.pop_front() {
                self.work(token, &mut carried);
            }
        }
        if self.connections() == 0 && !self.connections.is_empty() {
            // What many needed at once is given back.
            (self.connections, self.free) = (Vec::new(), Vec::new());
            self.queue.shrink_to(ROW);
            self.pipes.clear();
        }
        !self.queue.is_empty()
    }

    /// The container has ended: what it said last goes to the clients as far as they take it,
    /// then all is closed.
    pub fn finish(mut self) {
        const TURNS: usize = 64;
        for _ in 0..TURNS {
            if !self.attend() {
                break;
            }
        }
        for connection in self.connections.drain(..).flatten() {
            // Who has all may read it at leisure; who hasn't is not to take it for all.
            if !connection.is_answered() {
                connection.reset();
            }
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.flows.tick(now);
        if self.starved.is_some_and(|until| until <= now) {
            self.starved = None;
            for at in 0..self.doors.len() {
                self.enqueue(Token::Door(at));
            }
        }
    }

    fn note(&mut self, token: Token, events: EpollFlags) {
        match token {
            Token::Side { slot, side, generation } => {
                let Some(Some(connection)) = self.connections.get_mut(slot) else { return };
                if connection.generation != generation {
                    return; // of who had the place before
                }
                connection.note(side, events);
                if !std::mem::replace(&mut connection.queued, true) {
                    self.queue.push_back(token);
                }
            }
            token => self.enqueue(token),
        }
    }

    /// Doors and flows are few, or have few events.
    fn enqueue(&mut self, token: Token) {
        if !self.queue.contains(&token) {
            self.queue.push_back(token);
        }
    }

    fn work(&mut self, token: Token, carried: &mut usize) {
        let more = match token {
            Token::Door(at) if self.doors[at].published.protocol == Protocol::Tcp => {
                self.let_in(at)
            }
            Token::Door(at) => self.receive(at),
            Token::Flow(number) => self.flows.answer(number, &self.doors),
            Token::Side { slot, generation, .. } => self.pump(slot, generation, carried),
        };
        if more {
            self.queue.push_back(token);
        }
    }

    /// Where what came by this door goes.
    fn behind(&self, door: usize) -> Option<SocketAddr> {
        let published = self.doors[door].published;
        Some(SocketAddr::new(self.to.behind(published.host_ip)?, published.port))
    }

    fn receive(&mut self, at: usize) -> bool {
        let (to, epoll) = (self.behind(at), &self.epoll);
        let mut watch = |fd: BorrowedFd<'_>, number| {
            let what = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
            epoll.add(fd, EpollEvent::new(what, Token::Flow(number).number()))
        };
        self.flows.receive((&self.doors[at].socket, at), to, &mut watch)
    }

    /// Lets clients in; true when there may be more of them.
    fn let_in(&mut self, at: usize) -> bool {
        for _ in 0..ROW {
            if self.starved.is_some() || self.connections() >= MOST {
                self.starved.get_or_insert(Instant::now() + PAUSE);
                return false;
            }
            if let Some((client, at)) = self.waiting.take() {
                self.begin(client, at);
                continue;
            }
            match accept(&self.doors[at].socket) {
                Ok(client) => self.begin(client, at),
                Err(e) => match files::after_accept(e) {
                    Next::Again => {}
                    Next::Wait => return false,
                    Next::Pause(until) => self.starved = Some(until),
                },
            }
        }
        true
    }

    fn begin(&mut self, client: OwnedFd, at: usize) {
        let Some(to) = self.behind(at) else { return socket::reset(client) };
        self.generation = (self.generation + 1) & GENERATIONS;
        let generation = self.generation;
        let begun = match Connection::begin(client, to, generation) {
            Err(refused) if refused.errno == Errno::EMFILE && files::raise() => {
                Connection::begin(refused.client, to, generation)
            }
            other => other,
        };
        let connection = match begun {
            Ok(connection) => connection,
            Err(Refused { client, errno: Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS }) => {
                self.waiting = Some((client, at));
                self.starved = Some(Instant::now() + PAUSE);
                return;
            }
            Err(refused) => return socket::reset(refused.client),
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let what = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLET;
        let watched = connection.sides().into_iter().enumerate().try_for_each(|(side, fd)| {
            let token = Token::Side { slot, side, generation }.number();
            self.epoll.add(fd, EpollEvent::new(what, token))
        });
        if watched.is_ok() {
            self.connections[slot] = Some(connection);
        } else {
            connection.reset();
            self.free.push(slot);
        }
    }

    fn pump(&mut self, slot: usize, generation: u32, carried: &mut usize) -> bool {
        let Some(place) = self.connections.get_mut(slot) else { return false };
        let Some(connection) = place.as_mut().filter(|c| c.generation == generation) else {
            return false;
        };
        match connection.pump(&mut self.pipes, PORTION, carried) {
            Progress::More => return true,
            Progress::Waits => connection.queued = false,
            progress => {
                if let Some(connection) = place.take() {
                    self.free.push(slot);
                    if progress == Progress::Broken {
                        connection.reset();
                    }
                }
                if self.starved.is_some() {
                    self.starved = Some(Instant::now()); // there is room again
                }
            }
        }
        false
    }
}

impl AsFd for Proxy {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

fn accept(door: &OwnedFd) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    // Nobody else knows the number yet.
    dhow_kernel::fd::adopt(accept4(door.as_raw_fd(), flags)?)
}

/// Sends away who came before the rules that would have led past this door; who came over
/// loopback, where no rules are, is returned.
fn dismiss(door: &Held, to: Target) -> Vec<OwnedFd> {
    const BACKLOG: usize = 4096;
    let published = door.published;
    let mut near = Vec::new();
    if to.like(published.host_ip).is_none() || published.host_ip.is_loopback() {
        return near;
    }
    for _ in 0..BACKLOG {
        match published.protocol {
            Protocol::Tcp => match accept(&door.socket) {
                Ok(client) if socket::is_near(&client) => near.push(client),
                // It knocks again at once if it wants to.
                Ok(client) => socket::reset(client),
                Err(Errno::ECONNABORTED | Errno::EINTR) => {}
                Err(_) => break,
            },
            Protocol::Udp => {
                let flags = MsgFlags::MSG_DONTWAIT;
                if recv(door.socket.as_raw_fd(), &mut [0; 1], flags).is_err() {
                    break;
                }
            }
            Protocol::Sctp => break,
        }
    }
    near
}
