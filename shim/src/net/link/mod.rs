//! Network devices: bridges, pairs, addresses, routes, by rtnetlink, in process.
//!
//! | what | where |
//! |---|---|
//! | a socket in this namespace or in another, several requests in one send | [`socket`], [`enter`] |
//! | what the kernel answers, read without trust | [`answer`] |
//! | requests as the crates lay them out | [`message`] |
//! | an errno becomes a line for the user | [`words`] |
//! | a network's bridge | [`bridge`] |
//! | the interface that macvlan and ipvlan stand on | [`parent`] |
//! | a container's interface | [`plug`] |
//! | its first packet is not lost | [`carrier`] |
//! | neighbours that remember another | [`announce`] |
//! | its settings that have no netlink | [`sysctl`] |

mod announce;
mod answer;
mod bridge;
mod carrier;
mod enter;
mod message;
mod parent;
mod plug;
mod query;
mod routes;
mod socket;
mod sysctl;
mod words;

#[cfg(test)]
mod tests;

pub use announce::mac_of;
pub use answer::{Address, Found};
pub use bridge::{Bridge, ensure_bridge};
pub use enter::enter;
pub use parent::{Parent, ensure_parent};
pub use plug::{Inside, IpvlanFlag, IpvlanMode, Kind, MacvlanMode, Plug, plug};
pub use query::{addresses, find, list, remove, routes, silence, unplug};
pub use routes::{default_device, default_routes};
pub use socket::Socket;
