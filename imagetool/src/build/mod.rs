//! `build`: a Dockerfile, its context and the images it begins from become an image.
//!
//! text → [`dockerfile`] → plan → steps → layers → image. The language is that of BuildKit's
//! `dockerfile:1` frontend. What a `RUN` needs of a container comes in by [`run::Runner`], what is
//! seen of it goes out by [`progress::Watcher`].

pub mod ask;
pub mod cache;
pub mod cancel;
mod child;
pub mod context;
pub mod copy;
pub mod dockerfile;
pub mod engine;
pub mod expand;
pub mod fetch;
pub mod glob;
pub mod ignore;
pub mod image;
pub mod mounts;
pub mod output;
mod plan;
pub mod progress;
pub mod run;
pub mod spec;
mod squash;
pub mod view;
pub mod whole;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::platform::Platform;
use crate::reference::Reference;
use run::Limits;

/// What a build is asked for, beside its Dockerfile and its context.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// The stage that is wanted; the last one if empty.
    pub target: String,
    /// `--build-arg`: values of ARGs.
    pub args: BTreeMap<String, String>,
    /// `--platform`; the host's if `None`.
    pub platform: Option<Platform>,
    /// It is one of several builds, a platform each: its steps say which.
    pub several: bool,
    /// `--label`
    pub labels: BTreeMap<String, String>,
    /// `--tag`: the image's names; without one it dangles.
    pub names: Vec<Reference>,
    /// `--no-cache`: no step's earlier result is used.
    pub no_cache: bool,
    /// `--no-cache-filter`: nor those of these stages.
    pub no_cache_filter: Vec<String>,
    /// `--pull`: registries are asked for newer base images.
    pub pull: bool,
    /// `--network` of RUNs that say nothing of it.
    pub network: String,
    /// `--add-host`: names with addresses, for RUNs.
    pub hosts: Vec<(String, String)>,
    /// `--secret`
    pub secrets: Vec<Secret>,
    /// `--ssh`
    pub agents: Vec<Agent>,
    /// `--allow`: `network.host`, `security.insecure`.
    pub allowed: Vec<String>,
    /// What RUNs may use.
    pub limits: Limits,
    /// `--timestamp` or SOURCE_DATE_EPOCH: when all was made; files that are newer are of then.
    pub epoch: Option<Timestamp>,
    /// `--squash`: one layer upon the base's.
    pub squash: bool,
    /// What becomes of it.
    pub wants: Wants,
    /// `--annotation`: said in its manifest.
    pub annotations: BTreeMap<String, String>,
}

/// What a build's result is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wants {
    /// An image, in the store or elsewhere.
    #[default]
    Image,
    /// Its files (`type=local`, `type=tar`): no blob is made.
    Files,
    /// The cache alone.
    Nothing,
}

/// A `--secret`: only RUNs that ask for it see it, and no layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Its name.
    pub id: String,
    /// Where it is.
    pub from: SecretFrom,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretFrom {
    /// A file of the host.
    File(PathBuf),
    /// The value itself, out of the caller's environment.
    Value(Vec<u8>),
}

/// An `--ssh`: an agent's socket, or keys for one of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its name, `default` if none was given.
    pub id: String,
    /// One socket, or key files.
    pub paths: Vec<PathBuf>,
}
