//! What a network and a lease come to: devices, addresses, ways out. Pure: nothing is touched here.

use std::net::IpAddr;

use super::ipam::Lease;
use super::link::{Bridge, Inside, IpvlanFlag, IpvlanMode, Kind, MacvlanMode, Parent, Plug};
use super::{World, host_end};
use crate::model::network::Driver;
use crate::model::{Endpoint, Network, Subnet, Wish};

/// A network, what is wanted of it, and what the container has there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// As it was made.
    pub network: Network,
    /// What the record says.
    pub wish: Wish,
    /// For this life.
    pub endpoint: Endpoint,
}

/// The first of `0..` that none of `taken` is.
pub fn free_number(taken: impl Iterator<Item = usize> + Clone) -> usize {
    (0..=u16::MAX.into()).find(|n| !taken.clone().any(|t| t == *n)).unwrap_or_default()
}

/// The number at the end of a device's name.
pub fn number_at_end(name: &str) -> Option<usize> {
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    name[name.len() - digits..].parse().ok()
}

/// A new endpoint beside `others`.
pub fn endpoint(
    container: &str,
    network: &Network,
    wish: &Wish,
    lease: Lease,
    others: &[Joined],
) -> Endpoint {
    let prefix = network.option("container_iface_prefix").unwrap_or("eth");
    let of_prefix = others.iter().filter_map(|o| o.endpoint.interface.strip_prefix(prefix));
    let interface = match wish.driver_opts.get("com.docker.network.endpoint.ifname") {
        Some(name) => name.clone(),
        None => format!("{prefix}{}", free_number(of_prefix.filter_map(|n| n.parse().ok()))),
    };
    let outer = others.iter().filter_map(|o| number_at_end(&o.endpoint.host_interface));
    let pair = network.driver == Driver::Bridge;
    let way = |ipv6| {
        let pool = network.pool(ipv6).filter(|_| !network.internal && !is_routed(network))?;
        pool.way_out()
    };
    let with_bits = |address: IpAddr| {
        let pools = network.pools.iter().find(|pool| pool.subnet.contains(address));
        let bits = pools.map_or(if address.is_ipv4() { 32 } else { 128 }, |pool| pool.subnet.bits);
        Subnet { address, bits }
    };
    let (ipv4, ipv6) = (lease.ipv4, lease.ipv6);
    Endpoint {
        network: network.name.clone(),
        network_id: network.id.clone(),
        id: lease.endpoint,
        interface,
        host_interface: if pair { host_end(container, free_number(outer)) } else { String::new() },
        mac: lease.mac,
        ipv4: ipv4.map(|a| with_bits(a.into())),
        gateway4: ipv4
            .and(way(false))
            .and_then(|g| if let IpAddr::V4(g) = g { Some(g) } else { None }),
        ipv6: ipv6.map(|a| with_bits(a.into())),
        gateway6: ipv6
            .and(way(true))
            .and_then(|g| if let IpAddr::V6(g) = g { Some(g) } else { None }),
        names: lease.names,
        leads_out: false,
    }
}

/// ipvlan's modes without a gateway: all leaves through the device.
pub fn is_routed(network: &Network) -> bool {
    network.driver == Driver::Ipvlan && ipvlan_mode(network) != IpvlanMode::L2
}

/// Which of the networks IPv4 and IPv6 leave through.
///
/// DOCKER: the highest priority, then who has both families, then the first by name.
pub fn ways_out(all: &[Joined]) -> (Option<usize>, Option<usize>) {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|&at| {
        let Joined { network, wish, endpoint } = &all[at];
        let families = usize::from(leads(all, at, false)) + usize::from(leads(all, at, true));
        (
            std::cmp::Reverse(wish.gw_priority),
            2 - families,
            network.name.clone(),
            endpoint.id.clone(),
        )
    });
    let first = |ipv6| order.iter().copied().find(|&at| leads(all, at, ipv6));
    (first(false), first(true))
}

fn leads(all: &[Joined], at: usize, ipv6: bool) -> bool {
    let Joined { network, endpoint, .. } = &all[at];
    let has = if ipv6 { endpoint.ipv6.is_some() } else { endpoint.ipv4.is_some() };
    let way = if ipv6 { endpoint.gateway6.is_some() } else { endpoint.gateway4.is_some() };
    has && (way || is_routed(network) && !network.internal)
}

/// A bridge network's device.
pub fn bridge(world: &World, network: &Network) -> Bridge {
    let kept = |ipv6: bool| ipv6 || network.option("bridge.inhibit_ipv4") != Some("true");
    let address = |pool: &crate::model::network::Pool| {
        let address = pool.gateway.filter(|g| kept(g.is_ipv6()))?;
        Some(Subnet { address, bits: pool.subnet.bits })
    };
    Bridge {
        name: network.device.clone(),
        alias: world.alias_of_network(&network.name, &network.id),
        mtu: mtu(network),
        addresses: network.pools.iter().filter_map(address).collect(),
        ipv6: network.enable_ipv6,
        adopts: is_foreign(world, network),
    }
}

/// The device has a name that somebody chose, so it may be somebody's.
fn is_foreign(world: &World, network: &Network) -> bool {
    network.device != world.bridge && network.device != super::bridge_of(&network.id)
}

fn mtu(network: &Network) -> Option<u32> {
    network.option("driver.mtu").and_then(|text| text.parse().ok()).filter(|mtu| *mtu > 0)
}

