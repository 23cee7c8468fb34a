//! `NetworkSettings`: what a container has of its networks, in docker's keys.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::host::Host;
use crate::model::{Endpoint, Network, Record, State, Subnet, Wish};
use crate::net::ports;

pub fn settings(host: &Host, record: &Record, state: &State) -> Value {
    let mut networks = Map::new();
    let mode = record.host_config.network_mode.as_str();
    if matches!(mode, "none" | "host") && record.networks.is_empty() {
        networks
            .insert(mode.to_owned(), endpoint(&Wish::default(), None, String::new(), json!(null)));
    }
    for wish in &record.networks {
        let of = |e: &&Endpoint| e.network == wish.network;
        let now = state.endpoints.iter().find(of);
        let known = || {
            let network = host.networks.get(&wish.network).ok().flatten();
            network.filter(|_| state.started_at.is_some()).map(|n| n.id).unwrap_or_default()
        };
        let id = now.map_or_else(known, |now| now.network_id.clone());
        let names = crate::net::dns::names(record, wish);
        let names = if names.is_empty() || id.is_empty() { json!(null) } else { json!(names) };
        networks.insert(wish.network.clone(), endpoint(wish, now, id, names));
    }
    let usual = state.endpoints.iter().find(|e| e.network == Network::BRIDGE);
    let usual = endpoint(&Wish::default(), usual, String::new(), json!(null));
    let lives = state.status.is_alive();
    let key = if lives { format!("/proc/{}/ns/net", state.pid) } else { String::new() };
    let mut all = json!({
        "Bridge": "",
        "SandboxID": if lives { record.id.as_str() } else { "" },
        "SandboxKey": key,
        "Ports": ports::inspected(record, state),
        "HairpinMode": false,
        "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0, "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
    });
    for key in [
        "EndpointID",
        "Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "IPAddress",
        "IPPrefixLen",
        "IPv6Gateway",
        "MacAddress",
    ] {
        all[key] = usual[key].clone();
    }
    all["Networks"] = Value::Object(networks);
    all
}

/// docker's `EndpointSettings`.
fn endpoint(wish: &Wish, now: Option<&Endpoint>, network: String, names: Value) -> Value {
    let text = |of: Option<String>| of.unwrap_or_default();
    let address = |of: Option<Subnet>| text(of.map(|s| s.address.to_string()));
    let bits = |of: Option<Subnet>| of.map_or(0, |s| s.bits);
    let list = |all: &[String]| if all.is_empty() { json!(null) } else { json!(all) };
    let options = &wish.driver_opts;
    json!({
        "IPAMConfig": ipam(wish),
        "Links": list(&wish.links),
        "Aliases": list(&wish.aliases),
        "MacAddress": text(now.map(|e| e.mac.clone()).or_else(|| wish.mac.clone())),
        "DriverOpts": if options.is_empty() { json!(null) } else { json!(options) },
        "GwPriority": wish.gw_priority,
        "NetworkID": network,
        "EndpointID": text(now.map(|e| e.id.clone())),
        "Gateway": text(now.and_then(|e| e.gateway4).map(|g| g.to_string())),
        "IPAddress": address(now.and_then(|e| e.ipv4)),
        "IPPrefixLen": bits(now.and_then(|e| e.ipv4)),
        "IPv6Gateway": text(now.and_then(|e| e.gateway6).map(|g| g.to_string())),
        "GlobalIPv6Address": address(now.and_then(|e| e.ipv6)),
        "GlobalIPv6PrefixLen": bits(now.and_then(|e| e.ipv6)),
        "DNSNames": names,
    })
}

fn ipam(wish: &Wish) -> Value {
    let mut all = Map::new();
    let mut put = |key: &str, address: Option<IpAddr>| {
        if let Some(address) = address {
            all.insert(key.to_owned(), address.to_string().into());
        }
    };
    put("IPv4Address", wish.ipv4.map(IpAddr::V4));
    put("IPv6Address", wish.ipv6.map(IpAddr::V6));
    if !wish.link_local.is_empty() {
        all.insert("LinkLocalIPs".to_owned(), json!(wish.link_local));
    }
    if all.is_empty() { Value::Null } else { Value::Object(all) }
}
