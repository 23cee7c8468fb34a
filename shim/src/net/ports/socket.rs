//! Sockets on the host's addresses.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, getsockname,
    listen, setsockopt, socket, sockopt,
};

use crate::model::Protocol;

/// A socket that holds `port` of `ip`: TCP listens, so that the port can't be taken twice.
pub fn hold(ip: IpAddr, port: u16, protocol: Protocol) -> nix::Result<OwnedFd> {
    let (kind, number) = match protocol {
        Protocol::Tcp => (SockType::Stream, SockProtocol::Tcp),
        Protocol::Udp => (SockType::Datagram, SockProtocol::Udp),
        Protocol::Sctp => (SockType::Stream, SockProtocol::Sctp),
    };
    let fd = make(ip, kind, number)?;
    match protocol {
        // Past connections to the port don't hold it; who listens does, with this flag as without.
        Protocol::Tcp => setsockopt(&fd, sockopt::ReuseAddr, &true)?,
        Protocol::Udp if ip.is_ipv4() => setsockopt(&fd, sockopt::Ipv4PacketInfo, &true)?,
        Protocol::Udp => setsockopt(&fd, sockopt::Ipv6RecvPacketInfo, &true)?,
        Protocol::Sctp => {}
    }
    if ip.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(ip, port)))?;
    if protocol == Protocol::Tcp {
        listen(&fd, Backlog::MAXCONN)?;
    }
    Ok(fd)
}

/// A new socket that neither blocks nor is handed on.
pub fn make(like: IpAddr, kind: SockType, protocol: SockProtocol) -> nix::Result<OwnedFd> {
    let family = if like.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, protocol)
}

/// Whether this host has IPv6, as docker asks: `[::1]` can be bound.
pub fn has_ipv6() -> bool {
    hold(Ipv6Addr::LOCALHOST.into(), 0, Protocol::Udp).is_ok()
}

/// Connects, or begins to; to be seen when the socket can be written to.
pub fn connect(fd: &impl AsFd, to: SocketAddr) -> nix::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    match nix::sys::socket::connect(fd, &SockaddrStorage::from(to)) {
        Err(Errno::EINPROGRESS) => Ok(()),
        other => other,
    }
}

/// Closes with RST, as a peer that isn't there.
pub fn reset(fd: OwnedFd) {
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    let _ = setsockopt(&fd, sockopt::Linger, &at_once);
}

/// It was accepted on a loopback address.
pub fn is_near(fd: &OwnedFd) -> bool {
    let here = getsockname::<SockaddrStorage>(fd.as_raw_fd()).ok();
    here.as_ref().and_then(address).is_some_and(|at| at.ip().to_canonical().is_loopback())
}

/// An address of the kernel's.
pub fn address(of: &SockaddrStorage) -> Option<SocketAddr> {
    of.as_sockaddr_in()
        .map(|a| SocketAddr::from((a.ip(), a.port())))
        .or_else(|| of.as_sockaddr_in6().map(|a| SocketAddr::from((a.ip(), a.port()))))
}
