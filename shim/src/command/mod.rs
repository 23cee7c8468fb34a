//! One file a verb: its flags and its behaviour. Wording lives in `output`,
//! exit codes in `exit`; a verb never contains another verb's logic.

pub mod builder;
pub mod container;
pub mod image;
pub mod inspect;
pub mod manifest;
pub mod network;
pub mod registry;
pub mod system;
pub mod volume;
