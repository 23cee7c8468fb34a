//! Netlink messages for nf_tables and ctnetlink, written and read: headers, attributes, batches.
//!
//! Numbers of attributes are the kernel's (`linux/netlink.h`, `linux/netfilter/*.h`). All of a
//! value is in network byte order, all of a header in the machine's.

use std::borrow::Cow;

/// `NLM_F_*`
pub const REQUEST: u16 = 1;
pub const ACK: u16 = 4;
pub const DUMP: u16 = 0x300;
pub const EXCLUSIVE: u16 = 0x200;
pub const CREATE: u16 = 0x400;
pub const APPEND: u16 = 0x800;

/// `NLMSG_*`
pub const ERROR: u16 = 2;
pub const DONE: u16 = 3;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NESTED: u16 = 0x8000;
const KIND: u16 = 0x3fff;
const HEADER: usize = 16;
/// `nfgenmsg`: family, version, resource.
const GENERIC: usize = 4;
/// The subsystem of nf_tables.
pub const TABLES: u16 = 10;
/// The subsystem of connection tracking.
pub const TRACKING: u16 = 1;

/// `NFPROTO_*`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// All of them; for dumps.
    Any = 0,
    /// Both IPs in one table.
    Inet = 1,
    /// IPv4
    Ip = 2,
    /// IPv6
    Ip6 = 10,
}

impl Family {
    /// That of a message from the kernel, if it is one of those known here.
    pub fn of(number: u8) -> Option<Self> {
        [Self::Any, Self::Inet, Self::Ip, Self::Ip6].into_iter().find(|f| *f as u8 == number)
    }

    /// nft's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        }
    }
}

/// Attributes on their way into a message.
pub struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    /// One attribute of plain bytes.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.0.extend(((value.len() + 4) as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        pad(self.0);
    }

    /// A name, with its zero.
    pub fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    /// A number.
    pub fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A long number.
    pub fn long(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Attributes in an attribute.
    pub fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.0.len();
        self.bytes(kind | NESTED, &[]);
        fill(&mut Attributes(self.0));
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    /// Attributes written before by [`attributes`].
    pub fn written(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }
}

/// Attributes alone, for [`Attributes::written`].
pub fn attributes(fill: impl FnOnce(&mut Attributes<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    fill(&mut Attributes(&mut bytes));
    bytes
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Requests that go to the kernel in one call; message number n (from 1) has `what[n - 1]`.
#[derive(Debug, Default)]
pub struct Requests {
    /// The messages.
    pub bytes: Vec<u8>,
    /// What each is about, for errors.
    pub what: Vec<Cow<'static, str>>,
    last: usize,
    transaction: bool,
}

impl Requests {
    /// Of independent questions.
    pub fn questions() -> Self {
        Self::default()
    }

    /// Of nf_tables changes that are all done or none.
    pub fn transaction() -> Self {
        let mut batch = Self { transaction: true, ..Self::default() };
        batch.header(BATCH_BEGIN, REQUEST, 0, 0, TABLES);
        batch
    }

    /// Whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        self.what.is_empty()
    }

    /// One more message: `subsystem`'s number `kind`.
    pub fn message(
        &mut self,
        (subsystem, kind): (u16, u16),
        flags: u16,
        family: Family,
        what: impl Into<Cow<'static, str>>,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.what.push(what.into());
        let number = self.what.len() as u32;
        self.last = self.bytes.len();
        self.header(subsystem << 8 | kind, flags | REQUEST, number, family as u8, 0);
        fill(&mut Attributes(&mut self.bytes));
        let length = (self.bytes.len() - self.last) as u32;
        self.bytes[self.last..self.last + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Ready to be sent: the last is acknowledged, a transaction ends.
    pub fn finish(&mut self) {
        let at = self.last + 6..self.last + 8;
        if let Some(flags) = self.bytes.get_mut(at) {
            let acknowledged = u16::from_ne_bytes([flags[0], flags[1]]) | ACK;
            flags.copy_from_slice(&acknowledged.to_ne_bytes());
        }
        if self.transaction {
            let number = self.what.len() as u32 + 1;
            self.header(BATCH_END, REQUEST, number, 0, TABLES);
        }
    }

    fn header(&mut self, kind: u16, flags: u16, number: u32, family: u8, resource: u16) {
        self.bytes.extend(((HEADER + GENERIC) as u32).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(number.to_ne_bytes());
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
    }
}

/// A message from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Subsystem and kind, or `ERROR` or `DONE`.
    pub kind: u16,
    /// `NLM_F_*`
    pub flags: u16,
    /// Of the request that it answers.
    pub number: u32,
    /// All behind the header.
    pub payload: &'a [u8],
}

/// The messages of a datagram; stops at what is cut off.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let head: &[u8; HEADER] = bytes.first_chunk()?;
        let short = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]);
        let long =
            |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = long(0) as usize;
        let payload = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind: short(4), flags: short(6), number: long(8), payload })
    })
}

/// Attributes read: (kind, value), in order; stops at what is cut off.
#[derive(Debug, Clone)]
pub struct Values<'a>(&'a [u8]);

impl<'a> Values<'a> {
    /// Of these bytes.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The first of this kind.
    pub fn first(&self, kind: u16) -> Option<&'a [u8]> {
        self.clone().find(|(k, _)| *k == kind).map(|(_, value)| value)
    }

    /// The attributes in the first of this kind; none if there is none.
    pub fn within(&self, kind: u16) -> Values<'a> {
        Values(self.first(kind).unwrap_or_default())
    }

    /// A name, up to its zero.
    pub fn text(&self, kind: u16) -> Option<&'a str> {
        let value = self.first(kind)?;
        let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
        std::str::from_utf8(&value[..end]).ok()
    }

    /// A number.
    pub fn number(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.first(kind)?.try_into().ok()?))
    }

    /// A long number.
    pub fn long(&self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.first(kind)?.try_into().ok()?))
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let head: &[u8; 4] = self.0.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & KIND;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// What the kernel says of a request: 0, or the number of an error, with its own words for it.
pub fn verdict(message: &Message<'_>) -> Option<(i32, Option<String>)> {
    const CAPPED: u16 = 0x100;
    const WORDS: u16 = 0x200;
    let code: &[u8; 4] = message.payload.first_chunk()?;
    let errno = -i32::from_ne_bytes(*code);
    let words = (message.flags & WORDS != 0).then(|| {
        let request: &[u8; 4] = message.payload.get(4..)?.first_chunk()?;
        let length = u32::from_ne_bytes(*request) as usize;
        let skip = if message.flags & CAPPED != 0 { HEADER } else { length.next_multiple_of(4) };
        Values(message.payload.get(4..)?.get(skip..)?).text(1).map(str::to_owned)
    });
    Some((errno, words.flatten()))
}
