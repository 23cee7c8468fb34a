//! Networks, what a container wants of them, and what it has got.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A network's kind: what docker calls its driver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge of this machine, with addresses translated towards the outside.
    #[default]
    Bridge,
    /// Further Ethernet addresses on one of the machine's interfaces.
    Macvlan,
    /// Further IP addresses on one of the machine's interfaces.
    Ipvlan,
    /// The machine's own network.
    Host,
    /// None but loopback.
    Null,
}

impl Driver {
    /// docker's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Host => "host",
            Self::Null => "null",
        }
    }
}

/// Addresses of a network, one family of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Pool {
    /// `172.17.0.0/16`; the bits behind the mask are zero.
    pub subnet: Subnet,
    /// Somebody typed the subnet; only then may containers name their addresses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub subnet_typed: bool,
    /// The part of it that containers get theirs from; unset means all of it.
    #[serde(rename = "IPRange", default, skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<Subnet>,
    /// The network's own address; a bridge bears it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Somebody typed the gateway.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gateway_typed: bool,
    /// Addresses that are somebody else's, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

impl Pool {
    /// A subnet that somebody typed, or that was chosen, and nothing else.
    pub fn of(subnet: Subnet, typed: bool) -> Self {
        Self {
            subnet,
            subnet_typed: typed,
            ip_range: None,
            gateway: None,
            gateway_typed: false,
            aux_addresses: BTreeMap::new(),
        }
    }

    /// Where containers leave: the gateway, unless another address is set for it.
    pub fn way_out(&self) -> Option<IpAddr> {
        let named = ["DefaultGatewayIPv4", "DefaultGatewayIPv6"];
        let named = named.iter().find_map(|key| self.aux_addresses.get(*key));
        named.copied().or(self.gateway)
    }
}

/// An address and how many bits of it are the network's, written `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    /// The address.
    pub address: IpAddr,
    /// At most 32 or 128.
    pub bits: u8,
}

impl Subnet {
    /// The same with the bits behind the mask at zero.
    #[must_use]
    pub fn network(self) -> Self {
        Self { address: address_of(number_of(self.address) & self.mask(), self.address), ..self }
    }

    /// Whether `address` is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && (number_of(address) ^ number_of(self.address)) & self.mask() == 0
    }

    /// Whether the two have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        let wider = if self.bits <= other.bits { self } else { other };
        let narrower = if self.bits <= other.bits { other } else { self };
        wider.contains(narrower.address)
    }

    /// The last address; of an IPv4 subnet, its broadcast.
    pub fn last(self) -> IpAddr {
        let width = width_of(self.address);
        let all = if width == 128 { u128::MAX } else { (1 << width) - 1 };
        address_of(number_of(self.address) | (all & !self.mask()), self.address)
    }

    fn mask(self) -> u128 {
        let width = width_of(self.address);
        let all = if width == 128 { u128::MAX } else { (1 << width) - 1 };
        all.checked_shl(u32::from(width - self.bits)).unwrap_or(0) & all
    }
}

fn width_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An address as a number.
pub fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The number as an address of the same family as `like`.
pub fn address_of(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(number as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

impl std::str::FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("invalid CIDR address: {text}");
        let (address, bits) = text.split_once('/').ok_or_else(bad)?;
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let plain = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
        let bits: u8 = bits.parse().ok().filter(|_| plain).ok_or_else(bad)?;
        if bits > width_of(address) {
            return Err(bad());
        }
        Ok(Self { address, bits })
    }
}

impl TryFrom<String> for Subnet {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// ROOT/networks/NAME.json: a network as it was made. `host` and `none` have no file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Network {
    /// Version of this form; a newer one is refused.
    pub version: u32,
    /// Unique in its world.
    pub name: String,
    /// 64 hex digits.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its kind.
    pub driver: Driver,
    /// The host's device: a bridge's name, or the interface that macvlan and ipvlan stand on.
    pub device: String,
    /// No way out of it, and none in.
    #[serde(default)]
    pub internal: bool,
    /// Told by `inspect`; Swarm's.
    #[serde(default)]
    pub attachable: bool,
    /// Containers get IPv4 addresses.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: bool,
    /// Containers get IPv6 addresses.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    /// `default`, or `null` for none.
    #[serde(rename = "IPAMDriver")]
    pub ipam_driver: String,
    /// Options of that driver, as typed.
    #[serde(rename = "IPAMOptions", default)]
    pub ipam_options: BTreeMap<String, String>,
    /// Its addresses, IPv4 before IPv6.
    pub pools: Vec<Pool>,
    /// `-o` as typed.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// `--label`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl Network {
    /// The version written today.
    pub const VERSION: u32 = 1;
    /// The default network's name.
    pub const BRIDGE: &'static str = "bridge";

