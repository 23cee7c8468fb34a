//! Tables, chains, sets, rules and elements as requests.

use super::rule::Rule;
use super::wire::{APPEND, CREATE, DUMP, EXCLUSIVE, Family, Requests, TABLES, Values};

const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const GET_CHAIN: u16 = 4;
const NEW_RULE: u16 = 6;
const GET_RULE: u16 = 7;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const NEW_ELEMENT: u16 = 12;
const GET_ELEMENT: u16 = 13;
const DELETE_ELEMENT: u16 = 14;

/// A comment has at most 255 bytes and a zero (`NFT_USERDATA_MAXLEN` less its own head).
const COMMENT: usize = 250;

/// A table, by family and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its family.
    pub family: Family,
    /// Its name.
    pub table: String,
}

/// Where the kernel calls a base chain.
#[derive(Debug, Clone, Copy)]
pub struct Hook {
    /// `filter` or `nat`
    pub kind: &'static str,
    /// `NF_INET_*`: 0 prerouting, 2 forward, 3 output, 4 postrouting.
    pub number: u32,
    /// Lower ones come first.
    pub priority: i32,
}

/// A part of a set's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// A device's name.
    Device,
    /// IPv4 or IPv6
    Ip,
    /// An IPv4 address.
    V4,
    /// An IPv6 address.
    V6,
    /// TCP, UDP, …
    Protocol,
    /// A port.
    Port,
}

impl Field {
    /// nft's number of the type, for its lists.
    const fn kind(self) -> u32 {
        match self {
            Self::Ip => 2,
            Self::V4 => 7,
            Self::V6 => 8,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Device => 41,
        }
    }

    const fn length(self) -> usize {
        match self {
            Self::Ip | Self::Protocol => 1,
            Self::Port => 2,
            Self::V4 => 4,
            Self::V6 | Self::Device => 16,
        }
    }
}

/// A set, or a map when it has data.
#[derive(Debug, Clone, Copy)]
pub struct Set {
    /// Its name.
    pub name: &'static str,
    /// Its key.
    pub key: &'static [Field],
    /// What it leads to; nothing for a set.
    pub data: &'static [Field],
    /// Its keys are ranges.
    pub ranges: bool,
}

/// An element of a set or a map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    /// The set's name.
    pub set: &'static str,
    /// Parts one behind the other, each padded to four bytes.
    pub key: Vec<u8>,
    /// The last of the range, in sets of ranges.
    pub last: Option<Vec<u8>>,
    /// What a map leads to.
    pub data: Option<Vec<u8>>,
    /// Whose it is.
    pub comment: Option<String>,
}

impl Element {
    /// Of these parts.
    pub fn new(set: &'static str, parts: &[&[u8]]) -> Self {
        Self { set, key: joined(parts), last: None, data: None, comment: None }
    }

    /// With what it leads to.
    pub fn leading_to(self, parts: &[&[u8]]) -> Self {
        Self { data: Some(joined(parts)), ..self }
    }

    /// With a comment.
    pub fn of(self, comment: &str) -> Self {
        let end = (0..=COMMENT.min(comment.len())).rev().find(|e| comment.is_char_boundary(*e));
        Self { comment: Some(comment[..end.unwrap_or(0)].to_owned()), ..self }
    }

    /// An element that the kernel tells of, in `set`.
    pub fn read(set: &'static str, list: Values<'_>) -> Vec<Self> {
        let elements = list.within(3);
        elements
            .filter_map(|(_, bytes)| {
                let element = Values::of(bytes);
                Some(Self {
                    set,
                    key: element.within(1).first(1)?.to_vec(),
                    last: element.within(10).first(1).map(<[u8]>::to_vec),
                    data: element.within(2).first(1).map(<[u8]>::to_vec),
                    comment: comment_of(element.first(6)),
                })
            })
            .collect()
    }
}

