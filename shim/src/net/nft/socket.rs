//! A netfilter socket: transactions, questions and dumps, synchronous.

use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt as _;

use netlink_sys::{Socket as Netlink, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::wire::{self, DONE, ERROR, Message, Requests};
use crate::error::Error;
use crate::net::link::enter;

/// An answer is at most a page or what a dump fills its buffer with, 32 kB.
const ANSWER: usize = 64 * 1024;
/// A dump that somebody changes all the time is begun again so often.
pub(super) const TRIES: usize = 8;
/// `NLM_F_DUMP_INTR`
pub(super) const INTERRUPTED: u16 = 0x10;
const MULTI: u16 = 2;
const OWN: &str = "/proc/thread-self/ns/net";

/// Why the kernel refused, as data: callers tell "is not there" from "can't".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The error's number.
    pub errno: Errno,
    /// What was asked.
    pub what: String,
    /// The kernel's own words (extended acknowledgement).
    pub words: Option<String>,
}

impl Fault {
    /// `what` failed with `errno`.
    pub fn new(errno: Errno, what: impl Into<String>) -> Self {
        Self { errno, what: what.into(), words: None }
    }

    /// Neither table nor set nor element.
    pub fn is_absent(&self) -> bool {
        self.errno == Errno::ENOENT
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let Fault { errno, what, words } = fault;
        let why = words.map_or_else(String::new, |w| format!(": {w}"));
        let hint = match errno {
            Errno::EPROTONOSUPPORT | Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT => {
                "; this kernel has no nf_tables: load its modules ('modprobe -a nf_tables nft_nat nft_masq nft_fib_inet nft_ct'), \
                 or use --network host or none"
            }
            Errno::EPERM => "; it takes CAP_NET_ADMIN in this network namespace",
            _ => "",
        };
        Self::engine(format!("nftables: {what}: {}{why}{hint}", errno.desc()))
    }
}

thread_local! {
    /// Sockets that nobody needs just now, by their namespace.
    ///
    /// KERNEL: to close one waits until all that its transactions have removed is gone, which is a
    /// grace period of RCU: ten milliseconds and more, with dhow's lock held. So those of the
    /// caller's own namespace stay open until the process ends.
    static IDLE: RefCell<Vec<(Home, Netlink)>> = const { RefCell::new(Vec::new()) };
}

/// A namespace: device and inode.
type Home = (u64, u64);

/// A socket to the kernel's netfilter, of one network namespace.
pub struct Socket {
    netlink: Option<Netlink>,
    /// Of the caller's namespace; those of others keep these alive, and are closed.
    home: Option<Home>,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "netfilter socket of {:?}", self.home)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some((home, netlink)) = self.home.zip(self.netlink.take()) {
            // At a thread's end there is nothing to keep it for.
            let _ = IDLE.try_with(|idle| idle.borrow_mut().push((home, netlink)));
        }
    }
}

impl Socket {
    /// Of the namespace that the caller is in.
    pub fn here() -> Result<Self, Fault> {
        let home = std::fs::metadata(OWN).ok().map(|own| (own.dev(), own.ino()));
        let kept = IDLE.with_borrow_mut(|idle| {
            let at = idle.iter().position(|(of, _)| Some(*of) == home)?;
            Some(idle.swap_remove(at).1)
        });
        let netlink = kept.map_or_else(open, Ok)?;
        Ok(Self { netlink: Some(netlink), home })
    }

    /// Of the namespace `ns`: this thread goes there and comes back.
    pub fn within(ns: BorrowedFd<'_>) -> Result<Self, Fault> {
        let netlink = enter(ns, open).map_err(|error| Fault {
            words: Some(error.message),
            ..Fault::new(Errno::EIO, "open a netfilter socket in a container's network")
        })?;
        Ok(Self { netlink: Some(netlink?), home: None })
    }

    /// Does all of a transaction or nothing.
    pub fn commit(&self, mut batch: Requests) -> Result<(), Fault> {
        if batch.is_empty() {
            return Ok(());
        }
        batch.finish();
        for _ in 1..TRIES {
            match self.once(&batch) {
                // KERNEL: somebody else changed rules just now; nothing was done.
                Err(Fault { errno: Errno::ERESTART | Errno::EAGAIN | Errno::EINTR, .. }) => {}
                done => return done,
            }
        }
        self.once(&batch)
    }

    fn once(&self, batch: &Requests) -> Result<(), Fault> {
        self.send(batch, "change rules")?;
        let last = batch.what.len() as u32;
        let mut fault = None;
        self.answers(|message| {
            if message.kind != ERROR {
                return true;
            }
            match wire::verdict(message) {
                // KERNEL: errors come in the order of the messages, and the first is the cause.
                Some((errno, words)) if errno != 0 && fault.is_none() => {
                    let at = (message.number as usize).wrapping_sub(1);
                    let what = batch.what.get(at).map_or("change rules", |w| w.as_ref());
                    fault = Some(Fault { words, ..Fault::new(Errno::from_raw(errno), what) });
                }
                _ => {}
            }
            // What concerns the batch as a whole has its first header's number.
            message.number != last && message.number != 0
        })?;
        fault.map_or(Ok(()), Err)
    }

