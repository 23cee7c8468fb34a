//! Verbs of the machine.

pub mod events;
pub mod info;
pub mod version;
