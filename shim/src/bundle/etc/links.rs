//! `--link` on the default bridge: lines of /etc/hosts, and variables, that tell of a container
//! that runs.
//!
//! RUN/links/CHILD/PARENT says that PARENT has lines of CHILD: a child that comes back under
//! another address puts them right.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use super::{hosts, own_addresses, put, read};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{Config, Endpoint, Network, Record};

/// A container that another is linked to.
struct Linked {
    alias: String,
    record: Record,
    addresses: Vec<IpAddr>,
}

/// The lines of those that `record` is linked to.
pub fn lines(host: &Host, record: &Record, endpoints: &[Endpoint]) -> Result<Vec<hosts::Line>> {
    let mut lines = Vec::new();
    for child in linked(host, record, endpoints)? {
        let names = names_of(&child.alias, &child.record);
        lines.extend(child.addresses.iter().map(|address| (*address, names.clone())));
        note(host, &child.record.id, &record.id)?;
    }
    Ok(lines)
}

/// What a line has behind the address.
fn names_of(alias: &str, child: &Record) -> String {
    let (hostname, name) = (&child.config.hostname, &child.name);
    if alias == name { format!("{alias} {hostname}") } else { format!("{alias} {hostname} {name}") }
}

/// What the lines of `record`'s links of this alias have behind their addresses.
pub fn names(host: &Host, record: &Record, alias: &str) -> Vec<String> {
    let typed = record.host_config.links.iter().flatten();
    let pairs = typed.filter_map(|link| link.rsplit_once(':'));
    let same = pairs.filter(|(_, of)| of.rsplit('/').next() == Some(alias));
    let children =
        same.filter_map(|(name, _)| host.containers.find(name.trim_start_matches('/')).ok());
    children.map(|child| names_of(alias, &child.record)).collect()
}

/// docker's variables for them, `DB_PORT=tcp://…` and the like.
pub fn env(host: &Host, record: &Record, endpoints: &[Endpoint]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for child in linked(host, record, endpoints)? {
        let address = child.addresses.iter().find(|address| address.is_ipv4());
        let address = address.map(ToString::to_string).unwrap_or_default();
        let name = format!("/{}/{}", record.name, child.alias);
        all.extend(variables(&child.alias, &name, &address, &child.record.config));
    }
    Ok(all)
}

fn linked(host: &Host, record: &Record, endpoints: &[Endpoint]) -> Result<Vec<Linked>> {
    let links = record.host_config.links.as_deref().unwrap_or_default();
    if links.is_empty() || !endpoints.iter().any(|e| e.network == Network::BRIDGE) {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for link in links {
        let (name, alias) = link.rsplit_once(':').unwrap_or((link, link));
        // docker's own form is `/child:/parent/alias`.
        let alias = alias.rsplit('/').next().unwrap_or(alias).to_owned();
        let child = host.containers.find(name.trim_start_matches('/'))?.record;
        let state = crate::monitor::state(host, &child)?;
        if !state.status.is_alive() {
            return Err(Error::conflict(format!(
                "Cannot link to a non running container: /{} AS /{}/{alias}; start it first",
                child.name, record.name
            )));
        }
        let on_bridge: Vec<Endpoint> =
            state.endpoints.into_iter().filter(|e| e.network == Network::BRIDGE).collect();
        if on_bridge.is_empty() {
            return Err(Error::conflict(format!(
                "Cannot link to /{}, as it does not belong to the default network",
                child.name
            )));
        }
        all.push(Linked { alias, addresses: own_addresses(&on_bridge).collect(), record: child });
    }
    Ok(all)
}

/// Where it is noted who is linked to a container.
fn notes(host: &Host, child: &str) -> PathBuf {
    host.paths.run.join("links").join(child)
}

fn note(host: &Host, child: &str, parent: &str) -> Result<()> {
    let dir = notes(host, child);
    let path = dir.join(parent);
    std::fs::create_dir_all(&dir)
        .and_then(|()| std::fs::File::create(&path).map(drop))
        .map_err(|e| Error::io("write", &path, e))
}

/// Its lines of others aren't kept right any more: `record` doesn't run.
pub fn forget(host: &Host, record: &Record) {
    if record.host_config.links.is_none() {
        return;
    }
    let children = std::fs::read_dir(host.paths.run.join("links")).into_iter().flatten();
    for child in children.flatten().map(|entry| entry.path()) {
        let _ = std::fs::remove_file(child.join(&record.id));
        let _ = std::fs::remove_dir(child); // the last one's
    }
}

/// Puts the lines of `record` right in those that are linked to it and run.
pub fn renew(host: &Host, record: &Record, endpoints: &[Endpoint]) {
    let Ok(parents) = std::fs::read_dir(notes(host, &record.id)) else { return };
    let on_bridge = endpoints.iter().filter(|e| e.network == Network::BRIDGE);
    let on_bridge: Vec<Endpoint> = on_bridge.cloned().collect();
    for parent in parents.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let Ok(Some(parent)) = host.containers.record(&parent) else {
            let _ = std::fs::remove_file(notes(host, &record.id).join(parent));
            continue;
        };
        let path = host.paths.container(&parent.id).join("hosts");
        let Some(before) = read(&path) else { continue };
        let mut text = before.clone();
        for alias in aliases(&parent, record) {
            for address in own_addresses(&on_bridge) {
                text = hosts::readdressed(&text, &alias, address);
            }
        }
        if text != before {
            // Another container's file: its own next start writes it anew.
            let _ = put(&path, &text);
        }
    }
}

