//! container.json: what a container was made to be.

use std::net::IpAddr;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Config, HostConfig, MachineResolver, Sdnotify, Wish};

/// A container as it was created. Only its name (and, later, its limits) change afterwards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this form; a newer one is refused.
    pub version: u32,
    /// 64 hex digits.
    pub id: String,
    /// Without docker's leading slash.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// What it was made from.
    pub image: ImageRef,
    /// Chain ids `sha256:…` of the image's layers, lowest first.
    pub layers: Vec<String>,
    /// argv\[0\].
    pub path: String,
    /// The other arguments.
    pub args: Vec<String>,
    /// The image's idea, as the user changed it.
    pub config: Config,
    /// The host's business.
    pub host_config: HostConfig,
    /// Binds, volumes and tmpfs with their sources settled.
    pub mounts: Vec<MountPoint>,
    /// Where the files of the devices asked for by CDI name lie.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cdi_dirs: Vec<PathBuf>,
    /// What stands before the verb when the runtime is called, of daemon.json's `runtimes`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runtime_args: Vec<String>,
    /// Keys that leave the container, as typed; unset means ctrl-p,ctrl-q.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detach_keys: Option<String>,
    /// Networks it is in, and how; empty for `--network host`, `none` and `container:ID`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Wish>,
    /// Where ports are published when `-p` names no address: DHOW_PUBLISH_DEFAULT, or daemon.json's `ip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_ip: Option<IpAddr>,
    /// What daemon.json said of names when it was made.
    #[serde(default, skip_serializing_if = "MachineResolver::is_silent")]
    pub resolver: MachineResolver,
    /// Who tells a service manager that it is up, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdnotify: Option<Sdnotify>,
    /// The arguments that made it, for a unit that does so again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub typed: Vec<String>,
    /// Where they were typed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub directory: String,
}

impl Record {
    /// The version written today.
    pub const VERSION: u32 = 1;

    /// Seconds `stop` waits before SIGKILL; negative waits for ever.
    pub fn stop_timeout(&self) -> i64 {
        self.config.stop_timeout.unwrap_or(10)
    }

    /// Chain ids of every layer that it stands on: its own image's, and of images it mounts.
    pub fn chains(&self) -> impl Iterator<Item = &String> {
        self.layers.iter().chain(self.mounts.iter().flat_map(|mount| &mount.layers))
    }

    /// The first twelve digits, as docker prints ids.
    pub fn short_id(&self) -> &str {
        &self.id[..self.id.len().min(12)]
    }
}

/// What a container was made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRef {
    /// The full normal name, or the id when it was named by id.
    pub reference: String,
    /// docker's IMAGE ID: the config's digest, `sha256:…`.
    pub id: String,
    /// The manifest's digest.
    pub manifest: String,
}

/// One mount of the user's, docker's `MountPoint`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MountPoint {
    /// `bind`, `volume` or `tmpfs`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The volume's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// On the host; empty for tmpfs.
    pub source: String,
    /// In the container.
    pub destination: String,
    /// `local` for volumes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Options as typed (`ro`, `z`, tmpfs options).
    pub mode: String,
    /// Writable.
    #[serde(rename = "RW")]
    pub rw: bool,
    /// `rprivate` for binds, empty for volumes.
    pub propagation: String,
    /// dhow made this volume for this container alone; `rm -v` and `--rm` remove it.
    #[serde(rename = "dhow.anonymous", skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
    /// The image's files at `destination` are copied into the volume while it is empty.
    #[serde(rename = "dhow.copy_up", skip_serializing_if = "std::ops::Not::not")]
    pub copy_up: bool,
    /// The volume's options name what is mounted on its directory.
    #[serde(rename = "dhow.mounted", skip_serializing_if = "std::ops::Not::not")]
    pub mounted: bool,
    /// This part of the volume or image, in place of its root.
    #[serde(rename = "dhow.subpath", skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    /// Chain ids of layers, lowest first: a mounted image's, or those that a volume's first
    /// contents come from when they aren't the container's own.
    #[serde(rename = "dhow.layers", skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
    /// What becomes of the mounts below a bind's source.
    #[serde(rename = "dhow.depth", skip_serializing_if = "Depth::is_usual")]
    pub depth: Depth,
    /// A bind's source is made when it lacks.
    #[serde(rename = "dhow.make_source", skip_serializing_if = "std::ops::Not::not")]
    pub make_source: bool,
}

/// What becomes of the mounts below a bind's source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// They come along, and are read-only where the bind is and the kernel can.
    #[default]
    Usual,
    /// They stay out.
    Alone,
    /// They come along as they are.
    Writable,
    /// They come along read-only, or the container does not start.
    Forced,
}

impl Depth {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    fn is_usual(&self) -> bool {
        *self == Self::Usual
    }
}
