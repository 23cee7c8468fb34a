//! One socket of rtnetlink, and batches of requests over it.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::SocketAddr;
use netlink_sys::protocols::NETLINK_ROUTE;

use super::answer::{Ending, Message, messages};
use super::enter::enter;
use super::message::Request;
use super::words;
use crate::error::{Error, Result};

/// The most that one datagram brings: a dump's are at most 32 KiB, a device with many virtual
/// functions can be more.
const LARGEST: usize = 128 * 1024;

/// How often a dump that was disturbed by a change is taken again.
const DISTURBED: usize = 16;

/// A socket; it stays in the network namespace that it was made in.
#[derive(Debug)]
pub struct Socket {
    inner: netlink_sys::Socket,
    sequence: Cell<u32>,
    buffer: RefCell<Vec<u8>>,
}

impl Socket {
    /// One in this thread's network namespace.
    pub fn here() -> Result<Self> {
        let made = || -> std::io::Result<netlink_sys::Socket> {
            let inner = netlink_sys::Socket::new(NETLINK_ROUTE)?;
            // Words of the kernel's own for what it refuses, without our request sent back;
            // dumps narrowed to what was asked.
            inner.set_ext_ack(true)?;
            inner.set_cap_ack(true)?;
            inner.set_netlink_get_strict_chk(true)?;
            Ok(inner)
        };
        let inner = made().map_err(|e| Error::engine(format!("open a netlink socket: {e}")))?;
        Ok(Self { inner, sequence: Cell::new(0), buffer: RefCell::default() })
    }

    /// One in the network namespace that `namespace` is a descriptor of.
    pub fn within(namespace: BorrowedFd<'_>) -> Result<Self> {
        enter(namespace, Self::here)?
    }

