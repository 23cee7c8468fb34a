//! Which containers: the filters of `ps`.

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::Status;
use crate::options::filters::{Filters, Pattern};
use crate::options::ports;
use crate::store::Container;

const KEYS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
const STATES: [&str; 7] =
    ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// What was asked for, checked.
#[derive(Debug)]
pub struct Wanted {
    filters: Filters,
    codes: Vec<i32>,
    task: Option<bool>,
    published: Vec<Range>,
    exposed: Vec<Range>,
}

impl Wanted {
    /// Parses `--filter`s.
    pub fn parse(typed: &[String]) -> Result<Self> {
        let filters = Filters::parse(typed, &KEYS)?;
        filters.only("status", "state", &STATES)?;
        filters.only("health", "health", &HEALTHS)?;
        let code = |text: &String| {
            let wrong = |_| {
                format!(
                    "invalid filter 'exited={text}': strconv.Atoi: parsing \"{text}\": invalid syntax"
                )
            };
            text.parse::<i32>().map_err(wrong).map_err(Error::usage)
        };
        let codes = filters.values("exited").iter().map(code).collect::<Result<_>>()?;
        let task = filters.switch("is-task")?;
        let ranges =
            |key| filters.values(key).iter().map(|v| range(key, v)).collect::<Result<Vec<_>>>();
        let (published, exposed) = (ranges("publish")?, ranges("expose")?);
        Ok(Self { filters, codes, task, published, exposed })
    }

    /// As docker: a container of either list will do.
    fn ports_fit(&self, c: &Container) -> bool {
        if self.published.is_empty() && self.exposed.is_empty() {
            return true;
        }
        let within = |all: &[Range], port: u16, kind: &str| {
            all.iter().any(|(from, to, of)| (*from..=*to).contains(&port) && of == kind)
        };
        crate::net::ports::ports(&c.record, &c.state).iter().any(|p| {
            let kind = p.protocol.as_str();
            p.host.is_some_and(|(_, outside)| within(&self.published, outside, kind))
                || within(&self.exposed, p.port, kind)
        })
    }

    /// As docker: to ask for a state is to ask for stopped ones too.
    pub fn names_a_state(&self) -> bool {
        self.filters.has("status")
    }

    /// `before` and `since` name containers, `ancestor` an image: looked up once.
    pub fn settle(self, host: &Host) -> Result<Settled> {
        let born = |key: &str| -> Result<Vec<Timestamp>> {
            let names = self.filters.values(key).iter();
            names.map(|name| Ok(host.containers.find(name)?.record.created)).collect()
        };
        let (before, since) = (born("before")?, born("since")?);
        let mut ancestors = Vec::new();
        for name in self.filters.values("ancestor") {
            ancestors.extend(host.images()?.find(name).ok().map(|i| i.id().to_string()));
        }
        let typed = self.filters.values("network");
        let mut networks = typed.to_vec();
        let known = if typed.is_empty() { Vec::new() } else { host.networks.list()? };
        let named = known.into_iter().filter(|n| typed.iter().any(|t| n.id.starts_with(t)));
        networks.extend(named.map(|network| network.name));
        let pattern = |key| self.filters.values(key).iter().map(|v| Pattern::new(v)).collect();
        Ok(Settled {
            before,
            since,
            ancestors,
            networks,
            ids: pattern("id"),
            names: pattern("name"),
            wanted: self,
        })
    }
}

/// What was asked for, with what it names found.
#[derive(Debug)]
pub struct Settled {
    wanted: Wanted,
    before: Vec<Timestamp>,
    since: Vec<Timestamp>,
    ancestors: Vec<String>,
    networks: Vec<String>,
    ids: Vec<Pattern>,
    names: Vec<Pattern>,
}

impl Settled {
    /// Whether the container is one of them.
    pub fn fit(&self, c: &Container) -> bool {
        let (record, filters) = (&c.record, &self.wanted.filters);
        let found = |patterns: &[Pattern], texts: &[&str]| {
            patterns.is_empty() || patterns.iter().any(|p| texts.iter().any(|text| p.fits(text)))
        };
        let health = c.state.health.as_ref().map_or("none", |h| h.status.as_str());
        let mount = |value: &String| {
            let source = |m: &crate::model::MountPoint| m.name.is_empty() && m.source == *value;
            record.mounts.iter().any(|m| m.name == *value || source(m) || m.destination == *value)
        };
        found(&self.ids, &[&record.id])
            && found(&self.names, &[&record.name, &format!("/{}", record.name)])
            && filters.labels("label", &record.config.labels)
            && filters.any("status", |v| v == c.state.status.as_str())
            && (self.wanted.codes.is_empty() || self.ended_with(c))
            && self.before.iter().all(|at| record.created < *at)
            && self.since.iter().all(|at| record.created > *at)
            && (!filters.has("ancestor") || self.ancestors.contains(&record.image.id))
            && filters.any("volume", mount)
            && (!filters.has("network") || self.networks.iter().any(|name| is_in(record, name)))
            && filters.any("health", |v| v == health)
            && self.wanted.ports_fit(c)
            // Nothing is a task.
            && self.wanted.task != Some(true)
    }

    fn ended_with(&self, c: &Container) -> bool {
        c.state.status == Status::Exited && self.wanted.codes.contains(&c.state.exit_code)
    }
}

/// Ports that are asked for: from, to, of which protocol.
type Range = (u16, u16, String);

/// Whether the container is in the network of that name, when it runs.
fn is_in(record: &crate::model::Record, name: &str) -> bool {
    let mode = record.host_config.network_mode.as_str();
    record.networks.iter().any(|wish| wish.network == name)
        || record.networks.is_empty() && mode == name
}

/// `80`, `80/tcp`, `80-90/tcp`.
fn range(key: &str, typed: &str) -> Result<Range> {
    if typed.contains(':') {
        let line = format!("filter for '{key}' should not contain ':': {typed}");
        return Err(Error::usage(line));
    }
    let (ports, protocol) = typed.split_once('/').unwrap_or((typed, ""));
    let (from, to) = ports::range(ports)
        .map_err(|why| Error::usage(format!("error while looking up for {key} {typed}: {why}")))?;
    let protocol = if protocol.is_empty() { "tcp" } else { protocol };
    Ok((from, to, protocol.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked() {
        let parse = |text: &str| Wanted::parse(&[text.to_owned()]);
        for wrong in [
            "what=1",
            "status=gone",
            "name",
            "exited=x",
            "health=fine",
            "is-task=maybe",
            "publish=a",
            "expose=80:80",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("status=exited").unwrap().names_a_state());
        assert!(!parse("exited=0").unwrap().names_a_state());
    }
}
