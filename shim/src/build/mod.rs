//! What a build has of dhow beyond the image library: networks for its RUNs.

mod networks;
mod serving;
mod space;

pub use networks::Wired;
