//! A container in its networks, for one life.
//!
//! Whatever fails half-way is undone by [`Networking::release`], which takes what there is.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::carrier::{self, Carried, Carrier, Place};
use super::ipam;
use super::plan::{self, Joined};
use super::ports::{self, Proxy, Reserved, Target};
use super::shared::{forgotten, give_back_strays, provide, undo};
use super::{Lock, World, dns, flows, link, nft, routed, trace};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::network::Driver;
use crate::model::{Endpoint, Network, Published, Record, State, Wish};

/// What a container has of its networks.
#[derive(Default)]
pub struct Networking {
    pub(super) joined: Vec<Joined>,
    published: Vec<Published>,
    reserved: Option<Reserved>,
    inside: Option<OwnedFd>,
    /// Of the host's namespace, once devices and rules of the networks are there.
    outside: Option<link::Socket>,
    /// What carries its packets where dhow isn't root.
    carrier: Option<Carrier>,
    carried: Option<Carried>,
    /// What the user has to know.
    pub told: Vec<String>,
    /// Connections that rules can't lead.
    pub proxy: Option<Proxy>,
    /// The name server at 127.0.0.11.
    pub names: Option<dns::Server>,
}

impl Networking {
    /// Leases addresses and binds ports. `before` is what it had in the life before this one: it
    /// gets the same addresses where the subnet was typed and they are free. What fails leaves nothing.
    pub fn reserve(host: &Host, record: &Record, before: &[Endpoint]) -> Result<Self> {
        let mut net = Self::default();
        if record.networks.is_empty() {
            return Ok(net);
        }
        let rooted = dhow_image::rootless::is_root();
        let reserved = if rooted {
            net.lease_all(host, record, before).and_then(|()| net.bind(host, record))
        } else {
            net.be_carried(host, record)
        };
        let kept =
            reserved.and_then(|()| trace::keep(host, record, &net.endpoints(), &net.published));
        match kept {
            Ok(()) => Ok(net),
            Err(error) => {
                let _ = net.release(host, record);
                let why = format!("failed to set up container networking: {}", error.message);
                Err(Error::new(error.kind, why))
            }
        }
    }

    /// Without root there is no bridge: one way out, and ports.
    fn be_carried(&mut self, host: &Host, record: &Record) -> Result<()> {
        if let Some(wish) = record.networks.iter().find(|wish| wish.network != Network::BRIDGE) {
            return Err(Error::usage(format!(
                "network {}: without root, a container's only networks are bridge, host and none",
                wish.network
            )));
        }
        let search = |name: &str| crate::host::search(name.as_ref()).ok();
        self.carrier = Some(carrier::choose(&search)?);
        let anywhere = Target { ipv4: Some(Ipv4Addr::UNSPECIFIED), ipv6: None };
        let holder = ports::holder(host, &record.id);
        let wanted = ports::wanted(record)?;
        let reserved = Reserved::bind(&wanted, record.publish_ip, anywhere, &holder)?;
        self.published = reserved.published();
        self.reserved = Some(reserved);
        Ok(())
    }

    /// The carrier binds the ports itself.
    fn carry(&mut self, dir: &Path, space: BorrowedFd<'_>) -> Result<()> {
        self.reserved = None;
        if let Some(carrier) = &self.carrier {
            self.carried = Some(carrier.start(Place { space, dir }, &self.published)?);
        }
        Ok(())
    }

    fn lease_all(&mut self, host: &Host, record: &Record, before: &[Endpoint]) -> Result<()> {
        for wish in &record.networks {
            let had = before.iter().find(|endpoint| endpoint.network == wish.network);
            self.lease(host, record, wish, had)?;
        }
        self.settle_ways();
        Ok(())
    }

