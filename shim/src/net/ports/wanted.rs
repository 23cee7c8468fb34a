//! What a record asks to be published → ports to bind, in docker's order.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Target, rank};
use crate::error::{Error, Result};
use crate::model::{Protocol, Record};
use crate::options::ports;

/// One `-p`, or one exposed port of `-P`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// The port inside.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The host's address; none for the default one.
    pub host_ip: Option<IpAddr>,
    /// The host's port, or the first of a range; 0 for any.
    pub first: u16,
    /// The last of the range.
    pub last: u16,
}

impl Want {
    /// Any of several, so that one that is taken is no failure.
    pub fn is_range(&self) -> bool {
        self.first == 0 || self.first != self.last
    }

    /// Differs in the host's address at most: docker gives such the same port, so that a name
    /// with several addresses has one.
    pub fn is_alike(&self, other: &Self) -> bool {
        Self { host_ip: None, ..*self } == Self { host_ip: None, ..*other }
    }

    /// Docker's order: exact ports first, so that a range doesn't take them; what differs in the
    /// host's address alone stands together.
    fn order(&self, other: &Self) -> Ordering {
        let key = |w: &Self| (w.is_range(), w.port, rank(w.protocol), w.first, w.last, w.host_ip);
        key(self).cmp(&key(other))
    }

    /// The host's addresses to bind, by docker's rules. `usual` is where ports go that name no
    /// address; `v6` tells whether this host has IPv6 at all, and is asked only when it matters.
    pub fn places(&self, usual: Option<IpAddr>, to: Target, v6: &dyn Fn() -> bool) -> Vec<IpAddr> {
        const ALL4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        const ALL6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let usual = usual.unwrap_or(ALL4).to_canonical();
        match self.host_ip.unwrap_or(usual).to_canonical() {
            ALL4 if self.host_ip.is_none() => {
                let both = [(ALL4, to.ipv4.is_some()), (ALL6, to.behind(ALL6).is_some() && v6())];
                both.into_iter().filter(|place| place.1).map(|place| place.0).collect()
            }
            one => to.behind(one).map(|_| one).into_iter().collect(),
        }
    }
}

/// What is to be published of a container, sorted.
pub fn wanted(record: &Record) -> Result<Vec<Want>> {
    let host = &record.host_config;
    let mut all = Vec::new();
    for (text, bindings) in &host.port_bindings {
        let bad = |what: &str| Error::engine(format!("invalid port specification: {what:?}"));
        let (port, protocol) = ports::served(text).ok_or_else(|| bad(text))?;
        for binding in bindings {
            let host_ip = (!binding.host_ip.is_empty())
                .then(|| binding.host_ip.parse().map_err(|_| bad(&binding.host_ip)))
                .transpose()?;
            let (first, last) = match binding.host_port.as_str() {
                "" => (0, 0),
                text => ports::range(text).map_err(|_| bad(text))?,
            };
            all.push(Want { port, protocol, host_ip, first, last });
        }
    }
    if host.publish_all_ports {
        let exposed = record.config.exposed_ports.iter().flatten().map(|(text, _)| text);
        // What an image says may be anything; what is no port is not published.
        let exposed = exposed
            .filter(|text| host.port_bindings.get(*text).is_none_or(Vec::is_empty))
            .filter_map(|text| ports::served(text));
        all.extend(exposed.map(|(port, protocol)| Want {
            port,
            protocol,
            host_ip: None,
            first: 0,
            last: 0,
        }));
    }
    all.sort_by(Want::order);
    all.dedup();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Config, HostConfig};

    fn record(publish: &[&str], exposed: &[&str], all: bool) -> Record {
        let typed: Vec<String> = publish.iter().map(ToString::to_string).collect();
        let (port_bindings, _) = ports::publish(&typed).unwrap();
        let exposed = exposed.iter().map(|p| ((*p).to_owned(), serde_json::Value::Null));
        Record {
            config: Config { exposed_ports: Some(exposed.collect()), ..Config::default() },
            host_config: HostConfig {
                port_bindings,
                publish_all_ports: all,
                ..HostConfig::default()
            },
            ..Record::default()
        }
    }

    #[test]
    fn exact_ports_come_before_ranges() {
        let all = wanted(&record(&["8000-8010:80", "8005:9000", "53:53/udp", "53:53"], &[], false));
        let shown: Vec<_> =
            all.unwrap().iter().map(|w| (w.first, w.port, w.protocol.as_str())).collect();
        assert_eq!(
            shown,
            [(53, 53, "tcp"), (53, 53, "udp"), (8005, 9000, "tcp"), (8000, 80, "tcp")]
        );
    }

    #[test]
    fn publish_all_takes_what_is_exposed_and_not_published_yet() {
        let exposed = ["80/tcp", "81/tcp", "82/what", "90-95/tcp", "0/tcp"];
        let all = wanted(&record(&["8080:80"], &exposed, true)).unwrap();
        assert_eq!(
            all.iter().map(|w| (w.first, w.port)).collect::<Vec<_>>(),
            [(8080, 80), (0, 81)]
        );
        assert_eq!(wanted(&record(&["8080:80"], &exposed, false)).unwrap().len(), 1);
    }

    #[test]
    fn places_are_dockers() {
        let v4 = Target { ipv4: Some(Ipv4Addr::new(172, 17, 0, 2)), ipv6: None };
        let v6 = Target { ipv4: None, ipv6: Some(Ipv6Addr::LOCALHOST) };
        let both = Target { ipv4: v4.ipv4, ipv6: v6.ipv6 };
        let places = |text: &str, usual: Option<&str>, to: Target, has: bool| {
            let want = wanted(&record(&[text], &[], false)).unwrap()[0];
            let usual = usual.map(|ip| ip.parse().unwrap());
            let all = want.places(usual, to, &|| has);
            all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        for to in [v4, both] {
            assert_eq!(places("80:80", None, to, true), "0.0.0.0 ::");
            assert_eq!(places("80:80", None, to, false), "0.0.0.0");
            assert_eq!(places("80:80", Some("127.0.0.1"), to, true), "127.0.0.1");
            assert_eq!(places("80:80", Some("::1"), to, true), "::1");
            assert_eq!(places("0.0.0.0:80:80", None, to, true), "0.0.0.0");
            assert_eq!(places("0.0.0.0:80:80", Some("127.0.0.1"), to, true), "0.0.0.0");
            assert_eq!(places("[::]:80:80", None, to, true), "::");
            assert_eq!(places("[::ffff:10.0.0.1]:80:80", None, to, true), "10.0.0.1");
        }
        assert_eq!(places("80:80", None, v6, true), "::");
        assert_eq!(places("10.0.0.1:80:80", None, v6, true), "");
        assert_eq!(places("80:80", None, Target::default(), true), "");
    }
}
