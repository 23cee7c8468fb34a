//! dhow: docker's command line without a daemon.
//!
//! Data goes one way: argv → [`cli`] → [`options`] → [`command`] → [`host`] →
//! stores, monitor, image library. A verb's flags and behaviour are one file
//! under `command/`; wording lives in [`output`] and exit codes in [`exit`].

pub mod build;
pub mod bundle;
pub mod cli;
pub mod command;
pub mod copying;
pub mod delegation;
pub mod error;
pub mod events;
pub mod exit;
pub mod host;
pub mod logging;
pub mod machine;
pub mod making;
pub mod model;
pub mod monitor;
pub mod mounted;
pub mod net;
pub mod options;
pub mod output;
pub mod pruning;
pub mod reach;
pub mod settings;
pub mod store;
pub mod units;
pub mod usage;

pub use error::{Error, Kind, Result};
pub use host::Host;
