//! A new network: its name free, its addresses chosen, then its record.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Act, Networks};
use crate::error::{Error, Result};
use crate::machine;
use crate::model::network::{Driver, Pool};
use crate::model::{Network, Subnet};
use crate::net::ipam;
use crate::net::pools::{Range, Used, ranges};
use crate::net::{Lock, bridge_of};
use crate::settings::Daemon;

impl Networks {
    /// Makes what `draft` says; its pools are those that were typed, and what lacks is added: id,
    /// time, device, subnets, gateways. `raise` makes its devices, and nothing stays if it fails.
    pub fn create(&self, draft: Network, daemon: &Daemon, raise: Act) -> Result<Network> {
        check_name(&draft.name)?;
        let lock = Lock::take()?;
        if self.get(&draft.name)?.is_some() {
            let name = &draft.name;
            return Err(Error::conflict(format!("network with name {name} already exists")));
        }
        let network = self.complete(draft, daemon, &self.recorded()?)?;
        self.keep(&network)?;
        if let Err(e) = raise(&lock, &self.paths, &network) {
            let path = self.file(&network.name);
            std::fs::remove_file(&path).map_err(|gone| Error::io("remove", &path, gone))?;
            return Err(e);
        }
        self.tell("create", &network, &[]);
        Ok(network)
    }

    /// The draft with all that it lacks; call with the lock held.
    pub(super) fn complete(
        &self,
        mut draft: Network,
        daemon: &Daemon,
        others: &[Network],
    ) -> Result<Network> {
        let taken: Vec<Subnet> =
            others.iter().flat_map(|n| n.pools.iter().map(|pool| pool.subnet)).collect();
        let device = draft.option("bridge.name").unwrap_or(&draft.device);
        let same = |other: &&Network| {
            !device.is_empty() && other.device == device && other.driver == Driver::Bridge
        };
        if let Some(other) = others.iter().find(same).filter(|_| draft.driver == Driver::Bridge) {
            return Err(Error::conflict(format!(
                "cannot create network {}: conflicts with network {} ({device}): networks have same bridge name",
                draft.name, other.name
            )));
        }
        for pool in &draft.pools {
            if taken.iter().any(|other| other.overlaps(pool.subnet)) {
                return Err(overlap(pool.subnet, others));
            }
        }
        if draft.ipam_driver == "null" {
            draft.pools.clear();
        } else {
            self.add_pools(&mut draft, daemon, &taken)?;
        }
        for pool in &mut draft.pools {
            add_gateway(pool, has_gateway(draft.driver, draft.internal, &draft.options, pool))?;
        }
        if draft.id.is_empty() {
            draft.id = crate::making::new_id()?;
            draft.created = jiff::Timestamp::now();
        }
        if draft.device.is_empty() {
            let named = draft.option("bridge.name").filter(|name| !name.is_empty());
            draft.device = named.map_or_else(|| bridge_of(&draft.id), str::to_owned);
        }
        Ok(draft)
    }

    /// Where subnets that nobody types come from.
    pub(super) fn ranges(&self, daemon: &Daemon) -> Result<Vec<Range>> {
        let seed = format!("{} {}", machine::id(), self.paths.root.display());
        ranges(&daemon.default_address_pools, &seed)
    }

    fn add_pools(&self, draft: &mut Network, daemon: &Daemon, taken: &[Subnet]) -> Result<()> {
        let lacks = |ipv6: bool| draft.pool(ipv6).is_none();
        let wanted = [(false, draft.enable_ipv4), (true, draft.enable_ipv6)];
        let families: Vec<bool> =
            wanted.into_iter().filter(|(ipv6, on)| *on && lacks(*ipv6)).map(|w| w.0).collect();
        if !families.is_empty() {
            let ranges = self.ranges(daemon)?;
            let used = Used::now();
            for ipv6 in families {
                draft.pools.push(Pool::of(used.choose(&ranges, ipv6, taken)?, false));
            }
        }
        draft.pools.sort_by_key(|pool| pool.subnet.address.is_ipv6());
        Ok(())
    }
}

/// Whether the network itself has an address in the pool.
fn has_gateway(
    driver: Driver,
    internal: bool,
    options: &BTreeMap<String, String>,
    pool: &Pool,
) -> bool {
    let option = |key: &str| {
        options.get(&format!("com.docker.network.bridge.{key}")).map_or("", String::as_str)
    };
    match driver {
        Driver::Bridge => {
            let ipv4 = pool.subnet.address.is_ipv4();
            let mode = if ipv4 { "gateway_mode_ipv4" } else { "gateway_mode_ipv6" };
            let inhibited = ipv4 && internal && option("inhibit_ipv4") == "true";
            option(mode) != "isolated" && !inhibited
        }
        // Without a parent it leads nowhere, whatever was said.
        _ => !internal && options.contains_key("parent"),
    }
}

/// Chooses the gateway, and sees that nothing else has its address.
fn add_gateway(pool: &mut Pool, wanted: bool) -> Result<()> {
    if pool.gateway.is_none() && wanted {
        // As docker: the first address that containers would get, whoever else wants it.
        let bare = Pool { aux_addresses: BTreeMap::new(), ..pool.clone() };
        pool.gateway = ipam::first_free(&bare, |_| false);
        if pool.gateway.is_none() {
            return Err(Error::usage(format!(
                "failed to allocate gateway (): no available addresses on this pool: {} is too small",
                pool.subnet
            )));
        }
    }
    let mut seen: Vec<IpAddr> = pool.gateway.into_iter().collect();
    for (name, address) in &pool.aux_addresses {
        if seen.contains(address) {
            return Err(Error::usage(format!(
                "failed to allocate secondary ip address ({name}:{address}): Address already in use"
            )));
        }
        seen.push(*address);
    }
    Ok(())
}

fn overlap(subnet: Subnet, others: &[Network]) -> Error {
    let holder = others.iter().find(|n| n.pools.iter().any(|pool| pool.subnet.overlaps(subnet)));
    let who = holder.map_or("", |n| n.name.as_str());
    Error::conflict(format!(
        "invalid pool request: Pool overlaps with other one on this address space: {subnet} and \
         network {who} have addresses in common; take another --subnet"
    ))
}

/// Refuses what may not name a network. DIFFERS: docker takes any text, which then no file, no URL
/// and no `--network` option can name.
pub fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::usage("invalid name: name is empty"));
    }
    if Network::is_predefined(name) {
        return Err(Error::conflict(format!(
            "operation is not permitted on predefined {name} network"
        )));
    }
    let fits = name.len() <= 200
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if fits {
        return Ok(());
    }
    Err(Error::usage(format!(
        "invalid network name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, and no more than 200"
    )))
}
