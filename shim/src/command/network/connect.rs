//! `dhow network connect`.

use clap::Args;

use super::find;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::model::Wish;
use crate::options::networks::{driver_option, ipv4, ipv6, link, link_local};
use crate::output::Output;

/// Connect a container to a network
#[derive(Debug, Args)]
pub struct Connect {
    /// Further name there
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub alias: Vec<String>,
    /// Option of the network's driver
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    pub driver_opt: Vec<String>,
    /// The network with the highest has the default route
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true)]
    pub gw_priority: i64,
    /// Its IPv4 address there
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    /// Its IPv6 address there
    #[arg(long, value_name = "ADDRESS")]
    pub ip6: Option<String>,
    /// Another container by name, CONTAINER[:ALIAS]
    #[arg(long, value_name = "LINK")]
    pub link: Vec<String>,
    /// Further link-local address
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub link_local_ip: Vec<String>,
    /// The network's name or id
    #[arg(value_name = "NETWORK")]
    pub network: String,
    /// The container's
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

impl Connect {
    /// Prints nothing.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host);
        out.end(result)
    }

    fn perform(&self, host: &Host) -> Result<()> {
        let mut wish = self.wish()?;
        let record = host.containers.find(&self.container)?.record;
        wish.network = find(host, &self.network)?.name;
        crate::monitor::connect(host, &record, wish)
    }

    fn wish(&self) -> Result<Wish> {
        // As docker: its daemon reads these.
        let wrong = |why: String| Error::usage(format!("invalid endpoint settings: {why}"));
        let mut wish =
            Wish { aliases: self.alias.clone(), gw_priority: self.gw_priority, ..Wish::default() };
        if let Some(text) = self.ip.as_deref().filter(|text| !text.is_empty()) {
            wish.ipv4 = Some(ipv4(text).map_err(wrong)?);
        }
        if let Some(text) = self.ip6.as_deref().filter(|text| !text.is_empty()) {
            wish.ipv6 = Some(ipv6(text).map_err(wrong)?);
        }
        for text in &self.link {
            wish.links.push(link("--link", text)?);
        }
        for text in &self.link_local_ip {
            wish.link_local.push(link_local(text).map_err(wrong)?);
        }
        for text in &self.driver_opt {
            let (key, value) = driver_option(text).map_err(Error::usage)?;
            wish.driver_opts.insert(key, value);
        }
        Ok(wish)
    }
}
