//! Networks as they were made: ROOT/networks/NAME.json; `host` and `none` are in no file.

mod bridge;
mod making;

pub use bridge::allows_rules;
pub use making::check_name;

use std::path::{Path, PathBuf};

use dhow_image::digest::Digest;

use crate::error::{Error, Result};
use crate::events::{self, Kind};
use crate::host::Paths;
use crate::model::Network;
use crate::model::network::Driver;
use crate::net::{self, ipam};

use super::file::{Sync, make_dir, write_atomic};

/// What is done to a network's devices, with the namespace's lock held.
pub type Act = fn(&net::Lock, &Paths, &Network) -> Result<()>;

/// The networks of a world.
#[derive(Debug, Clone)]
pub struct Networks {
    paths: Paths,
}

impl Networks {
    /// The networks of `paths`; nothing is made yet.
    pub fn open(paths: &Paths) -> Self {
        Self { paths: paths.clone() }
    }

    fn dir(&self) -> PathBuf {
        self.paths.root.join("networks")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir().join(format!("{name}.json"))
    }

    /// All that are recorded, and `host` and `none`, by name. The default network is among them
    /// once [`Networks::default_bridge`] has been called.
    pub fn list(&self) -> Result<Vec<Network>> {
        let mut all = self.recorded()?;
        all.extend([self.predefined("host", Driver::Host), self.predefined("none", Driver::Null)]);
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    fn recorded(&self) -> Result<Vec<Network>> {
        let dir = self.dir();
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("read", &dir, e)),
        };
        let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
        let mut all = Vec::new();
        for name in names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)) {
            all.extend(self.load(&name)?); // gone between the two: fine
        }
        Ok(all)
    }

    /// The network called `name`, if there is one.
    pub fn get(&self, name: &str) -> Result<Option<Network>> {
        match name {
            "host" => Ok(Some(self.predefined("host", Driver::Host))),
            "none" => Ok(Some(self.predefined("none", Driver::Null))),
            _ if !super::is_name(name) => Ok(None),
            _ => self.load(name),
        }
    }

    fn load(&self, name: &str) -> Result<Option<Network>> {
        let path = self.file(name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", &path, e)),
        };
        let found: Network =
            serde_json::from_slice(&bytes).map_err(|e| Error::io("read", &path, e))?;
        if found.version > Network::VERSION {
            return Err(Error::io("read", &path, "written by a newer dhow; upgrade this one"));
        }
        Ok(Some(found))
    }

    /// `host` and `none`: nothing about them changes, and their ids follow from ROOT.
    fn predefined(&self, name: &str, driver: Driver) -> Network {
        let seed = [name.as_bytes(), self.paths.root.as_os_str().as_encoded_bytes()].join(&0);
        let made = std::fs::metadata(&self.paths.root)
            .and_then(|m| m.created().or_else(|_| m.modified()))
            .ok()
            .and_then(|at| at.try_into().ok());
        Network {
            id: Digest::of(&seed).hex().to_owned(),
            created: made.unwrap_or_default(),
            ..Network::draft(name, driver)
        }
    }

    /// The network that `needle` names: full id, name, or a prefix of one id only.
    pub fn find(&self, needle: &str) -> Result<Network> {
        pick(self.list()?, needle)
    }

    /// Keeps what was made, whole or not at all.
    fn keep(&self, network: &Network) -> Result<()> {
        make_dir(&self.dir())?;
        let bytes =
            serde_json::to_vec(network).map_err(|e| Error::engine(format!("encode: {e}")))?;
        write_atomic(&self.file(&network.name), &bytes, Sync::Yes)
    }

    /// Removes a network that no container has an address in; `lower` takes its devices away, unless
    /// another network has the same.
    pub fn remove(&self, network: &Network, lower: Act) -> Result<()> {
        if Network::is_predefined(&network.name) {
            return Err(Error::conflict(format!(
                "{} is a pre-defined network and cannot be removed",
                network.name
            )));
        }
        let lock = net::Lock::take()?;
        let same = |other: &Network| other.device == network.device && other.id != network.id;
        let alone = !self.recorded()?.iter().any(same);
        ipam::close(&self.paths, &network.id, |leases| {
            if !leases.is_empty() {
                return Err(in_use(network, leases));
            }
            // The record goes last: a kill leaves a network without devices, which are made again.
            if alone {
                lower(&lock, &self.paths, network)?;
            }
            let path = self.file(&network.name);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    Err(Error::not_found(format!("network {} not found", network.name)))
                }
                Err(e) => Err(Error::io("remove", &path, e)),
                Ok(()) => sync(&self.dir()),
            }
        })?;
        self.tell("destroy", network, &[]);
        Ok(())
    }

    /// Appends an event of a network: its name and kind come with it, as docker's.
    pub fn tell(&self, action: &str, network: &Network, more: &[(&str, &str)]) {
        let own = [("name", network.name.as_str()), ("type", network.driver.as_str())];
        let all: Vec<_> = own.into_iter().chain(more.iter().copied()).collect();
        events::emit_in(&self.paths.root, Kind::Network, action, &network.id, &all);
    }
}