    /// A network of this name and kind with nothing said about it: no id, no addresses.
    pub fn draft(name: &str, driver: Driver) -> Self {
        Self {
            version: Self::VERSION,
            name: name.to_owned(),
            id: String::new(),
            created: Timestamp::UNIX_EPOCH,
            driver,
            device: String::new(),
            internal: false,
            attachable: false,
            enable_ipv4: true,
            enable_ipv6: false,
            ipam_driver: "default".to_owned(),
            ipam_options: BTreeMap::new(),
            pools: Vec::new(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }

    /// `bridge`, `host` and `none`: nobody makes or removes them.
    pub fn is_predefined(name: &str) -> bool {
        matches!(name, Self::BRIDGE | "host" | "none" | "default")
    }

    /// The first twelve digits, as docker prints ids.
    pub fn short_id(&self) -> &str {
        &self.id[..self.id.len().min(12)]
    }

    /// The network that containers are in when nothing is said; names aren't resolved in it.
    pub fn is_default(&self) -> bool {
        self.name == Self::BRIDGE
    }

    /// Docker's `-o com.docker.network.…`, by what follows; nothing when it wasn't given.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options.get(&format!("com.docker.network.{key}")).map(String::as_str)
    }

    /// Its first pool of IPv4 (or of IPv6).
    pub fn pool(&self, ipv6: bool) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.subnet.address.is_ipv6() == ipv6)
    }
}

/// What a container wants of one network; in its record, for all its lives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Wish {
    /// The network's name; `host` and `none` stand alone.
    pub network: String,
    /// Further names in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// `CONTAINER:ALIAS`: names that this container alone knows (user networks).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// `--ip`
    #[serde(rename = "IPv4", skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Addr>,
    /// `--ip6`
    #[serde(rename = "IPv6", skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
    /// `--link-local-ip`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub link_local: Vec<IpAddr>,
    /// `--mac-address`, lower case with colons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// `driver-opt=` of `--network`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
    /// The highest has the default route.
    pub gw_priority: i64,
}

/// What a container has in one network, for one life; in its state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Endpoint {
    /// The network's name.
    pub network: String,
    /// The network's id.
    pub network_id: String,
    /// 64 hex digits.
    pub id: String,
    /// The container's interface, `eth0`.
    pub interface: String,
    /// The other end of the pair, on the host; empty for macvlan and ipvlan.
    pub host_interface: String,
    /// Lower case with colons.
    pub mac: String,
    /// With the length of the network's part.
    #[serde(rename = "IPv4", skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Subnet>,
    /// Where IPv4 leaves.
    #[serde(rename = "Gateway4", skip_serializing_if = "Option::is_none")]
    pub gateway4: Option<Ipv4Addr>,
    /// With the length of the network's part.
    #[serde(rename = "IPv6", skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Subnet>,
    /// Where IPv6 leaves.
    #[serde(rename = "Gateway6", skip_serializing_if = "Option::is_none")]
    pub gateway6: Option<Ipv6Addr>,
    /// What it is called in that network: its name, its short id, its aliases.
    pub names: Vec<String>,
    /// Default routes of the container go through it.
    pub leads_out: bool,
}

/// The protocols of ports.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// 6
    #[default]
    Tcp,
    /// 17
    Udp,
    /// 132
    Sctp,
}

impl Protocol {
    /// docker's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A port of the host that leads into the container, for one life; in its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Published {
    /// The port inside.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The host's address; unspecified means all of its family.
    pub host_ip: IpAddr,
    /// The host's port.
    pub host_port: u16,
}

/// docker's `PortBinding`: what was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortBinding {
    /// Empty for all of the host's addresses.
    pub host_ip: String,
    /// Empty for any that is free; `8000-8010` for the first of these that is.
    pub host_port: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_know_what_is_in_them() {
        let net = subnet("172.17.3.4/16");
        assert_eq!(net.network(), subnet("172.17.0.0/16"));
        assert_eq!(net.last().to_string(), "172.17.255.255");
        assert!(net.contains("172.17.255.1".parse().unwrap()));
        assert!(!net.contains("172.18.0.1".parse().unwrap()));
        assert!(!net.contains("::1".parse().unwrap()));
        assert!(subnet("0.0.0.0/0").overlaps(net) && net.overlaps(subnet("172.17.9.0/24")));
        assert!(!net.overlaps(subnet("172.16.0.0/16")));
        assert_eq!(subnet("fd00::/64").last().to_string(), "fd00::ffff:ffff:ffff:ffff");
        assert_eq!(subnet("::/0").last().to_string(), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    }

    #[test]
    fn what_is_no_subnet_is_refused() {
        for text in ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "::/129", "1.2.3.4/+8"]
        {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }
}