    /// Asks questions that have one answer each; an error is an answer too.
    pub fn ask(&self, mut questions: Requests) -> Result<Vec<Result<Vec<u8>, Fault>>, Fault> {
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        questions.finish();
        self.send(&questions, "ask for rules")?;
        let mut answers: Vec<Option<Result<Vec<u8>, Fault>>> = vec![None; questions.what.len()];
        let last = questions.what.len();
        self.answers(|message| {
            let at = (message.number as usize).wrapping_sub(1);
            let Some(slot) = answers.get_mut(at) else { return true };
            if message.kind != ERROR {
                slot.get_or_insert_with(|| Ok(message.payload.to_vec()));
                return true;
            }
            match wire::verdict(message) {
                Some((0, _)) | None => {}
                Some((errno, words)) => {
                    let what = questions.what[at].as_ref();
                    *slot = Some(Err(Fault { words, ..Fault::new(Errno::from_raw(errno), what) }));
                }
            }
            at + 1 != last
        })?;
        let missing = |what: &str| Err(Fault::new(Errno::ENOMSG, what));
        let all = answers.into_iter().zip(&questions.what);
        Ok(all.map(|(answer, what)| answer.unwrap_or_else(|| missing(what))).collect())
    }

    /// All answers of one dump; begun again when it was changed meanwhile.
    pub fn dump(&self, question: &Requests) -> Result<Vec<Vec<u8>>, Fault> {
        let what = question.what.first().map_or("list rules", |w| w.as_ref());
        for _ in 0..TRIES {
            self.send(question, what)?;
            let mut all = Vec::new();
            let mut fault = None;
            let mut torn = false;
            self.answers(|message| {
                torn |= message.flags & INTERRUPTED != 0;
                match message.kind {
                    ERROR | DONE => {
                        if let Some((errno, words)) =
                            wire::verdict(message).filter(|(e, _)| *e != 0)
                        {
                            fault =
                                Some(Fault { words, ..Fault::new(Errno::from_raw(errno), what) });
                        }
                        false
                    }
                    _ => {
                        all.push(message.payload.to_vec());
                        message.flags & MULTI != 0
                    }
                }
            })?;
            match fault {
                Some(fault) if fault.errno != Errno::EINTR => return Err(fault),
                None if !torn => return Ok(all),
                _ => {}
            }
        }
        Err(Fault::new(Errno::EINTR, what))
    }

    fn netlink(&self) -> Result<&Netlink, Fault> {
        self.netlink.as_ref().ok_or_else(|| Fault::new(Errno::EBADF, "use a closed socket"))
    }

    fn send(&self, requests: &Requests, what: &str) -> Result<(), Fault> {
        let failed =
            |e: std::io::Error| Fault::new(Errno::from_raw(e.raw_os_error().unwrap_or(0)), what);
        let netlink = self.netlink()?;
        // What was said behind the end of an earlier answer would be taken for this one's.
        let rest = || netlink.recv(&mut [0; 0].as_mut_slice(), libc::MSG_DONTWAIT);
        let lost = |e: &std::io::Error| e.raw_os_error() == Some(libc::ENOBUFS);
        while rest().as_ref().map_or_else(lost, |_| true) {}
        make_room(netlink, requests);
        netlink.send_to(&requests.bytes, &SocketAddr::new(0, 0), 0).map(drop).map_err(failed)
    }

    /// Hands each message to `on` until it says that there is no more to come.
    ///
    /// KERNEL: a request is worked on within its sendmsg(2), a dump within recvmsg(2): what is to
    /// be said lies there already, and nothing is waited for.
    fn answers(&self, mut on: impl FnMut(&Message<'_>) -> bool) -> Result<(), Fault> {
        let mut buffer = vec![0u8; ANSWER];
        loop {
            let (got, from) =
                match self.netlink()?.recv_from(&mut buffer.as_mut_slice(), libc::MSG_DONTWAIT) {
                    Ok(got) => got,
                    Err(e) if e.raw_os_error() == Some(libc::EINTR) => continue,
                    Err(e) => {
                        let errno = Errno::from_raw(e.raw_os_error().unwrap_or(0));
                        return Err(Fault::new(errno, "read the kernel's answer"));
                    }
                };
            // Who has the rights in a container can write to a socket there, too.
            if from.port_number() != 0 {
                continue;
            }
            for message in wire::messages(&buffer[..got.min(ANSWER)]) {
                if !on(&message) {
                    return Ok(());
                }
            }
        }
    }
}

/// A container with thousands of ports has a transaction of more bytes, and may get more answers,
/// than a socket holds by itself.
///
/// KERNEL: these are limits of what may lie there, and nothing is set aside for them. Who may
/// change rules may go beyond `net.core.wmem_max`.
fn make_room(netlink: &Netlink, requests: &Requests) {
    const USUAL: usize = 32;
    /// An answer lies in a page or two.
    const EACH: usize = 8 * 1024;
    if requests.what.len() > USUAL {
        let _ = setsockopt(netlink, sockopt::SndBufForce, &(requests.bytes.len() + ANSWER));
        let most = (requests.what.len() * EACH).min(i32::MAX as usize / 2);
        let _ = setsockopt(netlink, sockopt::RcvBufForce, &most);
    }
}

fn open() -> Result<Netlink, Fault> {
    let failed = |e: std::io::Error| {
        Fault::new(Errno::from_raw(e.raw_os_error().unwrap_or(0)), "open a netfilter socket")
    };
    let socket = Netlink::new(NETLINK_NETFILTER).map_err(failed)?;
    // The kernel's words, without the request that they are about.
    socket.set_ext_ack(true).map_err(failed)?;
    socket.set_cap_ack(true).map_err(failed)?;
    Ok(socket)
}
