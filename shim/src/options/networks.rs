//! `--network` and what goes with it: which networks, under which names, with which addresses.
//! docker's rules and docker's words.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::{Error, Result};
use crate::model::{HostConfig, Network, Wish};
use crate::options::NetFlags;
use crate::options::mounts::csv;

/// What the flags add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nets {
    /// `none`, `host`, `container:NAME`, or the first network's name.
    pub mode: String,
    /// Networks as they were named, by name or id; empty for host, none and container.
    pub wishes: Vec<Wish>,
    /// `CONTAINER:ALIAS` on the default bridge.
    pub links: Option<Vec<String>>,
}

/// Whether `name` is a network that somebody made, and not one of docker's own words.
pub fn is_user_made(name: &str) -> bool {
    !matches!(name, "default" | "bridge" | "host" | "none") && !is_joined(name)
}

/// Whether a container's network is its own: neither the host's, nor another container's.
pub fn is_private(mode: &str) -> bool {
    mode != "host" && !is_joined(mode)
}

fn is_joined(mode: &str) -> bool {
    mode == "container" || mode.starts_with("container:")
}

/// Flags → networks.
pub fn nets(flags: &NetFlags) -> Result<Nets> {
    let typed: Result<Vec<Wish>> = flags.network.iter().map(|text| network(text)).collect();
    let mut wishes = typed?;
    if wishes.is_empty() {
        wishes.push(Wish { network: "default".into(), ..Wish::default() });
    }
    let links: Result<Vec<String>> = flags.link.iter().map(|l| link("--link", l)).collect();
    let mut nets = Nets::default();
    of_container(&mut wishes[0], &mut nets, flags, links?)?;
    check(&mut wishes)?;
    nets.mode.clone_from(&wishes[0].network);
    let alone = !matches!(nets.mode.as_str(), "none" | "host") && !is_joined(&nets.mode);
    nets.wishes = if alone { wishes } else { Vec::new() };
    Ok(nets)
}

/// `NETWORK`, or `name=NETWORK,alias=…,ip=…`.
fn network(text: &str) -> Result<Wish> {
    let bad = |why: String| Error::argument("--network", text, &why);
    let mut wish = Wish::default();
    if !is_long(text) {
        text.clone_into(&mut wish.network);
        return Ok(wish);
    }
    for field in csv(text).map_err(bad)? {
        let unknown = || bad(format!("invalid field {field}"));
        let (key, value) = field.split_once('=').ok_or_else(unknown)?;
        let key = key.trim().to_ascii_lowercase();
        if key.is_empty() {
            return Err(unknown());
        }
        set(&mut wish, &key, value.trim()).map_err(bad)?;
    }
    if wish.network.is_empty() {
        return Err(bad("network name/id is not specified".into()));
    }
    Ok(wish)
}

/// DOCKER: a word, `=` and another word anywhere make it the long form.
fn is_long(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.as_bytes().windows(3).any(|w| word(w[0]) && w[1] == b'=' && word(w[2]))
}

fn set(wish: &mut Wish, key: &str, value: &str) -> Result<(), String> {
    match key {
        "name" => value.clone_into(&mut wish.network),
        "alias" => wish.aliases.push(value.to_owned()),
        "ip" => wish.ipv4 = Some(ipv4(value)?),
        "ip6" => wish.ipv6 = Some(ipv6(value)?),
        "mac-address" => wish.mac = Some(mac(value)?),
        "link-local-ip" => wish.link_local.push(link_local(value)?),
        "driver-opt" => {
            let (key, value) = driver_option(value)?;
            wish.driver_opts.insert(key, value);
        }
        "gw-priority" => {
            wish.gw_priority = value
                .parse()
                .map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
        }
        other => return Err(format!("invalid field key {other}")),
    }
    Ok(())
}

/// `KEY=VALUE` for a network's driver.
pub fn driver_option(text: &str) -> Result<(String, String), String> {
    let bad = || "invalid key value pair format in driver options".to_owned();
    let (key, value) = text.split_once('=').ok_or_else(bad)?;
    let key = key.trim().to_ascii_lowercase();
    if key.is_empty() { Err(bad()) } else { Ok((key, value.trim().to_owned())) }
}

