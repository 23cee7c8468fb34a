//! The one rule that a container's own namespace has: what it asks 127.0.0.11 for names goes to
//! the ports where its monitor listens.
//!
//! The monitor doesn't listen on port 53 itself, for a container may have a name server of its
//! own on all addresses. Answers get their port 53 back by connection tracking.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use super::object::{Hook, Place};
use super::rule::{End, Rule};
use super::socket::Socket;
use super::wire::{Family, Requests};
use crate::error::Result;

/// Where containers ask, as docker's do.
pub const ASKED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const OUTPUT: Hook = Hook { kind: "nat", number: 3, priority: -100 };

/// In the namespace `ns`: 127.0.0.11's port 53 is `udp` and `tcp` of the same address. What an
/// earlier call said is replaced.
pub fn redirect_dns(ns: BorrowedFd<'_>, udp: u16, tcp: u16) -> Result<()> {
    let place = Place { family: Family::Ip, table: "dhow-dns".into() };
    let mut batch = Requests::transaction();
    let mut on = place.on(&mut batch);
    // The rules alone go, of which a new container has none: what was removed is waited for when
    // the socket is closed (socket.rs).
    on.table().chain("output", Some(OUTPUT)).no_rules();
    for (protocol, port) in [(17, udp), (6, tcp)] {
        let asked = Rule::new().address_is(false, End::Destination, &ASKED.octets());
        let asked = asked.carries(protocol).port(53);
        on.rule("output", asked.redirect_to(ASKED.octets(), port));
    }
    Ok(Socket::within(ns)?.commit(batch)?)
}
