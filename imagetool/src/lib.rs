//! OCI images made for pipes: references, registries, archives and streams in; images,
//! bundles and streams out. The library never prints, exits, or reads the environment.

pub mod amount;
pub mod build;
pub mod bundle;
pub mod changes;
pub mod commit;
pub mod config;
pub mod copy;
pub mod daemon;
pub mod difference;
pub mod digest;
pub mod edit;
pub mod error;
mod fuse;
pub mod history;
pub mod import;
pub mod inspect;
pub mod layer;
pub mod leftovers;
pub mod lists;
pub mod manifest;
pub mod moment;
pub mod overlay;
mod pieces;
pub mod platform;
pub mod progress;
pub mod pull;
pub mod recode;
pub mod reference;
pub mod registry;
pub mod rootless;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod stack;
pub mod store;
mod strict;
pub mod sync;
pub mod transport;
pub mod trust;
pub mod words;
pub mod yaml;

pub use error::{Error, Result};
