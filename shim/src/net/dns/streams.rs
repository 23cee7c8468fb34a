//! Questions over TCP: clients, and connections to other servers for them.
//!
//! A message has its length in two bytes before it. A client has some questions under way at
//! once; it isn't read from while its answers wait.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::outside::{Inside, Target, token, watch};
use super::slots::Slots;
use super::wire::{self, LONGEST_QUERY, Reply};

const MOST_CLIENTS: usize = 64;
const MOST_CALLS: usize = 32;
/// Questions of one client that wait for answers.
const MOST_UNDER_WAY: usize = 8;
/// Bytes of answers that wait for a client.
const MOST_WAITING: usize = 128 * 1024;
/// A client that says nothing for so long, or takes nothing, is let go.
const IDLE: Duration = Duration::from_secs(10);
/// docker's, for each server.
const PATIENCE: Duration = Duration::from_secs(4);

/// Somebody in the container.
struct Client {
    stream: TcpStream,
    /// Told from an earlier one in the same place.
    serial: u64,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    under_way: usize,
    /// It will say no more.
    ended: bool,
    flags: EpollFlags,
    until: Instant,
}

/// A client's question at another server.
struct Call {
    stream: TcpStream,
    /// Which of the servers.
    target: usize,
    /// As the client sent it.
    query: Box<[u8]>,
    end: usize,
    /// With length and number of its own.
    outbox: Vec<u8>,
    id: u16,
    inbox: Vec<u8>,
    client: (usize, u64),
    until: Instant,
}

/// Kinds of the tokens of clients' and calls' events.
#[derive(Clone, Copy)]
pub struct Kinds {
    /// Of clients.
    pub client: u32,
    /// Of calls.
    pub call: u32,
}

/// All TCP connections.
pub struct Streams {
    clients: Slots<Client>,
    calls: Slots<Call>,
    serial: u64,
    kinds: Kinds,
}

impl Streams {
    /// None yet.
    pub fn new(kinds: Kinds) -> Self {
        Self { clients: Slots::new(MOST_CLIENTS), calls: Slots::new(MOST_CALLS), serial: 0, kinds }
    }

    /// When something is due.
    pub fn due(&self) -> Option<Instant> {
        let silent = self.clients.iter().filter(|(_, client)| client.is_idle());
        let clients = silent.map(|(_, client)| client.until);
        clients.chain(self.calls.iter().map(|(_, call)| call.until)).min()
    }

