//! Verbs of the machine.

pub mod info;
pub mod version;
