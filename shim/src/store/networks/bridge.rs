//! The default network: what daemon.json says, or docker's defaults; its record is made when it is
//! first asked for, and follows daemon.json while no container has an address in it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Networks;
use crate::error::{Error, Result};
use crate::model::network::{Driver, Pool};
use crate::model::{Network, Subnet};
use crate::net::ipam;
use crate::net::pools::{Range, Used};
use crate::net::{Lock, World, link};
use crate::settings::Daemon;

impl Networks {
    /// The default network as `daemon` settles it.
    pub fn default_bridge(&self, daemon: &Daemon) -> Result<Network> {
        if !daemon.has_bridge() {
            return Err(Error::not_found(
                "network bridge not found: daemon.json says \"bridge\": \"none\"; \
                 use --network none, host or a network of your own",
            ));
        }
        allows_rules(daemon, daemon.ipv6)?;
        let (wanted, ranges) = (self.wanted(daemon)?, self.ranges(daemon)?);
        if let Some(there) = self.get(Network::BRIDGE)?
            && is_as_wanted(&there, &wanted, &ranges)
        {
            return Ok(there);
        }
        let _lock = Lock::take()?;
        let there = self.get(Network::BRIDGE)?;
        match there {
            Some(there) if is_as_wanted(&there, &wanted, &ranges) => Ok(there),
            // What containers have now stays theirs; daemon.json holds from when they have gone.
            Some(there) if !ipam::living(&self.paths, &there.id).is_empty() => Ok(there),
            there => {
                let mut draft = wanted;
                if let Some(there) = there {
                    (draft.id, draft.created) = (there.id, there.created);
                }
                let mut others = self.recorded()?;
                others.retain(|network| network.name != Network::BRIDGE);
                let made = self.complete(draft, daemon, &others)?;
                self.keep(&made)?;
                Ok(made)
            }
        }
    }

    /// What daemon.json says, without what is chosen by itself.
    fn wanted(&self, daemon: &Daemon) -> Result<Network> {
        let world = World::of(&self.paths);
        let own = daemon.bridge.is_empty();
        let device = if own { world.bridge } else { daemon.bridge.clone() };
        let text = |on: Option<bool>| on.unwrap_or(true).to_string();
        let ip = if daemon.ip.is_empty() { "0.0.0.0" } else { &daemon.ip };
        let mut options: BTreeMap<String, String> = [
            ("bridge.default_bridge", "true".to_owned()),
            ("bridge.enable_icc", text(daemon.icc)),
            ("bridge.enable_ip_masquerade", text(daemon.ip_masq)),
            ("bridge.host_binding_ipv4", ip.to_owned()),
            ("bridge.name", device.clone()),
        ]
        .map(|(key, value)| (format!("com.docker.network.{key}"), value))
        .into();
        // Unset, it follows the way out's.
        let mtu = daemon.mtu.map(|mtu| mtu.to_string());
        options.extend(mtu.map(|mtu| ("com.docker.network.driver.mtu".to_owned(), mtu)));
        let mut pools = Vec::new();
        for ipv6 in [false, true].into_iter().filter(|ipv6| !ipv6 || daemon.ipv6) {
            pools.extend(pool(daemon, ipv6, (!own).then_some(device.as_str()))?);
        }
        Ok(Network {
            device,
            options,
            pools,
            enable_ipv6: daemon.ipv6,
            ..Network::draft(Network::BRIDGE, Driver::Bridge)
        })
    }
}

/// daemon.json may forbid rules, and without them a bridge leads nowhere.
pub fn allows_rules(daemon: &Daemon, ipv6: bool) -> Result<()> {
    if !daemon.userland_proxy_path.is_empty() {
        return Err(Error::usage(format!(
            "daemon.json says \"userland-proxy-path\": {:?}, but a container's monitor is its proxy; take the line away",
            daemon.userland_proxy_path
        )));
    }
    let opens = [
        (daemon.ip_forward_no_drop, "ip-forward-no-drop", "turn net.ipv4.ip_forward on yourself"),
        (
            daemon.allow_direct_routing,
            "allow-direct-routing",
            "make networks with -o com.docker.network.bridge.gateway_mode_ipv4=nat-unprotected",
        ),
    ];
    if let Some((_, key, instead)) = opens.iter().find(|(wanted, ..)| *wanted) {
        return Err(Error::usage(format!(
            "daemon.json says \"{key}\": true, which dhow doesn't do; take the line away and {instead}"
        )));
    }
    let forbidden = if daemon.iptables == Some(false) {
        "iptables"
    } else if daemon.ip6tables == Some(false) && ipv6 {
        "ip6tables"
    } else {
        return forwards(daemon, ipv6);
    };
    Err(Error::usage(format!(
        "daemon.json says \"{forbidden}\": false, but bridge networks need dhow's own nftables table; \
         take the line away, or use --network host or none"
    )))
}

fn forwards(daemon: &Daemon, ipv6: bool) -> Result<()> {
    let keys = [("net/ipv4/ip_forward", true), ("net/ipv6/conf/all/forwarding", ipv6)];
    let off = keys.iter().find(|(key, asked)| *asked && !crate::machine::is_on(key));
    match off {
        Some((key, _)) if daemon.ip_forward == Some(false) => Err(Error::usage(format!(
            "daemon.json says \"ip-forward\": false and {} is 0, so a bridge network leads nowhere; \
             turn it on, or use --network host or none",
            key.replace('/', ".")
        ))),
        _ => Ok(()),
    }
}

