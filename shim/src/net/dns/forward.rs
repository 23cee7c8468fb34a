//! Questions over UDP that go to other servers, and their answers.
//!
//! Each question has a number that nobody can guess, and as a rule a port of its own; an answer
//! counts when server, port, number and question are right. The same question asked twice goes out
//! once: a container that is its own server's server gets silence, not a storm.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use nix::sys::epoll::{Epoll, EpollFlags};

use super::outside::{Inside, Target, token, watch};
use super::slots::Slots;
use super::wire::{self, Reply};

/// docker's.
const MOST_ASKS: usize = 1024;
/// Bytes of questions that wait.
const MOST_BYTES: usize = 1 << 20;
/// Who waits for one answer.
const MOST_WAITERS: usize = 64;
/// Sockets in use at once; more questions share them.
const MOST_LINES: usize = 60;
/// Questions on one socket.
const MOST_USERS: usize = 64;
/// After this long the next server is asked as well; late answers still count.
const STEP: Duration = Duration::from_millis(1500);
/// After this long nobody waits any more.
const PATIENCE: Duration = Duration::from_secs(8);
/// Answers read at once.
const AT_ONCE: usize = 32;

/// A question on its way.
struct Ask {
    /// As it came.
    query: Box<[u8]>,
    /// Where its question ends.
    end: usize,
    hash: u64,
    /// Who asked, under which number.
    waiters: Vec<(SocketAddr, u16)>,
    /// Which sockets it went out by, under which number.
    tries: Vec<(usize, u16)>,
    /// How often it went out, or couldn't.
    made: usize,
    retry: Instant,
    until: Instant,
}

/// A socket towards one server.
struct Line {
    socket: UdpSocket,
    target: usize,
    /// Number → question.
    users: HashMap<u16, usize>,
}

/// All questions on their way.
pub struct Forward {
    targets: Vec<Target>,
    asks: Slots<Ask>,
    lines: Slots<Line>,
    by_hash: HashMap<u64, usize>,
    bytes: usize,
    /// Makes numbers, from a secret and a counter.
    secret: RandomState,
    count: u64,
    kind: u32,
}

impl Forward {
    /// Towards `targets`; its sockets' events have tokens of `kind`.
    pub fn new(targets: Vec<Target>, kind: u32) -> Self {
        Self {
            targets,
            asks: Slots::new(MOST_ASKS),
            lines: Slots::new(MOST_LINES),
            by_hash: HashMap::new(),
            bytes: 0,
            secret: RandomState::new(),
            count: 0,
            kind,
        }
    }