/// The one of `all` that `needle` names, in docker's order.
pub fn pick(all: Vec<Network>, needle: &str) -> Result<Network> {
    if let Some(found) = all.iter().find(|n| n.id == needle || n.name == needle) {
        return Ok(found.clone());
    }
    let hex = !needle.is_empty() && needle.bytes().all(|b| b.is_ascii_hexdigit());
    let mut found: Vec<&Network> = all.iter().filter(|n| hex && n.id.starts_with(needle)).collect();
    if found.len() > 1 {
        return Err(Error::usage(format!(
            "network {needle} is ambiguous ({} matches found based on ID prefix)",
            found.len()
        )));
    }
    found.pop().cloned().ok_or_else(|| {
        let near = crate::output::nearest(needle, all.iter().map(|n| n.name.clone()));
        let hint = near.map_or_else(
            || "; `dhow network ls` lists them".to_owned(),
            |name| format!("; did you mean \"{name}\"?"),
        );
        Error::not_found(format!("network {needle} not found{hint}"))
    })
}

fn in_use(network: &Network, leases: &[ipam::Lease]) -> Error {
    let told: Vec<String> = leases
        .iter()
        .map(|lease| {
            let name = lease.names.first().map_or("", String::as_str);
            format!("name:\"{name}\" id:\"{}\"", &lease.endpoint[..lease.endpoint.len().min(12)])
        })
        .collect();
    Error::conflict(format!(
        "error while removing network: network {} has active endpoints ({}); \
         disconnect or stop the containers first",
        network.name,
        told.join(", ")
    ))
}

