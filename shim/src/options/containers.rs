//! Which containers: the filters of `ps`.

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::Status;
use crate::options::filters::{Filters, Pattern};
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
        Ok(Self { filters, codes, task })
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
        let pattern = |key| self.filters.values(key).iter().map(|v| Pattern::new(v)).collect();
        Ok(Settled {
            before,
            since,
            ancestors,
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
            && filters.any("network", |v| *v == record.host_config.network_mode)
            && filters.any("health", |v| v == health)
            && filters.any("expose", |v| exposes(record, v))
            // Nothing is published in this version, and nothing is a task.
            && !filters.has("publish")
            && self.wanted.task != Some(true)
    }

    fn ended_with(&self, c: &Container) -> bool {
        c.state.status == Status::Exited && self.wanted.codes.contains(&c.state.exit_code)
    }
}

/// `80`, `80/tcp`, `80-90/tcp`.
fn exposes(record: &crate::model::Record, wanted: &str) -> bool {
    let (ports, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let (from, to) = ports.split_once('-').unwrap_or((ports, ports));
    let (Ok(from), Ok(to)) = (from.parse::<u16>(), to.parse::<u16>()) else { return false };
    record.config.exposed_ports.iter().flatten().any(|(port, _)| {
        let (number, kind) = port.split_once('/').unwrap_or((port, "tcp"));
        kind == protocol && number.parse::<u16>().is_ok_and(|n| (from..=to).contains(&n))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked() {
        let parse = |text: &str| Wanted::parse(&[text.to_owned()]);
        for wrong in ["what=1", "status=gone", "name", "exited=x", "health=fine", "is-task=maybe"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("status=exited").unwrap().names_a_state());
        assert!(!parse("exited=0").unwrap().names_a_state());
    }
}
