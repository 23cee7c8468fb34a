//! A network's rules, and the elements that stand for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::layout::{
    APART, BRIDGES, LOCAL, OPENED, PUBLISHED, PUBLISHED_AT, ROUTED, SEALED, SENDERS, TRANSLATED,
    UNPROTECTED, VERSION, WITHIN,
};
use super::object::Element;
use super::rule::name;
use crate::error::{Error, Result};
use crate::model::network::{Network, Protocol, Published, Subnet};

/// `com.docker.network.bridge.gateway_mode_ipv4` (or `…_ipv6`): how a network is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GatewayMode {
    /// Addresses are translated, and only published ports are reached.
    #[default]
    Nat,
    /// The same, but others that know a way to the containers' own addresses may use it.
    NatUnprotected,
    /// Nothing is translated; published ports are open at the containers' own addresses.
    Routed,
    /// The machine itself has no address there either; for internal networks.
    Isolated,
}

impl std::str::FromStr for GatewayMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "nat" => Ok(Self::Nat),
            "nat-unprotected" => Ok(Self::NatUnprotected),
            "routed" => Ok(Self::Routed),
            "isolated" => Ok(Self::Isolated),
            _ => Err(format!("unknown gateway mode {text}")),
        }
    }
}

/// What the firewall has to know of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRules {
    /// Its bridge.
    pub device: String,
    /// Its addresses.
    pub subnets: Vec<Subnet>,
    /// Nothing enters or leaves it.
    pub internal: bool,
    /// Senders' addresses are translated on the way out.
    pub masquerade: bool,
    /// Its containers may speak to each other.
    pub icc: bool,
    /// How it is reached by IPv4, and by IPv6.
    pub modes: [GatewayMode; 2],
    /// What its senders' IPv4 addresses become; unset: the address of the device they leave by.
    pub sender4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub sender6: Option<Ipv6Addr>,
}

impl Default for NetworkRules {
    fn default() -> Self {
        Self {
            device: String::new(),
            subnets: Vec::new(),
            internal: false,
            masquerade: true,
            icc: true,
            modes: [GatewayMode::Nat; 2],
            sender4: None,
            sender6: None,
        }
    }
}

impl NetworkRules {
    /// Of a bridge network, by docker's options.
    pub fn of(network: &Network) -> Result<Self> {
        let bad = |key: &str, value: &str| {
            let key = format!("com.docker.network.{key}");
            Error::usage(format!("network {}: option {key}={value} makes no sense", network.name))
        };
        let flag = |key: &str| match network.option(key) {
            // Go's strconv.ParseBool.
            None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(bad(key, other)),
        };
        let mode = |key: &str| {
            network.option(key).map_or(Ok(GatewayMode::Nat), |text| {
                text.parse().map_err(|_: String| bad(key, text))
            })
        };
        let modes = [mode("bridge.gateway_mode_ipv4")?, mode("bridge.gateway_mode_ipv6")?];
        if modes.contains(&GatewayMode::Isolated) && !network.internal {
            let name = &network.name;
            return Err(Error::usage(format!(
                "network {name}: gateway mode 'isolated' can only be used for an internal network"
            )));
        }
        Ok(Self {
            device: network.device.clone(),
            subnets: network.pools.iter().map(|pool| pool.subnet).collect(),
            internal: network.internal,
            masquerade: flag("bridge.enable_ip_masquerade")?,
            icc: flag("bridge.enable_icc")?,
            modes,
            sender4: address(network, "host_ipv4").map_err(|text| bad("host_ipv4", text))?,
            sender6: address(network, "host_ipv6").map_err(|text| bad("host_ipv6", text))?,
        })
    }

    /// How it is reached by this IP.
    pub const fn mode(&self, six: bool) -> GatewayMode {
        if six { self.modes[1] } else { self.modes[0] }
    }

