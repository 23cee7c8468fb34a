//! D-Bus, as much of it as a few calls to systemd need: a client that waits.
//!
//! Of our own, for this lies on the way of each `create` under `--systemd-cgroup`, and all of it is
//! a header, an alignment rule and three lines of greeting. zbus is asynchronous (its runtime alone
//! has more code than this runtime), rustbus a library for both sides and every message.

mod connection;
mod message;
mod text;
mod value;

pub use connection::{Connection, Fault, Method, PATIENCE, escaped};
pub use message::{Kind, Message};
pub use text::parse;
pub use value::Value;