/// An IPv4 address that a container can have.
pub fn ipv4(text: &str) -> Result<Ipv4Addr, String> {
    let address: Option<Ipv4Addr> = text.parse().ok();
    address.filter(|a| !a.is_unspecified()).ok_or_else(|| format!("invalid IPv4 address: {text}"))
}

/// An IPv6 address that a container can have.
pub fn ipv6(text: &str) -> Result<Ipv6Addr, String> {
    let address: Option<Ipv6Addr> = text.parse().ok();
    address
        .filter(|a| !a.is_unspecified() && a.to_ipv4_mapped().is_none())
        .ok_or_else(|| format!("invalid IPv6 address: {text}"))
}

/// Further addresses of an interface; nobody checks that they are link-local ones.
pub fn link_local(text: &str) -> Result<IpAddr, String> {
    let address: Option<IpAddr> = text.parse().ok();
    address
        .filter(|a| !a.is_unspecified())
        .ok_or_else(|| format!("invalid link-local IP address: {text}"))
}

/// `02:42:…`, also with `-`, or as `0242.ac11.0002` → lower case with colons.
pub fn mac(text: &str) -> Result<String, String> {
    let bad = || format!("{text} is not a valid mac address");
    let parts: Vec<String> = if text.contains('.') {
        let groups: Vec<&str> = text.split('.').collect();
        if groups.len() != 3 || groups.iter().any(|g| g.len() != 4 || !g.is_ascii()) {
            return Err(bad());
        }
        groups.iter().flat_map(|g| [g[..2].to_owned(), g[2..].to_owned()]).collect()
    } else {
        let sign = if text.contains('-') { '-' } else { ':' };
        text.split(sign).map(str::to_owned).collect()
    };
    let is_byte = |p: &String| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit());
    if parts.len() != 6 || !parts.iter().all(is_byte) {
        return Err(bad());
    }
    let first = u8::from_str_radix(&parts[0], 16).map_err(|_| bad())?;
    if first & 1 == 1 {
        return Err(format!("{text} is not a valid mac address: it is a group's"));
    }
    Ok(parts.join(":").to_ascii_lowercase())
}

/// `CONTAINER[:ALIAS]` → `CONTAINER:ALIAS`.
pub fn link(flag: &str, text: &str) -> Result<String> {
    let bad = |why: String| Err(Error::argument(flag, text, &why));
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [""] => bad("empty string specified for links".into()),
        [name] => Ok(format!("{name}:{}", name.trim_start_matches('/'))),
        // DOCKER: as `inspect` writes it, `/db:/web/alias`.
        [name, alias] if name.starts_with('/') => {
            Ok(format!("{}:{}", &name[1..], alias.rsplit('/').next().unwrap_or_default()))
        }
        [name, alias] if !name.is_empty() && !alias.is_empty() => Ok(format!("{name}:{alias}")),
        _ => bad(format!("bad format for links: {text}")),
    }
}

/// The flags without a network's name are the first network's.
fn of_container(
    first: &mut Wish,
    nets: &mut Nets,
    flags: &NetFlags,
    links: Vec<String>,
) -> Result<()> {
    let twice = |flag: &str, what: &str, both: bool| {
        let why = format!("conflicting options: cannot specify both {flag} and per-network {what}");
        if both { Err(Error::usage(why)) } else { Ok(()) }
    };
    let typed = |flag: &str, text: &str, why: String| Error::argument(flag, text, &why);
    if !flags.network_alias.is_empty() {
        twice("--network-alias", "alias", !first.aliases.is_empty())?;
        first.aliases.clone_from(&flags.network_alias);
    }
    if let Some(text) = flags.ip.as_deref().filter(|text| !text.is_empty()) {
        twice("--ip", "IPv4 address", first.ipv4.is_some())?;
        first.ipv4 = Some(ipv4(text).map_err(|why| typed("--ip", text, why))?);
    }
    if let Some(text) = flags.ip6.as_deref().filter(|text| !text.is_empty()) {
        twice("--ip6", "IPv6 address", first.ipv6.is_some())?;
        first.ipv6 = Some(ipv6(text).map_err(|why| typed("--ip6", text, why))?);
    }
    if let Some(text) = flags.mac_address.as_deref().filter(|text| !text.is_empty()) {
        twice("--mac-address", "MAC address", first.mac.is_some())?;
        first.mac = Some(mac(text).map_err(Error::usage)?);
    }
    if !flags.link_local_ip.is_empty() {
        twice("--link-local-ip", "link-local IP addresses", !first.link_local.is_empty())?;
        for text in &flags.link_local_ip {
            let one = link_local(text).map_err(|why| typed("--link-local-ip", text, why))?;
            first.link_local.push(one);
        }
    }
    if links.is_empty() {
        return Ok(());
    }
    if is_user_made(&first.network) {
        first.links = links;
    } else {
        nets.links = Some(links);
    }
    Ok(())
}

