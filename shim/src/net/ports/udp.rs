//! UDP: a socket towards the container for each client, as long as the two talk.

use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockProtocol, SockType, SockaddrStorage, recv,
    recvmsg, send, sendmsg,
};

use super::reserve::Held;
use super::{files, socket};

/// As docker's: who is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(90);
/// More clients than this at once are not told apart for long: the silent ones go first.
const MOST: usize = if cfg!(test) { 64 } else { 4096 };
/// Datagrams of one socket in a row.
const ROW: usize = 64;
/// The longest datagram.
const LONGEST: usize = 65536;

/// Who talks to whom: the door, the client, and the host's address that it talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    door: usize,
    client: SocketAddr,
    local: Local,
}

/// The host's address that a datagram came to, and its interface where that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Local(IpAddr, u32);

/// One client's.
#[derive(Debug)]
struct Flow {
    key: Key,
    socket: OwnedFd,
    last: Instant,
    number: u32,
}

/// All flows of a proxy.
#[derive(Debug, Default)]
pub struct Flows {
    by_key: HashMap<Key, u32>,
    by_number: HashMap<u32, Flow>,
    next: u32,
    /// When the first of them may be gone.
    due: Option<Instant>,
    buffer: Vec<u8>,
}

impl Flows {
    /// When somebody may have been silent for too long.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes what has come to a door, and sends it on to the container at `to`. A new flow's socket
    /// is handed to `watch`, with its number. True when there is more.
    pub fn receive(
        &mut self,
        (door, number): (&OwnedFd, usize),
        to: Option<SocketAddr>,
        watch: &mut dyn FnMut(BorrowedFd<'_>, u32) -> nix::Result<()>,
    ) -> bool {
        let mut buffer = self.borrow();
        let mut more = true;
        for _ in 0..ROW {
            match datagram(door, &mut buffer) {
                Ok(Some((length, client, local))) => {
                    let key = Key { door: number, client, local };
                    if let Some(to) = to {
                        self.forward(key, to, &buffer[..length], watch);
                    }
                }
                Ok(None) | Err(Errno::EINTR | Errno::ECONNREFUSED) => {}
                Err(_) => {
                    more = false;
                    break;
                }
            }
        }
        self.buffer = buffer;
        more
    }

    /// Takes what the container answers to one flow back to its client. True when there is more.
    pub fn answer(&mut self, number: u32, doors: &[Held]) -> bool {
        let mut buffer = self.borrow();
        let mut more = true;
        if let Some(flow) = self.by_number.get_mut(&number)
            && let Some(door) = doors.get(flow.key.door)
        {
            for _ in 0..ROW {
                match recv(flow.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                    Ok(length) => {
                        flow.last = Instant::now();
                        let _ = reply(&door.socket, &flow.key, &buffer[..length]);
                    }
                    // Refused: nobody listens in the container (yet).
                    Err(Errno::EINTR | Errno::ECONNREFUSED) => {}
                    Err(_) => {
                        more = false;
                        break;
                    }
                }
            }
        } else {
            more = false;
        }
        self.buffer = buffer;
        more
    }

    /// Forgets who has been silent for too long.
    pub fn tick(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.keep(|flow| flow.last + SILENCE > now);
            self.due = self.by_number.values().map(|flow| flow.last + SILENCE).min();
        }
        if self.by_number.is_empty() {
            *self = Self { next: self.next, ..Self::default() };
        }
    }

    /// Lets nobody go on to where the container was.
    pub fn clear(&mut self) {
        *self = Self { next: self.next, ..Self::default() };
    }

    fn borrow(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.is_empty() {
            buffer = vec![0; LONGEST];
        }
        buffer
    }