    /// Sends all `requests` at once and reads the end of each. What the kernel told of devices is
    /// returned, in order.
    ///
    /// KERNEL: one that fails does not keep the kernel from doing those behind it; requests that
    /// must not happen without those before them go into a batch of their own.
    pub(super) fn batch(&self, requests: &[Request<'_>]) -> Result<Vec<Told>> {
        match self.attempt(requests)? {
            (told, None) => Ok(told),
            (_, Some((at, failure))) => Err(words::of(&requests[at], &failure)),
        }
    }

    /// The same; the first failure is the caller's to judge.
    pub(super) fn attempt(&self, requests: &[Request<'_>]) -> Result<Attempt> {
        if requests.is_empty() {
            return Ok((Vec::new(), None));
        }
        let first = self.sequence.get().wrapping_add(1);
        self.send(requests, NLM_F_ACK)?;
        let mut told = Vec::new();
        let mut failed: Option<(usize, Failure)> = None;
        let mut open = requests.len();
        while open > 0 {
            self.receive(|message| {
                let at = message.sequence.wrapping_sub(first) as usize;
                if at >= requests.len() {
                    return;
                }
                match message.ending {
                    None => {
                        told.push(Told { kind: message.kind, body: message.body.to_vec() });
                    }
                    Some(Ending { errno, text }) => {
                        open -= 1;
                        if errno != 0 && failed.as_ref().is_none_or(|(before, _)| at < *before) {
                            failed = Some((at, Failure { errno, text: text.unwrap_or_default() }));
                        }
                    }
                }
            })?;
        }
        Ok((told, failed))
    }

    /// Asks for a list, and hands over each message of it.
    pub(super) fn dump(&self, request: &Request<'_>, each: impl FnMut(&Told)) -> Result<()> {
        for _ in 0..DISTURBED {
            let sequence = self.sequence.get().wrapping_add(1);
            self.send(std::slice::from_ref(request), NLM_F_DUMP)?;
            let (mut told, mut end, mut disturbed) = (Vec::new(), None, false);
            while end.is_none() {
                self.receive(|message| {
                    if message.sequence != sequence {
                        return;
                    }
                    disturbed |= message.disturbed;
                    match message.ending {
                        None => told.push(Told { kind: message.kind, body: message.body.to_vec() }),
                        Some(Ending { errno, text }) => {
                            end = Some(Failure { errno, text: text.unwrap_or_default() });
                        }
                    }
                })?;
            }
            if let Some(failure) = end.filter(|end| end.errno != 0) {
                return Err(words::of(request, &failure));
            }
            if !disturbed {
                told.iter().for_each(each);
                return Ok(());
            }
        }
        // Something changes all the time here; what is true at the end is anybody's guess.
        Err(Error::engine(format!(
            "{}: the kernel's list changed {DISTURBED} times while it was read; try again",
            request.what
        )))
    }

    fn send(&self, requests: &[Request<'_>], flags: u16) -> Result<()> {
        let mut bytes = Vec::with_capacity(requests.len() * 128);
        for request in requests {
            self.sequence.set(self.sequence.get().wrapping_add(1));
            let mut header = NetlinkHeader::default();
            header.flags = NLM_F_REQUEST | flags | request.flags;
            header.sequence_number = self.sequence.get();
            let payload = NetlinkPayload::<RouteNetlinkMessage>::from(request.message.clone());
            let mut message = NetlinkMessage::new(header, payload);
            message.finalize();
            let start = bytes.len();
            bytes.resize(start + message.buffer_len(), 0);
            message.serialize(&mut bytes[start..]);
            // Attributes are padded, the last one of a message too; so the next one is aligned.
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let kernel = SocketAddr::new(0, 0);
        let sent = self.inner.send_to(&bytes, &kernel, 0);
        sent.map(drop).map_err(|e| Error::engine(format!("send to the kernel's network: {e}")))
    }

    /// Reads one datagram and hands over its messages.
    fn receive(&self, mut each: impl FnMut(Message<'_>)) -> Result<()> {
        let mut buffer = self.buffer.borrow_mut();
        buffer.clear();
        buffer.reserve_exact(LARGEST);
        let failed = |e: &dyn std::fmt::Display| {
            Error::engine(format!("read the kernel's answer about the network: {e}"))
        };
        let (length, from) = loop {
            match self.inner.recv_from(&mut *buffer, libc::MSG_TRUNC) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other.map_err(|e| failed(&e))?,
            }
        };
        // A process with the right rights in a container can write to a socket there; only the
        // kernel is port 0.
        if from.port_number() != 0 {
            return Ok(());
        }
        if length > buffer.len() {
            return Err(failed(&"it is longer than any this program knows"));
        }
        messages(&buffer, &mut each).map_err(|e| failed(&e))
    }
}

/// What the kernel told, and the first request that failed.
pub(super) type Attempt = (Vec<Told>, Option<(usize, Failure)>);

/// A message of the kernel's: its kind and what is behind the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub kind: u16,
    pub body: Vec<u8>,
}

/// Why it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// Positive.
    pub errno: i32,
    /// The kernel's own words; often empty.
    pub text: String,
}

/// Hears of changes of devices.
#[derive(Debug)]
pub(super) struct Listener(netlink_sys::Socket);

/// KERNEL: linux/rtnetlink.h
const RTNLGRP_LINK: u32 = 1;

impl Listener {
    /// In this thread's network namespace.
    pub fn here() -> Result<Self> {
        let made = || -> std::io::Result<netlink_sys::Socket> {
            let mut inner = netlink_sys::Socket::new(NETLINK_ROUTE)?;
            inner.bind(&SocketAddr::new(0, 0))?;
            inner.add_membership(RTNLGRP_LINK)?;
            inner.set_non_blocking(true)?;
            Ok(inner)
        };
        made().map(Self).map_err(|e| Error::engine(format!("open a netlink socket: {e}")))
    }

    /// Forgets what it heard.
    pub fn drain(&self) {
        let mut heard = Vec::with_capacity(LARGEST);
        while self.0.recv(&mut heard, 0).is_ok() {
            heard.clear();
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