    /// All that its elements are made of, in a line; another line means other elements.
    pub(super) fn summary(&self) -> String {
        let Self { subnets, internal, masquerade, icc, modes, sender4, sender6, .. } = self;
        let flags = [("internal", *internal), ("masquerade", *masquerade), ("icc", *icc)];
        let mut words = vec![format!("v{VERSION}")];
        words.extend(flags.iter().filter(|f| f.1).map(|f| f.0.to_owned()));
        words.extend(modes.iter().map(|mode| format!("{mode:?}").to_lowercase()));
        words.extend(sender4.iter().map(ToString::to_string));
        words.extend(sender6.iter().map(ToString::to_string));
        words.extend(subnets.iter().map(ToString::to_string));
        let text = words.join(" ");
        // A comment's length is limited, a network's number of subnets isn't.
        let sum = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        if text.len() <= 120 { text } else { format!("{} {sum:016x}", cut(&text, 90)) }
    }

    /// Its element among the bridges.
    pub(super) fn head(&self) -> Element {
        Element::new(BRIDGES, &[&name(&self.device)]).of(&self.summary())
    }

    /// All of its elements.
    pub(super) fn elements(&self) -> Vec<Element> {
        let device = name(&self.device);
        let mut all = vec![self.head()];
        all.push(Element::new(if self.icc { WITHIN } else { APART }, &[&device, &device]));
        if self.internal {
            all.push(Element::new(SEALED, &[&device]));
            return all;
        }
        for six in [false, true] {
            let ip: &[u8] = &[if six { 10 } else { 2 }];
            match self.mode(six) {
                GatewayMode::Routed => all.push(Element::new(ROUTED, &[&device, ip])),
                GatewayMode::NatUnprotected => {
                    all.push(Element::new(UNPROTECTED, &[&device, ip]));
                }
                GatewayMode::Nat | GatewayMode::Isolated => {}
            }
        }
        for subnet in self.subnets.iter().map(|s| s.network()) {
            let six = subnet.address.is_ipv6();
            if self.masquerade && self.mode(six) != GatewayMode::Routed {
                let (first, last) = (octets(subnet.address), octets(subnet.last()));
                let from = Element::new(TRANSLATED[usize::from(six)], &[&device, &first]);
                let to = Element::new(TRANSLATED[usize::from(six)], &[&device, &last]);
                all.push(Element { last: Some(to.key), ..from });
            }
        }
        let senders = [self.sender4.map(IpAddr::from), self.sender6.map(IpAddr::from)];
        for (set, sender) in SENDERS.into_iter().zip(senders) {
            if let Some(sender) = sender {
                all.push(Element::new(set, &[&device]).leading_to(&[&octets(sender)]));
            }
        }
        all
    }
}

/// An option's address, or the text that is none.
fn address<'a, A: std::str::FromStr>(
    network: &'a Network,
    key: &str,
) -> Result<Option<A>, &'a str> {
    network.option(key).map(|text| text.parse().map_err(|_| text)).transpose()
}

fn cut(text: &str, length: usize) -> &str {
    text.get(..length).unwrap_or(text)
}

/// An address as packets bear it.
pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// A protocol's number.
pub(super) const fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// The element of a published port, for the container with short id `holder` and `address`.
///
/// A port of the host that is 0 is one of a routed network: it is open at the container's own
/// address. Nothing where rules can do nothing: between the two IPs, and on `::1`.
pub(super) fn element_of(holder: &str, port: &Published, address: IpAddr) -> Option<Element> {
    let six = address.is_ipv6();
    let at = usize::from(six);
    let protocol = [number(port.protocol)];
    let (inside, outside) = (port.port.to_be_bytes(), port.host_port.to_be_bytes());
    let element = if port.host_port == 0 {
        Element::new(OPENED[at], &[&octets(address), &protocol, &inside])
    } else if port.host_ip.is_ipv6() != six {
        return None;
    } else if port.host_ip.is_loopback() {
        let IpAddr::V4(host) = port.host_ip else { return None };
        Element::new(LOCAL, &[&host.octets(), &protocol, &outside])
    } else if port.host_ip.is_unspecified() {
        Element::new(PUBLISHED[at], &[&protocol, &outside]).leading_to(&[&octets(address), &inside])
    } else {
        Element::new(PUBLISHED_AT[at], &[&octets(port.host_ip), &protocol, &outside])
            .leading_to(&[&octets(address), &inside])
    };
    Some(element.of(holder))
}
