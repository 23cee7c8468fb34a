//! What a RUN's container has of a network.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::Container;
use crate::error::{Error, Result};

/// Who makes a container's network.
pub trait Networks: Sync {
    /// Joins a container to the network that it names.
    ///
    /// # Errors
    ///
    /// When there is no such network here, or it can't be had; nothing of it is left then.
    fn join(&self, container: &Container<'_>) -> Result<Joined>;
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
    /// What `host-gateway` means to it.
    pub gateways: Vec<IpAddr>,
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
    fn join(&self, container: &Container<'_>) -> Result<Joined> {
        let namespace = match container.network.as_str() {
            "" | "default" | "host" => Namespace::Host,
            "none" => Namespace::New,
            other => {
                let hint = "default (the host's), host and none are there; `dhow build` has others";
                return Err(Error::unsupported(format!("network {other}"), hint));
            }
        };
        // Without a network, too: a RUN finds the file, and doesn't leave one in its layer.
        let resolv_conf = std::fs::read("/etc/resolv.conf").unwrap_or_default();
        let mut gateways = Vec::new();
        if matches!(namespace, Namespace::Host) {
            gateways.push(Ipv4Addr::LOCALHOST.into());
        }
        let hosts = hosts_file(&container.hostname);
        Ok(Joined { namespace, resolv_conf, hosts, gateways, held: None })
    }
}

/// The /etc/hosts of a RUN, as BuildKit's.
pub fn hosts_file(hostname: &str) -> Vec<u8> {
    format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n")
        .into_bytes()
}
