//! The servers that are asked for other names, and sockets towards them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};

use crate::bundle::etc::{INTERNAL, Upstream};
use crate::net::link;

const PORT: u16 = 53;

/// docker asks so many.
const MOST_SERVERS: usize = 3;

/// The container's network namespace.
pub struct Inside(OwnedFd);

impl Inside {
    /// The namespace `ns`.
    pub fn of(ns: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self(ns.try_clone_to_owned()?))
    }

    /// Runs `make` in it. A socket stays where it was made.
    pub fn make<T>(&self, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        link::enter(self.0.as_fd(), make).map_err(|e| io::Error::other(e.message))?
    }
}

/// A server, as it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    address: SocketAddr,
    of_host: bool,
}

impl Target {
    /// Those of `upstream` that may be asked: where there is no way out (`forwards`), the host's
    /// own servers would be one. The container's own server would ask itself.
    pub fn usable(upstream: &[Upstream], forwards: bool) -> Vec<Self> {
        let itself = |u: &&Upstream| !u.of_host && u.server.address == IpAddr::V4(INTERNAL);
        let all = upstream.iter().filter(|u| (forwards || !u.of_host) && !itself(u));
        let target = |u: &Upstream| Self { address: address_of(u), of_host: u.of_host };
        all.take(MOST_SERVERS).map(target).collect()
    }

    /// A UDP socket that hears this server alone, at a port that nobody can guess.
    pub fn datagrams(&self, inside: &Inside) -> io::Result<UdpSocket> {
        self.at_home(inside, || {
            let any: IpAddr = match self.address {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
            socket.connect(self.address)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })
    }

    /// A TCP connection to it that is being made.
    pub fn stream(&self, inside: &Inside) -> io::Result<TcpStream> {
        self.at_home(inside, || {
            let family = match self.address {
                SocketAddr::V4(_) => AddressFamily::Inet,
                SocketAddr::V6(_) => AddressFamily::Inet6,
            };
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let socket = socket(family, SockType::Stream, flags, None)?;
            match connect(socket.as_raw_fd(), &SockaddrStorage::from(self.address)) {
                Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from(socket)),
                Err(e) => Err(e.into()),
            }
        })
    }

    fn at_home<T>(&self, inside: &Inside, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.of_host { make() } else { inside.make(make) }
    }
}

fn address_of(upstream: &Upstream) -> SocketAddr {
    match upstream.server.address {
        IpAddr::V6(v6) if !upstream.server.zone.is_empty() => {
            SocketAddrV6::new(v6, PORT, 0, scope(&upstream.server.zone)).into()
        }
        address => SocketAddr::new(address, PORT),
    }
}

/// The number of the host's interface `zone`, which may be its number already.
fn scope(zone: &str) -> u32 {
    let read = || {
        let name = std::path::Path::new(zone).file_name()?;
        let path = std::path::Path::new("/sys/class/net").join(name).join("ifindex");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    zone.parse().ok().or_else(read).unwrap_or(0)
}

/// Who asks for a descriptor's events: its kind above, its number below.
pub fn token(kind: u32, number: usize) -> u64 {
    u64::from(kind) << 32 | number as u64
}

/// What [`token`] made.
pub fn untoken(token: u64) -> (u32, usize) {
    ((token >> 32) as u32, (token & 0xffff_ffff) as usize)
}

/// A descriptor's events from now on.
pub fn watch(
    epoll: &nix::sys::epoll::Epoll,
    fd: impl AsFd,
    flags: nix::sys::epoll::EpollFlags,
    token: u64,
) -> io::Result<()> {
    epoll.add(fd, nix::sys::epoll::EpollEvent::new(flags, token)).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::etc::NameServer;

    #[test]
    fn who_may_be_asked() {
        let server = |text: &str, of_host| Upstream {
            server: NameServer::from(text.parse::<IpAddr>().unwrap()),
            of_host,
        };
        let all =
            [server("127.0.0.53", true), server("10.0.0.1", false), server("127.0.0.11", false)];
        assert_eq!(Target::usable(&all, true).len(), 2);
        let inside = Target::usable(&all, false);
        assert_eq!(inside, [Target { address: "10.0.0.1:53".parse().unwrap(), of_host: false }]);
        let many = vec![server("10.0.0.1", true); 5];
        assert_eq!(Target::usable(&many, true).len(), MOST_SERVERS);
    }

    #[test]
    fn tokens_come_back() {
        assert_eq!(untoken(token(7, 123)), (7, 123));
    }
}
