//! `dhow network ls`.

use clap::Args;
use serde_json::{Map, Value};

use super::all;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::model::Network;
use crate::net::ipam;
use crate::options::filters::{Filters, Pattern};
use crate::options::new_network::joined;
use crate::output::{Column, Format, Output, listing};

/// List networks
#[derive(Debug, Args)]
pub struct Ls {
    /// Keep what matches KEY=VALUE: dangling, driver, id, label, name, scope, type
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// A Go template a row, table TEMPLATE, or json
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// Whole ids
    #[arg(long)]
    pub no_trunc: bool,
    /// Ids only
    #[arg(short, long)]
    pub quiet: bool,
}

const COLUMNS: [Column; 4] =
    [("NETWORK ID", "ID"), ("NAME", "Name"), ("DRIVER", "Driver"), ("SCOPE", "Scope")];
const MORE: [Column; 5] = [
    ("CREATED AT", "CreatedAt"),
    ("IPV4", "IPv4"),
    ("IPV6", "IPv6"),
    ("INTERNAL", "Internal"),
    ("LABELS", "Labels"),
];
const KEYS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];

impl Ls {
    /// A row a network, by name.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.text(host).map(|text| out.text(&text));
        out.end(result)
    }

    fn text(&self, host: &Host) -> Result<String> {
        let typed = match (&self.format, self.quiet) {
            (None, false) => host.settings.client()?.networks_format.clone(),
            (typed, _) => typed.clone(),
        };
        let columns = [&COLUMNS[..], &MORE[..]].concat();
        let format = Format::of(typed.as_deref(), self.quiet)?;
        format.check(&columns)?;
        let rows: Vec<_> = self.found(host)?.iter().map(|network| self.row(network)).collect();
        listing(&rows, &format, &COLUMNS, &columns, "ID")
    }

    fn found(&self, host: &Host) -> Result<Vec<Network>> {
        let filters = Filters::parse(&self.filter, &KEYS)?;
        let dangling = dangling(&filters)?;
        for kind in filters.values("type") {
            if !matches!(kind.as_str(), "builtin" | "custom") {
                return Err(Error::usage(format!(
                    "invalid filter: 'type'='{kind}'; it is builtin or custom"
                )));
            }
        }
        let pattern = |key: &str| -> Vec<Pattern> {
            filters.values(key).iter().map(|value| Pattern::new(value)).collect()
        };
        let (names, ids) = (pattern("name"), pattern("id"));
        let fits = |patterns: &[Pattern], text: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.fits(text))
        };
        let mut found = all(host)?;
        found.retain(|network| {
            let builtin = Network::is_predefined(&network.name);
            fits(&names, &network.name)
                && fits(&ids, &network.id)
                && filters.any("driver", |driver| driver == network.driver.as_str())
                && filters.any("scope", |scope| scope == "local")
                && filters.any("type", |kind| (kind == "builtin") == builtin)
                && filters.labels("label", &network.labels)
                && dangling.is_none_or(|wanted| wanted == is_unused(host, network))
        });
        Ok(found)
    }

    fn row(&self, network: &Network) -> Map<String, Value> {
        let id = if self.no_trunc { &network.id } else { network.short_id() };
        let made = network.created.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string();
        let fields: [(&str, Value); 10] = [
            ("CreatedAt", made.into()),
            ("Driver", network.driver.as_str().into()),
            ("ID", id.into()),
            ("IPv4", network.enable_ipv4.to_string().into()),
            ("IPv6", network.enable_ipv6.to_string().into()),
            ("Internal", network.internal.to_string().into()),
            ("Labels", joined(&network.labels).into()),
            ("Name", network.name.clone().into()),
            ("Scope", "local".into()),
            ("__labels", serde_json::to_value(&network.labels).unwrap_or_default()),
        ];
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// As docker words it.
fn dangling(filters: &Filters) -> Result<Option<bool>> {
    match filters.values("dangling") {
        [] => Ok(None),
        [one] => match one.as_str() {
            "1" | "true" => Ok(Some(true)),
            "0" | "false" => Ok(Some(false)),
            _ => Err(Error::usage(
                "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")",
            )),
        },
        _ => Err(Error::usage("got more than one value for filter key \"dangling\"")),
    }
}

/// No container has an address in it, and nobody predefined it.
fn is_unused(host: &Host, network: &Network) -> bool {
    !Network::is_predefined(&network.name) && ipam::living(&host.paths, &network.id).is_empty()
}
