//! Images changed: a [`Draft`] of an image is edited and becomes a [`Derived`], a source like any
//! other, so that what was changed can be written anywhere.
//!
//! Documents are read as types, changed, and written back by [`Doc`]: what nobody has changed
//! keeps its bytes, known field or not. The same edit of the same image gives the same bytes.
//!
//! [`Derived`]: crate::source::Derived

mod doc;
mod draft;
mod layer;
mod place;

pub use doc::Doc;
pub use draft::{Draft, manifest_of};
pub use layer::NewLayer;
pub use place::{Changed, Tagged, between};