    /// A new client; of too many, the one that was silent longest goes.
    pub fn welcome(&mut self, epoll: &Epoll, stream: TcpStream) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        if self.clients.is_full() {
            let oldest = self.clients.iter().min_by_key(|(_, client)| client.until);
            if let Some(at) = oldest.map(|(at, _)| at) {
                self.clients.remove(at);
            }
        }
        let Some(at) = self.clients.next() else { return };
        let flags = EpollFlags::EPOLLIN;
        if watch(epoll, &stream, flags, token(self.kinds.client, at)).is_err() {
            return;
        }
        self.serial += 1;
        self.clients.insert(Client {
            stream,
            serial: self.serial,
            inbox: Vec::new(),
            outbox: Vec::new(),
            under_way: 0,
            ended: false,
            flags,
            until: Instant::now() + IDLE,
        });
    }

    /// Reads from a client and writes to it, as far as it goes; false when it is gone.
    pub fn attend(&mut self, at: usize, is_gone: bool, buffer: &mut [u8]) -> bool {
        let Some(client) = self.clients.get_mut(at) else { return false };
        let alive = !is_gone && client.flush() && (!client.listens() || client.receive(buffer));
        if !alive {
            self.clients.remove(at);
        }
        alive
    }

    /// The next whole question of a client, and who it is.
    pub fn next_query(&mut self, at: usize) -> Option<(Vec<u8>, (usize, u64))> {
        let client = self.clients.get_mut(at)?;
        if !client.has_room() {
            return None;
        }
        let size = usize::from(u16::from_be_bytes(*client.inbox.first_chunk()?));
        if !(wire::HEADER..=LONGEST_QUERY).contains(&size) {
            self.clients.remove(at);
            return None;
        }
        let query = client.inbox.get(2..2 + size)?.to_vec();
        client.inbox.drain(..2 + size);
        client.under_way += 1;
        Some((query, (at, client.serial)))
    }

    /// Answers a client's question, if it is still there.
    pub fn answer(&mut self, (at, serial): (usize, u64), message: &[u8]) {
        let Some(client) = self.clients.get_mut(at).filter(|c| c.serial == serial) else { return };
        client.under_way = client.under_way.saturating_sub(1);
        let Ok(size) = u16::try_from(message.len()) else { return };
        if size > 0 {
            client.outbox.extend(size.to_be_bytes());
            client.outbox.extend(message);
        }
        client.until = Instant::now() + IDLE;
        if !client.flush() {
            self.clients.remove(at);
        }
    }

    /// What is wanted of a client's socket from now on; one that is done with goes.
    pub fn settle(&mut self, epoll: &Epoll, at: usize) {
        let Some(client) = self.clients.get_mut(at) else { return };
        if client.ended && client.under_way == 0 && client.outbox.is_empty() {
            self.clients.remove(at);
            return;
        }
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, client.listens());
        flags.set(EpollFlags::EPOLLOUT, !client.outbox.is_empty());
        if flags != client.flags {
            let mut event = EpollEvent::new(flags, token(self.kinds.client, at));
            if epoll.modify(&client.stream, &mut event).is_err() {
                self.clients.remove(at);
                return;
            }
            client.flags = flags;
        }
    }

    /// Asks another server for a client; else what to answer at once.
    pub fn call(
        &mut self,
        (epoll, inside): (&Epoll, &Inside),
        targets: &[Target],
        (query, end, id): (&[u8], usize, u16),
        client: (usize, u64),
    ) -> Result<(), ResponseCode> {
        let at = self.calls.next().ok_or(ResponseCode::Refused)?;
        let (target, stream) =
            self.connect((epoll, inside), targets, (0, at)).ok_or(ResponseCode::ServFail)?;
        let mut outbox = (query.len() as u16).to_be_bytes().to_vec();
        outbox.extend(query);
        wire::renumber(&mut outbox[2..], id);
        self.calls.insert(Call {
            stream,
            target,
            query: query.into(),
            end,
            outbox,
            id,
            inbox: Vec::new(),
            client,
            until: Instant::now() + PATIENCE,
        });
        Ok(())
    }

    /// A connection to the first server from `first` on that can be asked.
    fn connect(
        &self,
        (epoll, inside): (&Epoll, &Inside),
        targets: &[Target],
        (first, at): (usize, usize),
    ) -> Option<(usize, TcpStream)> {
        targets.iter().enumerate().skip(first).find_map(|(n, target)| {
            let stream = target.stream(inside).ok()?;
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT;
            watch(epoll, &stream, flags, token(self.kinds.call, at)).ok()?;
            Some((n, stream))
        })
    }

    /// A call's socket is ready; the client that has its answer now.
    pub fn hear(
        &mut self,
        world: (&Epoll, &Inside),
        targets: &[Target],
        at: usize,
        buffer: &mut [u8],
    ) -> Option<usize> {
        let call = self.calls.get_mut(at)?;
        match call.go_on(world.0, token(self.kinds.call, at), buffer) {
            Progress::Waits => None,
            Progress::Failed => self.fail(world, targets, at),
            Progress::Answered => {
                let mut call = self.calls.remove(at)?;
                let id = u16::from_be_bytes(*call.query.first_chunk()?);
                wire::renumber(&mut call.inbox[2..], id);
                self.answer(call.client, &call.inbox[2..]);
                Some(call.client.0)
            }
        }
    }

    /// The next server, or an answer that there is none.
    fn fail(&mut self, world: (&Epoll, &Inside), targets: &[Target], at: usize) -> Option<usize> {
        let next = self.calls.get(at)?.target + 1;
        if let Some((target, stream)) = self.connect(world, targets, (next, at)) {
            let call = self.calls.get_mut(at)?;
            call.stream = stream;
            call.target = target;
            call.inbox = Vec::new();
            call.outbox = (call.query.len() as u16).to_be_bytes().to_vec();
            call.outbox.extend(&call.query);
            wire::renumber(&mut call.outbox[2..], call.id);
            call.until = Instant::now() + PATIENCE;
            return None;
        }
        let call = self.calls.remove(at)?;
        self.answer(call.client, &wire::error(&call.query, call.end, ResponseCode::ServFail));
        Some(call.client.0)
    }

    /// Does what is due; the clients that have an answer now.
    pub fn tick(
        &mut self,
        world: (&Epoll, &Inside),
        targets: &[Target],
        now: Instant,
    ) -> Vec<usize> {
        let late = self.calls.iter().filter(|(_, call)| now >= call.until);
        let late: Vec<usize> = late.map(|(at, _)| at).collect();
        let told = late.into_iter().filter_map(|at| self.fail(world, targets, at)).collect();
        let idle = self.clients.iter().filter(|(_, c)| now >= c.until && c.is_idle());
        let idle: Vec<usize> = idle.map(|(at, _)| at).collect();
        for at in idle {
            self.clients.remove(at);
        }
        told
    }

    /// Other servers are asked from now on: calls under way have failed.
    pub fn hang_up(&mut self) -> Vec<usize> {
        let all: Vec<usize> = self.calls.iter().map(|(at, _)| at).collect();
        let calls = all.into_iter().filter_map(|at| self.calls.remove(at)).collect::<Vec<_>>();
        for call in &calls {
            self.answer(call.client, &wire::error(&call.query, call.end, ResponseCode::ServFail));
        }
        calls.iter().map(|call| call.client.0).collect()
    }
}

