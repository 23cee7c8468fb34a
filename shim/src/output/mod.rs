//! What people read: tables, templates, times, sizes, names.

mod nearest;

pub use nearest::nearest;
