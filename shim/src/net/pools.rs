//! Where a network without `--subnet` gets its addresses: docker's pools, cut into subnets, but for
//! what this machine uses already.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dhow_image::digest::Digest;

use crate::error::{Error, Result};
use crate::model::Subnet;
use crate::model::network::{address_of, number_of};
use crate::settings::AddressPool;

/// A range of addresses, and the length of the subnets it is cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// All of it.
    pub base: Subnet,
    /// How long each subnet's prefix is.
    pub size: u8,
}

/// docker's own ranges for networks of one machine.
const USUAL: [(&str, u8); 7] = [
    ("172.17.0.0/16", 16),
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
];

/// daemon.json's ranges, else docker's. Without one of IPv6, there is one of unique local addresses
/// (RFC 4193) that `machine` alone decides.
pub fn ranges(settled: &[AddressPool], machine: &str) -> Result<Vec<Range>> {
    let mut all = Vec::new();
    for pool in settled {
        let wrong = |why: &str| {
            Error::usage(format!(
                "daemon.json, default-address-pools: base {:?}, size {}: {why}; mend the file",
                pool.base, pool.size
            ))
        };
        let base: Subnet = pool.base.parse().map_err(|e: String| wrong(&e))?;
        let width = if base.address.is_ipv4() { 32 } else { 128 };
        if pool.size < base.bits || pool.size > width || pool.size == 0 {
            return Err(wrong("subnets of that size don't fit into it"));
        }
        all.push(Range { base: base.network(), size: pool.size });
    }
    if all.is_empty() {
        let usual = USUAL.iter().filter_map(|(base, size)| Some((base.parse().ok()?, *size)));
        all.extend(usual.map(|(base, size)| Range { base, size }));
    }
    if !all.iter().any(|range| range.base.address.is_ipv6()) {
        all.push(Range { base: unique_local(machine), size: 64 });
    }
    all.sort();
    Ok(all)
}

fn unique_local(machine: &str) -> Subnet {
    let digest = Digest::of(machine.as_bytes());
    let global = u64::from_str_radix(&digest.hex()[..10], 16).unwrap_or_default();
    let number = (0xfd00_u128 << 112) | (u128::from(global) << 80);
    Subnet { address: Ipv6Addr::from(number).into(), bits: 48 }
}

/// The first subnet of `ranges`, of the family, that has no address in common with any of `taken`.
pub fn choose(ranges: &[Range], ipv6: bool, taken: &[Subnet]) -> Option<Subnet> {
    let of_family = ranges.iter().filter(|range| range.base.address.is_ipv6() == ipv6);
    of_family.into_iter().find_map(|range| {
        let mut next = Subnet { bits: range.size, ..range.base };
        while range.base.contains(next.address) {
            let Some(in_the_way) = taken.iter().find(|t| t.overlaps(next)) else {
                return Some(next);
            };
            // Past whichever of the two reaches further.
            let past = number_of(next.last()).max(number_of(in_the_way.last())).checked_add(1)?;
            if next.address.is_ipv4() && past > u128::from(u32::MAX) {
                return None;
            }
            next.address = address_of(past, next.address);
            let floor = next.network();
            next = if floor == next { next } else { after(floor)? };
        }
        None
    })
}

fn after(subnet: Subnet) -> Option<Subnet> {
    let number = number_of(subnet.last()).checked_add(1)?;
    let fits = subnet.address.is_ipv6() || number <= u128::from(u32::MAX);
    fits.then(|| Subnet { address: address_of(number, subnet.address), ..subnet })
}

/// The addresses of one of this machine's interfaces.
pub fn addresses_of(device: &str) -> Vec<Subnet> {
    let Ok(all) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let of_device = all.filter(|found| found.interface_name == device);
    let subnet = |found: nix::ifaddrs::InterfaceAddress| {
        let (address, mask) = (found.address?, found.netmask?);
        if let (Some(address), Some(mask)) = (address.as_sockaddr_in(), mask.as_sockaddr_in()) {
            let bits = u32::from(mask.ip()).leading_ones() as u8;
            return Some(Subnet { address: address.ip().into(), bits });
        }
        let (address, mask) = (address.as_sockaddr_in6()?, mask.as_sockaddr_in6()?);
        let bits = u128::from(mask.ip()).leading_ones() as u8;
        let global = !address.ip().is_unicast_link_local();
        global.then(|| Subnet { address: address.ip().into(), bits })
    };
    of_device.filter_map(subnet).collect()
}

