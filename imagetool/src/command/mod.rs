//! The verbs, one file each: its flags and what it does, nothing else.

pub mod copy;
pub mod export;
pub mod import;
pub mod inspect;
pub mod list;
pub mod load;
pub mod pull;
pub mod push;
pub mod remove;
pub mod save;
pub mod tag;
pub mod unpack;
