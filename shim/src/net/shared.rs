//! What containers share: devices and rules of networks; and what one leaves of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use super::networking::{Networking, pull};
use super::plan::{self, Joined};
use super::{Lock, World, carrier, ipam, link, nft, ties, trace};
use crate::bundle::etc;
use crate::error::Result;
use crate::host::{Host, Paths};
use crate::model::network::Driver;
use crate::model::{Endpoint, Network, Published, Record, State};

/// Devices and rules of networks, there or made; what the user has to know of other firewalls.
pub(super) fn provide<'a>(
    world: &World,
    outside: &link::Socket,
    networks: impl Iterator<Item = &'a Network>,
) -> Result<Vec<String>> {
    let mut rules = Vec::new();
    let (mut ipv4, mut ipv6) = (false, false);
    for network in networks {
        match network.driver {
            Driver::Bridge => {
                link::ensure_bridge(outside, &plan::bridge(world, network))?;
                rules.push(nft::NetworkRules::of(network)?);
                ipv4 |= network.enable_ipv4 && !network.internal;
                ipv6 |= network.enable_ipv6 && !network.internal;
            }
            Driver::Macvlan | Driver::Ipvlan => {
                link::ensure_parent(outside, &plan::parent(world, network))?;
            }
            Driver::Host | Driver::Null => {}
        }
    }
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let table = nft::Table::of(world)?;
    table.ensure(&rules)?;
    let note = world.run.join("networks/forwarding");
    nft::forwarding(&table, &nft::Forwarding { ipv4, ipv6, guard: true, note })?;
    nft::beside(&table)
}

/// A network's devices and rules, before anybody is in it; nothing stays of what failed.
pub fn raise(lock: &Lock, paths: &Paths, network: &Network) -> Result<()> {
    let world = World::of(paths);
    crate::store::make_dir(&world.run.join("networks"))?;
    provide(&world, &link::Socket::here()?, [network].into_iter()).map(drop).inspect_err(|_| {
        let _ = lower(lock, paths, network);
    })
}

/// The opposite, when nobody is in it any more.
pub fn lower(_lock: &Lock, paths: &Paths, network: &Network) -> Result<()> {
    if matches!(network.driver, Driver::Host | Driver::Null) {
        return Ok(());
    }
    let outside = link::Socket::here()?;
    // Its own: one of that name may be another network's, or the administrator's.
    let mark = format!("dhow network {} {} ", network.name, network.id);
    let found = link::find(&outside, &network.device)?;
    if found.is_some_and(|found| found.alias.starts_with(&mark)) {
        link::remove(&outside, &network.device)?;
    }
    if network.driver == Driver::Bridge {
        let table = nft::Table::of(&World::of(paths))?;
        if table.is_there()? {
            table.forget_network(&nft::NetworkRules::of(network)?)?;
        }
    }
    Ok(())
}

/// A network that somebody took away under its container.
pub(super) fn forgotten(endpoint: &Endpoint) -> Network {
    let driver = if endpoint.host_interface.is_empty() { Driver::Macvlan } else { Driver::Bridge };
    Network { id: endpoint.network_id.clone(), ..Network::draft(&endpoint.network, driver) }
}

/// Rules, devices and leases of a container that has ended.
pub(super) fn undo(
    host: &Host,
    record: &Record,
    joined: &[Joined],
    led: &[(Published, IpAddr)],
) -> Result<()> {
    etc::forget_links(host, record);
    let shared = ties::is_shared(&host.paths, &record.id);
    let mut first = Ok(());
    let mut note = |done: Result<()>| {
        if first.is_ok() {
            first = done;
        }
    };
    if !led.is_empty() || shared {
        let world = World::of(&host.paths);
        match Lock::take() {
            Err(error) => note(Err(error)),
            Ok(_lock) => {
                if !led.is_empty() {
                    let table = nft::Table::of(&world);
                    note(table.and_then(|table| table.withdraw(record.short_id(), led)));
                }
                if shared {
                    note(remove_devices(joined));
                }
            }
        }
    }
    if !shared {
        note(silence(joined));
    }
    for one in joined {
        note(ipam::release(&host.paths, &one.network.id, &record.id));
    }
    first
}