    /// Whom it asks.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Questions on their way.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.asks.len()
    }

    /// A number that nobody can guess.
    pub fn random(&mut self) -> u16 {
        self.count += 1;
        self.secret.hash_one(self.count) as u16
    }

    /// When something is due.
    pub fn due(&self) -> Option<Instant> {
        self.asks.iter().map(|(_, ask)| ask.retry.min(ask.until)).min()
    }

    /// Sends a question of `from` on its way; else what to answer at once.
    pub fn ask(
        &mut self,
        (epoll, inside): (&Epoll, &Inside),
        (query, end): (&[u8], usize),
        from: SocketAddr,
    ) -> Result<(), ResponseCode> {
        let id = u16::from_be_bytes([query[0], query[1]]);
        let hash = self.secret.hash_one(&query[2..]);
        if let Some(ask) = self.by_hash.get(&hash).and_then(|at| self.asks.get_mut(*at))
            && ask.query[2..] == query[2..]
        {
            if !ask.waiters.contains(&(from, id)) {
                if ask.waiters.len() >= MOST_WAITERS {
                    return Err(ResponseCode::Refused);
                }
                ask.waiters.push((from, id));
            }
            return Ok(());
        }
        if self.targets.is_empty() {
            return Err(ResponseCode::ServFail);
        }
        if self.bytes + query.len() > MOST_BYTES {
            return Err(ResponseCode::Refused);
        }
        let now = Instant::now();
        let ask = Ask {
            query: query.into(),
            end,
            hash,
            waiters: vec![(from, id)],
            tries: Vec::new(),
            made: 0,
            retry: now,
            until: now + PATIENCE,
        };
        let at = self.asks.insert(ask).ok_or(ResponseCode::Refused)?;
        self.bytes += query.len();
        self.by_hash.insert(hash, at);
        if self.try_next((epoll, inside), at) {
            Ok(())
        } else {
            self.take(at);
            Err(ResponseCode::ServFail)
        }
    }

    /// Asks the next server that can be asked; false when there is none.
    fn try_next(&mut self, world: (&Epoll, &Inside), at: usize) -> bool {
        let most = (2 * self.targets.len()).max(3);
        loop {
            let Some(ask) = self.asks.get_mut(at) else { return false };
            if ask.made >= most {
                ask.retry = ask.until;
                return false;
            }
            let target = ask.made % self.targets.len();
            ask.made += 1;
            ask.retry = Instant::now() + STEP;
            if self.send(world, at, target) {
                return true;
            }
        }
    }

    fn send(&mut self, world: (&Epoll, &Inside), at: usize, target: usize) -> bool {
        let Some(line) = self.line(world, target) else { return false };
        let id = loop {
            let id = self.random();
            if self.lines.get(line).is_some_and(|line| !line.users.contains_key(&id)) {
                break id;
            }
        };
        let (Some(line_), Some(ask)) = (self.lines.get_mut(line), self.asks.get_mut(at)) else {
            return false;
        };
        let mut query = ask.query.to_vec();
        wire::renumber(&mut query, id);
        let sent = line_.socket.send(&query);
        if sent.is_ok() {
            line_.users.insert(id, at);
            ask.tries.push((line, id));
        } else if line_.users.is_empty() {
            self.lines.remove(line);
        }
        sent.is_ok()
    }

    /// A socket towards a server: a new one, or when there are many, the one least in use.
    fn line(&mut self, (epoll, inside): (&Epoll, &Inside), target: usize) -> Option<usize> {
        let mine = || self.lines.iter().filter(|(_, line)| line.target == target);
        let share = MOST_LINES / self.targets.len().max(1);
        if mine().count() >= share {
            let least = mine().min_by_key(|(_, line)| line.users.len());
            return least.filter(|(_, line)| line.users.len() < MOST_USERS).map(|(at, _)| at);
        }
        let at = self.lines.next()?;
        let socket = self.targets.get(target)?.datagrams(inside).ok()?;
        watch(epoll, &socket, EpollFlags::EPOLLIN, token(self.kind, at)).ok()?;
        self.lines.insert(Line { socket, target, users: HashMap::new() })
    }

    /// Reads what a server sent; answers go out by `to`.
    pub fn hear(
        &mut self,
        world: (&Epoll, &Inside),
        line: usize,
        buffer: &mut [u8],
        to: &UdpSocket,
    ) {
        for _ in 0..AT_ONCE {
            let Some(open) = self.lines.get(line) else { return };
            let received = match open.socket.recv(buffer) {
                Ok(n) => &mut buffer[..n],
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    // Nobody listens there, says the network.
                    let users: Vec<(u16, usize)> =
                        open.users.iter().map(|(id, at)| (*id, *at)).collect();
                    for (id, at) in users {
                        self.fail(world, (line, id), at, to);
                    }
                    return;
                }
            };
            let id = received.first_chunk().map(|id| u16::from_be_bytes(*id));
            let Some((id, at)) = id.and_then(|id| Some((id, *open.users.get(&id)?))) else {
                continue;
            };
            let Some(ask) = self.asks.get(at) else { continue };
            match wire::judge(received, &ask.query, id) {
                Reply::Foreign => {}
                Reply::Failure => self.fail(world, (line, id), at, to),
                Reply::Answer => {
                    for (who, id) in self.take(at).map(|ask| ask.waiters).unwrap_or_default() {
                        wire::renumber(received, id);
                        let _ = to.send_to(received, who);
                    }
                }
            }
        }
    }

    /// One try has failed: the next server is asked, once each.
    fn fail(&mut self, world: (&Epoll, &Inside), this: (usize, u16), at: usize, to: &UdpSocket) {
        self.release(this);
        let Some(ask) = self.asks.get_mut(at) else { return };
        ask.tries.retain(|one| *one != this);
        let next = ask.made < self.targets.len() && self.try_next(world, at);
        if !next && self.asks.get(at).is_some_and(|ask| ask.tries.is_empty()) {
            self.give_up(at, to);
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, world: (&Epoll, &Inside), now: Instant, to: &UdpSocket) {
        let due = self.asks.iter().filter(|(_, ask)| now >= ask.retry.min(ask.until));
        let due: Vec<(usize, bool)> = due.map(|(at, ask)| (at, now >= ask.until)).collect();
        for (at, is_over) in due {
            if is_over {
                self.give_up(at, to);
            } else {
                self.try_next(world, at);
            }
        }
    }

    fn give_up(&mut self, at: usize, to: &UdpSocket) {
        let Some(ask) = self.take(at) else { return };
        let mut reply = wire::error(&ask.query, ask.end, ResponseCode::ServFail);
        for (who, id) in ask.waiters {
            wire::renumber(&mut reply, id);
            let _ = to.send_to(&reply, who);
        }
    }

    /// A question that is over, with all that it held.
    fn take(&mut self, at: usize) -> Option<Ask> {
        let ask = self.asks.remove(at)?;
        self.bytes -= ask.query.len();
        if self.by_hash.get(&ask.hash) == Some(&at) {
            self.by_hash.remove(&ask.hash);
        }
        if self.by_hash.is_empty() {
            self.by_hash = HashMap::new();
        }
        for one in &ask.tries {
            self.release(*one);
        }
        Some(ask)
    }

    fn release(&mut self, (line, id): (usize, u16)) {
        let Some(open) = self.lines.get_mut(line) else { return };
        open.users.remove(&id);
        if open.users.is_empty() {
            // The next question gets another port.
            self.lines.remove(line);
        }
    }

    /// Asks others from now on; who waits is told that it failed.
    pub fn redirect(&mut self, targets: Vec<Target>, to: &UdpSocket) {
        let waiting: Vec<usize> = self.asks.iter().map(|(at, _)| at).collect();
        for at in waiting {
            self.give_up(at, to);
        }
        self.targets = targets;
    }
}
