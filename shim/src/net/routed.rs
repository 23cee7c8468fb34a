//! Networks whose containers are reached at their own addresses (gateway mode `routed`): their
//! published ports are open there, and none of the host's is taken for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::nft::{GatewayMode, NetworkRules};
use super::plan::{self, Joined};
use super::ports::{self, Target};
use crate::model::network::Driver;
use crate::model::{Network, Published, Record};

/// Whether this IP of the network is.
pub fn is_routed(network: &Network, six: bool) -> bool {
    network.driver == Driver::Bridge
        && NetworkRules::of(network).is_ok_and(|rules| rules.mode(six) == GatewayMode::Routed)
}

/// What rules do for a container's ports: those of the host lead into it, those of its own
/// addresses are open where they are routed to.
pub fn led(
    record: &Record,
    joined: &[Joined],
    published: &[Published],
    to: Target,
) -> Vec<(Published, IpAddr)> {
    let mut all = ports::translated(published, to);
    let wanted = ports::wanted(record).unwrap_or_default();
    for (port, address) in wanted.iter().flat_map(|want| open_at(joined).map(move |at| (want, at)))
    {
        let host_ip: IpAddr = match address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let own = Published { port: port.port, protocol: port.protocol, host_ip, host_port: 0 };
        all.push((own, address));
    }
    all
}

/// The container's addresses that are routed to, of the networks that packets leave by.
fn open_at(joined: &[Joined]) -> impl Iterator<Item = IpAddr> + use<'_> {
    let (v4, v6) = plan::ways_out(joined);
    let of = move |at: Option<usize>, six: bool| {
        let one = joined.get(at?)?;
        let address = if six { one.endpoint.ipv6 } else { one.endpoint.ipv4 };
        address.map(|subnet| subnet.address).filter(|_| is_routed(&one.network, six))
    };
    [of(v4, false), of(v6, true)].into_iter().flatten()
}
