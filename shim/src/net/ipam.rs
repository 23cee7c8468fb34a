//! Who has which address: one file a network, RUN/networks/ID/endpoints.json, replaced whole under
//! the network's own lock. The names in it are those that DNS answers with.
//!
//! A lease belongs to a container's life. One whose container neither runs nor has a monitor is
//! dead: it is taken back when its address is wanted.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::host::Paths;
use crate::model::network::{Driver, Pool, address_of, number_of};
use crate::model::{Network, Subnet, Wish};
use crate::store::{Containers, Lock, Networks, Sync, make_dir, write_atomic};

/// What a container has in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The container's id.
    pub container: String,
    /// The endpoint's, 64 hex digits.
    pub endpoint: String,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Addr>,
    /// Its address of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
    /// Lower case with colons.
    pub mac: String,
    /// What it is called there.
    pub names: Vec<String>,
    /// The kernel here knows its flows, as it does of a bridge's.
    #[serde(default)]
    pub tracked: bool,
}

impl Lease {
    fn address(&self, ipv6: bool) -> Option<IpAddr> {
        if ipv6 { self.ipv6.map(IpAddr::V6) } else { self.ipv4.map(IpAddr::V4) }
    }
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct File {
    /// RUN may survive a reboot, leases don't.
    boot: String,
    leases: Vec<Lease>,
    /// Addresses that were given back, and whose flows the kernel may still know: who takes one has
    /// them forgotten first ([`super::flows`]).
    known: Vec<IpAddr>,
}

impl File {
    /// Takes leases away; flows to and from them are still known.
    fn retain(&mut self, keep: impl Fn(&Lease) -> bool) {
        let gone = self.leases.extract_if(.., |lease| !keep(lease)).filter(|lease| lease.tracked);
        let gone = gone.flat_map(|lease| [lease.address(false), lease.address(true)]).flatten();
        self.known.extend(gone);
        self.known.sort_unstable();
        self.known.dedup();
    }
}

/// RUN/networks/ID/endpoints.json
pub fn file(paths: &Paths, network: &str) -> PathBuf {
    dir(paths, network).join("endpoints.json")
}

fn dir(paths: &Paths, network: &str) -> PathBuf {
    paths.run.join("networks").join(network)
}

/// Leases addresses for `container`, which is called `names` there; what it had is given back first.
pub fn lease(
    paths: &Paths,
    network: &Network,
    wish: &Wish,
    container: &str,
    names: &[String],
) -> Result<Lease> {
    let _lock = lock(paths, &network.id)?;
    // Its record goes with the lock held: what is here now stays till the lock is free.
    let known = Networks::open(paths).get(&network.name)?.is_some_and(|n| n.id == network.id);
    if !known {
        return Err(Error::not_found(format!("network {} not found", network.name)));
    }
    let mut all = load(paths, &network.id)?;
    all.retain(|lease| lease.container != container);
    let mut made = Lease {
        container: container.to_owned(),
        endpoint: crate::making::new_id()?,
        ipv4: None,
        ipv6: None,
        mac: String::new(),
        names: names.to_vec(),
        tracked: network.driver == Driver::Bridge,
    };
    for ipv6 in [false, true] {
        let on = if ipv6 { network.enable_ipv6 } else { network.enable_ipv4 };
        if !on || network.ipam_driver == "null" {
            continue;
        }
        let wanted = if ipv6 { wish.ipv6.map(IpAddr::V6) } else { wish.ipv4.map(IpAddr::V4) };
        let mut found = address(network, ipv6, wanted, &all.leases);
        if found.is_err() && bury(paths, &mut all) {
            found = address(network, ipv6, wanted, &all.leases);
        }
        match found? {
            IpAddr::V4(v4) => made.ipv4 = Some(v4),
            IpAddr::V6(v6) => made.ipv6 = Some(v6),
        }
    }
    made.mac = match &wish.mac {
        Some(mac) => mac.clone(),
        None => mac_of(made.ipv4)?,
    };
    all.leases.push(made.clone());
    store(paths, &network.id, &all)?;
    Ok(made)
}

/// Gives back what `container` has in the network; nothing is fine.
pub fn release(paths: &Paths, network: &str, container: &str) -> Result<()> {
    if !file(paths, network).exists() {
        return Ok(());
    }
    change(paths, network, |all| all.retain(|lease| lease.container != container))
}

/// Gives back what `container` has in any network but those whose ids are `kept`.
pub fn release_all(paths: &Paths, container: &str, kept: impl Fn(&str) -> bool) -> Result<()> {
    let all = std::fs::read_dir(paths.run.join("networks")).into_iter().flatten().flatten();
    let ids = all.filter_map(|entry| entry.file_name().into_string().ok());
    for id in ids.filter(|id| !kept(id)) {
        // Read first: nobody is kept waiting where there is nothing.
        if read(paths, &id).iter().any(|lease| lease.container == container) {
            release(paths, &id, container)?;
        }
    }
    Ok(())
}

/// Replaces what `container` is called there.
pub fn rename(paths: &Paths, network: &str, container: &str, names: &[String]) -> Result<()> {
    change(paths, network, |all| {
        for lease in all.leases.iter_mut().filter(|lease| lease.container == container) {
            lease.names = names.to_vec();
        }
    })
}

/// Addresses that were given back, and whose flows the kernel may still know.
pub fn known(paths: &Paths, network: &str) -> Vec<IpAddr> {
    load(paths, network).map(|all| all.known).unwrap_or_default()
}

/// The kernel knows no flows of these any more.
pub fn forgotten(paths: &Paths, network: &str, addresses: &[IpAddr]) -> Result<()> {
    if !file(paths, network).exists() {
        return Ok(()); // the network was removed meanwhile, and its marks with it
    }
    change(paths, network, |all| all.known.retain(|known| !addresses.contains(known)))
}

fn change(paths: &Paths, network: &str, act: impl FnOnce(&mut File)) -> Result<()> {
    let _lock = lock(paths, network)?;
    let mut all = load(paths, network)?;
    let before = all.clone();
    act(&mut all);
    if all == before { Ok(()) } else { store(paths, network, &all) }
}

/// All leases of a network, the dead ones too; none where there is no file, or none of this boot.
pub fn read(paths: &Paths, network: &str) -> Vec<Lease> {
    load(paths, network).map(|all| all.leases).unwrap_or_default()
}

/// The leases whose containers run, or are just being started or ended.
pub fn living(paths: &Paths, network: &str) -> Vec<Lease> {
    let mut all = read(paths, network);
    all.retain(|lease| lives(paths, &lease.container));
    all
}

/// Runs `act` with nobody leasing there meanwhile, on the leases that live; if it succeeds, all
/// that RUN keeps of the network is gone.
pub fn close(paths: &Paths, network: &str, act: impl FnOnce(&[Lease]) -> Result<()>) -> Result<()> {
    let _lock = lock(paths, network)?;
    act(&living(paths, network))?;
    // The next network may have the same subnet.
    let mut all = load(paths, network)?;
    all.retain(|_| false);
    super::flows::forget(&all.known)?;
    let dir = dir(paths, network);
    match std::fs::remove_dir_all(&dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &dir, e)),
        _ => Ok(()),
    }
}

