//! docker's `network inspect`.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::host::Host;
use crate::model::network::{Driver, Pool};
use crate::model::{Network, Subnet};
use crate::net::ipam;

/// A network, with who is in it.
pub fn network(host: &Host, network: &Network) -> Result<Value> {
    let of_machine = matches!(network.driver, Driver::Host | Driver::Null);
    let config: Vec<Value> = ordered(network).map(pool).collect();
    let options = network.ipam_options.clone();
    let mut driver_options = network.options.clone();
    if network.is_default() {
        // docker's word for what nobody has set.
        let mtu = "com.docker.network.driver.mtu".to_owned();
        driver_options.entry(mtu).or_insert_with(|| "1500".to_owned());
    }
    Ok(json!({
        "Name": network.name,
        "Id": network.id,
        "Created": network.created,
        "Scope": "local",
        "Driver": network.driver.as_str(),
        "EnableIPv4": network.enable_ipv4,
        "EnableIPv6": network.enable_ipv6,
        "IPAM": {
            "Driver": network.ipam_driver,
            "Options": if of_machine || network.is_default() { Value::Null } else { json!(options) },
            "Config": if config.is_empty() { Value::Null } else { config.into() },
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": false,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": false,
        "Containers": containers(host, network)?,
        "Options": driver_options,
        "Labels": network.labels,
    }))
}

/// As docker: what was typed comes before what was chosen.
fn ordered(network: &Network) -> impl Iterator<Item = &Pool> {
    let typed = network.pools.iter().filter(|pool| pool.subnet_typed);
    typed.chain(network.pools.iter().filter(|pool| !pool.subnet_typed))
}

fn pool(pool: &Pool) -> Value {
    let mut value = Map::new();
    value.insert("Subnet".into(), pool.subnet.to_string().into());
    if let Some(range) = pool.ip_range {
        value.insert("IPRange".into(), range.to_string().into());
    }
    // As docker 28: of a typed subnet, only a typed gateway is told.
    if let Some(gateway) = pool.gateway.filter(|_| pool.gateway_typed || !pool.subnet_typed) {
        value.insert("Gateway".into(), gateway.to_string().into());
    }
    if !pool.aux_addresses.is_empty() {
        value.insert("AuxiliaryAddresses".into(), json!(pool.aux_addresses));
    }
    value.into()
}

/// Who has an address in it now, by the container's id.
fn containers(host: &Host, network: &Network) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    for lease in ipam::living(&host.paths, &network.id) {
        let Some(record) = host.containers.record(&lease.container)? else { continue };
        let whole = |address: Option<IpAddr>| {
            let pool = network.pools.iter().find(|p| address.is_some_and(|a| p.subnet.contains(a)));
            match (address, pool) {
                (Some(address), Some(pool)) => {
                    Subnet { address, bits: pool.subnet.bits }.to_string()
                }
                _ => String::new(),
            }
        };
        all.insert(
            lease.container,
            json!({
                "Name": record.name,
                "EndpointID": lease.endpoint,
                "MacAddress": lease.mac,
                "IPv4Address": whole(lease.ipv4.map(IpAddr::V4)),
                "IPv6Address": whole(lease.ipv6.map(IpAddr::V6)),
            }),
        );
    }
    Ok(all)
}
