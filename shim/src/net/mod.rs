//! Networks without a daemon: what a container's monitor makes of them for one life.
//!
//! ```text
//! reserve   addresses leased, host ports bound        before the bundle is prepared
//! attach    devices, addresses, routes, rules, DNS    between the runtime's create and start
//! release   all of it away, in reverse                at the end of a life
//! ```
//!
//! What containers share (bridges, rules, leases) changes under [`Lock`] alone.

mod carrier;
pub mod dns;
mod flows;
pub mod ipam;
pub mod link;
mod lock;
mod networking;
pub mod nft;
mod plan;
pub mod pools;
pub mod ports;
mod routed;
mod shared;
mod ties;
mod trace;
mod world;

pub use flows::settle as settle_flows;
pub use lock::Lock;
pub use networking::Networking;
pub use shared::{lower, raise, reload, sweep};
pub use ties::{tie, untie};
pub use world::{World, bridge_of, host_end};