/// One family of the default network, as far as it is settled: docker's rules for bip, fixed-cidr,
/// and the addresses of a bridge that is somebody else's.
fn pool(daemon: &Daemon, ipv6: bool, foreign: Option<&str>) -> Result<Option<Pool>> {
    let (keys, texts) = if ipv6 {
        (
            ["bip6", "fixed-cidr-v6", "default-gateway-v6"],
            [&daemon.bip6, &daemon.fixed_cidr_v6, &daemon.default_gateway_v6],
        )
    } else {
        (
            ["bip", "fixed-cidr", "default-gateway"],
            [&daemon.bip, &daemon.fixed_cidr, &daemon.default_gateway],
        )
    };
    let wrong = |n: usize, why: &str| {
        Error::usage(format!("daemon.json, {}: {:?}: {why}; mend the file", keys[n], texts[n]))
    };
    let subnet = |n: usize| -> Result<Option<Subnet>> {
        if texts[n].is_empty() {
            return Ok(None);
        }
        let found: Subnet = texts[n].parse().map_err(|e: String| wrong(n, &e))?;
        let fits = found.address.is_ipv6() == ipv6;
        fits.then_some(Some(found)).ok_or_else(|| wrong(n, "it is of the other family"))
    };
    let (mut own, range) = (subnet(0)?, subnet(1)?);
    if let Some(device) = foreign {
        if own.is_some() {
            return Err(wrong(0, &format!("bridge {device} is not dhow's to give addresses to")));
        }
        own = Some(address_on(device, ipv6)?);
    }
    if own.is_none() && range.is_none() {
        return if texts[2].is_empty() {
            Ok(None)
        } else {
            Err(wrong(2, &format!("it needs {} or {} beside it", keys[0], keys[1])))
        };
    }
    let whole = own.or(range).map(Subnet::network).ok_or_else(|| wrong(0, "no subnet"))?;
    let mut pool = Pool::of(whole, true);
    if let Some(range) = range {
        let inside = whole.contains(range.address) && range.bits >= whole.bits;
        if !inside {
            return Err(wrong(1, &format!("it is not within {whole}")));
        }
        pool.ip_range = Some(range.network());
    }
    pool.gateway = own.map(|own| own.address);
    pool.gateway_typed = own.is_some();
    if !texts[2].is_empty() {
        let gateway: IpAddr = texts[2].parse().map_err(|_| wrong(2, "no address"))?;
        if !whole.contains(gateway) {
            return Err(wrong(2, &format!("it is not within {whole}")));
        }
        let key = if ipv6 { "DefaultGatewayIPv6" } else { "DefaultGatewayIPv4" };
        pool.aux_addresses.insert(key.to_owned(), gateway);
    }
    Ok(Some(pool))
}

/// The address that a bridge of somebody else's has.
fn address_on(device: &str, ipv6: bool) -> Result<Subnet> {
    let fault = |why: &str| {
        Error::usage(format!("daemon.json, bridge: {device} {why}; make it, or take the line away"))
    };
    // Not by /sys, which may be another network namespace's.
    let found = link::find(&link::Socket::here()?, device)?;
    if found.is_none_or(|found| found.kind != "bridge") {
        return Err(fault("is no bridge of this machine"));
    }
    let family = if ipv6 { "IPv6" } else { "IPv4" };
    crate::net::pools::addresses_of(device)
        .into_iter()
        .find(|found| found.address.is_ipv6() == ipv6)
        .ok_or_else(|| fault(&format!("has no address of {family}")))
}

/// Whether the record says what daemon.json says; what was chosen by itself may be anything that
/// is still free.
fn is_as_wanted(there: &Network, wanted: &Network, ranges: &[Range]) -> bool {
    let typed = |network: &Network| {
        let mut pools: Vec<Pool> =
            network.pools.iter().filter(|pool| pool.subnet_typed).cloned().collect();
        for pool in pools.iter_mut().filter(|pool| !pool.gateway_typed) {
            pool.gateway = None;
        }
        pools
    };
    let chosen: Vec<Subnet> =
        there.pools.iter().filter(|pool| !pool.subnet_typed).map(|pool| pool.subnet).collect();
    there.options == wanted.options
        && there.enable_ipv6 == wanted.enable_ipv6
        && there.device == wanted.device
        && typed(there) == typed(wanted)
        && chosen.iter().all(|subnet| {
            let from = |range: &Range| range.size == subnet.bits && range.base.overlaps(*subnet);
            ranges.iter().any(from)
        })
        && is_still_free(&there.device, &chosen)
}

/// Where the device is there, its routes are its own; where it isn't yet, nothing else may have
/// come to its addresses.
fn is_still_free(device: &str, chosen: &[Subnet]) -> bool {
    if chosen.is_empty() || nix::net::if_::if_nametoindex(device).is_ok() {
        return true;
    }
    let used = Used::now();
    !chosen.iter().any(|subnet| used.near.iter().any(|near| near.overlaps(*subnet)))
}
