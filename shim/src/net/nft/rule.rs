//! Rules: expressions put together as nft(8) does it, so that `nft list` shows them as they would
//! be typed.

use super::wire::{Attributes, attributes};

/// Registers, four bytes each; what is looked up together lies side by side.
const FIRST: u32 = 8;
/// A device's name fills four of them.
const NAME: u32 = 4;

/// What a packet's rule reads (`NFT_META_*`).
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub enum Meta {
    /// The mark.
    Mark = 3,
    /// The device it came in by.
    Input = 6,
    /// The device it goes out by.
    Output = 7,
    /// IPv4 or IPv6
    Protocol = 15,
    /// What it carries.
    Transport = 16,
    /// The kind of the device it came in by; physical ones have none, and then no rule matches.
    InputKind = 26,
    /// The kind of the device it goes out by.
    OutputKind = 27,
}

/// What connection tracking knows of a packet.
#[derive(Debug, Clone, Copy)]
pub struct Tracked {
    key: u32,
    bits: u32,
}

impl Tracked {
    /// `ct state established,related`
    pub const KNOWN: Self = Self { key: 0, bits: 2 | 4 };
    /// `ct state invalid`
    pub const INVALID: Self = Self { key: 0, bits: 1 };
    /// `ct status dnat`
    pub const REDIRECTED: Self = Self { key: 2, bits: 1 << 5 };
}

/// Which of a packet's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The sender's.
    Source,
    /// The receiver's.
    Destination,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy)]