    fn forward(
        &mut self,
        key: Key,
        to: SocketAddr,
        bytes: &[u8],
        watch: &mut dyn FnMut(BorrowedFd<'_>, u32) -> nix::Result<()>,
    ) {
        let now = Instant::now();
        let number = match self.by_key.get(&key) {
            Some(number) => *number,
            None => match self.open(key, to, now, watch) {
                Ok(number) => number,
                Err(_) => return, // as a network that loses it
            },
        };
        let Some(flow) = self.by_number.get_mut(&number) else { return };
        flow.last = now;
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let fd = flow.socket.as_raw_fd();
        // What the last one met comes as this one's error.
        if send(fd, bytes, flags) == Err(Errno::ECONNREFUSED) {
            let _ = send(fd, bytes, flags);
        }
    }

    fn open(
        &mut self,
        key: Key,
        to: SocketAddr,
        now: Instant,
        watch: &mut dyn FnMut(BorrowedFd<'_>, u32) -> nix::Result<()>,
    ) -> nix::Result<u32> {
        if self.by_number.len() >= MOST {
            self.thin_out();
        }
        let make = || socket::make(to.ip(), SockType::Datagram, SockProtocol::Udp);
        let made = match make() {
            Err(Errno::EMFILE) if files::raise() => make(),
            Err(Errno::EMFILE) => {
                self.thin_out();
                make()
            }
            other => other,
        };
        let socket = made?;
        socket::connect(&socket, to)?;
        self.next = self.next.wrapping_add(1);
        let number = self.next;
        watch(socket.as_fd(), number)?;
        self.by_key.insert(key, number);
        self.by_number.insert(number, Flow { key, socket, last: now, number });
        self.due.get_or_insert(now + SILENCE);
        Ok(number)
    }

    /// The quarter that has been silent for longest goes.
    fn thin_out(&mut self) {
        let mut ages: Vec<Instant> = self.by_number.values().map(|flow| flow.last).collect();
        let at = ages.len() / 4;
        if at < ages.len() {
            let limit = *ages.select_nth_unstable(at).1;
            self.keep(|flow| flow.last > limit);
        }
    }

    fn keep(&mut self, stays: impl Fn(&Flow) -> bool) {
        let by_key = &mut self.by_key;
        self.by_number.retain(|_, flow| {
            let stays = stays(flow);
            if !stays && by_key.get(&flow.key) == Some(&flow.number) {
                by_key.remove(&flow.key);
            }
            stays
        });
    }
}

/// One datagram: its length, who sent it, where to. Nothing when it can't be answered.
fn datagram(door: &OwnedFd, buffer: &mut [u8]) -> nix::Result<Option<(usize, SocketAddr, Local)>> {
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let got = recvmsg::<SockaddrStorage>(
        door.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let length = got.bytes;
    let client = got.address.as_ref().and_then(socket::address);
    let local = got.cmsgs().ok().and_then(|mut all| all.find_map(local));
    Ok(client.zip(local).map(|(client, local)| (length, client, local)))
}

fn local(message: ControlMessageOwned) -> Option<Local> {
    match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            // The host's own address, also where the datagram was for all of a network.
            Some(Local(std::net::Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into(), 0))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let ip = std::net::Ipv6Addr::from(info.ipi6_addr.s6_addr);
            let near = ip.is_unicast_link_local();
            Some(Local(ip.into(), if near { info.ipi6_ifindex } else { 0 }))
        }
        _ => None,
    }
}

/// Answers from the address that was asked, whatever route leads back.
fn reply(door: &OwnedFd, key: &Key, bytes: &[u8]) -> nix::Result<usize> {
    let to = SockaddrStorage::from(key.client);
    let parts = [IoSlice::new(bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let fd = door.as_raw_fd();
    match key.local {
        Local(IpAddr::V4(ip), _) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            sendmsg(fd, &parts, &[ControlMessage::Ipv4PacketInfo(&info)], flags, Some(&to))
        }
        Local(IpAddr::V6(ip), _) if ip.is_multicast() => sendmsg(fd, &parts, &[], flags, Some(&to)),
        Local(IpAddr::V6(ip), index) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: ip.octets() },
                ipi6_ifindex: index,
            };
            sendmsg(fd, &parts, &[ControlMessage::Ipv6PacketInfo(&info)], flags, Some(&to))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use super::*;
    use crate::model::Published;

    /// A door, and a server behind it.
    fn pair() -> (Held, UdpSocket) {
        let socket =
            socket::hold(Ipv4Addr::LOCALHOST.into(), 0, crate::model::Protocol::Udp).unwrap();
        let server = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
        let port = nix::sys::socket::getsockname::<SockaddrStorage>(socket.as_raw_fd()).unwrap();
        let published = Published {
            port: server.local_addr().unwrap().port(),
            protocol: crate::model::Protocol::Udp,
            host_ip: Ipv4Addr::LOCALHOST.into(),
            host_port: socket::address(&port).unwrap().port(),
        };
        (Held { published, socket }, server)
    }

    fn say(held: &Held, text: &[u8]) -> UdpSocket {
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.connect((Ipv4Addr::LOCALHOST, held.published.host_port)).unwrap();
        client.send(text).unwrap();
        client
    }

    #[test]
    fn the_silent_go_when_there_are_too_many_and_after_their_time() {
        let (held, server) = pair();
        let to = server.local_addr().unwrap();
        let mut flows = Flows::default();
        let mut numbers = Vec::new();
        let mut clients = Vec::new();
        for n in 0..3 * MOST {
            clients.push(say(&held, &[n as u8]));
            let mut watch = |_: BorrowedFd<'_>, number| {
                numbers.push(number);
                Ok(())
            };
            flows.receive((&held.socket, 0), Some(to), &mut watch);
            assert!(flows.by_number.len() <= MOST && flows.by_key.len() <= MOST);
            let mut byte = [0];
            let (_, from) = server.recv_from(&mut byte).unwrap();
            server.send_to(&byte, from).unwrap();
            flows.answer(numbers[n], std::slice::from_ref(&held));
            assert_eq!(clients[n].recv(&mut byte).unwrap(), 1);
            assert_eq!(byte, [n as u8]);
        }
        flows.tick(Instant::now());
        assert!(!flows.by_number.is_empty());
        let due = flows.due().unwrap();
        flows.tick(due + SILENCE);
        assert!(flows.by_number.is_empty() && flows.by_key.is_empty() && flows.due().is_none());
        assert_eq!(flows.buffer.capacity(), 0);
    }
}
