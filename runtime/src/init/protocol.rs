//! What parent and init say to each other, over one SOCK_SEQPACKET pair.
//!
//! ```text
//! parent                                   init (or the relay before it)
//!   |  clone3 ------------------------------> |
//!   |  <--------- Users, Clocks (relay only)  |  it made a user, a time namespace
//!   |  writes maps, offsets                   |
//!   |  Mapped ------------------------------> |
//!   |  <------------------ Pid (relay only)   |  and init, which says nothing before
//!   |  Taken (relay only) -----------------> |
//!   |  writes the id maps                     |
//!   |  Mapped (new user namespace only) ----> |  becomes root in it
//!   |  Joined (exec only) ------------------> |
//!   |                                         |  enters its cgroups, mounts, devices
//!   |  <--------- Idmap and a detached tree   |  (only what it opened and can't map)
//!   |  Idmapped ----------------------------> |
//!   |  <------------------------- Hooks       |  (only with hooks)
//!   |  prestart, createRuntime                |
//!   |  Hooked ------------------------------> |  createContainer, pivot, …
//!   |  <------------------------- Listener    |  (only with SCMP_ACT_NOTIFY) the filter is loaded
//!   |  copies its descriptor                  |
//!   |  (Pass ------------------------------> |  where it may not: sends it)
//!   |  Taken ------------------------------> |  closes it
//!   |  tells the agent                        |
//!   |  <------------------------- Birth, Pid  |  (only where others see it) and its sibling goes on
//!   |  its scheduler, Taken ----------------> |
//!   |  <------------------------- Warning     |  (only if there is one)
//!   |  <------------------------- Ready       |
//!   |  rlimits, the state                      |
//!   |  Go -----------------------------------> |  create: and a byte in exec.fifo
//!   |                                         |  startContainer, seccomp
//!   |  <- end of file: it executes            |
//! ```
//!
//! At any point init may say Fault and end.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType,
    recvmsg, sendmsg, shutdown, socketpair,
};
use nix::unistd::{read, write};

use super::fault::Fault;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The relay made init, or init its sibling: its pid.
    Pid(i32),
    /// Init makes its sibling next.
    Birth,
    /// The relay made its user namespace: its id maps are missing.
    Users,
    /// The relay made a time namespace: its offsets are missing.
    Clocks,
    /// What was missing is written.
    Mapped,
    /// What the outside does to a process of exec is done.
    Joined,
    /// The tree that comes with this is to be id-mapped, as that entry of the mounts says.
    Idmap(u32),
    /// It is.
    Idmapped,
    /// A mount was added to, or removed from, a running container: its id. Told a second time, an
    /// added one is gone again.
    Mount(u64),
    /// Init waits for the hooks of the runtime's side.
    Hooks,
    /// They have run.
    Hooked,
    /// The filter asks an agent: the number of its descriptor here.
    Listener(i32),
    /// The other side may not copy it: it is to be passed.
    Pass,
    /// The other side has a copy.
    Taken,
    /// For the log.
    Warning(String),
    /// Only the start is missing.
    Ready,
    /// Start.
    Go,
    /// A step failed.
    Fault(Fault),
}

/// One end.
#[derive(Debug)]
pub struct Link(OwnedFd);

/// Longest message: a fault with a path. No longer than that, since who hears it has the pages of its
/// stack copied when it touches them, in both processes.
const LIMIT: usize = 4096;