/// The comment in a rule's or an element's data of its maker.
pub fn comment_of(userdata: Option<&[u8]>) -> Option<String> {
    let mut rest = userdata?;
    while let [kind, length, behind @ ..] = rest {
        let value = behind.get(..usize::from(*length))?;
        if *kind == 0 {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return String::from_utf8(text.to_vec()).ok();
        }
        rest = behind.get(usize::from(*length)..)?;
    }
    None
}

fn userdata(comment: &str) -> Vec<u8> {
    let mut bytes = vec![0, comment.len() as u8 + 1];
    bytes.extend(comment.as_bytes());
    bytes.push(0);
    bytes
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::new();
    for part in parts {
        key.extend(*part);
        if parts.len() > 1 {
            key.resize(key.len().next_multiple_of(4), 0);
        }
    }
    key
}

fn width(fields: &[Field]) -> u32 {
    let padded = |f: &Field| f.length().next_multiple_of(4) as u32;
    if let [one] = fields { one.length() as u32 } else { fields.iter().map(padded).sum() }
}

fn kind(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |all, field| all << 6 | field.kind())
}

/// Requests about one table.
pub struct On<'a> {
    place: &'a Place,
    requests: &'a mut Requests,
}

impl Place {
    /// More of `requests`, about this table.
    pub fn on<'a>(&'a self, requests: &'a mut Requests) -> On<'a> {
        On { place: self, requests }
    }

    /// A dump of what `kind` asks for.
    fn listing(&self, kind: u16, what: String, names: &[(u16, &str)]) -> Requests {
        let mut ask = Requests::questions();
        ask.message((TABLES, kind), DUMP, self.family, what, |a| {
            for (kind, name) in names {
                a.text(*kind, name);
            }
        });
        ask
    }

    /// The question for all elements of `set`.
    pub fn elements(&self, set: &str) -> Requests {
        let what = format!("list set {} of table {}", set, self.table);
        self.listing(GET_ELEMENT, what, &[(1, &self.table), (2, set)])
    }

    /// The question for all rules of `chain`.
    pub fn rules(&self, chain: &str) -> Requests {
        let what = format!("list chain {} of table {}", chain, self.table);
        self.listing(GET_RULE, what, &[(1, &self.table), (2, chain)])
    }

    /// The question for all chains of a family.
    pub fn chains(family: Family) -> Requests {
        let place = Self { family, table: String::new() };
        place.listing(GET_CHAIN, "list the chains of all firewalls".into(), &[])
    }
}