/// Nothing leaves or enters by its pairs any more: the next container may have its addresses.
///
/// KERNEL: a namespace, and so its devices, lives on while a TCP connection of it has something to
/// say, minutes after the last process if nobody listens. To take a pair away takes 20 ms, to turn
/// it off a quarter of one.
fn silence(joined: &[Joined]) -> Result<()> {
    let mut pairs = joined.iter().map(|one| one.endpoint.host_interface.as_str());
    if pairs.clone().all(str::is_empty) {
        return Ok(());
    }
    let outside = link::Socket::here()?;
    pairs.try_for_each(|name| if name.is_empty() { Ok(()) } else { link::silence(&outside, name) })
}

/// KERNEL: a pair's ends go together; those in a namespace go with it.
fn remove_devices(joined: &[Joined]) -> Result<()> {
    let outside = link::Socket::here()?;
    for one in joined.iter().filter(|one| !one.endpoint.host_interface.is_empty()) {
        link::remove(&outside, &one.endpoint.host_interface)?;
    }
    Ok(())
}

/// Takes away what a monitor that was killed while it connected or disconnected left of networks
/// that the container's state doesn't tell of.
pub(super) fn give_back_strays(
    host: &Host,
    record: &Record,
    state: &State,
    ns: &OwnedFd,
) -> Result<()> {
    let known = |id: &str| state.endpoints.iter().any(|endpoint| endpoint.network_id == id);
    let mut traced = trace::read(host, record).unwrap_or_default().0;
    traced.retain(|endpoint| !known(&endpoint.network_id));
    if !traced.is_empty() {
        let _lock = Lock::take()?;
        let inside = link::Socket::within(ns.as_fd())?;
        for stray in &traced {
            pull(&inside, stray)?;
        }
    }
    ipam::release_all(&host.paths, &record.id, known)?;
    trace::keep(host, record, &state.endpoints, &state.published)
}

/// Takes away what a killed monitor left of a container that doesn't run.
pub fn sweep(host: &Host, record: &Record, state: &State) -> Result<()> {
    ties::untie(host, record);
    carrier::end_pasta(&host.paths.monitor(&record.id).join("pasta.pid"));
    let told = trace::read(host, record)
        .unwrap_or_else(|| (state.endpoints.clone(), state.published.clone()));
    let state = State { endpoints: told.0, published: told.1, ..State::default() };
    let known = Networking::known(host, record, &state);
    let led = known.led(record);
    let done = undo(host, record, &known.joined, &led);
    if !known.joined.is_empty() {
        remove_devices(&known.joined)?; // its namespace may be held by others
    }
    // It may have been killed before it noted one, or any.
    done.and(ipam::release_all(&host.paths, &record.id, |_| false))
}

/// Makes devices and rules of everything that runs again: another program took them away.
pub fn reload(host: &Host, running: &[(Record, State)]) -> Result<()> {
    let world = World::of(&host.paths);
    let _lock = Lock::take()?;
    let outside = link::Socket::here()?;
    let known = running.iter().filter(|(_, state)| !state.endpoints.is_empty());
    let known = known.map(|(record, state)| (record, Networking::known(host, record, state)));
    let known: Vec<_> = known.collect();
    let mut rules = BTreeMap::new();
    let all = known.iter().flat_map(|(_, net)| &net.joined).map(|joined| &joined.network);
    for network in all.filter(|network| network.driver == Driver::Bridge) {
        rules.insert(&network.device, nft::NetworkRules::of(network)?);
    }
    if !rules.is_empty() {
        // Whatever is there: somebody may have taken some of it.
        nft::Table::of(&world)?.mend(&rules.into_values().collect::<Vec<_>>())?;
    }
    for (record, net) in known {
        provide(&world, &outside, net.joined.iter().map(|joined| &joined.network))?;
        let led = net.led(record);
        if !led.is_empty() {
            let table = nft::Table::of(&world)?;
            table.publish(record.short_id(), &led)?;
            table.forget_misled(&led);
        }
    }
    Ok(())
}