impl Link {
    /// Both ends, close-on-exec.
    pub fn pair() -> nix::Result<(Self, Self)> {
        let (a, b) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(a), Self(b)))
    }

    /// Says one message.
    pub fn send(&self, message: &Message) -> nix::Result<()> {
        // Plain write and read: a filter loaded without no_new_privs judges these
        // calls too, and one that denies sockets' own calls must not stop the start.
        write(&self.0, &Self::encode(message)).map(drop)
    }

    /// The other side hears an end of file, and can still be heard.
    pub fn say_no_more(&self) {
        let _ = shutdown(self.0.as_raw_fd(), Shutdown::Write);
    }

    /// Says one message and passes a descriptor with it.
    pub fn send_with(&self, message: &Message, fd: BorrowedFd<'_>) -> nix::Result<()> {
        let fds = [fd.as_raw_fd()];
        let (bytes, control) = (Self::encode(message), [ControlMessage::ScmRights(&fds)]);
        let text = [IoSlice::new(&bytes)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.0.as_raw_fd(), &text, &control, flags, None).map(drop)
    }

    /// Hears one message and the descriptor that came with it.
    pub fn receive_with(&self) -> nix::Result<(Option<Message>, Option<OwnedFd>)> {
        let mut buffer = [0u8; LIMIT];
        let mut control = nix::cmsg_space!([RawFd; 1]);
        let (n, fd) = loop {
            let mut text = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            match recvmsg::<()>(self.0.as_raw_fd(), &mut text, Some(&mut control), flags) {
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                Err(errno) => return Err(errno),
                Ok(heard) => {
                    let fd = heard.cmsgs()?.find_map(|c| match c {
                        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
                        _ => None,
                    });
                    break (heard.bytes, fd);
                }
            }
        };
        let fd = fd.map(dhow_kernel::fd::adopt).transpose()?;
        Ok((Self::decode(&buffer[..n])?, fd))
    }

    fn encode(message: &Message) -> Vec<u8> {
        match message {
            Message::Pid(pid) => [&b"P"[..], &pid.to_le_bytes()].concat(),
            Message::Birth => b"B".to_vec(),
            Message::Idmap(index) => [&b"I"[..], &index.to_le_bytes()].concat(),
            Message::Idmapped => b"i".to_vec(),
            Message::Mount(id) => [&b"m"[..], &id.to_le_bytes()].concat(),
            Message::Users => b"U".to_vec(),
            Message::Clocks => b"C".to_vec(),
            Message::Mapped => b"M".to_vec(),
            Message::Joined => b"J".to_vec(),
            Message::Hooks => b"H".to_vec(),
            Message::Hooked => b"h".to_vec(),
            Message::Listener(fd) => [&b"L"[..], &fd.to_le_bytes()].concat(),
            Message::Pass => b"p".to_vec(),
            Message::Taken => b"T".to_vec(),
            Message::Warning(text) => [&b"W"[..], text.as_bytes()].concat(),
            Message::Ready => b"R".to_vec(),
            Message::Go => b"G".to_vec(),
            Message::Fault(fault) => [&b"F"[..], &fault.encode()].concat(),
        }
    }

    /// Hears one message; `None` when the other side is gone (or has executed).
    pub fn receive(&self) -> nix::Result<Option<Message>> {
        self.receive_into(&mut [0u8; LIMIT])
    }

    fn receive_into(&self, buffer: &mut [u8]) -> nix::Result<Option<Message>> {
        let n = loop {
            match read(&self.0, buffer) {
                // KERNEL: unix(7): ECONNRESET, said once, only means that the other side
                // left something unread; what it said before can still be heard.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                other => break other?,
            }
        };
        Self::decode(&buffer[..n])
    }

    fn decode(bytes: &[u8]) -> nix::Result<Option<Message>> {
        let Some((tag, rest)) = bytes.split_first() else { return Ok(None) };
        let message = match tag {
            b'P' => rest.try_into().ok().map(|raw| Message::Pid(i32::from_le_bytes(raw))),
            b'B' => Some(Message::Birth),
            b'I' => rest.try_into().ok().map(|raw| Message::Idmap(u32::from_le_bytes(raw))),
            b'i' => Some(Message::Idmapped),
            b'm' => rest.try_into().ok().map(|raw| Message::Mount(u64::from_le_bytes(raw))),
            b'U' => Some(Message::Users),
            b'C' => Some(Message::Clocks),
            b'M' => Some(Message::Mapped),
            b'J' => Some(Message::Joined),
            b'H' => Some(Message::Hooks),
            b'h' => Some(Message::Hooked),
            b'L' => rest.try_into().ok().map(|raw| Message::Listener(i32::from_le_bytes(raw))),
            b'p' => Some(Message::Pass),
            b'T' => Some(Message::Taken),
            b'W' => Some(Message::Warning(String::from_utf8_lossy(rest).into_owned())),
            b'R' => Some(Message::Ready),
            b'G' => Some(Message::Go),
            b'F' => Fault::decode(rest).map(Message::Fault),
            _ => None,
        };
        message.map(Some).ok_or(Errno::EPROTO)
    }

    /// Waits for one particular message; anything else means the other side is gone.
    pub fn expect(&self, wanted: &Message) -> nix::Result<()> {
        /// Enough for any that is waited for, and no page more of what the container may have.
        const SHORT: usize = 64;
        match self.receive_into(&mut [0u8; SHORT]) {
            Ok(Some(message)) if message == *wanted => Ok(()),
            Ok(_) | Err(Errno::EPROTO) => Err(Errno::ECONNABORTED),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Link> for OwnedFd {
    fn from(link: Link) -> Self {
        link.0
    }
}

/// An io error's errno.
pub fn errno_of(e: &io::Error) -> Errno {
    Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO))
}