fn check(wishes: &mut [Wish]) -> Result<()> {
    let mut seen = BTreeSet::new();
    let (mut own, mut dockers) = (false, false);
    for wish in wishes.iter_mut() {
        let name = wish.network.as_str();
        if name.trim().is_empty() {
            return Err(Error::usage("no name set for network"));
        }
        if is_user_made(name) {
            own = true;
        } else {
            dockers = true;
            fixed(wish)?;
        }
        if wish.network == "default" {
            Network::BRIDGE.clone_into(&mut wish.network);
        }
        if !seen.insert(wish.network.clone()) {
            let why = format!("network \"{}\" is specified multiple times", wish.network);
            return Err(Error::usage(why));
        }
    }
    if own && dockers {
        return Err(Error::usage(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
        ));
    }
    if wishes.len() > 1 && dockers {
        return Err(Error::usage(
            "conflicting options: the networks bridge, host, none and container:NAME stand alone; \
             'dhow network connect' adds others to bridge",
        ));
    }
    Ok(())
}

/// What networks that nobody made can't give.
fn fixed(wish: &Wish) -> Result<()> {
    if !wish.aliases.is_empty() {
        return Err(Error::usage(
            "network-scoped aliases are only supported for user-defined networks",
        ));
    }
    // Another container's has its own words for this.
    if (wish.ipv4.is_some() || wish.ipv6.is_some()) && !is_joined(&wish.network) {
        let name = if wish.network == "default" { Network::BRIDGE } else { &wish.network };
        return Err(Error::conflict(format!(
            "invalid config for network {name}: invalid endpoint settings: \
             user specified IP address is supported on user defined networks only"
        )));
    }
    Ok(())
}