fn sync(dir: &Path) -> Result<()> {
    let synced = std::fs::File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|e| Error::io("sync", dir, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Subnet;
    use crate::model::network::Pool;
    use crate::settings::{AddressPool, Daemon};

    const NOTHING: Act = |_, _, _| Ok(());

    fn world() -> (tempfile::TempDir, Networks) {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths { root: dir.path().join("root"), run: dir.path().join("run") };
        (dir, Networks::open(&paths))
    }

    fn draft(name: &str, subnets: &[&str]) -> Network {
        let pools = subnets.iter().map(|s| Pool::of(s.parse().unwrap(), true)).collect();
        Network { pools, ..Network::draft(name, Driver::Bridge) }
    }

    #[test]
    fn a_network_is_made_found_and_removed() {
        let (_dir, networks) = world();
        let daemon = Daemon::default();
        let made = networks.create(draft("web", &["10.88.0.0/24"]), &daemon, NOTHING).unwrap();
        assert_eq!(made.pools[0].gateway, Some("10.88.0.1".parse().unwrap()));
        assert_eq!(made.device, format!("dh-{}", &made.id[..12]));
        for needle in ["web", &made.id, &made.id[..7]] {
            assert_eq!(networks.find(needle).unwrap(), made);
        }
        let again = networks.create(draft("web", &[]), &daemon, NOTHING).unwrap_err().message;
        assert_eq!(again, "network with name web already exists");
        let near = networks
            .create(draft("db", &["10.88.0.128/25"]), &daemon, NOTHING)
            .unwrap_err()
            .message;
        assert!(
            near.starts_with("invalid pool request: Pool overlaps with other one on"),
            "{near}"
        );
        let missing = networks.find("wob").unwrap_err().message;
        assert_eq!(missing, "network wob not found; did you mean \"web\"?");
        networks.remove(&made, NOTHING).unwrap();
        assert!(networks.remove(&made, NOTHING).unwrap_err().message.contains("not found"));
        let names: Vec<String> = networks.list().unwrap().into_iter().map(|n| n.name).collect();
        assert_eq!(names, ["host", "none"]);
    }

    #[test]
    fn predefined_networks_are_always_there_with_the_same_ids() {
        let (_dir, networks) = world();
        let host = networks.find("host").unwrap();
        assert_eq!(networks.find(&host.id[..12]).unwrap(), host);
        assert_ne!(host.id, networks.find("none").unwrap().id);
        assert!(networks.remove(&host, NOTHING).unwrap_err().message.contains("pre-defined"));
        for name in ["host", "bridge", "none", "default"] {
            let said =
                networks.create(draft(name, &[]), &Daemon::default(), NOTHING).unwrap_err().message;
            assert_eq!(said, format!("operation is not permitted on predefined {name} network"));
        }
        for name in ["", " ", "a/b", "-x", "../x", &"x".repeat(201)] {
            assert!(
                networks.create(draft(name, &[]), &Daemon::default(), NOTHING).is_err(),
                "{name}"
            );
        }
    }

    #[test]
    fn subnets_come_from_the_pools_that_daemon_json_names() {
        let (_dir, networks) = world();
        let base = "10.200.0.0/16".to_owned();
        let daemon = Daemon {
            default_address_pools: vec![AddressPool { base, size: 24 }],
            ..Daemon::default()
        };
        let one = networks.create(draft("one", &[]), &daemon, NOTHING).unwrap();
        let both = Network { enable_ipv6: true, ..draft("two", &[]) };
        let two = networks.create(both, &daemon, NOTHING).unwrap();
        assert_eq!(one.pools[0].subnet.to_string(), "10.200.0.0/24");
        assert_eq!(two.pools[0].subnet.to_string(), "10.200.1.0/24");
        assert!(two.pools[1].subnet.to_string().starts_with("fd"));
        assert_eq!(two.pools[1].subnet.bits, 64);
        let own = Network { ipam_driver: "null".into(), ..draft("three", &[]) };
        assert!(networks.create(own, &daemon, NOTHING).unwrap().pools.is_empty());
    }

    #[test]
    fn the_default_network_is_what_daemon_json_says() {
        let (_dir, networks) = world();
        let plain = networks.default_bridge(&Daemon::default()).unwrap();
        assert_eq!(networks.default_bridge(&Daemon::default()).unwrap(), plain);
        assert_eq!(plain.option("driver.mtu"), None);
        let settled = Daemon {
            bip: "10.77.3.1/16".into(),
            fixed_cidr: "10.77.4.0/24".into(),
            default_gateway: "10.77.0.9".into(),
            ipv6: true,
            fixed_cidr_v6: "fd77::/64".into(),
            icc: Some(false),
            mtu: Some(1400),
            ..Daemon::default()
        };
        let bridge = networks.default_bridge(&settled).unwrap();
        assert_eq!((&bridge.id, bridge.created), (&plain.id, plain.created));
        let subnet = |text: &str| text.parse::<Subnet>().unwrap();
        assert_eq!(bridge.pools[0].subnet, subnet("10.77.0.0/16"));
        assert_eq!(bridge.pools[0].ip_range, Some(subnet("10.77.4.0/24")));
        assert_eq!(bridge.pools[0].gateway, Some("10.77.3.1".parse().unwrap()));
        assert_eq!(bridge.pools[0].way_out(), Some("10.77.0.9".parse().unwrap()));
        assert_eq!(bridge.pools[1].gateway, Some("fd77::1".parse().unwrap()));
        assert_eq!(bridge.option("bridge.enable_icc"), Some("false"));
        assert_eq!(bridge.option("driver.mtu"), Some("1400"));
        assert_eq!(networks.default_bridge(&settled).unwrap(), bridge);
        for (wrong, word) in [
            (Daemon { bip: "x".into(), ..Daemon::default() }, "bip"),
            (Daemon { bip: "fd00::1/64".into(), ..Daemon::default() }, "other family"),
            (
                Daemon {
                    bip: "10.1.0.1/24".into(),
                    fixed_cidr: "10.2.0.0/24".into(),
                    ..Daemon::default()
                },
                "fixed-cidr",
            ),
            (Daemon { default_gateway: "10.1.0.1".into(), ..Daemon::default() }, "needs bip"),
            (Daemon { bridge: "none".into(), ..Daemon::default() }, "network bridge not found"),
            (Daemon { bridge: "nobridge0".into(), ..Daemon::default() }, "no bridge of this"),
            (Daemon { iptables: Some(false), ..Daemon::default() }, "nftables"),
            (Daemon { ip_forward_no_drop: true, ..Daemon::default() }, "ip-forward-no-drop"),
            (
                Daemon { userland_proxy_path: "/p".into(), ..Daemon::default() },
                "monitor is its proxy",
            ),
            (Daemon { allow_direct_routing: true, ..Daemon::default() }, "nat-unprotected"),
        ] {
            let said = networks.default_bridge(&wrong).unwrap_err().message;
            assert!(said.contains(word), "{said}");
        }
    }
}
