//! /etc/hosts, /etc/hostname and /etc/resolv.conf of a container.
//!
//! They are written at each start, and lie beside the container's record; the container sees them
//! through bind mounts, so that they are changed in place. A container that runs in another's
//! network has the other's.

mod hosts;
mod links;
mod resolv;

use std::fs::{File, FileTimes};
use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{Endpoint, Network, Record};
use crate::options::dns::HOST_GATEWAY;

pub use links::{env as link_env, forget as forget_links};
pub use resolv::{INTERNAL, NameServer, Upstream};

use resolv::ResolvConf;

/// The files, and what they are bound over.
pub const FILES: [(&str, &str); 3] =
    [("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname"), ("hosts", "/etc/hosts")];

/// More of a file isn't looked at: the host's are short, and the container's are its own affair.
const LONGEST: u64 = 1 << 20;
/// As many containers can share one's network in a row.
const LONGEST_CHAIN: usize = 8;

/// The host's name servers.
const HOST_CONF: &str = "/etc/resolv.conf";
/// Those that systemd-resolved asks itself.
const RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";

/// Where the file called `name` lies: with whose network the container has.
pub fn path(host: &Host, record: &Record, name: &str) -> PathBuf {
    let mut owner = record.id.clone();
    let mut mode = record.host_config.network_mode.clone();
    for _ in 0..LONGEST_CHAIN {
        let Some(other) = mode.strip_prefix("container:").map(|id| host.containers.find(id)) else {
            break;
        };
        let Ok(other) = other else { break };
        (owner, mode) = (other.record.id, other.record.host_config.network_mode);
    }
    host.paths.container(&owner).join(name)
}

/// Writes the three files for a life with these endpoints; what the last life made of them goes.
pub fn write(host: &Host, record: &Record, endpoints: &[Endpoint]) -> Result<()> {
    if record.host_config.network_mode.starts_with("container:") {
        return Ok(());
    }
    let dir = host.paths.container(&record.id);
    put(&dir.join("hostname"), format!("{}\n", record.config.hostname).as_bytes())?;
    put(&dir.join("hosts"), &first_hosts(host, record, endpoints)?)?;
    links::renew(host, record, endpoints);
    put_conf(&dir.join("resolv.conf"), record, endpoints)
}

/// A running container has `new`, too; `all` are its endpoints by now.
pub fn joined(host: &Host, record: &Record, all: &[Endpoint], new: &Endpoint) -> Result<()> {
    let dir = host.paths.container(&record.id);
    let lines = own_lines(record, std::slice::from_ref(new));
    let text = hosts::written(&lines, has_ipv6(record));
    let path = dir.join("hosts");
    File::options()
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| Error::io("write", &path, e))?;
    let path = dir.join("resolv.conf");
    if is_as_written(&path, record) { put_conf(&path, record, all) } else { Ok(()) }
}

/// A running container has lost `gone`. Its name server stays where it is.
pub fn left(host: &Host, record: &Record, gone: &Endpoint) -> Result<()> {
    let path = host.paths.container(&record.id).join("hosts");
    let Some(text) = read(&path) else { return Ok(()) };
    let rest = hosts::without(&text, &own_lines(record, std::slice::from_ref(gone)));
    if rest == text { Ok(()) } else { put(&path, &rest) }
}

/// A running container's link of this alias is gone, and so is its line.
pub fn unlinked(host: &Host, record: &Record, alias: &str) -> Result<()> {
    let path = host.paths.container(&record.id).join("hosts");
    let Some(text) = read(&path) else { return Ok(()) };
    let rest = links::names(host, record, alias)
        .iter()
        .fold(text.clone(), |text, names| hosts::without_names(&text, names));
    if rest == text { Ok(()) } else { put(&path, &rest) }
}

/// Whether the container's name server is wanted: it is in a network with names, or was and its
/// resolv.conf still says so.
pub fn wants_server(host: &Host, record: &Record, endpoints: &[Endpoint]) -> bool {
    let names_it = || {
        let path = host.paths.container(&record.id).join("resolv.conf");
        let line = format!("nameserver {INTERNAL}");
        let text = read(&path).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().any(|l| l.trim_end() == line)
    };
    has_names(endpoints) || !endpoints.is_empty() && names_it()
}

/// Whom the container's name server asks, and whether `ndots` was set by somebody.
pub fn upstream(record: &Record) -> (Vec<Upstream>, bool) {
    let mut conf = conf(record);
    let ndots = conf.option("ndots").is_some();
    (conf.with_own_server().to_vec(), ndots)
}

/// Whether the container needs the default bridge's address, wherever it is itself.
pub fn wants_gateway(record: &Record) -> bool {
    let hosts = record.host_config.extra_hosts.iter().flatten();
    let named = |entry: &String| entry.split_once(':').is_some_and(|(_, ip)| ip == HOST_GATEWAY);
    record.resolver.gateways.is_empty() && hosts.into_iter().any(named)
}

/// Only networks that somebody made have names.
fn has_names(endpoints: &[Endpoint]) -> bool {
    endpoints.iter().any(|endpoint| endpoint.network != Network::BRIDGE)
}

fn first_hosts(host: &Host, record: &Record, endpoints: &[Endpoint]) -> Result<Vec<u8>> {
    let mut lines = extra_lines(host, record)?;
    // As docker: with hosts of its own, it isn't the machine's file that a container starts from.
    if record.host_config.network_mode == "host"
        && lines.is_empty()
        && let Some(text) = read(Path::new("/etc/hosts"))
    {
        return Ok(text);
    }
    lines.extend(links::lines(host, record, endpoints)?);
    lines.extend(own_lines(record, endpoints));
    Ok(hosts::file(&lines, has_ipv6(record)).into_bytes())
}