/// Whether the network can give what is wanted of it, in docker's words.
pub fn check_endpoint(network: &Network, wish: &Wish) -> Result<(), String> {
    if Network::is_predefined(&network.name) {
        if wish.ipv4.is_some() || wish.ipv6.is_some() {
            return Err(
                "user specified IP address is supported on user defined networks only".into()
            );
        }
        if !wish.aliases.is_empty() {
            return Err("network-scoped alias is supported only for containers in user defined \
                        networks"
                .into());
        }
    }
    let wanted = [wish.ipv4.map(IpAddr::V4), wish.ipv6.map(IpAddr::V6)];
    for address in wanted.into_iter().flatten() {
        let family = network.pools.iter();
        let family = family.filter(|p| p.subnet.address.is_ipv6() == address.is_ipv6());
        let typed: Vec<_> = family.filter(|pool| pool.subnet_typed).collect();
        if typed.is_empty() {
            return Err("user specified IP address is supported only when connecting to networks \
                        with user configured subnets"
                .into());
        }
        if !typed.iter().any(|pool| pool.subnet.contains(address)) {
            return Err(format!(
                "no configured subnet or ip-range contain the IP address {address}"
            ));
        }
    }
    let sysctls = wish.driver_opts.get("com.docker.network.endpoint.sysctls");
    for one in sysctls.map(String::as_str).unwrap_or_default().split(',').filter(|s| !s.is_empty())
    {
        let parts: Vec<&str> = one.splitn(5, '.').collect();
        let good = matches!(
            parts.as_slice(),
            ["net", "ipv4" | "ipv6" | "mpls", _, "IFNAME" | "ifname", _]
        );
        if !good {
            return Err(format!(
                "unrecognised network interface sysctl '{one}'; represent 'net.X.Y.ethN.Z=V' as \
                 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            ));
        }
    }
    Ok(())
}

/// What a network that isn't the container's own leaves no room for.
pub fn fights(flags: &NetFlags, host: &HostConfig) -> Result<()> {
    let conflict = |what: &str| Err(Error::conflict(format!("conflicting options: {what}")));
    let mode = host.network_mode.as_str();
    if is_joined(mode) {
        if mode.strip_prefix("container:").is_none_or(str::is_empty) {
            return Err(Error::conflict(
                "Invalid network mode: invalid container format container:<name|id>",
            ));
        }
        if host.links.is_some() {
            return conflict(
                "container type network can't be used with links. \
                 This would result in undefined behavior",
            );
        }
        if !flags.dns.is_empty() {
            return conflict("dns and the network mode");
        }
        if flags.mac_address.is_some() {
            return conflict("mac-address and the network mode");
        }
    }
    if mode == "host" && host.links.is_some() {
        return conflict(
            "host type networking can't be used with links. This would result in undefined behavior",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn from(args: &[&str]) -> Result<Nets> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            flags: NetFlags,
        }
        let line = <Line as clap::Parser>::try_parse_from([&["x"], args].concat())
            .map_err(|e| Error::usage(e.to_string()))?;
        nets(&line.flags)
    }

    #[test]
    fn nothing_said_is_the_default_bridge() {
        let nets = from(&[]).unwrap();
        assert_eq!((nets.mode.as_str(), nets.wishes.len()), ("bridge", 1));
        assert_eq!(from(&["--net=default"]).unwrap(), nets);
        for mode in ["host", "none", "container:x"] {
            let nets = from(&["--network", mode]).unwrap();
            assert_eq!((nets.mode.as_str(), nets.wishes.len()), (mode, 0));
        }
    }

    #[test]
    fn the_long_form_says_all_of_one_network() {
        let long = "name=a,alias=x,alias=y,ip=10.0.0.9,ip6=fd00::9,mac-address=02-00-00-00-00-0A,\
                    link-local-ip=169.254.9.9,driver-opt=k=v,gw-priority=-3";
        let nets = from(&["--network", long, "--network=b", "--link=db"]).unwrap();
        let wish = &nets.wishes[0];
        assert_eq!(wish.aliases, ["x", "y"]);
        assert_eq!(wish.ipv4.unwrap().to_string(), "10.0.0.9");
        assert_eq!(wish.mac.as_deref(), Some("02:00:00:00:00:0a"));
        assert_eq!((wish.gw_priority, wish.driver_opts["k"].as_str()), (-3, "v"));
        assert_eq!(wish.links, ["db:db"]);
        assert_eq!((nets.wishes[1].network.as_str(), nets.mode.as_str()), ("b", "a"));
    }

    #[test]
    fn dockers_words_for_what_fights() {
        for (args, words) in [
            (
                &["--network=a", "--network=host"][..],
                "cannot attach both user-defined and non-user",
            ),
            (&["--network=a", "--network=a"], "network \"a\" is specified multiple times"),
            (&["--network=name=a,foo=b"], "invalid field key foo"),
            (&["--network=name=a,foo"], "invalid field foo"),
            (&["--network=alias=b"], "network name/id is not specified"),
            (&["--network=name=a,gw-priority=x"], "invalid gw-priority (x): invalid syntax"),
            (&["--network=name=a,driver-opt=x"], "invalid key value pair format in driver"),
            (&["--network=name=a,mac-address=zz"], "zz is not a valid mac address"),
            (&["--network-alias=x"], "network-scoped aliases are only supported"),
            (&["--network=name=a,ip=1.2.3.4", "--ip=1.2.3.4"], "cannot specify both --ip and"),
            (&["--network=name=a,alias=x", "--net-alias=y"], "cannot specify both --network-alias"),
            (&["--ip=1.2.3.4"], "supported on user defined networks only"),
            (&["--link=x:y:z"], "bad format for links: x:y:z"),
            (&["--network="], "no name set for network"),
        ] {
            let error = from(args).unwrap_err();
            assert!(error.message.contains(words), "{args:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_network_or_an_error(text in ".{0,60}") {
            let _ = network(&text);
            let _ = mac(&text);
            let _ = link("--link", &text);
        }
    }
}