/// What `parent` calls `child`.
fn aliases(parent: &Record, child: &Record) -> Vec<String> {
    let links = parent.host_config.links.as_deref().unwrap_or_default();
    let pairs = links.iter().filter_map(|link| link.rsplit_once(':'));
    let mine = pairs.filter(|(name, _)| {
        let name = name.trim_start_matches('/');
        name == child.name || name.len() >= 12 && child.id.starts_with(name)
    });
    mine.map(|(_, alias)| alias.rsplit('/').next().unwrap_or(alias).to_owned()).collect()
}

/// A port as `5432/tcp` → its number and protocol; TCP's come first, then by number.
fn ports(config: &Config) -> Vec<(u16, String)> {
    let typed = config.exposed_ports.iter().flatten();
    let mut ports: Vec<(u16, String)> = typed
        .filter_map(|(port, _)| {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            Some((number.parse().ok()?, protocol.to_ascii_lowercase()))
        })
        .collect();
    ports.sort_by_key(|(number, protocol)| (protocol != "tcp", protocol.clone(), *number));
    ports
}

fn variables(alias: &str, name: &str, address: &str, config: &Config) -> Vec<String> {
    let upper = alias.to_uppercase().replace('-', "_");
    let ports = ports(config);
    let mut env = Vec::new();
    if let Some((number, protocol)) = ports.first() {
        env.push(format!("{upper}_PORT={protocol}://{address}:{number}"));
    }
    // Neighbouring ports are told as a range, too.
    let mut ranges: BTreeMap<usize, (u16, u16)> = BTreeMap::new();
    let mut first = 0;
    for (n, (number, protocol)) in ports.iter().enumerate() {
        let prefix = format!("{upper}_PORT_{number}_{}", protocol.to_uppercase());
        env.push(format!("{prefix}={protocol}://{address}:{number}"));
        env.push(format!("{prefix}_ADDR={address}"));
        env.push(format!("{prefix}_PORT={number}"));
        env.push(format!("{prefix}_PROTO={protocol}"));
        let follows = n > 0 && ports[n - 1] == (number.wrapping_sub(1), protocol.clone());
        if follows {
            ranges.insert(first, (ports[first].0, *number));
        } else {
            first = n;
        }
    }
    for (at, (start, end)) in ranges {
        let protocol = &ports[at].1;
        let prefix = format!("{upper}_PORT_{start}_{}", protocol.to_uppercase());
        env.push(format!("{prefix}_START={protocol}://{address}:{start}"));
        env.push(format!("{prefix}_PORT_START={start}"));
        env.push(format!("{prefix}_END={protocol}://{address}:{end}"));
        env.push(format!("{prefix}_PORT_END={end}"));
    }
    env.push(format!("{upper}_NAME={name}"));
    let theirs = config.env.iter().filter_map(|pair| pair.split_once('='));
    let theirs = theirs.filter(|(key, _)| !matches!(*key, "HOME" | "PATH"));
    env.extend(theirs.map(|(key, value)| format!("{upper}_ENV_{key}={value}")));
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_dockers() {
        let exposed = ["53/udp", "81/tcp", "80/tcp", "90/tcp"];
        let exposed = exposed.map(|p| (p.to_owned(), serde_json::Value::Null));
        let config = Config {
            exposed_ports: Some(exposed.into()),
            env: vec!["PATH=/bin".into(), "USER=me".into(), "odd".into()],
            ..Config::default()
        };
        let env = variables("my-db", "/web/my-db", "172.17.0.2", &config);
        assert_eq!(env[0], "MY_DB_PORT=tcp://172.17.0.2:80");
        assert_eq!(env[1], "MY_DB_PORT_80_TCP=tcp://172.17.0.2:80");
        assert_eq!(env[2], "MY_DB_PORT_80_TCP_ADDR=172.17.0.2");
        for one in [
            "MY_DB_PORT_53_UDP_PROTO=udp",
            "MY_DB_PORT_80_TCP_START=tcp://172.17.0.2:80",
            "MY_DB_PORT_80_TCP_PORT_END=81",
            "MY_DB_NAME=/web/my-db",
            "MY_DB_ENV_USER=me",
        ] {
            assert!(env.iter().any(|e| e == one), "{one} in {env:?}");
        }
        assert!(!env.iter().any(|e| e.contains("PATH") || e.contains("90_TCP_START")));
    }

    #[test]
    fn without_ports_there_is_the_name() {
        let env = variables("db", "/web/db", "172.17.0.2", &Config::default());
        assert_eq!(env, ["DB_NAME=/web/db"]);
    }

    #[test]
    fn links_are_known_in_both_forms() {
        let mut parent = Record::default();
        parent.host_config.links =
            Some(vec!["db:data".into(), "/db:/web/other".into(), "x:db".into()]);
        let child = Record { name: "db".into(), id: "f".repeat(64), ..Record::default() };
        assert_eq!(aliases(&parent, &child), ["data", "other"]);
    }
}
