//! `-p` and `--expose`: what was typed → ports, as docker reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clap::Args;

use crate::error::{Error, Result};
use crate::model::{HostConfig, PortBinding, Protocol};

/// Which ports lead into the container.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Network")]
pub struct PortFlags {
    /// Make a port of the container one of the host's, [[IP:]HOST-PORT:]PORT[/PROTOCOL]
    #[arg(short, long, value_name = "SPEC")]
    pub publish: Vec<String>,
    /// Publish every exposed port on a free one of the host
    #[arg(short = 'P', long)]
    pub publish_all: bool,
    /// Ports the container serves, PORT[-PORT][/PROTOCOL]
    #[arg(long, value_name = "PORT")]
    pub expose: Vec<String>,
}

/// What is published, by `80/tcp`.
pub type Bindings = BTreeMap<String, Vec<PortBinding>>;

/// `-p`: what is published, and with that exposed.
pub fn publish(typed: &[String]) -> Result<(Bindings, BTreeSet<String>)> {
    let mut all = Bindings::new();
    // The whole line is read as `name=value`s before any of it is read as ports.
    let plain: Vec<String> = typed.iter().map(|text| plain(text)).collect::<Result<_>>()?;
    for text in plain {
        for (port, binding) in one(&text).map_err(Error::usage)? {
            all.entry(port).or_default().push(binding);
        }
    }
    let exposed = all.keys().cloned().collect();
    Ok((all, exposed))
}

/// `--expose`
pub fn expose(typed: &[String]) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for text in typed {
        if text.contains(':') {
            return Err(Error::usage(format!("invalid port format for --expose: {text}")));
        }
        let (ports, protocol) = split(text);
        let (from, to) = range(ports).map_err(|why| {
            Error::usage(format!("invalid range format for --expose: {text}, error: {why}"))
        })?;
        // DIFFERS: docker keeps any word for a protocol, and nothing ever comes of it.
        let protocol = protocol_of(protocol).map_err(Error::usage)?;
        all.extend((from..=to).map(|port| format!("{port}/{}", protocol.as_str())));
    }
    Ok(all)
}

/// What docker's daemon says to ports of a container in another's network.
pub fn check(host: &HostConfig, exposed: bool) -> Result<()> {
    let conflict = |what| {
        let line = format!("conflicting options: {what} and the container type network mode");
        Err(Error::conflict(line))
    };
    if !host.network_mode.starts_with("container:") {
        return Ok(());
    }
    if !host.port_bindings.is_empty() || host.publish_all_ports {
        return conflict("port publishing");
    }
    if exposed { conflict("port exposing") } else { Ok(()) }
}

/// Where ports go whose `-p` names no address: DHOW_PUBLISH_DEFAULT's, else daemon.json's `ip`.
/// Nothing for all of the host's addresses.
pub fn usual(env: Option<&str>, daemon: &str) -> Result<Option<IpAddr>> {
    let places =
        [("DHOW_PUBLISH_DEFAULT", env.unwrap_or_default()), ("daemon.json: \"ip\"", daemon)];
    let Some((whose, text)) = places.into_iter().find(|(_, text)| !text.is_empty()) else {
        return Ok(None);
    };
    let ip: IpAddr = text.parse().map_err(|_| {
        Error::usage(format!("{whose}: invalid IP address: {text}; give one of this host's"))
    })?;
    Ok(Some(ip).filter(|ip| *ip != IpAddr::from([0, 0, 0, 0])))
}

/// `80/tcp` of a record or an image; nothing when it is none that could be served.
pub fn served(text: &str) -> Option<(u16, Protocol)> {
    let (port, protocol) = split(text);
    let (from, to) = range(port).ok()?;
    Some((from, protocol_of(protocol).ok()?)).filter(|_| from == to && from != 0)
}