impl Client {
    /// Who waits for an answer isn't; the call for it has its own end.
    fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    /// More questions can be taken.
    fn has_room(&self) -> bool {
        self.under_way < MOST_UNDER_WAY && self.outbox.len() < MOST_WAITING
    }

    /// Its socket is read from.
    fn listens(&self) -> bool {
        !self.ended && self.has_room() && self.inbox.len() < 2 * LONGEST_QUERY
    }

    fn receive(&mut self, buffer: &mut [u8]) -> bool {
        let end = buffer.len().min(LONGEST_QUERY);
        match self.stream.read(&mut buffer[..end]) {
            Ok(0) => self.ended = true,
            Ok(n) => {
                self.inbox.extend(&buffer[..n]);
                self.until = Instant::now() + IDLE;
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return false,
        }
        true
    }

    fn flush(&mut self) -> bool {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(n) => drop(self.outbox.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.outbox = Vec::new();
        true
    }
}

enum Progress {
    Waits,
    Failed,
    Answered,
}

impl Call {
    fn go_on(&mut self, epoll: &Epoll, token: u64, buffer: &mut [u8]) -> Progress {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(n) => drop(self.outbox.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Progress::Waits,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // A connection that isn't made yet says so by its own error.
                Err(_) => return Progress::Failed,
            }
            if self.outbox.is_empty() {
                let mut event = EpollEvent::new(EpollFlags::EPOLLIN, token);
                if epoll.modify(&self.stream, &mut event).is_err() {
                    return Progress::Failed;
                }
            }
        }
        match self.stream.read(buffer) {
            Ok(0) => Progress::Failed,
            Ok(n) => self.take(&buffer[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Progress::Waits
            }
            Err(_) => Progress::Failed,
        }
    }

    /// Takes bytes in; a message longer than it says, or to another question, is a failure.
    fn take(&mut self, bytes: &[u8]) -> Progress {
        let room = 2 + usize::from(wire::LONGEST_ANSWER);
        if self.inbox.len() + bytes.len() > room {
            return Progress::Failed;
        }
        self.inbox.extend(bytes);
        let Some(size) = self.inbox.first_chunk().map(|size| u16::from_be_bytes(*size)) else {
            return Progress::Waits;
        };
        let whole = 2 + usize::from(size);
        if self.inbox.len() < whole {
            return Progress::Waits;
        }
        self.inbox.truncate(whole);
        match wire::judge(&self.inbox[2..], &self.query, self.id) {
            Reply::Answer => Progress::Answered,
            Reply::Failure | Reply::Foreign => Progress::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use nix::sys::epoll::EpollCreateFlags;

    use super::*;

    #[test]
    fn a_client_that_waits_for_longer_than_it_may_be_idle_is_no_reason_to_wake_up() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let mut streams = Streams::new(Kinds { client: 1, call: 2 });
        streams.welcome(&epoll, listener.accept().unwrap().0);
        let client = streams.clients.get_mut(0).unwrap();
        client.until = Instant::now();
        client.under_way = 1;
        assert_eq!(streams.due(), None, "or the monitor spins until the answer is there");
        streams.clients.get_mut(0).unwrap().under_way = 0;
        assert!(streams.due().is_some());
    }
}
