//! What a RUN's container has of a network.

use std::any::Any;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::error::{Error, Result};

/// Who makes a container's network.
pub trait Networks: Sync {
    /// Joins container `id`, called `hostname`, to the network that `mode` names.
    ///
    /// # Errors
    ///
    /// When there is no such network here, or it can't be had; nothing of it is left then.
    fn join(&self, id: &str, mode: &str, hostname: &str) -> Result<Joined>;
}

/// A container's network; given back when dropped.
#[derive(Debug)]
pub struct Joined {
    /// Where its devices are.
    pub namespace: Namespace,
    /// Its /etc/resolv.conf; none is mounted if empty.
    pub resolv_conf: Vec<u8>,
    /// Its /etc/hosts, without `--add-host`'s.
    pub hosts: Vec<u8>,
    /// What has to be held as long as the container runs.
    pub held: Option<Box<dyn Any + Send>>,
}

/// A network namespace.
#[derive(Clone, Debug)]
pub enum Namespace {
    /// Ours.
    Host,
    /// A new one, empty but for loopback.
    New,
    /// This one.
    Of(Arc<OwnedFd>),
}

/// The host's network, or none: what can be had without making any.
#[derive(Clone, Debug, Default)]
pub struct HostNetworks;

impl Networks for HostNetworks {
    fn join(&self, _: &str, mode: &str, hostname: &str) -> Result<Joined> {
        let namespace = match mode {
            "" | "default" | "host" => Namespace::Host,
            "none" => Namespace::New,
            other => {
                let hint = "default (the host's), host and none are there; `dhow build` has others";
                return Err(Error::unsupported(format!("network {other}"), hint));
            }
        };
        let resolv_conf = match namespace {
            Namespace::Host => std::fs::read("/etc/resolv.conf").unwrap_or_default(),
            _ => Vec::new(),
        };
        Ok(Joined { namespace, resolv_conf, hosts: hosts_file(hostname), held: None })
    }
}

/// The /etc/hosts of a RUN, as BuildKit's.
pub fn hosts_file(hostname: &str) -> Vec<u8> {
    format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n")
        .into_bytes()
}
