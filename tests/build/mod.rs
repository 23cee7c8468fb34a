//! Cases of `dhow build` and `dhow-image build`.

mod contexts;
mod face;
mod mounts;
mod networks;
mod runner;
mod secrets;