    fn lease(
        &mut self,
        host: &Host,
        record: &Record,
        wish: &Wish,
        had: Option<&Endpoint>,
    ) -> Result<()> {
        let network = host.networks.get(&wish.network)?;
        let network = network
            .ok_or_else(|| Error::not_found(format!("network {} not found", wish.network)))?;
        let names = dns::names(record, wish);
        let lease = |wish: &Wish| ipam::lease(&host.paths, &network, wish, &record.id, &names);
        let again = had.filter(|had| had.network_id == network.id).and_then(|had| {
            let v4 =
                had.ipv4.and_then(|s| if let IpAddr::V4(a) = s.address { Some(a) } else { None });
            let v6 =
                had.ipv6.and_then(|s| if let IpAddr::V6(a) = s.address { Some(a) } else { None });
            let same = Wish { ipv4: wish.ipv4.or(v4), ipv6: wish.ipv6.or(v6), ..wish.clone() };
            lease(&same).ok()
        });
        let lease = again.map_or_else(|| lease(wish), Ok)?;
        let endpoint = plan::endpoint(&record.id, &network, wish, lease, &self.joined);
        self.joined.push(Joined { network, wish: wish.clone(), endpoint });
        Ok(())
    }

    fn bind(&mut self, host: &Host, record: &Record) -> Result<()> {
        let wanted = ports::wanted(record)?;
        let target = self.target();
        if wanted.is_empty() || target == Target::default() {
            return Ok(());
        }
        let holder = ports::holder(host, &record.id);
        let usual = record.publish_ip.or_else(|| self.narrowed());
        let bound = Reserved::bind(&wanted, usual, target, &holder);
        let reserved = bound.map_err(|e| {
            let out = self.joined.iter().map(|joined| &joined.endpoint).find(|e| e.leads_out);
            let id = out.map_or("", |endpoint| endpoint.id.as_str());
            Error::new(
                e.kind,
                format!(
                    "driver failed programming external connectivity on endpoint {} ({id}): {}",
                    record.name, e.message
                ),
            )
        })?;
        self.published = reserved.published();
        self.reserved = Some(reserved);
        Ok(())
    }

    /// Where the network that leads out wants ports published when nobody says where.
    fn narrowed(&self) -> Option<IpAddr> {
        let out = self.joined.iter().find(|joined| joined.endpoint.leads_out)?;
        let ip: IpAddr = out.network.option("bridge.host_binding_ipv4")?.parse().ok()?;
        Some(ip).filter(|ip| !ip.is_unspecified())
    }

    /// Says which endpoint leads out; how the interfaces' routes are to be.
    fn settle_ways(&mut self) -> (Option<usize>, Option<usize>) {
        let ways = plan::ways_out(&self.joined);
        for (at, joined) in self.joined.iter_mut().enumerate() {
            joined.endpoint.leads_out = ways.0.or(ways.1) == Some(at);
        }
        ways
    }

    /// Where published ports lead: to the bridge networks that packets leave by.
    pub(super) fn target(&self) -> Target {
        let (v4, v6) = plan::ways_out(&self.joined);
        let pair = |at: Option<usize>, six| {
            let joined = &self.joined[at?];
            let leads =
                joined.network.driver == Driver::Bridge && !routed::is_routed(&joined.network, six);
            leads.then_some(&joined.endpoint)
        };
        Target {
            ipv4: pair(v4, false).and_then(|e| e.ipv4).and_then(|s| match s.address {
                IpAddr::V4(a) => Some(a),
                IpAddr::V6(_) => None,
            }),
            ipv6: pair(v6, true).and_then(|e| e.ipv6).and_then(|s| match s.address {
                IpAddr::V6(a) => Some(a),
                IpAddr::V4(_) => None,
            }),
        }
    }

    /// What rules do for its ports.
    pub(super) fn led(&self, record: &Record) -> Vec<(Published, IpAddr)> {
        routed::led(record, &self.joined, &self.published, self.target())
    }

