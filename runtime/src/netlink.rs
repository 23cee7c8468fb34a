//! As much of rtnetlink as it takes to carry a network device to another namespace.
//!
//! KERNEL: rtnetlink(7): a request is a header, a fixed struct and attributes, each padded to
//! four bytes; the answer to one that asks for an acknowledgement is an errno.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendmsg, socket,
};

const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const ACK: u16 = REQUEST | libc::NLM_F_ACK as u16;
const DUMP: u16 = REQUEST | libc::NLM_F_DUMP as u16;
const NEW: u16 = ACK | (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
const UP: u32 = libc::IFF_UP as u32;

/// The largest answer: what the kernel puts into one datagram of a dump.
const ANSWER: usize = 32 * 1024;

/// A network device of the socket's namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device(i32);

/// A permanent address of global scope, as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

/// A socket; it stays in the network namespace that it was made in.
#[derive(Debug)]
pub struct Netlink(OwnedFd);

impl Netlink {
    /// One in the current network namespace.
    pub fn open() -> nix::Result<Self> {
        let (family, kind) = (AddressFamily::Netlink, SockType::Raw);
        socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute).map(Self)
    }

    /// The device of that name.
    pub fn find(&self, name: &str) -> nix::Result<Device> {
        let mut request = Request::link(libc::RTM_GETLINK, REQUEST, 0, 0, 0);
        request.attribute(libc::IFLA_IFNAME, &terminated(name));
        let mut found = Err(Errno::ENODEV);
        self.talk(request, |kind, body| {
            if let (libc::RTM_NEWLINK, Some(index)) = (kind, word(body, 4)) {
                found = Ok(Device(index as i32));
            }
        })?;
        found
    }

    /// All devices.
    pub fn devices(&self) -> nix::Result<Vec<Device>> {
        let mut found = Vec::new();
        self.talk(Request::link(libc::RTM_GETLINK, DUMP, 0, 0, 0), |kind, body| {
            if let (libc::RTM_NEWLINK, Some(index)) = (kind, word(body, 4)) {
                found.push(Device(index as i32));
            }
        })?;
        Ok(found)
    }

    /// Sets it up.
    pub fn up(&self, device: Device) -> nix::Result<()> {
        self.talk(Request::link(libc::RTM_NEWLINK, ACK, device.0, UP, UP), |_, _| {})
    }

    /// Moves it to the namespace of `to` under `name`, which may be a template.
    pub fn send(&self, device: Device, name: &str, to: &OwnedFd) -> nix::Result<()> {
        let mut request = Request::link(libc::RTM_NEWLINK, ACK, device.0, 0, 0);
        request.attribute(libc::IFLA_IFNAME, &terminated(name));
        request.attribute(libc::IFLA_NET_NS_FD, &(to.as_raw_fd() as u32).to_ne_bytes());
        self.talk(request, |_, _| {})
    }

    /// Its permanent addresses of global scope.
    pub fn addresses(&self, device: Device) -> nix::Result<Vec<Address>> {
        let mut request = Request::new(libc::RTM_GETADDR, DUMP);
        request.bytes.extend([0; 8]);
        let mut found = Vec::new();
        self.talk(request, |kind, body| {
            let own = kind == libc::RTM_NEWADDR && word(body, 4) == Some(device.0 as u32);
            found.extend(own.then(|| Address::read(body)).flatten());
        })?;
        Ok(found)
    }

    /// Gives it an address.
    pub fn give(&self, device: Device, address: &Address) -> nix::Result<()> {
        let mut request = Request::new(libc::RTM_NEWADDR, NEW);
        request.bytes.extend([address.family, address.prefix, 0, libc::RT_SCOPE_UNIVERSE]);
        request.bytes.extend(device.0.to_ne_bytes());
        for (kind, value) in &address.attributes {
            request.attribute(*kind, value);
        }
        self.talk(request, |_, _| {})
    }

    /// Sends a request and hands over every message of its answer.
    fn talk(&self, request: Request, mut each: impl FnMut(u16, &[u8])) -> nix::Result<()> {
        let kernel = NetlinkAddr::new(0, 0);
        let bytes = request.done();
        let text = [IoSlice::new(&bytes)];
        sendmsg(self.0.as_raw_fd(), &text, &[], MsgFlags::empty(), Some(&kernel))?;
        let mut buffer = vec![0; ANSWER];
        loop {
            let n = match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            if let Some(end) = answer(&buffer[..n], &mut each) {
                return end;
            }
        }
    }
}

