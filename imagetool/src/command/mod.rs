//! The verbs, one file each: its flags and what it does, nothing else.

pub mod export;
pub mod import;
pub mod inspect;
pub mod list;
pub mod pull;
pub mod remove;
pub mod tag;
pub mod unpack;
