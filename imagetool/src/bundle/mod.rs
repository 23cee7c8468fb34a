//! Bundles: an image config becomes a runtime config, layers become a root.

pub mod caps;
pub mod config;
pub mod seccomp;
mod unpack;
pub mod user;

pub use config::config;
pub use unpack::unpack;