/// Reads one datagram; `Some` when the answer ends in it.
fn answer(mut rest: &[u8], each: &mut impl FnMut(u16, &[u8])) -> Option<nix::Result<()>> {
    while let (Some(length), Some(kind)) = (word(rest, 0), half(rest, 4)) {
        let length = length as usize;
        let Some(body) = rest.get(HEADER..length) else { return Some(Err(Errno::EPROTO)) };
        match i32::from(kind) {
            libc::NLMSG_ERROR => {
                let errno = word(body, 0).map_or(libc::EPROTO, |errno| -(errno as i32));
                return Some(if errno == 0 { Ok(()) } else { Err(Errno::from_raw(errno)) });
            }
            libc::NLMSG_DONE => return Some(Ok(())),
            _ => each(kind, body),
        }
        // What isn't one of several has no end mark.
        if half(rest, 6).is_some_and(|flags| i32::from(flags) & libc::NLM_F_MULTI == 0) {
            return Some(Ok(()));
        }
        rest = rest.get(padded(length)..).unwrap_or_default();
    }
    None
}

impl Address {
    /// SPEC: config-linux.md §Network Devices: IFA_F_PERMANENT and RT_SCOPE_UNIVERSE.
    fn read(body: &[u8]) -> Option<Self> {
        let (&family, &prefix, &flags, &scope) =
            (body.first()?, body.get(1)?, body.get(2)?, body.get(3)?);
        let attributes = attributes(body.get(8..)?);
        let flags = attributes
            .iter()
            .find(|(kind, _)| *kind == libc::IFA_FLAGS)
            .and_then(|(_, value)| word(value, 0))
            .unwrap_or(u32::from(flags));
        let kept =
            |kind: u16| [libc::IFA_ADDRESS, libc::IFA_LOCAL, libc::IFA_BROADCAST].contains(&kind);
        let wanted = flags & libc::IFA_F_PERMANENT != 0 && scope == libc::RT_SCOPE_UNIVERSE;
        let mut attributes: Vec<_> = attributes.into_iter().filter(|(k, _)| kept(*k)).collect();
        let flags = flags & (libc::IFA_F_NODAD | libc::IFA_F_NOPREFIXROUTE);
        if flags != 0 {
            attributes.push((libc::IFA_FLAGS, flags.to_ne_bytes().to_vec()));
        }
        wanted.then_some(Self { family, prefix, attributes })
    }
}

fn attributes(mut rest: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut out = Vec::new();
    while let (Some(length), Some(kind)) = (half(rest, 0), half(rest, 2)) {
        let Some(value) = rest.get(4..usize::from(length)) else { break };
        out.push((kind, value.to_vec()));
        rest = rest.get(padded(length.into())..).unwrap_or_default();
    }
    out
}

/// Length of a nlmsghdr.
const HEADER: usize = 16;

struct Request {
    bytes: Vec<u8>,
}

impl Request {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.resize(HEADER, 0);
        Self { bytes }
    }

    fn link(kind: u16, how: u16, index: i32, flags: u32, change: u32) -> Self {
        let mut request = Self::new(kind, how);
        request.bytes.extend([0; 4]);
        request.bytes.extend(index.to_ne_bytes());
        request.bytes.extend(flags.to_ne_bytes());
        request.bytes.extend(change.to_ne_bytes());
        request
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend((4 + value.len() as u16).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(padded(self.bytes.len()), 0);
    }

    fn done(mut self) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

fn terminated(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

const fn padded(length: usize) -> usize {
    (length + 3) & !3
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn loopback_is_found_with_its_address_kept_back() {
        let link = Netlink::open().unwrap();
        let lo = link.find("lo").unwrap();
        assert_eq!(lo, Device(1));
        assert!(link.devices().unwrap().contains(&lo));
        // 127.0.0.1 has host scope.
        assert_eq!(link.addresses(lo).unwrap(), []);
        assert_eq!(link.find("no-such-device"), Err(Errno::ENODEV));
    }

    #[test]
    fn attributes_are_written_as_they_are_read() {
        let mut request = Request::new(1, 2);
        request.attribute(7, b"abc");
        request.attribute(8, b"");
        let bytes = request.done();
        assert_eq!(word(&bytes, 0), Some(bytes.len() as u32));
        assert_eq!(attributes(&bytes[HEADER..]), [(7, b"abc".to_vec()), (8, Vec::new())]);
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic_or_loop(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = answer(&bytes, &mut |_, body| drop(Address::read(body)));
        }
    }
}