impl On<'_> {
    fn message(
        &mut self,
        kind: u16,
        flags: u16,
        what: String,
        fill: impl FnOnce(&mut super::wire::Attributes<'_>),
    ) -> &mut Self {
        let table = &self.place.table;
        let what = format!("{what} of table {} {table}", self.place.family.as_str());
        self.requests.message((TABLES, kind), flags, self.place.family, what, |a| {
            a.text(1, table);
            fill(a);
        });
        self
    }

    /// Makes the table, if it isn't there.
    pub fn table(&mut self) -> &mut Self {
        self.message(NEW_TABLE, CREATE, "make all".into(), |a| a.number(2, 0))
    }

    /// Whether the table is there.
    pub fn ask_table(&mut self) -> &mut Self {
        self.message(GET_TABLE, 0, "look for all".into(), |_| {})
    }

    /// Removes the table with all in it.
    pub fn remove_table(&mut self) -> &mut Self {
        self.message(DELETE_TABLE, 0, "remove all".into(), |_| {})
    }

    /// Makes a chain, if it isn't there.
    pub fn chain(&mut self, name: &str, hook: Option<Hook>) -> &mut Self {
        self.message(NEW_CHAIN, CREATE, format!("make chain {name}"), |a| {
            a.text(3, name);
            if let Some(hook) = hook {
                a.nested(4, |a| {
                    a.number(1, hook.number);
                    a.number(2, hook.priority as u32);
                });
                a.number(5, 1);
                a.text(7, hook.kind);
            }
        })
    }

    /// Makes a set, if it isn't there.
    pub fn set(&mut self, set: &Set, number: u32) -> &mut Self {
        const RANGES: u32 = 4;
        const MAP: u32 = 8;
        const JOINED: u32 = 0x80;
        self.message(NEW_SET, CREATE, format!("make set {}", set.name), |a| {
            let joined = set.ranges && set.key.len() > 1;
            let flags = [(set.ranges, RANGES), (!set.data.is_empty(), MAP), (joined, JOINED)];
            a.text(2, set.name);
            a.number(3, flags.iter().filter(|f| f.0).map(|f| f.1).sum());
            a.number(4, kind(set.key));
            a.number(5, width(set.key));
            if !set.data.is_empty() {
                a.number(6, kind(set.data));
                a.number(7, width(set.data));
            }
            a.number(10, number);
            // nft's own note: this key is text, not a big number.
            if set.key == [Field::Device] {
                a.bytes(13, &[0, 4, 1, 0, 0, 0]);
            }
            if joined {
                a.nested(9, |a| {
                    a.nested(2, |a| {
                        for field in set.key {
                            a.nested(1, |a| a.number(1, field.length() as u32));
                        }
                    });
                });
            }
        })
    }

    /// Removes all rules of all chains.
    pub fn no_rules(&mut self) -> &mut Self {
        self.message(DELETE_RULE, 0, "remove the rules".into(), |_| {})
    }

    /// A rule at the end of a chain.
    pub fn rule(&mut self, chain: &str, rule: Rule) -> &mut Self {
        self.message(NEW_RULE, CREATE | APPEND, format!("add a rule to chain {chain}"), |a| {
            a.text(2, chain);
            a.nested(4, |a| a.written(&rule.0));
        })
    }

    /// A rule, maybe with a comment, before the one with handle `before` or at the end.
    pub fn tagged(
        &mut self,
        chain: &str,
        rule: Rule,
        comment: Option<&str>,
        before: Option<u64>,
    ) -> &mut Self {
        let flags = CREATE | if before.is_some() { 0 } else { APPEND };
        self.message(NEW_RULE, flags, format!("add a rule to chain {chain}"), |a| {
            a.text(2, chain);
            a.nested(4, |a| a.written(&rule.0));
            if let Some(handle) = before {
                a.long(6, handle);
            }
            if let Some(comment) = comment {
                a.bytes(7, &userdata(comment));
            }
        })
    }

    /// Removes one rule by its handle.
    pub fn remove_rule(&mut self, chain: &str, handle: u64) -> &mut Self {
        self.message(DELETE_RULE, 0, format!("remove a rule from chain {chain}"), |a| {
            a.text(2, chain);
            a.long(3, handle);
        })
    }

    /// An element that isn't there; another by the same key is an error if it is `new`.
    pub fn element(&mut self, element: &Element, new: bool) -> &mut Self {
        let flags = CREATE | if new { EXCLUSIVE } else { 0 };
        self.elements(NEW_ELEMENT, flags, "add to", element, true)
    }

    /// Whether an element is there, and what it says.
    pub fn ask_element(&mut self, element: &Element) -> &mut Self {
        self.elements(GET_ELEMENT, 0, "look into", element, false)
    }

    /// Removes an element.
    pub fn remove_element(&mut self, element: &Element) -> &mut Self {
        self.elements(DELETE_ELEMENT, 0, "remove from", element, false)
    }

    fn elements(
        &mut self,
        kind: u16,
        flags: u16,
        verb: &str,
        element: &Element,
        whole: bool,
    ) -> &mut Self {
        self.message(kind, flags, format!("{verb} set {}", element.set), |a| {
            a.text(2, element.set);
            a.nested(3, |a| {
                a.nested(1, |a| {
                    a.nested(1, |a| a.bytes(1, &element.key));
                    if let Some(last) = &element.last {
                        a.nested(10, |a| a.bytes(1, last));
                    }
                    if let Some(data) = element.data.as_ref().filter(|_| whole) {
                        a.nested(2, |a| a.bytes(1, data));
                    }
                    if let Some(comment) = element.comment.as_ref().filter(|_| whole) {
                        a.bytes(6, &userdata(comment));
                    }
                });
            });
        })
    }
}
