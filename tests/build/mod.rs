//! Cases of `dhow build` and `dhow-image build`.

mod apps;
mod cache;
mod config;
mod contexts;
mod copying;
mod crash;
mod documented;
mod face;
mod flags;
mod hostile;
mod language;
mod mounts;
mod networks;
mod platforms;
mod runner;
mod running;
mod same;
mod secrets;
mod stages;
