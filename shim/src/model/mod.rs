//! docker's JSON shapes, and the records kept on disk in terms of them.

mod config;
mod health;
mod host_config;
mod mount;
pub mod network;
pub mod picture;
mod record;
mod resolver;
mod sdnotify;
mod state;
pub mod view;

pub use config::{Config, Healthcheck};
pub use health::{Health, Probe, Wellness};
pub use host_config::{
    Device, DeviceRequest, HostConfig, LogConfig, RestartPolicy, ThrottleDevice, Ulimit,
    WeightDevice,
};
pub use mount::{BindOptions, Driver, ImageOptions, Mount, TmpfsOptions, VolumeOptions};
pub use network::{Endpoint, Network, PortBinding, Protocol, Published, Subnet, Wish};
pub use record::{Depth, ImageRef, MountPoint, Record};
pub use resolver::MachineResolver;
pub use sdnotify::Sdnotify;
pub use state::{State, Status};
