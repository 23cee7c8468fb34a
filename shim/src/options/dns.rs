//! `--dns`, `--dns-search`, `--dns-option`, `--add-host`: docker's rules and words.

use std::net::IpAddr;

use crate::error::{Error, Result};
use crate::model::{HostConfig, MachineResolver};
use crate::settings::Daemon;

/// What `--add-host` takes in place of an address: the host's own, as containers see it.
pub const HOST_GATEWAY: &str = "host-gateway";

/// More than this is no domain.
const LONGEST_DOMAIN: usize = 255;

/// The three flags of /etc/resolv.conf as typed → `host`.
pub fn apply(
    dns: &[String],
    search: &[String],
    options: &[String],
    host: &mut HostConfig,
) -> Result<()> {
    let all = |list: &[String], one: fn(&str) -> Result<String>| {
        let all: Result<Vec<String>> = list.iter().map(|text| one(text)).collect();
        all.map(|list| if list.is_empty() { None } else { Some(list) })
    };
    host.dns = all(dns, server)?;
    host.dns_search = all(search, domain)?;
    host.dns_options = all(options, option)?;
    Ok(())
}

/// What daemon.json says of names, by the same rules.
pub fn of_machine(daemon: &Daemon) -> Result<MachineResolver> {
    let each = |key: &str, list: &[String], rule: fn(&str) -> Result<String>| {
        let all: Result<Vec<String>> = list.iter().map(|text| rule(text)).collect();
        all.map_err(|e| Error::usage(format!("daemon.json, {key}: {}", e.message)))
    };
    let addresses = |key: &str, list: &[String]| -> Result<Vec<IpAddr>> {
        let address = |text: &String| {
            text.trim().parse().map_err(|_| {
                let why = "IP address is not correctly formatted";
                Error::usage(format!("daemon.json, {key}: {why}: {text}"))
            })
        };
        list.iter().map(address).collect()
    };
    let old = std::slice::from_ref(&daemon.host_gateway_ip);
    let gateways = if !daemon.host_gateway_ips.is_empty() {
        addresses("host-gateway-ips", &daemon.host_gateway_ips)?
    } else if old[0].is_empty() {
        Vec::new()
    } else {
        addresses("host-gateway-ip", old)?
    };
    Ok(MachineResolver {
        dns: addresses("dns", &daemon.dns)?,
        search: each("dns-search", &daemon.dns_search, domain)?,
        options: each("dns-opts", &daemon.dns_opts, option)?,
        gateways,
    })
}

fn server(text: &str) -> Result<String> {
    let address: Result<IpAddr, _> = text.trim().parse();
    let address = address.map_err(|_| {
        let why = format!("IP address is not correctly formatted: {text}");
        Error::argument("--dns", text, &why)
    })?;
    Ok(address.to_string())
}

/// `.` stands for no search at all.
fn domain(text: &str) -> Result<String> {
    let bare = text.trim_matches(' ');
    if bare == "." {
        return Ok(bare.to_owned());
    }
    let name = bare.trim_end();
    let name = name.strip_suffix('.').unwrap_or(name);
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let label = |label: &str| {
        !label.is_empty()
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let good = name.len() < LONGEST_DOMAIN
        && name.contains(|c: char| c.is_ascii_alphabetic())
        && name.split('.').all(label);
    if good {
        return Ok(name.to_owned());
    }
    Err(Error::argument("--dns-search", text, &format!("{bare} is not a valid domain")))
}

/// docker takes anything; a second line in /etc/resolv.conf would be another directive.
fn option(text: &str) -> Result<String> {
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let why = "an option is one word; repeat the flag for more";
        return Err(Error::argument("--dns-option", text, why));
    }
    Ok(text.to_owned())
}

/// `NAME:IP`, `NAME=IP` or `NAME:host-gateway` → `NAME:IP`, as docker keeps it.
pub fn extra_host(text: &str) -> Result<String> {
    let bad = |why: String| Error::argument("--add-host", text, &why);
    let format = || bad(format!("bad format for add-host: \"{text}\""));
    // The first of the two: an IPv6 address has colons, and a name has neither.
    let (name, ip) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(format)?;
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == ':') {
        return Err(format());
    }
    if ip == HOST_GATEWAY {
        return Ok(format!("{name}:{ip}"));
    }
    let bare = ip.strip_prefix('[').and_then(|s| s.strip_suffix(']')).unwrap_or(ip);
    let _: IpAddr =
        bare.parse().map_err(|_| bad(format!("invalid IP address in add-host: \"{ip}\"")))?;
    Ok(format!("{name}:{bare}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_with_addresses() {
        assert_eq!(extra_host("db:10.0.0.1").unwrap(), "db:10.0.0.1");
        assert_eq!(extra_host("db=::1").unwrap(), "db:::1");
        assert_eq!(extra_host("db:[::1]").unwrap(), "db:::1");
        assert_eq!(extra_host("host:host-gateway").unwrap(), "host:host-gateway");
        assert_eq!(extra_host("host=host-gateway").unwrap(), "host:host-gateway");
        for bad in ["db", "db:", ":1.2.3.4", "a b:1.2.3.4", "a:host-gateways", "a\nb:1.2.3.4"] {
            assert!(extra_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn servers_are_addresses() {
        assert_eq!(server(" 1.1.1.1 ").unwrap(), "1.1.1.1");
        assert_eq!(server("2001:DB8::1").unwrap(), "2001:db8::1");
        for bad in ["", "x", "1.2.3", "fe80::1%eth0", "1.1.1.1\nnameserver 2.2.2.2"] {
            let message = server(bad).unwrap_err().message;
            assert!(message.contains("is not correctly formatted"), "{message}");
        }
    }

    #[test]
    fn domains_are_dockers() {
        assert_eq!(domain(".").unwrap(), ".");
        assert_eq!(domain(" x.y. ").unwrap(), "x.y");
        assert_eq!(domain("a-b.3c").unwrap(), "a-b.3c");
        for bad in ["", "-x", "x-", "a b", "123", "a..b", "a_b", "a\nb", &"a.".repeat(200)] {
            assert!(domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn options_are_one_word() {
        assert_eq!(option("ndots:2").unwrap(), "ndots:2");
        assert!(option("a\nnameserver 1.1.1.1").is_err() && option("a b").is_err());
    }
}