/// Docker's own form of `published=8080,target=80,protocol=tcp`; `mode` and all else is Swarm's,
/// and docker's `run` reads over it.
fn plain(text: &str) -> Result<String> {
    if !text.contains('=') {
        return Ok(text.to_owned());
    }
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for part in text.split(',') {
        let Some((name, value)) = part.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Error::usage(format!(
                "invalid publish opts format (should be name=value but got '{part}')"
            )));
        };
        match name {
            "published" => published = value,
            "target" => target = value,
            "protocol" => protocol = value,
            // Nothing is parsed and ignored; these alone have but one meaning here.
            "mode" if matches!(value, "host" | "ingress") => {}
            _ => {
                return Err(Error::usage(format!(
                    "invalid publish option {part:?}; there are published, target and protocol"
                )));
            }
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

/// `[[IP:]HOST-PORT:]PORT[/PROTOCOL]`, each port of it by itself.
fn one(text: &str) -> Result<Vec<(String, PortBinding)>, String> {
    let mut parts = text.rsplitn(3, ':');
    let inside = parts.next().unwrap_or_default();
    let outside = parts.next().unwrap_or_default();
    let host = parts.next().unwrap_or_default();
    let (ports, protocol) = split(inside);
    if ports.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let protocol = protocol_of(protocol)?;
    let host_ip = address(host)?;
    let bad = |_| format!("invalid containerPort: {ports}");
    // DIFFERS: docker takes port 0 here, and fails when the container starts.
    let (from, to) = range(ports)
        .and_then(|r| if r.0 == 0 { Err(String::new()) } else { Ok(r) })
        .map_err(bad)?;
    let (mut first, mut last) = (0, 0);
    if !outside.is_empty() {
        (first, last) = range(outside)
            // The same: no range begins at a port that means any.
            .and_then(|r| if r.0 == 0 && r.1 > to - from { Err(String::new()) } else { Ok(r) })
            .map_err(|_| format!("invalid hostPort: {outside}"))?;
        // Several of the host's for one of the container's: one of them, whichever is free.
        if to - from != last - first && to != from {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {ports} and {outside}"
            ));
        }
    }
    let binding = |n: u16| match (outside.is_empty(), to == from && first != last) {
        (true, _) => String::new(),
        (_, true) => format!("{first}-{last}"),
        _ => (first + n).to_string(),
    };
    Ok((0..=to - from)
        .map(|n| {
            let port = format!("{}/{}", from + n, protocol.as_str());
            (port, PortBinding { host_ip: host_ip.clone(), host_port: binding(n) })
        })
        .collect())
}

fn split(text: &str) -> (&str, &str) {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, ""));
    (ports, if protocol.is_empty() { "tcp" } else { protocol })
}

fn protocol_of(text: &str) -> Result<Protocol, String> {
    match text.to_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        other => Err(format!("invalid proto: {other}")),
    }
}

/// An address of the host's, IPv6 with or without brackets; empty for all.
fn address(text: &str) -> Result<String, String> {
    let bare = if text.starts_with('[') { unbracketed(text)? } else { text };
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {bare}"));
    }
    Ok(bare.to_owned())
}

/// What Go's `net.SplitHostPort` makes of it with a colon behind, and its words.
fn unbracketed(text: &str) -> Result<&str, String> {
    let bad =
        |why: &str| Err(format!("invalid IP address {text}: address {text}:: {why} in address"));
    let Some((bare, rest)) = text[1..].split_once(']') else { return bad("missing ']'") };
    match rest {
        "" if bare.contains('[') => bad("unexpected '['"),
        "" => Ok(bare),
        other if other.starts_with(':') => bad("too many colons"),
        _ => bad("missing port"),
    }
}

/// `8000` or `8000-8010`, both ends of it, in docker's words when it is none.
pub fn range(text: &str) -> Result<(u16, u16), String> {
    if text.is_empty() {
        return Err("empty string specified for ports".to_owned());
    }
    // What follows a second dash is nothing to docker; here it is no number.
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (number(from)?, number(to)?);
    if to < from {
        return Err(format!("invalid range specified for port: {text}"));
    }
    Ok((from, to))
}

