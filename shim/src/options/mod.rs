//! What was typed → what is meant. Each file turns one family of flags from
//! text into the model's types; nothing here touches the store.

mod change;
pub mod containers;
mod defaults;
pub mod devices;
pub mod dns;
pub mod env;
pub mod filters;
mod flags;
pub mod gpus;
pub mod health;
mod intent;
pub mod io;
pub mod limits;
pub mod mounts;
mod network_flags;
pub mod networks;
pub mod new_network;
pub mod ports;
pub mod rights;
pub mod size;
mod stopping;
pub mod time;

pub use change::Change;
pub use defaults::fill;
pub use flags::{Files, Flags, Isolation, Limits, Order, Pull};
pub use health::HealthFlags;
pub use intent::{Intent, intend};
pub use network_flags::NetFlags;
pub use ports::PortFlags;
pub use stopping::Stopping;