fn lock(paths: &Paths, network: &str) -> Result<Lock> {
    let dir = dir(paths, network);
    make_dir(&dir)?;
    Lock::exclusive(&dir.join("lock"))
}

fn load(paths: &Paths, network: &str) -> Result<File> {
    let path = file(paths, network);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(Error::io("read", &path, e)),
    };
    let boot = crate::monitor::boot_id()?;
    // Replaced by rename: a file that can't be understood was broken by somebody else, and RUN
    // holds nothing that can't be made again.
    let found = serde_json::from_slice::<File>(&bytes).ok().filter(|all| all.boot == boot);
    Ok(found.unwrap_or(File { boot, ..File::default() }))
}

fn store(paths: &Paths, network: &str, all: &File) -> Result<()> {
    let bytes = serde_json::to_vec(all).map_err(|e| Error::engine(e.to_string()))?;
    write_atomic(&file(paths, network), &bytes, Sync::No)
}

/// Drops the leases that nobody lives with; whether there were any.
fn bury(paths: &Paths, all: &mut File) -> bool {
    let before = all.leases.len();
    all.retain(|lease| lives(paths, &lease.container));
    all.leases.len() < before
}

fn lives(paths: &Paths, container: &str) -> bool {
    // The lock last: for a moment it is taken, and who looks just then believes in a monitor.
    let lock = paths.monitor(container).join("lock");
    runs(&paths.root, container)
        || std::fs::File::open(&lock).is_ok_and(|file| file.try_lock_shared().is_err())
}

