//! What `run` and `create` say of networks, as typed.

use clap::Args;

/// Networks, names, addresses.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Network")]
pub struct NetFlags {
    /// bridge, none, host, container:NAME, or a network's name, as name=NAME,alias=…,ip=… too
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    pub network: Vec<String>,
    /// Further name in the first network
    #[arg(long, alias = "net-alias", value_name = "NAME")]
    pub network_alias: Vec<String>,
    /// Its IPv4 address in the first network
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    /// Its IPv6 address in the first network
    #[arg(long, value_name = "ADDRESS")]
    pub ip6: Option<String>,
    /// Further link-local address
    #[arg(long, value_name = "ADDRESS")]
    pub link_local_ip: Vec<String>,
    /// Its Ethernet address in the first network
    #[arg(long, value_name = "MAC")]
    pub mac_address: Option<String>,
    /// Another container by name, CONTAINER[:ALIAS]
    #[arg(long, value_name = "LINK")]
    pub link: Vec<String>,
    /// Name server
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<String>,
    /// Domain that bare names are looked up in
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Option of resolv.conf
    #[arg(long, alias = "dns-opt", value_name = "OPTION")]
    pub dns_option: Vec<String>,
}
