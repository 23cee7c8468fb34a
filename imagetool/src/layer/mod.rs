//! Layers: tar streams in and out of directories.
//!
//! In: [`verify`] (inflate, hash) → [`entry`] (typed entries) → [`apply`] (files, by
//! descriptor), with [`journal`] for what is owed, [`mod@seal`] for directories and [`settle`]
//! for what needs the layers below. Out: [`pack`].

pub mod apply;
pub mod at;
mod bare;
mod compare;
pub mod compress;
pub mod entry;
mod extract;
pub mod flatten;
pub(crate) mod foreign;
mod gunzip;
pub(crate) mod header;
pub(crate) mod holes;
pub mod journal;
mod make;
pub mod merged;
pub mod name;
pub mod pack;
mod parents;
pub mod pax;
mod remap;
pub mod seal;
pub mod settle;
pub mod sparse;
pub mod squeeze;
pub(crate) mod sums;
#[cfg(test)]
mod tests;
pub(crate) mod tidy;
pub mod verify;
pub mod whiteout;

pub use apply::{Applied, Owner, Sink, apply, apply_as};
pub use at::RootDir;
pub use compare::{Change, ChangeKind, changes};
pub use entry::{Entries, Limits};
pub use extract::extract;
pub use journal::Journal;
pub use pack::{Adjust, Delta, Packed, Tree, diff, export, tree};
pub use remap::{IdMap, Manner, Range};
pub use seal::{Closed, seal, seal_with};
pub use sums::Sums;
