//! docker's JSON shapes, and the records kept on disk in terms of them.

mod config;
mod health;
mod host_config;
mod record;
mod state;
pub mod view;

pub use config::{Config, Healthcheck};
pub use health::{Health, Probe, Wellness};
pub use host_config::{
    BindOptions, Device, HostConfig, LogConfig, Mount, RestartPolicy, TmpfsOptions, Ulimit,
    VolumeOptions,
};
pub use record::{ImageRef, MountPoint, Record};
pub use state::{State, Status};
