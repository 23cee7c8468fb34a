//! The verbs, one file each: its flags and what it does, nothing else.

pub mod config;
pub mod convert;
pub mod copy;
pub mod du;
pub mod export;
pub mod gc;
pub mod import;
pub mod init;
pub mod inspect;
pub mod list;
pub mod load;
pub mod mount;
pub mod new;
pub mod prune;
pub mod pull;
pub mod push;
pub mod raw_add_layer;
pub mod remove;
pub mod save;
pub mod stat;
mod table;
pub mod tag;
pub mod unmount;
pub mod unpack;
pub mod verify;