/// Go's `strconv.ParseUint(text, 10, 16)`.
fn number(text: &str) -> Result<u16, String> {
    let bad = |why| Err(format!("strconv.ParseUint: parsing {text:?}: {why}"));
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return bad("invalid syntax");
    }
    text.parse().or_else(|_| bad("value out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<String, String> {
        let (bindings, exposed) = publish(&[text.to_owned()]).map_err(|e| e.message)?;
        assert!(exposed.iter().eq(bindings.keys()));
        let line = |(port, all): (&String, &Vec<PortBinding>)| {
            let all: Vec<_> =
                all.iter().map(|b| format!("{}|{}", b.host_ip, b.host_port)).collect();
            format!("{port}={}", all.join(","))
        };
        Ok(bindings.iter().map(line).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn every_form_of_docker_is_read() {
        for (text, meant) in [
            ("80", "80/tcp=|"),
            (":80", "80/tcp=|"),
            ("0:80", "80/tcp=|0"),
            ("8080:80", "80/tcp=|8080"),
            ("8080:80/UDP", "80/udp=|8080"),
            ("80/", "80/tcp=|"),
            ("08:08", "8/tcp=|8"),
            ("9:9/sctp", "9/sctp=|9"),
            ("127.0.0.1::53/udp", "53/udp=127.0.0.1|"),
            ("127.0.0.1:8080:80", "80/tcp=127.0.0.1|8080"),
            ("[127.0.0.1]:8080:80", "80/tcp=127.0.0.1|8080"),
            ("[::1]:8080:80", "80/tcp=::1|8080"),
            ("::1:8080:80", "80/tcp=::1|8080"),
            ("[::]::80", "80/tcp=::|"),
            ("::ffff:1.2.3.4:80:80", "80/tcp=::ffff:1.2.3.4|80"),
            ("8000-8001:80-81", "80/tcp=|8000 81/tcp=|8001"),
            ("0-1:80-81", "80/tcp=|0 81/tcp=|1"),
            ("8000-8010:80", "80/tcp=|8000-8010"),
            ("80-81", "80/tcp=| 81/tcp=|"),
            ("published=8080,target=80", "80/tcp=|8080"),
            ("target=80", "80/tcp=|"),
            ("published=8080,target=80,protocol=udp,mode=host", "80/udp=|8080"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(meant), "{text}");
        }
        let twice = ["80:80".to_owned(), "81:80".to_owned()];
        assert_eq!(publish(&twice).unwrap().0["80/tcp"].len(), 2);
    }

    #[test]
    fn what_docker_refuses_is_refused_in_its_words() {
        for (text, words) in [
            ("", "no port specified: <empty>"),
            ("80:", "no port specified: 80:<empty>"),
            ("/tcp", "no port specified: /tcp<empty>"),
            ("published=80", "no port specified: 80:/tcp<empty>"),
            ("80:90:100", "invalid IP address: 80"),
            ("80:80:80:80:80", "invalid IP address: 80:80:80"),
            ("1.2.3:80:80", "invalid IP address: 1.2.3"),
            ("[fe80::1%eth0]:80:80", "invalid IP address: fe80::1%eth0"),
            ("[::1:80:80", "invalid IP address [::1: address [::1:: missing ']' in address"),
            ("[::]:80", "invalid IP address [:: address [::: missing ']' in address"),
            ("foo", "invalid containerPort: foo"),
            ("+80", "invalid containerPort: +80"),
            ("80-", "invalid containerPort: 80-"),
            ("1-0", "invalid containerPort: 1-0"),
            ("70000", "invalid containerPort: 70000"),
            ("x:80", "invalid hostPort: x"),
            ("80/xyz", "invalid proto: xyz"),
            (
                "8000-8001:80-82",
                "invalid ranges specified for container and host Ports: 80-82 and 8000-8001",
            ),
            ("a,b=c", "invalid publish opts format (should be name=value but got 'a')"),
            ("=80", "invalid publish opts format (should be name=value but got '=80')"),
        ] {
            assert_eq!(read(text), Err(words.to_owned()), "{text}");
        }
        // Docker takes these, and the container then doesn't start.
        for text in ["0", "80:0", "0-10:80", "1-2-3", "nope=1,target=80"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn exposed_ports_are_read_and_refused_as_docker_does() {
        let read = |text: &str| {
            let all = expose(&[text.to_owned()]).map_err(|e| e.message)?;
            Ok::<_, String>(all.into_iter().collect::<Vec<_>>().join(" "))
        };
        assert_eq!(read("80").unwrap(), "80/tcp");
        assert_eq!(read("53-54/UDP").unwrap(), "53/udp 54/udp");
        let invalid = "invalid range format for --expose:";
        for (text, words) in [
            ("80:90", "invalid port format for --expose: 80:90".to_owned()),
            ("", format!("{invalid} , error: empty string specified for ports")),
            ("80-70", format!("{invalid} 80-70, error: invalid range specified for port: 80-70")),
            ("a", format!("{invalid} a, error: strconv.ParseUint: parsing \"a\": invalid syntax")),
            (
                "70000",
                format!(
                    "{invalid} 70000, error: strconv.ParseUint: parsing \"70000\": value out of range"
                ),
            ),
        ] {
            assert_eq!(read(text), Err(words), "{text}");
        }
        assert!(read("80/foo").is_err());
    }

    #[test]
    fn the_environment_narrows_before_daemon_json() {
        let usual = |env, daemon| usual(env, daemon).map(|ip| ip.map(|ip| ip.to_string()));
        assert_eq!(usual(None, ""), Ok(None));
        assert_eq!(usual(Some(""), "0.0.0.0"), Ok(None));
        assert_eq!(usual(None, "10.0.0.1"), Ok(Some("10.0.0.1".into())));
        assert_eq!(usual(Some("127.0.0.1"), "10.0.0.1"), Ok(Some("127.0.0.1".into())));
        assert_eq!(usual(Some("0.0.0.0"), "10.0.0.1"), Ok(None));
        assert!(usual(Some("here"), "").is_err());
    }

    proptest! {
        #[test]
        fn nothing_typed_makes_it_panic(text in "[-0-9a-z:/.,=\\[\\]% é]{0,24}") {
            let _ = read(&text);
            let _ = expose(std::slice::from_ref(&text));
            let _ = served(&text);
        }

        #[test]
        fn ranges_are_paired_one_to_one(
            first in 1..60000u16, from in 1..60000u16, more in 0..50u16,
            protocol in prop::sample::select(vec!["tcp", "udp", "sctp"]),
        ) {
            let typed = format!("{first}-{}:{from}-{}/{protocol}", first + more, from + more);
            let (bindings, _) = publish(&[typed]).unwrap();
            prop_assert_eq!(bindings.len(), usize::from(more) + 1);
            for n in 0..=more {
                let all = &bindings[&format!("{}/{protocol}", from + n)];
                prop_assert_eq!(&all[0].host_port, &(first + n).to_string());
            }
        }

        #[test]
        fn addresses_come_back_as_typed(bits in any::<u128>(), v4 in any::<u32>(), port in 1..=u16::MAX) {
            let (v6, v4) = (std::net::Ipv6Addr::from(bits), std::net::Ipv4Addr::from(v4));
            let typed = [format!("[{v6}]:{port}:80"), format!("{v4}::80")];
            let (bindings, _) = publish(&typed).unwrap();
            let back: Vec<_> = bindings["80/tcp"].iter().map(|b| b.host_ip.clone()).collect();
            prop_assert_eq!(back, [v6.to_string(), v4.to_string()]);
        }
    }
}