fn runs(root: &Path, container: &str) -> bool {
    let Ok(state) = Containers::open(root).state(container) else { return true };
    crate::monitor::namespace(&state, "net").is_ok_and(|found| found.is_some())
}

/// Made of the IPv4 address, as docker did up to 27. DIFFERS: 28 makes one up, and neighbours who
/// remember who had the address before send to nobody until they ask again.
fn mac_of(ipv4: Option<Ipv4Addr>) -> Result<String> {
    let tail = match ipv4 {
        Some(ipv4) => u32::from(ipv4),
        None => u32::from_str_radix(&crate::making::new_id()?[..8], 16).unwrap_or_default(),
    };
    let [a, b, c, d] = tail.to_be_bytes();
    Ok(format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}"))
}

/// The wanted address, or the first that nobody has.
fn address(
    network: &Network,
    ipv6: bool,
    wanted: Option<IpAddr>,
    leases: &[Lease],
) -> Result<IpAddr> {
    let pools = network.pools.iter().filter(|pool| pool.subnet.address.is_ipv6() == ipv6);
    let pools: Vec<&Pool> = pools.collect();
    let taken: HashSet<IpAddr> = leases.iter().filter_map(|l| l.address(ipv6)).collect();
    if let Some(wanted) = wanted {
        fits(&pools, wanted)?;
        let free = pools.iter().any(|pool| {
            pool.subnet.contains(wanted) && !taken.contains(&wanted) && !is_kept(pool, wanted)
        });
        return if free { Ok(wanted) } else { Err(in_use(network, wanted, leases)) };
    }
    pools.iter().find_map(|pool| first_free(pool, |a| taken.contains(a))).ok_or_else(|| {
        let subnets: Vec<String> = pools.iter().map(|pool| range_of(pool).to_string()).collect();
        Error::engine(format!(
            "no available addresses on this pool: network {} has given all of {} to {} containers; \
             stop some, or make a larger network",
            network.name,
            subnets.join(", "),
            taken.len()
        ))
    })
}

/// docker's rule: who types an address must have typed the subnet.
pub fn fits(pools: &[&Pool], wanted: IpAddr) -> Result<()> {
    let mut typed = pools.iter().filter(|pool| pool.subnet_typed).peekable();
    if typed.peek().is_none() {
        return Err(Error::usage(
            "invalid endpoint settings: user specified IP address is supported only when connecting to \
             networks with user configured subnets; make the network with --subnet",
        ));
    }
    if typed.any(|pool| pool.subnet.contains(wanted)) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "invalid endpoint settings: no configured subnet or ip-range contain the IP address {wanted}"
    )))
}

fn in_use(network: &Network, wanted: IpAddr, leases: &[Lease]) -> Error {
    let holder = leases.iter().find(|l| l.address(wanted.is_ipv6()) == Some(wanted));
    let who = holder.map_or_else(
        || format!("network {} keeps {wanted} for itself", network.name),
        |lease| {
            let short = &lease.container[..lease.container.len().min(12)];
            let name = lease.names.first().map_or(short, String::as_str);
            format!("{wanted} of network {} is container {name}'s", network.name)
        },
    );
    Error::conflict(format!("Address already in use: {who}; take another"))
}

fn range_of(pool: &Pool) -> Subnet {
    pool.ip_range.unwrap_or(pool.subnet)
}

