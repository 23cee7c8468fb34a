//! Verbs of images.

pub mod inspect;
pub mod ls;
pub mod prune;
pub mod pull;
pub mod rm;
pub mod tag;
