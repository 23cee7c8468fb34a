//! Networks for a build's RUNs, as `dhow run` has them.
//!
//! A RUN's container joins a network namespace that is there before it: leased, plugged in and given
//! back like a container's ([`Space`]). One that a RUN has left waits for the next one of the same
//! build: without rights over its network a RUN leaves nothing in it but time. What a killed build
//! had goes like a container's: devices with the namespace, leases because nobody holds their lock.

use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use dhow_image::build::run::{Container, Joined, Namespace, Networks, hosts_file};
use dhow_image::{Error as Failure, Result as Answer};

use super::space::{Space, sweep};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{HostConfig, Record};

/// Makes networks for the RUNs of one build.
#[derive(Clone)]
pub struct Wired(Arc<Shared>);

struct Shared {
    host: Mutex<Host>,
    idle: Mutex<Vec<Space>>,
    swept: Once,
}

/// A namespace that a container has just now.
struct Lent {
    shared: Arc<Shared>,
    space: Option<Space>,
    again: bool,
}

impl Wired {
    /// On this host.
    pub fn new(host: &Host) -> Self {
        Self(Arc::new(Shared {
            host: Mutex::new(host.again()),
            idle: Mutex::default(),
            swept: Once::new(),
        }))
    }

    fn wired(&self, container: &Container<'_>, name: &str) -> Result<Joined> {
        let host = held(&self.0.host);
        // Not before the containers of killed builds are gone: the runner has seen to that.
        self.0.swept.call_once(|| sweep(&host));
        let network = if name == "bridge" {
            host.networks.default_bridge(host.settings.daemon()?)?
        } else {
            host.networks.find(name)?
        };
        let idle = {
            let mut idle = held(&self.0.idle);
            let at = idle.iter().position(|space| space.network() == network.name);
            at.map(|at| idle.swap_remove(at))
        };
        let space = match idle {
            Some(space) => space,
            None => Space::make(&host, &network.name)?,
        };
        let gateways = crate::bundle::etc::gateways(&host, space.record()).unwrap_or_default();
        let (namespace, resolv_conf) = (space.namespace(), space.resolv_conf());
        let shared = Arc::clone(&self.0);
        let lent = Lent { shared, space: Some(space), again: !container.insecure };
        Ok(Joined {
            namespace: Namespace::Of(namespace),
            resolv_conf: resolv_conf.into_bytes(),
            hosts: hosts_file(&container.hostname),
            gateways,
            held: Some(Box::new(lent)),
        })
    }

    /// `container:NAME`
    fn beside(&self, container: &Container<'_>, name: &str) -> Result<Joined> {
        let host = held(&self.0.host);
        let other = host.containers.find(name)?.record;
        let state = crate::monitor::state(&host, &other)?;
        let found = crate::monitor::namespace(&state, "net")?;
        let namespace = found.ok_or_else(|| {
            let why = format!("cannot join network of a non running container: {name}");
            Error::conflict(format!("{why}; start it first"))
        })?;
        let file = |what| std::fs::read(crate::bundle::etc::path(&host, &other, what));
        Ok(Joined {
            namespace: Namespace::Of(Arc::new(namespace)),
            resolv_conf: file("resolv.conf").unwrap_or_default(),
            hosts: file("hosts").unwrap_or_else(|_| hosts_file(&container.hostname)),
            gateways: crate::bundle::etc::gateways(&host, &other).unwrap_or_default(),
            held: None,
        })
    }

    fn of_host(&self, container: &Container<'_>) -> Joined {
        let host = held(&self.0.host);
        let mode = HostConfig { network_mode: "host".into(), ..HostConfig::default() };
        let record = Record { host_config: mode, ..Record::default() };
        Joined {
            namespace: Namespace::Host,
            resolv_conf: std::fs::read("/etc/resolv.conf").unwrap_or_default(),
            hosts: hosts_file(&container.hostname),
            gateways: crate::bundle::etc::gateways(&host, &record).unwrap_or_default(),
            held: None,
        }
    }

    /// Nobody is reached from there; its files are those of any container's, as BuildKit's are.
    fn alone(&self, container: &Container<'_>) -> Result<Joined> {
        let host = held(&self.0.host);
        let mode = HostConfig { network_mode: "none".into(), ..HostConfig::default() };
        let resolver = crate::options::dns::of_machine(host.settings.daemon()?)?;
        let record = Record { host_config: mode, resolver, ..Record::default() };
        Ok(Joined {
            namespace: Namespace::New,
            resolv_conf: crate::bundle::etc::resolv_conf(&record, &[]).into_bytes(),
            hosts: hosts_file(&container.hostname),
            gateways: Vec::new(),
            held: None,
        })
    }

    /// What `default` means: the default bridge, unless there is none.
    fn usual(&self) -> Result<&'static str> {
        let host = held(&self.0.host);
        Ok(if host.settings.daemon()?.has_bridge() { "bridge" } else { "none" })
    }

    fn find(&self, container: &Container<'_>) -> Result<Joined> {
        let usual = matches!(container.network.as_str(), "" | "default" | "bridge");
        let mode = if usual { self.usual()? } else { container.network.as_str() };
        match mode {
            "none" => self.alone(container),
            "host" => Ok(self.of_host(container)),
            // Without root there are no bridges: a RUN has what its build has.
            "bridge" if !dhow_image::rootless::is_root() => Ok(self.of_host(container)),
            name => match name.strip_prefix("container:") {
                Some(other) => self.beside(container, other),
                None => self.wired(container, name),
            },
        }
    }
}

impl Networks for Wired {
    fn join(&self, container: &Container<'_>) -> Answer<Joined> {
        self.find(container).map_err(|e| Failure::Conflict(e.message))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(space) = self.space.take() else { return };
        if self.again {
            held(&self.shared.idle).push(space);
        } else {
            // What can't be given back now is swept like a killed build's.
            let _ = space.release(&held(&self.shared.host));
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let host = held(&self.host);
        for space in held(&self.idle).drain(..) {
            let _ = space.release(&host);
        }
        // Nobody who takes an address next has to.
        if self.swept.is_completed() {
            let _ = crate::net::settle_flows(&host.paths);
        }
    }
}

fn held<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