/// The interface that macvlan and ipvlan stand on.
pub fn parent(world: &World, network: &Network) -> Parent {
    Parent {
        name: network.device.clone(),
        alias: world.alias_of_network(&network.name, &network.id),
        isolated: !network.options.contains_key("parent"),
    }
}

fn ipvlan_mode(network: &Network) -> IpvlanMode {
    match network.options.get("ipvlan_mode").map(String::as_str) {
        Some("l3") => IpvlanMode::L3,
        Some("l3s") => IpvlanMode::L3s,
        _ => IpvlanMode::L2,
    }
}

/// A container's interface; `(v4, v6)`: which families leave through it.
pub fn plug(world: &World, container: &str, joined: &Joined, out: (bool, bool)) -> Plug {
    let Joined { network, wish, endpoint } = joined;
    let word = |key: &str| network.options.get(key).map(String::as_str);
    let parent = network.device.clone();
    let kind = match network.driver {
        Driver::Macvlan => Kind::Macvlan {
            parent,
            mode: match word("macvlan_mode") {
                Some("private") => MacvlanMode::Private,
                Some("vepa") => MacvlanMode::Vepa,
                Some("passthru") => MacvlanMode::Passthru,
                _ => MacvlanMode::Bridge,
            },
        },
        Driver::Ipvlan => Kind::Ipvlan {
            parent,
            mode: ipvlan_mode(network),
            flag: match word("ipvlan_flag") {
                Some("private") => IpvlanFlag::Private,
                Some("vepa") => IpvlanFlag::Vepa,
                _ => IpvlanFlag::Bridge,
            },
        },
        _ => Kind::Veth {
            host_name: endpoint.host_interface.clone(),
            bridge: parent,
            alias: world.alias_of_endpoint(container, &network.id),
            isolated: network
                .option("bridge.enable_icc")
                .is_some_and(|on| on.starts_with(['f', 'F', '0'])),
        },
    };
    let more = wish
        .link_local
        .iter()
        .map(|&address| Subnet { address, bits: if address.is_ipv4() { 16 } else { 64 } });
    let inside = Inside {
        interface: endpoint.interface.clone(),
        mac: endpoint.mac.clone(),
        mtu: mtu(network),
        addresses: [endpoint.ipv4, endpoint.ipv6].into_iter().flatten().chain(more).collect(),
        gateway4: endpoint.gateway4.filter(|_| out.0),
        gateway6: endpoint.gateway6.filter(|_| out.1),
        through: is_routed(network) && (out.0 || out.1),
        sysctls: sysctls(wish),
    };
    Plug { kind, inside }
}

/// `com.docker.network.endpoint.sysctls`: `net.ipv4.conf.IFNAME.log_martians=1,…`
fn sysctls(wish: &Wish) -> Vec<(String, String)> {
    let text = wish.driver_opts.get("com.docker.network.endpoint.sysctls");
    let all = text.map(String::as_str).unwrap_or_default().split(',').filter(|s| !s.is_empty());
    let pair = |s: &str| {
        let (key, value) = s.split_once('=')?;
        Some((key.replace(".ifname.", ".IFNAME."), value.to_owned()))
    };
    all.filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(name: &str, priority: i64, change: impl Fn(&mut Network, &mut Endpoint)) -> Joined {
        let mut network = Network::draft(name, Driver::Bridge);
        let mut endpoint = Endpoint {
            network: name.into(),
            ipv4: "10.0.0.2/24".parse().ok(),
            gateway4: "10.0.0.1".parse().ok(),
            ..Endpoint::default()
        };
        change(&mut network, &mut endpoint);
        let wish = Wish { network: name.into(), gw_priority: priority, ..Wish::default() };
        Joined { network, wish, endpoint }
    }

    #[test]
    fn the_way_out_is_by_priority_then_families_then_name() {
        let plain = |_: &mut Network, _: &mut Endpoint| {};
        let both = |_: &mut Network, e: &mut Endpoint| {
            e.ipv6 = "fd00::2/64".parse().ok();
            e.gateway6 = "fd00::1".parse().ok();
        };
        let closed = |_: &mut Network, e: &mut Endpoint| e.gateway4 = None;
        assert_eq!(ways_out(&[]), (None, None));
        assert_eq!(ways_out(&[joined("b", 0, plain), joined("a", 0, plain)]), (Some(1), None));
        assert_eq!(ways_out(&[joined("b", 0, both), joined("a", 0, plain)]), (Some(0), Some(0)));
        assert_eq!(ways_out(&[joined("b", 0, both), joined("a", 1, plain)]), (Some(1), Some(0)));
        assert_eq!(ways_out(&[joined("b", 0, plain), joined("a", 9, closed)]), (Some(0), None));
    }

    #[test]
    fn numbers_are_the_first_that_are_free() {
        assert_eq!(free_number([0, 1, 3].into_iter()), 2);
        assert_eq!(free_number(std::iter::empty()), 0);
        assert_eq!((number_at_end("dh0123456789.12"), number_at_end("eth")), (Some(12), None));
    }

    #[test]
    fn sysctls_of_an_endpoint_name_its_interface() {
        let text = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.accept_ra=0";
        let mut wish = Wish::default();
        wish.driver_opts.insert("com.docker.network.endpoint.sysctls".into(), text.into());
        let got = sysctls(&wish);
        assert_eq!(got[1], ("net.ipv6.conf.IFNAME.accept_ra".to_owned(), "0".to_owned()));
    }
}