pub enum Verdict {
    /// It goes away without a word.
    Drop,
    /// This hook's chain is through with it.
    Accept,
    /// Back to the chain that jumped here.
    Return,
    /// To another chain, and back.
    Jump(&'static str),
    /// To another chain for good.
    Goto(&'static str),
}

/// A rule, as it grows from left to right.
#[derive(Debug, Clone, Default)]
pub struct Rule(pub Vec<u8>);

impl Rule {
    /// One that matches all.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that packets of this IP match.
    pub fn ip(six: bool) -> Self {
        Self::new().meta(Meta::Protocol, FIRST).compare(true, &[if six { 10 } else { 2 }])
    }

    /// The device is in `set`.
    pub fn device(self, which: Meta, set: &'static str) -> Self {
        self.meta(which, FIRST).lookup(set, FIRST, None, false)
    }

    /// The device is not in `set`.
    pub fn device_not(self, which: Meta, set: &'static str) -> Self {
        self.meta(which, FIRST).lookup(set, FIRST, None, true)
    }

    /// The device isn't the loopback.
    pub fn afar(self) -> Self {
        self.meta(Meta::Input, FIRST).compare(false, &name("lo"))
    }

    /// The device is of this kind.
    pub fn kind(self, which: Meta, kind: &str) -> Self {
        self.meta(which, FIRST).compare(true, &name(kind))
    }

    /// `iifname . oifname` is in `set`.
    pub fn pair(self, set: &'static str) -> Self {
        self.meta(Meta::Input, FIRST)
            .meta(Meta::Output, FIRST + NAME)
            .lookup(set, FIRST, None, false)
    }

    /// `iifname . iifname` is in `set`, a set of pairs.
    pub fn pair_of_input(self, set: &'static str) -> Self {
        self.meta(Meta::Input, FIRST)
            .meta(Meta::Input, FIRST + NAME)
            .lookup(set, FIRST, None, false)
    }

    /// `iifname . saddr` is in `set`.
    pub fn origin(self, six: bool, set: &'static str) -> Self {
        self.meta(Meta::Input, FIRST)
            .address(six, End::Source, FIRST + NAME)
            .lookup(set, FIRST, None, false)
    }

    /// `oifname . saddr` is in `set`.
    pub fn at_home(self, six: bool, set: &'static str) -> Self {
        self.meta(Meta::Output, FIRST)
            .address(six, End::Source, FIRST + NAME)
            .lookup(set, FIRST, None, false)
    }

    /// Device and IP are in `set`.
    pub fn device_and_ip(self, which: Meta, set: &'static str) -> Self {
        self.meta(which, FIRST).meta(Meta::Protocol, FIRST + NAME).lookup(set, FIRST, None, false)
    }

    /// The packet's IP is in `set`.
    pub fn ip_in(self, set: &'static str) -> Self {
        self.meta(Meta::Protocol, FIRST).lookup(set, FIRST, None, false)
    }

    /// `daddr . protocol . port` is in `set`.
    pub fn destination(self, six: bool, set: &'static str) -> Self {
        self.service(Some(six)).lookup(set, FIRST, None, false)
    }

    /// The address begins with `prefix`.
    pub fn address_is(self, six: bool, end: End, prefix: &[u8]) -> Self {
        let length = prefix.len() as u32;
        self.payload(1, at_of(six, end), length, FIRST).compare(true, prefix)
    }

    /// The address is of `fe80::/10`.
    pub fn link_local_source(self) -> Self {
        let [mut mask, mut prefix] = [[0; 16]; 2];
        mask[..2].copy_from_slice(&[0xff, 0xc0]);
        prefix[..2].copy_from_slice(&[0xfe, 0x80]);
        self.address(true, End::Source, FIRST)
            .bitwise(FIRST, &mask, &[0; 16])
            .compare(true, &prefix)
    }

    /// It carries this protocol.
    pub fn carries(self, protocol: u8) -> Self {
        self.meta(Meta::Transport, FIRST).compare(true, &[protocol])
    }

    /// The port at the receiver.
    pub fn port(self, port: u16) -> Self {
        self.payload(2, 2, 2, FIRST).compare(true, &port.to_be_bytes())
    }

    /// The connection is so.
    pub fn tracked(self, what: Tracked) -> Self {
        self.tracked_bits(what).compare(false, &[0; 4])
    }

    /// `fib daddr type local`: the receiver is this machine.
    pub fn local(self) -> Self {
        self.with("fib", |a| {
            a.number(1, FIRST);
            a.number(2, 3);
            a.number(3, 2);
        })
        .compare(true, &2u32.to_ne_bytes())
    }

    /// The mark's `bit` is set.
    pub fn marked(self, bit: u32) -> Self {
        self.meta(Meta::Mark, FIRST)
            .bitwise(FIRST, &bit.to_ne_bytes(), &[0; 4])
            .compare(true, &bit.to_ne_bytes())
    }

    /// Sets that bit of the mark.
    pub fn mark(self, bit: u32) -> Self {
        self.meta(Meta::Mark, FIRST).bitwise(FIRST, &(!bit).to_ne_bytes(), &bit.to_ne_bytes()).with(
            "meta",
            |a| {
                a.number(2, Meta::Mark as u32);
                a.number(3, FIRST);
            },
        )
    }

    /// Counts, as iptables always does.
    pub fn counted(self) -> Self {
        self.with("counter", |a| {
            a.long(1, 0);
            a.long(2, 0);
        })
    }

    /// Another receiver: where `map` leads from `protocol . port`, or from `daddr . protocol . port`.
    pub fn redirect(self, six: bool, addressed: bool, map: &'static str) -> Self {
        let width = if six { 4 } else { 1 };
        self.service(addressed.then_some(six)).lookup(map, FIRST, Some(FIRST), false).nat(
            true,
            six,
            FIRST,
            Some(FIRST + width),
        )
    }

    /// Another receiver: this one.
    pub fn redirect_to(self, address: [u8; 4], port: u16) -> Self {
        self.value(FIRST, &address).value(FIRST + 1, &port.to_be_bytes()).nat(
            true,
            false,
            FIRST,
            Some(FIRST + 1),
        )
    }

    /// Another sender: what `map` says for the device it came by.
    pub fn sender(self, six: bool, map: &'static str) -> Self {
        self.meta(Meta::Input, FIRST)
            .lookup(map, FIRST, Some(FIRST), false)
            .nat(false, six, FIRST, None)
    }

    /// Another sender: the address of the device it leaves by.
    pub fn masquerade(self) -> Self {
        self.with("masq", |_| {})
    }

    /// What becomes of it.
    pub fn then(self, verdict: Verdict) -> Self {
        self.with("immediate", |a| {
            a.number(1, 0);
            a.nested(2, |a| decide(a, verdict));
        })
    }

    /// One of iptables's own matches, in its own form.
    pub fn foreign_match(self, called: &str, revision: u32, info: &[u8]) -> Self {
        self.with("match", |a| {
            a.text(1, called);
            a.number(2, revision);
            a.bytes(3, info);
        })
    }

    fn tracked_bits(self, what: Tracked) -> Self {
        self.with("ct", |a| {
            a.number(1, FIRST);
            a.number(2, what.key);
        })
        .bitwise(FIRST, &what.bits.to_ne_bytes(), &[0; 4])
    }

    /// `protocol . port`, behind the receiver's address if that is of interest too.
    fn service(self, addressed: Option<bool>) -> Self {
        let (rule, next) = match addressed {
            Some(six) => {
                (self.address(six, End::Destination, FIRST), FIRST + if six { 4 } else { 1 })
            }
            None => (self, FIRST),
        };
        rule.meta(Meta::Transport, next).payload(2, 2, 2, next + 1)
    }

    fn address(self, six: bool, end: End, register: u32) -> Self {
        self.payload(1, at_of(six, end), if six { 16 } else { 4 }, register)
    }

    fn meta(self, key: Meta, register: u32) -> Self {
        self.with("meta", |a| {
            a.number(2, key as u32);
            a.number(1, register);
        })
    }

    fn payload(self, base: u32, offset: u32, length: u32, register: u32) -> Self {
        self.with("payload", |a| {
            a.number(1, register);
            a.number(2, base);
            a.number(3, offset);
            a.number(4, length);
        })
    }

    fn compare(self, equal: bool, value: &[u8]) -> Self {
        self.with("cmp", |a| {
            a.number(1, FIRST);
            a.number(2, u32::from(!equal));
            a.nested(3, |a| a.bytes(1, value));
        })
    }

    fn bitwise(self, register: u32, mask: &[u8], xor: &[u8]) -> Self {
        self.with("bitwise", |a| {
            a.number(1, register);
            a.number(2, register);
            a.number(3, mask.len() as u32);
            a.nested(4, |a| a.bytes(1, mask));
            a.nested(5, |a| a.bytes(1, xor));
        })
    }

    fn lookup(self, set: &'static str, from: u32, into: Option<u32>, inverted: bool) -> Self {
        self.with("lookup", |a| {
            a.text(1, set);
            a.number(2, from);
            if let Some(into) = into {
                a.number(3, into);
            }
            if inverted {
                a.number(5, 1);
            }
        })
    }

    fn value(self, register: u32, value: &[u8]) -> Self {
        self.with("immediate", |a| {
            a.number(1, register);
            a.nested(2, |a| a.bytes(1, value));
        })
    }

    fn nat(self, destination: bool, six: bool, address: u32, port: Option<u32>) -> Self {
        self.with("nat", |a| {
            a.number(1, u32::from(destination));
            a.number(2, if six { 10 } else { 2 });
            a.number(3, address);
            if let Some(port) = port {
                a.number(5, port);
            }
        })
    }

    fn with(mut self, called: &str, fill: impl FnOnce(&mut Attributes<'_>)) -> Self {
        self.0.extend(attributes(|a| {
            a.nested(1, |a| {
                a.text(1, called);
                a.nested(2, fill);
            });
        }));
        self
    }
}

fn at_of(six: bool, end: End) -> u32 {
    match (six, end) {
        (false, End::Source) => 12,
        (false, End::Destination) => 16,
        (true, End::Source) => 8,
        (true, End::Destination) => 24,
    }
}

fn decide(a: &mut Attributes<'_>, verdict: Verdict) {
    let (code, chain): (i32, _) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Return => (-5, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
    };
    a.nested(2, |a| {
        a.number(1, code as u32);
        if let Some(chain) = chain {
            a.text(2, chain);
        }
    });
}

/// A device's name as the kernel compares it.
pub fn name(text: &str) -> [u8; 16] {
    let mut name = [0; 16];
    let length = text.len().min(15);
    name[..length].copy_from_slice(&text.as_bytes()[..length]);
    name
}