    /// What wants to be looked at when it is readable.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let names = self.names.as_ref().map(AsFd::as_fd);
        names.into_iter().chain(self.proxy.as_ref().map(AsFd::as_fd))
    }

    /// So long there is nothing to do, if nothing comes.
    pub fn idle_time(&self) -> Option<Duration> {
        let names = self.names.as_ref().and_then(dns::Server::idle_time);
        names.into_iter().chain(self.proxy.as_ref().and_then(Proxy::idle_time)).min()
    }

    /// Serves names and ports, a bounded piece of it.
    pub fn attend(&mut self) {
        if let Some(names) = &mut self.names {
            names.attend();
        }
        if let Some(proxy) = &mut self.proxy {
            proxy.attend();
        }
    }

    /// Does what is due without anything that came.
    pub fn tick(&mut self) {
        if self.idle_time().is_some_and(|left| left.is_zero()) {
            self.attend();
        }
    }

    /// Tells of each network that the container joins or leaves.
    pub fn tell(&self, host: &Host, record: &Record, action: &str) {
        for joined in &self.joined {
            host.networks.tell(action, &joined.network, &[("container", &record.id)]);
        }
    }

    /// The network namespace, where it wasn't needed until now.
    pub fn enter(&mut self, ns: OwnedFd) {
        self.inside.get_or_insert(ns);
    }

    /// What it has, for its state.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.joined.iter().map(|joined| joined.endpoint.clone()).collect()
    }

    /// The host's ports that lead into it, for its state.
    pub fn published(&self) -> Vec<Published> {
        self.published.clone()
    }

    /// Whether there is anything to do for it at all.
    pub fn is_none(&self) -> bool {
        self.joined.is_empty() && self.carrier.is_none()
    }

    /// Makes devices and rules of the networks; nothing of the container's own yet.
    pub fn provide(&mut self, host: &Host) -> Result<()> {
        if self.joined.is_empty() {
            return Ok(());
        }
        let world = World::of(&host.paths);
        let lock = Lock::take()?;
        let outside = link::Socket::here()?;
        self.told = provide(&world, &outside, self.joined.iter().map(|joined| &joined.network))?;
        drop(lock);
        self.outside = Some(outside);
        flows::welcome(&host.paths, &self.joined)
    }

    /// Makes in the network namespace `ns` what was reserved, after [`Networking::provide`].
    pub fn attach(&mut self, host: &Host, record: &Record, ns: OwnedFd) -> Result<()> {
        if self.carrier.is_some() {
            return self.carry(&host.paths.monitor(&record.id), ns.as_fd());
        }
        if self.is_none() {
            return Ok(());
        }
        let world = World::of(&host.paths);
        let outside = self.outside.take().map_or_else(link::Socket::here, Ok)?;
        let inside = link::Socket::within(ns.as_fd())?;
        let lock = Lock::take()?;
        let ways = plan::ways_out(&self.joined);
        for (at, joined) in self.joined.iter().enumerate() {
            let out = (ways.0 == Some(at), ways.1 == Some(at));
            let plug = plan::plug(&world, &record.id, joined, out);
            link::plug(&outside, &inside, ns.as_fd(), &plug)?;
        }
        let led = self.led(record);
        let table = if led.is_empty() { None } else { Some(nft::Table::of(&world)?) };
        table.as_ref().map_or(Ok(()), |table| table.publish(record.short_id(), &led))?;
        drop(lock);
        // It looks through all flows there are: others don't wait for that.
        table.inspect(|table| table.forget_misled(&led));
        self.inside = Some(ns);
        self.open_names(host, record)
    }

    fn open_names(&mut self, host: &Host, record: &Record) -> Result<()> {
        let Some(ns) = &self.inside else { return Ok(()) };
        let config = dns::Config::of(host, record, &self.endpoints());
        self.names = match (self.names.take(), config) {
            (Some(mut server), Some(config)) => {
                server.reconfigure(config);
                Some(server)
            }
            (None, Some(config)) => Some(dns::Server::open(ns.as_fd(), config)?),
            (_, None) => None,
        };
        Ok(())
    }

    /// Serves the ports from now on: the container runs.
    pub fn serve(&mut self) -> Result<()> {
        if let Some(reserved) = self.reserved.take() {
            self.proxy = Some(reserved.serve(self.target())?);
        }
        Ok(())
    }

    /// Takes up what a killed monitor did for a container that lives in `ns`. What can't be had
    /// again is left out; the first reason is told.
    pub fn adopt(host: &Host, record: &Record, state: &State, ns: OwnedFd) -> (Self, Result<()>) {
        let mut net = Self::known(host, record, state);
        let mended = give_back_strays(host, record, state, &ns);
        net.inside = Some(ns);
        let holder = ports::holder(host, &record.id);
        let (reserved, bound) = Reserved::again(&state.published, net.target(), &holder);
        net.published = reserved.published();
        net.reserved = Some(reserved);
        let ruled = net.publish_again(host, record);
        let served = net.serve();
        let named = net.open_names(host, record);
        (net, mended.and(bound).and(ruled).and(served).and(named))
    }

    /// What a state tells of: to be given back.
    pub fn known(host: &Host, record: &Record, state: &State) -> Self {
        let joined = state.endpoints.iter().map(|endpoint| {
            let network = host.networks.get(&endpoint.network).ok().flatten();
            let network = network.filter(|network| network.id == endpoint.network_id);
            let wish = record.networks.iter().find(|wish| wish.network == endpoint.network);
            Joined {
                network: network.unwrap_or_else(|| forgotten(endpoint)),
                wish: wish.cloned().unwrap_or_default(),
                endpoint: endpoint.clone(),
            }
        });
        let joined = joined.collect();
        Self { joined, published: state.published.clone(), ..Self::default() }
    }

    fn publish_again(&self, host: &Host, record: &Record) -> Result<()> {
        let world = World::of(&host.paths);
        let _lock = Lock::take()?;
        let outside = link::Socket::here()?;
        provide(&world, &outside, self.joined.iter().map(|joined| &joined.network))?;
        let led = self.led(record);
        if led.is_empty() {
            Ok(())
        } else {
            let table = nft::Table::of(&world)?;
            table.publish(record.short_id(), &led)?;
            table.forget_misled(&led);
            Ok(())
        }
    }

    /// Joins one more network while the container runs.
    pub fn connect(&mut self, host: &Host, record: &Record, wish: &Wish) -> Result<()> {
        if self.joined.iter().any(|joined| joined.network.name == wish.network) {
            return Ok(());
        }
        let before = self.target();
        self.lease(host, record, wish, None)?;
        let done = trace::keep(host, record, &self.endpoints(), &self.published)
            .and_then(|()| self.plug_last(host, record, before));
        if done.is_err() {
            let joined = self.joined.pop();
            self.settle_ways();
            let _ = joined.map(|joined| ipam::release(&host.paths, &joined.network.id, &record.id));
        }
        done?;
        self.forget_misled(host, record)?;
        self.open_names(host, record)
    }

    /// Who asked its UDP ports before they led where they lead now.
    fn forget_misled(&self, host: &Host, record: &Record) -> Result<()> {
        nft::Table::of(&World::of(&host.paths))?.forget_misled(&self.led(record));
        Ok(())
    }

    fn plug_last(&mut self, host: &Host, record: &Record, before: Target) -> Result<()> {
        flows::welcome(&host.paths, self.joined.last().map_or(&[], std::slice::from_ref))?;
        let world = World::of(&host.paths);
        let _lock = Lock::take()?;
        let Some((ns, joined)) = self.inside.as_ref().zip(self.joined.last()) else {
            return Err(Error::engine("the container has no network of its own"));
        };
        let outside = link::Socket::here()?;
        let inside = link::Socket::within(ns.as_fd())?;
        // The others', too: the ports may follow, and somebody may have taken rules away.
        provide(&world, &outside, self.joined.iter().map(|joined| &joined.network))?;
        let plug = plan::plug(&world, &record.id, joined, (false, false));
        link::plug(&outside, &inside, ns.as_fd(), &plug)?;
        let had_ports = !self.published.is_empty();
        let led = self.lead(host, record, &inside, before);
        if led.is_err()
            && let Some(joined) = self.joined.pop()
        {
            if !had_ports {
                (self.published, self.proxy) = (Vec::new(), None);
            }
            let _ = pull(&inside, &joined.endpoint);
            let _ = self.lead(host, record, &inside, before); // back
            self.joined.push(joined);
        }
        led
    }

    /// Leaves a network while the container runs. What fails once it has left is told; it has left
    /// all the same.
    pub fn disconnect(&mut self, host: &Host, record: &Record, network: &str) -> Result<()> {
        let Some(at) = self.joined.iter().position(|joined| joined.network.name == network) else {
            return Ok(());
        };
        let before = self.target();
        let gone = self.joined.remove(at);
        let led = {
            let world = World::of(&host.paths);
            let _lock = Lock::take()?;
            match self.inside.as_ref().map(|ns| unplugged(ns, &gone.endpoint)) {
                None => Ok(()),
                Some(Err(error)) => {
                    self.joined.insert(at, gone);
                    return Err(error);
                }
                Some(Ok(inside)) => link::Socket::here()
                    .and_then(|outside| {
                        let left = self.joined.iter().map(|joined| &joined.network);
                        provide(&world, &outside, left)
                    })
                    .and(self.lead(host, record, &inside, before)),
            }
        };
        let released = ipam::release(&host.paths, &gone.network.id, &record.id);
        let traced = trace::keep(host, record, &self.endpoints(), &self.published);
        let forgot = flows::settle(&host.paths).and(self.forget_misled(host, record));
        led.and(released).and(traced).and(forgot).and(self.open_names(host, record))
    }

    /// Routes and ports follow the network that leads out, which may be another one now.
    fn lead(
        &mut self,
        host: &Host,
        record: &Record,
        inside: &link::Socket,
        before: Target,
    ) -> Result<()> {
        let (v4, v6) = self.settle_ways();
        let joined = &self.joined;
        let of = |at: Option<usize>| at.map(|at| &joined[at]);
        let through = of(v4).or(of(v6)).filter(|joined| plan::is_routed(&joined.network));
        match through {
            Some(joined) => link::default_device(
                inside,
                &joined.endpoint.interface,
                v4.is_some(),
                v6.is_some(),
            )?,
            None => link::default_routes(
                inside,
                of(v4).and_then(|joined| joined.endpoint.gateway4),
                of(v6).and_then(|joined| joined.endpoint.gateway6),
            )?,
        }
        if ports::wanted(record)?.is_empty() {
            return Ok(());
        }
        let now = self.target();
        // It was in internal networks alone until now, so nobody has its ports yet.
        if self.published.is_empty() && now != Target::default() {
            self.bind(host, record)?;
            trace::keep(host, record, &self.endpoints(), &self.published)?;
            self.serve()?;
        }
        nft::Table::of(&World::of(&host.paths))?.settle(record.short_id(), &self.led(record))?;
        if now == before {
            return Ok(());
        }
        if let Some(proxy) = &mut self.proxy {
            proxy.lead_to(now);
        }
        Ok(())
    }

    /// Its names have changed: others ask for the new ones.
    pub fn rename(&mut self, host: &Host, record: &Record) -> Result<()> {
        for joined in &mut self.joined {
            let names = dns::names(record, &joined.wish);
            ipam::rename(&host.paths, &joined.network.id, &record.id, &names)?;
            joined.endpoint.names = names;
        }
        Ok(())
    }

    /// Gives all of it back. The devices go with the namespace, unless `others` stand in it.
    pub fn release(&mut self, host: &Host, record: &Record) -> Result<()> {
        let net = std::mem::take(self);
        drop(net.names);
        if let Some(proxy) = net.proxy {
            proxy.finish();
        }
        if let Some(carried) = net.carried {
            carried.finish();
        }
        drop((net.reserved, net.inside));
        let (joined, published) = (net.joined, net.published);
        let ended = Self { joined, published, ..Self::default() };
        undo(host, record, &ended.joined, &ended.led(record))
    }
}

/// The interface is gone; a socket in the namespace where it was.
fn unplugged(ns: &OwnedFd, endpoint: &Endpoint) -> Result<link::Socket> {
    let inside = link::Socket::within(ns.as_fd())?;
    pull(&inside, endpoint)?;
    Ok(inside)
}

/// Takes an interface away from a container that runs. A pair goes by its end on the host: what the
/// other one is called by now, and what else is called so, is up to the container.
pub(super) fn pull(inside: &link::Socket, endpoint: &Endpoint) -> Result<()> {
    if endpoint.host_interface.is_empty() {
        return link::unplug(inside, &endpoint.interface);
    }
    link::remove(&link::Socket::here()?, &endpoint.host_interface)
}