/// What this machine's routes, interfaces and name servers use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Used {
    /// Nothing else may be here: networks that the machine stands in, and its name servers.
    pub near: Vec<Subnet>,
    /// Reached through others; better left alone.
    pub far: Vec<Subnet>,
}

impl Used {
    /// As it is in the caller's network namespace now. What can't be read uses nothing.
    pub fn now() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let mut used = Self::default();
        used.add_routes(&text("/proc/net/route"));
        used.add_routes_of_ipv6(&text("/proc/net/ipv6_route"));
        used.add_servers(&text("/etc/resolv.conf"));
        used.add_servers(&text("/run/systemd/resolve/resolv.conf"));
        used
    }

    /// /proc/net/route: interface, destination, gateway, flags, …, mask; numbers in the machine's
    /// byte order.
    fn add_routes(&mut self, text: &str) {
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let number = |n: usize| u32::from_str_radix(fields.get(n)?, 16).ok();
            let (Some(to), Some(gateway), Some(mask)) = (number(1), number(2), number(7)) else {
                continue;
            };
            let bits = u32::from_be(mask).leading_ones() as u8;
            let address = IpAddr::V4(Ipv4Addr::from(u32::from_be(to)));
            self.add(Subnet { address, bits }, gateway == 0);
        }
    }

    /// /proc/net/ipv6_route: destination, its length, source, its length, next hop, …, interface.
    fn add_routes_of_ipv6(&mut self, text: &str) {
        for line in text.lines() {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let number = |n: usize| u128::from_str_radix(fields.get(n)?, 16).ok();
            let (Some(to), Some(bits), Some(hop)) = (number(0), number(1), number(4)) else {
                continue;
            };
            let local = fields.get(9).is_some_and(|device| *device == "lo");
            let subnet = Subnet { address: Ipv6Addr::from(to).into(), bits: bits.min(128) as u8 };
            self.add(subnet, hop == 0 && (!local || bits == 128));
        }
    }

    fn add(&mut self, to: Subnet, near: bool) {
        // A default route in two halves is one still (OpenVPN's).
        let is_default = to.bits <= 1;
        let elsewhere = to.address.is_multicast() || to.address.is_loopback();
        if !is_default && !elsewhere {
            if near { &mut self.near } else { &mut self.far }.push(to);
        }
    }

    /// resolv.conf's name servers.
    fn add_servers(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            if words.next() != Some("nameserver") {
                continue;
            }
            let address = words.next().unwrap_or_default();
            let address = address.split('%').next().unwrap_or_default();
            if let Ok(address) = address.parse::<IpAddr>() {
                let bits = if address.is_ipv4() { 32 } else { 128 };
                self.add(Subnet { address, bits }, true);
            }
        }
    }

    /// A free subnet: away from everything if there is one, else from what is near.
    pub fn choose(&self, ranges: &[Range], ipv6: bool, networks: &[Subnet]) -> Result<Subnet> {
        let near: Vec<Subnet> = networks.iter().chain(&self.near).copied().collect();
        let all: Vec<Subnet> = near.iter().chain(&self.far).copied().collect();
        choose(ranges, ipv6, &all).or_else(|| choose(ranges, ipv6, &near)).ok_or_else(|| {
            let bases: BTreeSet<String> = ranges
                .iter()
                .filter(|range| range.base.address.is_ipv6() == ipv6)
                .map(|range| range.base.to_string())
                .collect();
            let bases = bases.into_iter().collect::<Vec<_>>().join(", ");
            Error::engine(format!(
                "all predefined address pools have been fully subnetted: no subnet of {bases} is free of \
                 this machine's routes and other networks; name one with --subnet, remove networks, or give \
                 daemon.json more default-address-pools"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subnets(texts: &[&str]) -> Vec<Subnet> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    #[test]
    fn the_first_free_subnet_is_taken() {
        let usual = ranges(&[], "m").unwrap();
        let first = |taken: &[&str]| choose(&usual, false, &subnets(taken)).unwrap().to_string();
        assert_eq!(first(&[]), "172.17.0.0/16");
        assert_eq!(first(&["172.17.5.0/24"]), "172.18.0.0/16");
        assert_eq!(first(&["172.16.0.0/12"]), "192.168.0.0/20");
        assert_eq!(first(&["172.16.0.0/12", "192.168.1.1/32"]), "192.168.16.0/20");
        assert_eq!(first(&["172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16"]), "172.20.0.0/16");
        assert_eq!(choose(&usual, false, &subnets(&["0.0.0.0/0"])), None);
        let six = choose(&usual, true, &[]).unwrap();
        assert!(six.to_string().starts_with("fd") && six.bits == 64, "{six}");
        let next = choose(&usual, true, &[six]).unwrap();
        assert_eq!(number_of(next.address) - number_of(six.address), 1 << 64);
    }

    #[test]
    fn what_daemon_json_says_is_checked() {
        let of = |base: &str, size| ranges(&[AddressPool { base: base.into(), size }], "m");
        assert_eq!(of("10.0.0.0/8", 24).unwrap()[0].size, 24);
        for (base, size) in [("10.0.0.0/8", 7), ("10.0.0.0", 24), ("10.0.0.0/8", 33), ("x/8", 9)] {
            assert!(of(base, size).unwrap_err().message.contains("default-address-pools"));
        }
        assert_ne!(unique_local("a"), unique_local("b"));
    }

    #[test]
    fn routes_and_servers_are_left_alone() {
        let mut used = Used::default();
        used.add_routes(
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
             eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
             eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
             tun0\t000012AC\t010011AC\t0003\t0\t0\t0\t0000FFFF\t0\t0\t0\n",
        );
        used.add_servers(
            "# x\nnameserver 172.19.0.53\nnameserver 127.0.0.53\nsearch x\nnameserver fe80::1%eth0",
        );
        used.add_routes_of_ipv6(
            "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 \
             00000000000000000000000000000000 00000100 00000002 00000000 00000001 eth0\n\
             00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
             00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo\n",
        );
        if cfg!(target_endian = "little") {
            assert_eq!(used.near[..2], subnets(&["172.17.0.0/16", "172.19.0.53/32"]));
            assert_eq!(used.near[3..], subnets(&["fd00::/64"]));
            assert_eq!(used.far, subnets(&["172.18.0.0/16"]));
            let usual = ranges(&[], "m").unwrap();
            assert_eq!(used.choose(&usual, false, &[]).unwrap().to_string(), "172.20.0.0/16");
            // What lies behind others is taken when nothing else is left.
            let taken = subnets(&["172.20.0.0/14", "172.24.0.0/13", "192.168.0.0/16"]);
            assert_eq!(used.choose(&usual, false, &taken).unwrap().to_string(), "172.18.0.0/16");
        }
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_free_and_in_range(
            taken in prop::collection::vec((any::<u32>(), 8_u8..=32), 0..40),
            base in any::<u32>(), bits in 4_u8..=20, more in 0_u8..=10,
        ) {
            let of = |number: u32, bits| {
                Subnet { address: Ipv4Addr::from(number).into(), bits }.network()
            };
            let range = Range { base: of(base, bits), size: bits + more };
            // Near the range, so that they are in the way.
            let near = |n: u32| (base & !(u32::MAX >> bits)) | (n >> bits);
            let taken: Vec<Subnet> =
                taken.into_iter().map(|(n, b)| of(near(n), b.max(bits + 1))).collect();
            match choose(&[range], false, &taken) {
                Some(found) => {
                    prop_assert!(found.network() == found && found.bits == range.size);
                    prop_assert!(range.base.contains(found.address));
                    prop_assert!(!taken.iter().any(|t| t.overlaps(found)));
                }
                None => {
                    for n in 0..1_u32 << more {
                        let at = number_of(range.base.address) as u32 | (n << (32 - range.size));
                        prop_assert!(taken.iter().any(|t| t.overlaps(of(at, range.size))));
                    }
                }
            }
        }
    }
}
