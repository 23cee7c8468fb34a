//! Ports in docker's words: the column of `ps`, the lines of `port`, `inspect`'s map.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::joined;
use crate::model::{Protocol, Record, State};
use crate::options::ports::served;

/// One port as docker lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// Inside.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// Where it is the host's; none when it is exposed and no more.
    pub host: Option<(IpAddr, u16)>,
}

/// The ports of a container that lives in a network with a way out: all that it exposes, and
/// for each what of the host leads to it.
pub fn ports(record: &Record, state: &State) -> Vec<Port> {
    let reached = |e: &crate::model::Endpoint| e.leads_out && !e.host_interface.is_empty();
    if !state.status.is_alive()
        || state.published.is_empty() && !state.endpoints.iter().any(reached)
    {
        return Vec::new();
    }
    let mut all: Vec<Port> = state
        .published
        .iter()
        .map(|p| Port { port: p.port, protocol: p.protocol, host: Some((p.host_ip, p.host_port)) })
        .collect();
    let exposed = record.config.exposed_ports.iter().flatten();
    for (port, protocol) in exposed.filter_map(|(text, _)| served(text)) {
        if !all.iter().any(|p| (p.port, p.protocol) == (port, protocol)) {
            all.push(Port { port, protocol, host: None });
        }
    }
    all
}

/// Ports in a row: of which address and protocol, from, to.
type Run = ((Option<IpAddr>, Protocol), u16, u16);

/// The column PORTS: ports that follow each other and are the same outside stand as a range.
pub fn column(mut ports: Vec<Port>) -> String {
    // As docker, which compares addresses by their text.
    ports.sort_by_cached_key(|p| {
        let (ip, outside) = p.host.map_or((String::new(), 0), |(ip, n)| (ip.to_string(), n));
        (p.port, ip, outside, p.protocol.as_str())
    });
    let mut open: Vec<Run> = Vec::new();
    let (mut shown, mut moved) = (Vec::new(), Vec::new());
    for p in ports {
        if let Some((ip, outside)) = p.host.filter(|host| host.1 != p.port) {
            moved.push(format!("{}->{}/{}", joined(ip, outside), p.port, p.protocol.as_str()));
            continue;
        }
        let key = (p.host.map(|host| host.0), p.protocol);
        match open.iter_mut().find(|run| run.0 == key) {
            None => open.push((key, p.port, p.port)),
            Some(run) if u32::from(p.port) == u32::from(run.2) + 1 => run.2 = p.port,
            Some(run) => {
                shown.push(range(*run));
                (run.1, run.2) = (p.port, p.port);
            }
        }
    }
    shown.extend(open.into_iter().map(range));
    shown.extend(moved);
    shown.join(", ")
}

fn range(((ip, protocol), first, last): Run) -> String {
    let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
    let ports = match ip {
        Some(ip) => format!("{}->{ports}", joined(ip, &ports)),
        None => ports,
    };
    format!("{ports}/{}", protocol.as_str())
}

/// `NetworkSettings.Ports`: what is exposed and not published is null.
pub fn inspected(record: &Record, state: &State) -> Value {
    let mut all: BTreeMap<String, Option<Vec<Value>>> = BTreeMap::new();
    for p in ports(record, state) {
        let slot = all.entry(format!("{}/{}", p.port, p.protocol.as_str())).or_default();
        if let Some((ip, port)) = p.host {
            let one = json!({ "HostIp": ip.to_string(), "HostPort": port.to_string() });
            slot.get_or_insert_default().push(one);
        }
    }
    json!(all)
}

/// What `dhow port` prints, of all ports or of `only`.
pub fn lines(ports: &[Port], only: Option<(u16, Protocol)>) -> Vec<String> {
    let mut all: Vec<String> = ports
        .iter()
        .filter(|p| only.is_none_or(|only| only == (p.port, p.protocol)))
        .filter_map(|p| {
            let (ip, port) = p.host?;
            let outside = joined(ip, port);
            Some(match only {
                Some(_) => outside,
                None => format!("{}/{} -> {outside}", p.port, p.protocol.as_str()),
            })
        })
        .collect();
    all.sort_by(|a, b| natural(a, b));
    all
}

