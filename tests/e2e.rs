//! The end-to-end cases. `make test` builds the programs and runs them all; see `README.md`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

mod build;
mod conformance;
mod imagetool;
mod runtime;
mod shim;
mod zz;