/// The network's own address, its broadcast, its gateway, and what is somebody else's.
fn is_kept(pool: &Pool, address: IpAddr) -> bool {
    let subnet = pool.subnet.network();
    // RFC 3021: a /31 has two addresses and nothing else.
    let whole = subnet.address.is_ipv4() && subnet.bits >= 31;
    let first = !whole && address == subnet.address && subnet.bits < 128;
    let last = address.is_ipv4() && !whole && address == subnet.last();
    first
        || last
        || pool.gateway == Some(address)
        || pool.aux_addresses.values().any(|aux| *aux == address)
}

/// The lowest address of the pool's range that is neither kept nor taken.
pub fn first_free(pool: &Pool, is_taken: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
    let range = range_of(pool).network();
    let (first, last) = (number_of(range.address), number_of(range.last()));
    (first..=last)
        .map(|number| address_of(number, range.address))
        .find(|address| !is_kept(pool, *address) && !is_taken(address))
}

/// What a bridge of this network bears: the gateway of each family, with its length.
pub fn addresses_of_bridge(network: &Network) -> Vec<Subnet> {
    if network.driver != Driver::Bridge {
        return Vec::new();
    }
    let bare = |pool: &Pool| Some(Subnet { address: pool.gateway?, bits: pool.subnet.bits });
    let inhibited = network.option("bridge.inhibit_ipv4") == Some("true");
    network
        .pools
        .iter()
        .filter(|pool| !(inhibited && pool.subnet.address.is_ipv4()))
        .filter_map(bare)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File as StdFile;

    use proptest::prelude::*;

    use super::*;

    struct World {
        _dir: tempfile::TempDir,
        paths: Paths,
        /// Monitors' locks: who is in here lives.
        alive: Vec<StdFile>,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (root, run) = (dir.path().join("root"), dir.path().join("run"));
            Self { paths: Paths { root, run }, _dir: dir, alive: Vec::new() }
        }

        fn network(&self, pool: Pool) -> Network {
            let ipv6 = pool.subnet.address.is_ipv6();
            let network = Network {
                id: "ab".repeat(32),
                pools: vec![pool],
                enable_ipv4: !ipv6,
                enable_ipv6: ipv6,
                ..Network::draft("net", Driver::Bridge)
            };
            let dir = self.paths.root.join("networks");
            make_dir(&dir).unwrap();
            std::fs::write(dir.join("net.json"), serde_json::to_vec(&network).unwrap()).unwrap();
            network
        }

        fn live(&mut self, container: &str) {
            let dir = self.paths.monitor(container);
            make_dir(&dir).unwrap();
            let file = StdFile::create(dir.join("lock")).unwrap();
            file.try_lock().unwrap();
            self.alive.push(file);
        }

        fn lease(&self, network: &Network, container: &str) -> Result<Lease> {
            lease(&self.paths, network, &Wish::default(), container, &[])
        }
    }

    fn pool(subnet: &str, gateway: &str) -> Pool {
        let gateway = gateway.parse().ok();
        Pool { gateway, ..Pool::of(subnet.parse().unwrap(), true) }
    }

    fn wants(ip: &str) -> Wish {
        Wish { ipv4: Some(ip.parse().unwrap()), ..Wish::default() }
    }

    #[test]
    fn the_lowest_free_address_is_given_and_given_back() {
        let w = World::new();
        let net = w.network(pool("10.0.0.0/29", "10.0.0.1"));
        let last = |lease: Lease| lease.ipv4.unwrap().octets()[3];
        let given: Vec<u8> =
            ["a", "b", "c"].iter().map(|c| last(w.lease(&net, c).unwrap())).collect();
        assert_eq!(given, [2, 3, 4]);
        release(&w.paths, &net.id, "a").unwrap();
        release(&w.paths, &net.id, "nobody").unwrap();
        assert_eq!(last(w.lease(&net, "d").unwrap()), 2);
        assert_eq!(last(w.lease(&net, "c").unwrap()), 4, "who asks again gives back first");
        assert_eq!(read(&w.paths, &net.id).len(), 3);
        let lease = &read(&w.paths, &net.id)[0];
        assert!(lease.mac == "02:42:0a:00:00:03" && lease.endpoint.len() == 64, "{lease:?}");
        rename(&w.paths, &net.id, "b", &["new".into()]).unwrap();
        assert_eq!(read(&w.paths, &net.id)[0].names, ["new"]);
    }

    #[test]
    fn what_was_given_back_is_marked_until_its_flows_are_forgotten() {
        let mut w = World::new();
        let net = w.network(pool("10.0.0.0/30", "10.0.0.1"));
        let two: IpAddr = "10.0.0.2".parse().unwrap();
        w.live("a");
        w.lease(&net, "a").unwrap();
        assert!(known(&w.paths, &net.id).is_empty());
        w.lease(&net, "a").unwrap(); // its next life
        assert_eq!(known(&w.paths, &net.id), [two]);
        forgotten(&w.paths, &net.id, &[two]).unwrap();
        release(&w.paths, &net.id, "a").unwrap();
        release(&w.paths, &net.id, "a").unwrap();
        assert_eq!(known(&w.paths, &net.id), [two]);
        // Who takes it finds the mark, and leaves it when it dies before it did anything.
        w.lease(&net, "b").unwrap();
        assert_eq!(known(&w.paths, &net.id), [two]);
        forgotten(&w.paths, &net.id, &[two]).unwrap();
        assert_eq!(w.lease(&net, "c").unwrap().ipv4, "10.0.0.2".parse().ok(), "b is dead");
        assert_eq!(known(&w.paths, &net.id), [two]);
        forgotten(&w.paths, &net.id, &[two]).unwrap();
        let lan = Network { driver: Driver::Macvlan, ..net.clone() };
        w.lease(&lan, "c").unwrap();
        forgotten(&w.paths, &net.id, &[two]).unwrap();
        release(&w.paths, &net.id, "c").unwrap();
        assert!(known(&w.paths, &net.id).is_empty(), "nobody here follows what a LAN says");
        std::fs::remove_dir_all(dir(&w.paths, &net.id)).unwrap();
        forgotten(&w.paths, &net.id, &[two]).unwrap();
        assert!(!dir(&w.paths, &net.id).exists(), "nothing is made for a network that went");
    }

    #[test]
    fn a_full_network_says_so_and_takes_back_from_the_dead() {
        let mut w = World::new();
        let net = w.network(pool("10.0.0.0/29", "10.0.0.1"));
        for n in 0..5 {
            w.live(&n.to_string());
            w.lease(&net, &n.to_string()).unwrap();
        }
        let full = w.lease(&net, "late").unwrap_err().message;
        assert!(full.starts_with("no available addresses on this pool: network net"), "{full}");
        w.alive.remove(3);
        assert_eq!(living(&w.paths, &net.id).len(), 4);
        assert_eq!(w.lease(&net, "late").unwrap().ipv4, Some(Ipv4Addr::new(10, 0, 0, 5)));
    }

    #[test]
    fn a_wanted_address_is_given_once_and_only_where_the_subnet_was_typed() {
        let mut w = World::new();
        let mut net = w.network(pool("10.0.0.0/24", "10.0.0.1"));
        w.live("a");
        let lease = |net: &Network, who: &str, ip: &str| {
            lease(&w.paths, net, &wants(ip), who, &["web".into()])
        };
        assert_eq!(lease(&net, "a", "10.0.0.77").unwrap().ipv4, "10.0.0.77".parse().ok());
        for (ip, why) in [
            ("10.0.0.77", "Address already in use: 10.0.0.77 of network net is container web's"),
            ("10.0.0.1", "Address already in use: network net keeps"),
            ("10.0.0.255", "Address already in use"),
            ("10.0.1.1", "no configured subnet or ip-range contain the IP address 10.0.1.1"),
        ] {
            let said = lease(&net, "b", ip).unwrap_err().message;
            assert!(said.contains(why), "{said}");
        }
        net.pools[0].subnet_typed = false;
        let said = lease(&net, "b", "10.0.0.9").unwrap_err().message;
        assert!(said.contains("user specified IP address is supported only when"), "{said}");
    }

    #[test]
    fn what_is_kept_is_not_given() {
        let w = World::new();
        let first = |pool: Pool| first_free(&pool, |_| false).map(|a| a.to_string());
        assert_eq!(first(pool("10.0.0.0/31", "")).as_deref(), Some("10.0.0.0"));
        assert_eq!(first(pool("10.0.0.0/30", "10.0.0.1")).as_deref(), Some("10.0.0.2"));
        assert_eq!(first(pool("fd00::/64", "fd00::1")).as_deref(), Some("fd00::2"));
        assert_eq!(first(pool("10.0.0.0/32", "")).as_deref(), Some("10.0.0.0"));
        let mut ranged = pool("10.1.0.0/16", "10.1.2.0");
        ranged.ip_range = Some("10.1.2.0/30".parse().unwrap());
        ranged.aux_addresses.insert("x".into(), "10.1.2.1".parse().unwrap());
        assert_eq!(first(ranged.clone()).as_deref(), Some("10.1.2.2"));
        let net = w.network(ranged);
        let given: Vec<_> = ["a", "b"].iter().map(|c| w.lease(&net, c).unwrap().ipv4).collect();
        assert_eq!(given, ["10.1.2.2".parse().ok(), "10.1.2.3".parse().ok()]);
    }

    #[test]
    fn leases_of_another_boot_and_of_a_network_that_went_are_none() {
        let w = World::new();
        let net = w.network(pool("10.0.0.0/24", "10.0.0.1"));
        w.lease(&net, "a").unwrap();
        let path = file(&w.paths, &net.id);
        let text = std::fs::read_to_string(&path).unwrap();
        let boot = crate::monitor::boot_id().unwrap();
        std::fs::write(&path, text.replace(&boot, "before")).unwrap();
        assert!(read(&w.paths, &net.id).is_empty());
        std::fs::write(&path, "{half").unwrap();
        assert_eq!(w.lease(&net, "b").unwrap().ipv4, Some(Ipv4Addr::new(10, 0, 0, 2)));
        std::fs::remove_file(w.paths.root.join("networks/net.json")).unwrap();
        assert_eq!(w.lease(&net, "c").unwrap_err().message, "network net not found");
    }

    #[test]
    fn sixty_five_thousand_addresses_are_given_from_while_nearly_all_are_taken() {
        let pool = pool("10.0.0.0/16", "10.0.0.1");
        let mut taken = HashSet::new();
        for number in 2..65_534_u32 {
            taken.insert(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number)));
        }
        assert_eq!(first_free(&pool, |a| taken.contains(a)), Some("10.0.255.254".parse().unwrap()));
        taken.insert("10.0.255.254".parse().unwrap());
        assert_eq!(first_free(&pool, |a| taken.contains(a)), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
        /// Locks count by open file: threads here are as good as processes.
        #[test]
        fn many_at_once_never_share_an_address_and_give_all_back(
            bits in 26_u8..=28, workers in 2_usize..=6,
            turns in prop::collection::vec(any::<bool>(), 10..30),
        ) {
            let w = World::new();
            let net = w.network(pool(&format!("10.9.0.0/{bits}"), "10.9.0.1"));
            let held = std::sync::Mutex::new(HashSet::new());
            std::thread::scope(|scope| {
                for worker in 0..workers {
                    let (w, net, held, turns) = (&w, &net, &held, &turns);
                    scope.spawn(move || {
                        let mut mine: Vec<(String, Ipv4Addr)> = Vec::new();
                        for (n, take) in turns.iter().enumerate() {
                            // At most two each: never full, so nobody is taken back from.
                            if *take && mine.len() < 2 {
                                let who = format!("{worker}-{n}");
                                let ip = w.lease(net, &who).unwrap().ipv4.unwrap();
                                assert!(held.lock().unwrap().insert(ip), "{ip} was given twice");
                                mine.push((who, ip));
                            } else if let Some((who, ip)) = mine.pop() {
                                assert!(held.lock().unwrap().remove(&ip));
                                release(&w.paths, &net.id, &who).unwrap();
                            }
                        }
                        for (who, ip) in mine {
                            held.lock().unwrap().remove(&ip);
                            release(&w.paths, &net.id, &who).unwrap();
                        }
                    });
                }
            });
            prop_assert!(read(&w.paths, &net.id).is_empty());
            prop_assert!(held.lock().unwrap().is_empty());
        }
    }
}