/// Numbers in texts compare as numbers.
fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let (Some(x), Some(y)) = (a.first(), b.first()) {
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (left, right) = (digits(&mut a), digits(&mut b));
            left.len().cmp(&right.len()).then_with(|| left.cmp(right))
        } else {
            (a, b) = (&a[1..], &b[1..]);
            x.cmp(y)
        };
        if order.is_ne() {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

fn digits<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    *text = rest;
    let zeros = number.iter().take_while(|b| **b == b'0').count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn port(text: &str) -> Port {
        let (inside, protocol) = text.split_once('/').unwrap();
        let (outside, inside) = match inside.split_once("->") {
            Some((outside, inside)) => (Some(outside), inside),
            None => (None, inside),
        };
        let host = outside.map(|text| {
            let (ip, port) = text.rsplit_once(':').unwrap();
            let ip = ip.trim_start_matches('[').trim_end_matches(']');
            (ip.parse().unwrap(), port.parse().unwrap())
        });
        let (port, protocol) = served(&format!("{inside}/{protocol}")).unwrap();
        Port { port, protocol, host }
    }

    #[test]
    fn the_column_is_dockers() {
        // As the tests of docker's formatter have it.
        for (given, shown) in [
            (vec![], ""),
            (vec!["9988/tcp"], "9988/tcp"),
            (vec!["4.3.2.1:8899->9988/tcp"], "4.3.2.1:8899->9988/tcp"),
            (vec!["4.3.2.1:9988->9988/tcp"], "4.3.2.1:9988->9988/tcp"),
            (vec!["9988/udp", "9988/tcp"], "9988/tcp, 9988/udp"),
            (vec!["9988/udp", "9989/tcp", "9990/tcp"], "9988/udp, 9989-9990/tcp"),
            (
                vec!["1.2.3.4:9998->9998/udp", "1.2.3.4:9999->9999/udp"],
                "1.2.3.4:9998-9999->9998-9999/udp",
            ),
            (
                vec!["1.2.3.4:8887->9998/udp", "1.2.3.4:8888->9999/udp"],
                "1.2.3.4:8887->9998/udp, 1.2.3.4:8888->9999/udp",
            ),
            (
                vec!["9998/tcp", "9999/tcp", "1.2.3.4:7777->6677/tcp"],
                "9998-9999/tcp, 1.2.3.4:7777->6677/tcp",
            ),
            (vec!["80/tcp", "82/tcp", "83/tcp", "85/tcp"], "80/tcp, 82-83/tcp, 85/tcp"),
            (
                vec!["0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp"],
                "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
            ),
            (vec!["[::]:80->80/tcp", "0.0.0.0:80->80/tcp"], "0.0.0.0:80->80/tcp, [::]:80->80/tcp"),
            (
                vec![
                    "0.0.0.0:80->80/tcp",
                    "[::]:80->80/tcp",
                    "0.0.0.0:81->81/tcp",
                    "[::]:81->81/tcp",
                ],
                "0.0.0.0:80-81->80-81/tcp, [::]:80-81->80-81/tcp",
            ),
        ] {
            assert_eq!(column(given.iter().map(|t| port(t)).collect()), shown, "{given:?}");
        }
    }

    #[test]
    fn lines_are_sorted_as_people_count() {
        let all = ["0.0.0.0:9->100/tcp", "0.0.0.0:80->9/tcp", "[::]:80->9/tcp", "7/tcp"];
        let all: Vec<_> = all.iter().map(|t| port(t)).collect();
        let shown = ["9/tcp -> 0.0.0.0:80", "9/tcp -> [::]:80", "100/tcp -> 0.0.0.0:9"];
        assert_eq!(lines(&all, None), shown);
        assert_eq!(lines(&all, Some((9, Protocol::Tcp))), ["0.0.0.0:80", "[::]:80"]);
        assert!(lines(&all, Some((7, Protocol::Tcp))).is_empty());
    }

    proptest! {
        #[test]
        fn no_port_is_lost_in_the_column(ports in prop::collection::btree_set(1..300u16, 0..60)) {
            let all = ports.iter().map(|n| Port { port: *n, protocol: Protocol::Tcp, host: None });
            let mut back = std::collections::BTreeSet::new();
            for run in column(all.collect()).split(", ").filter(|t| !t.is_empty()) {
                let run = run.strip_suffix("/tcp").unwrap();
                let (first, last) = run.split_once('-').unwrap_or((run, run));
                back.extend(first.parse::<u16>().unwrap()..=last.parse().unwrap());
            }
            prop_assert_eq!(back, ports);
        }

        #[test]
        fn natural_is_an_order(mut all in prop::collection::vec("[0-9:a]{0,6}", 3)) {
            all.sort_by(|a, b| natural(a, b));
            prop_assert!(natural(&all[0], &all[2]).is_le());
            prop_assert_eq!(natural(&all[0], &all[1]), natural(&all[1], &all[0]).reverse());
        }
    }
}
