//! The names of a container's networks, out of their lease files.

use std::collections::HashMap;
use std::fs::Metadata;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;

use serde::Deserialize;

use super::Membership;

/// More is no lease file.
const LONGEST: u64 = 64 << 20;

/// The file, as `net::ipam` writes it.
#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    boot: String,
    leases: Vec<Lease>,
}

/// What is of interest in a lease.
#[derive(Deserialize)]
struct Lease {
    #[serde(default)]
    ipv4: Option<Ipv4Addr>,
    #[serde(default)]
    ipv6: Option<Ipv6Addr>,
    #[serde(default)]
    names: Vec<String>,
}

/// One network, as its file told it last.
pub struct Known {
    of: Membership,
    stamp: Option<Stamp>,
    /// Lower case name → which of `addresses`.
    by_name: HashMap<Box<str>, Vec<u32>>,
    addresses: Vec<Addresses>,
}

struct Addresses {
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    name: Box<str>,
}

/// A file that was replaced has another.
#[derive(PartialEq, Eq, Clone, Copy)]
struct Stamp {
    inode: u64,
    changed: (i64, i64),
    size: u64,
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        let changed = (meta.mtime(), meta.mtime_nsec());
        Self { inode: meta.ino(), changed, size: meta.size() }
    }
}

impl Known {
    /// Nothing is read yet.
    pub fn new(of: Membership) -> Self {
        Self { of, stamp: None, by_name: HashMap::new(), addresses: Vec::new() }
    }

    /// Reads the file again when it was replaced. One that can't be read leaves what was known.
    fn refresh(&mut self) {
        let Ok(meta) = std::fs::metadata(&self.of.file) else {
            self.forget();
            return;
        };
        let stamp = Stamp::of(&meta);
        if self.stamp == Some(stamp) || meta.size() > LONGEST {
            return;
        }
        let Ok(text) = std::fs::read(&self.of.file) else { return };
        if let Ok(file) = serde_json::from_slice::<File>(&text) {
            // RUN may survive a reboot; leases don't.
            let now = crate::monitor::boot_id().is_ok_and(|boot| boot == file.boot);
            self.learn(if now { file.leases } else { Vec::new() });
            self.stamp = Some(stamp);
        }
    }

    fn forget(&mut self) {
        self.stamp = None;
        self.by_name = HashMap::new();
        self.addresses = Vec::new();
    }

    fn learn(&mut self, leases: Vec<Lease>) {
        self.forget();
        for lease in leases {
            let Some(first) = lease.names.first() else { continue };
            let at = self.addresses.len() as u32;
            let name = first.clone().into();
            self.addresses.push(Addresses { ipv4: lease.ipv4, ipv6: lease.ipv6, name });
            for name in &lease.names {
                self.by_name.entry(name.to_lowercase().into()).or_default().push(at);
            }
        }
    }

    fn find(&self, name: &str) -> Option<Vec<IpAddr>> {
        let (alias, name) =
            match self.of.links.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)) {
                Some((_, target)) => (true, target.to_lowercase()),
                None => (false, name.to_owned()),
            };
        let found = self.by_name.get(name.as_str());
        let found = found.or_else(|| alias.then(|| self.starting_with(&name)).flatten())?;
        let all = found.iter().filter_map(|at| self.addresses.get(*at as usize));
        Some(all.flat_map(|a| [a.ipv4.map(IpAddr::V4), a.ipv6.map(IpAddr::V6)]).flatten().collect())
    }

    /// A link may name its container by more of its id than its short one.
    fn starting_with(&self, id: &str) -> Option<&Vec<u32>> {
        let short = id.get(..12).filter(|s| s.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.by_name.get(short)
    }
}

/// All addresses of `name`, lower case and without a dot at its end; nothing when no network
/// knows it. A name may have the network's behind it.
pub fn resolve(networks: &mut [Known], name: &str) -> Option<Vec<IpAddr>> {
    networks.iter_mut().for_each(Known::refresh);
    if let Some(found) = networks.iter().find_map(|network| network.find(name)) {
        return Some(found);
    }
    let mut end = name.len();
    while let Some(dot) = name[..end].rfind('.') {
        let (first, network) = (&name[..dot], &name[dot + 1..]);
        let mut named = networks.iter().filter(|known| known.of.name.eq_ignore_ascii_case(network));
        if let Some(found) = named.find_map(|known| known.find(first)) {
            return Some(found);
        }
        end = dot;
    }
    None
}

/// What the container at `address` is called, `NAME.NETWORK`.
pub fn reverse(networks: &mut [Known], address: IpAddr) -> Option<String> {
    networks.iter_mut().for_each(Known::refresh);
    networks.iter().find_map(|network| {
        let has = |a: &&Addresses| match address {
            IpAddr::V4(v4) => a.ipv4 == Some(v4),
            IpAddr::V6(v6) => a.ipv6 == Some(v6),
        };
        let found = network.addresses.iter().find(has)?;
        Some(format!("{}.{}", found.name, network.of.name))
    })
}
