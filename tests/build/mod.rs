//! Cases of `dhow build` and `dhow-image build`.

mod mounts;
mod networks;
mod runner;