/// `--add-host`
fn extra_lines(host: &Host, record: &Record) -> Result<Vec<hosts::Line>> {
    let mut lines = Vec::new();
    for entry in record.host_config.extra_hosts.iter().flatten() {
        let Some((name, ip)) = entry.split_once(':') else { continue };
        if ip == HOST_GATEWAY {
            lines.extend(gateways(host, record)?.into_iter().map(|ip| (ip, name.to_owned())));
        } else if let Ok(ip) = ip.parse() {
            lines.push((ip, name.to_owned()));
        }
    }
    Ok(lines)
}

/// The host's addresses as containers see them: daemon.json's, else the default bridge's.
pub fn gateways(host: &Host, record: &Record) -> Result<Vec<IpAddr>> {
    let mut found = record.resolver.gateways.clone();
    if found.is_empty() {
        let bridge = host.networks.get(Network::BRIDGE)?;
        found.extend(bridge.iter().flat_map(|b| &b.pools).filter_map(|pool| pool.gateway));
    }
    if found.is_empty() {
        return Err(Error::engine(
            "unable to derive the IP value for host-gateway: there is no default bridge; \
             set host-gateway-ips in daemon.json",
        ));
    }
    Ok(found)
}

/// The container's own addresses, with its full name and its first part.
fn own_lines(record: &Record, endpoints: &[Endpoint]) -> Vec<hosts::Line> {
    let config = &record.config;
    let mut names = config.hostname.clone();
    if !config.domainname.is_empty() {
        names = format!("{names}.{}", config.domainname);
    }
    if let Some((first, _)) = names.split_once('.') {
        names = format!("{names} {first}");
    }
    own_addresses(endpoints).map(|address| (address, names.clone())).collect()
}

fn own_addresses(endpoints: &[Endpoint]) -> impl Iterator<Item = IpAddr> {
    endpoints.iter().flat_map(|e| [e.ipv4, e.ipv6]).flatten().map(|subnet| subnet.address)
}

/// Whether the container's loopback will have `::1`.
fn has_ipv6(record: &Record) -> bool {
    let off = ["all", "lo"].iter().any(|device| {
        let key = format!("net.ipv6.conf.{device}.disable_ipv6");
        record.host_config.sysctls.get(&key).is_some_and(|value| value.trim() != "0")
    });
    !off && Path::new("/proc/net/if_inet6").exists()
}

/// The host's resolv.conf with what was asked for by flags, else by daemon.json.
fn conf(record: &Record) -> ResolvConf {
    let load = |path: &str| {
        let text = read(Path::new(path)).unwrap_or_default();
        ResolvConf::parse(&String::from_utf8_lossy(&text), path)
    };
    let mut conf = load(HOST_CONF);
    // Where the own name server asks the stub for the container, it is left in.
    if matches!(record.host_config.network_mode.as_str(), "" | "default" | "bridge" | "none")
        && conf.is_stub()
    {
        conf = load(RESOLVED_CONF);
    }
    let (typed, machine) = (&record.host_config, &record.resolver);
    let servers = typed.dns.iter().flatten().filter_map(|text| text.parse().ok());
    let mut servers: Vec<IpAddr> = servers.collect();
    if servers.is_empty() {
        servers.clone_from(&machine.dns);
    }
    if !servers.is_empty() {
        conf.override_servers(servers);
    }
    let or = |typed: &Option<Vec<String>>, machine: &Vec<String>| {
        typed.clone().filter(|list| !list.is_empty()).unwrap_or_else(|| machine.clone())
    };
    let search = or(&typed.dns_search, &machine.search);
    if !search.is_empty() {
        conf.override_search(&search);
    }
    let options = or(&typed.dns_options, &machine.options);
    if !options.is_empty() {
        conf.override_options(&options);
    }
    conf
}

/// The text of a resolv.conf for a life with these endpoints.
pub fn resolv_conf(record: &Record, endpoints: &[Endpoint]) -> String {
    let mut conf = conf(record);
    if has_names(endpoints) {
        conf.with_own_server();
    } else if record.host_config.network_mode != "host" {
        conf.without_loopback(endpoints.iter().any(|endpoint| endpoint.ipv6.is_some()));
    }
    conf.to_string()
}

fn put_conf(path: &Path, record: &Record, endpoints: &[Endpoint]) -> Result<()> {
    put(path, resolv_conf(record, endpoints).as_bytes())?;
    // The mark of a file that nobody has written to since.
    let times = FileTimes::new().set_modified(mark(record));
    let marked = File::options().write(true).open(path).and_then(|file| file.set_times(times));
    marked.map_err(|e| Error::io("write", path, e))
}

/// Whether nobody has written to it since [`put_conf`].
fn is_as_written(path: &Path, record: &Record) -> bool {
    let changed = std::fs::metadata(path).and_then(|meta| meta.modified());
    changed.is_ok_and(|time| time == mark(record))
}

/// A time at which nobody has written: the container's own beginning.
fn mark(record: &Record) -> SystemTime {
    record.created.into()
}

/// The container's users read these, whatever dhow's own umask is.
fn put(path: &Path, text: &[u8]) -> Result<()> {
    let written = || {
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(path)?;
        file.write_all(text)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o644))
    };
    written().map_err(|e: std::io::Error| Error::io("write", path, e))
}

/// A file's first part, when it is there; a container may have made its own endless.
fn read(path: &Path) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    let mut text = Vec::new();
    loop {
        match (&file).take(LONGEST - text.len() as u64).read_to_end(&mut text) {
            Ok(_) => return Some(text),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}
