//! A network namespace of a build's, with its place in a network.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use super::serving::Serving;
use crate::bundle::etc;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::making::new_id;
use crate::model::{Config, HostConfig, Record, Wish};
use crate::monitor::Lock;
use crate::net::Networking;

/// A namespace, plugged into one network under an id of its own, RUN/monitors/ID.
pub(super) struct Space {
    record: Record,
    namespace: Arc<OwnedFd>,
    resolv_conf: String,
    serving: Serving,
    /// Its leases live as long as this is held.
    lock: Lock,
}

impl Space {
    /// A new one in the network of this name. What fails leaves nothing.
    pub fn make(host: &Host, network: &str) -> Result<Self> {
        let record = record(host, network)?;
        let lock = Lock::try_take(host, &record.id)?
            .ok_or_else(|| Error::engine("a new id is somebody's already"))?;
        match plug(host, &record) {
            Ok((namespace, serving, resolv_conf)) => {
                Ok(Self { record, namespace, resolv_conf, serving, lock })
            }
            Err(error) => {
                forget(host, &record.id, lock);
                Err(error)
            }
        }
    }

    pub fn network(&self) -> &str {
        &self.record.host_config.network_mode
    }

    pub fn record(&self) -> &Record {
        &self.record
    }

    pub fn namespace(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.namespace)
    }

    pub fn resolv_conf(&self) -> String {
        self.resolv_conf.clone()
    }

    /// Gives back what it has.
    pub fn release(self, host: &Host) -> Result<()> {
        let mut net = self.serving.end();
        drop(self.namespace); // its devices go with it
        let released = net.release(host, &self.record);
        forget(host, &self.record.id, self.lock);
        released
    }
}

/// What networks want to know of a container, of one that is none.
fn record(host: &Host, network: &str) -> Result<Record> {
    let id = new_id()?;
    let wish = Wish { network: network.to_owned(), ..Wish::default() };
    Ok(Record {
        version: Record::VERSION,
        name: format!("build-{}", &id[..12]),
        id,
        config: Config::default(),
        host_config: HostConfig { network_mode: network.to_owned(), ..HostConfig::default() },
        networks: vec![wish],
        resolver: crate::options::dns::of_machine(host.settings.daemon()?)?,
        ..Record::default()
    })
}

fn plug(host: &Host, record: &Record) -> Result<(Arc<OwnedFd>, Serving, String)> {
    let namespace = namespace()?;
    let ours = namespace.try_clone().map_err(|e| Error::engine(e.to_string()))?;
    let mut net = Networking::reserve(host, record, &[])?;
    let attached = net.provide(host).and_then(|()| net.attach(host, record, ours));
    if let Err(error) = attached {
        let _ = net.release(host, record);
        return Err(error);
    }
    let resolv_conf = etc::resolv_conf(record, &net.endpoints());
    Ok((Arc::new(namespace), Serving::start(net)?, resolv_conf))
}

/// A new network namespace, its loopback up.
fn namespace() -> Result<OwnedFd> {
    let make = || -> nix::Result<OwnedFd> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        drop(dhow_kernel::net::loopback_up()?);
        let file = File::open("/proc/thread-self/ns/net");
        Ok(file.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))?.into())
    };
    // A thread that ends leaves its namespace to those who hold it.
    let made = thread::scope(|scope| scope.spawn(make).join());
    let made = made.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    made.map_err(|e| Error::engine(format!("make a network namespace: {}", e.desc())))
}

/// Gives back what killed builds had: what in RUN/monitors is nobody's and of no container.
pub(super) fn sweep(host: &Host) {
    let all = std::fs::read_dir(host.paths.run.join("monitors")).into_iter().flatten().flatten();
    let ids = all.filter_map(|entry| entry.file_name().into_string().ok());
    for id in ids.filter(|id| !host.paths.container(id).exists()) {
        if let Ok(Some(lock)) = Lock::try_take(host, &id) {
            let _ = crate::net::ipam::release_all(&host.paths, &id, |_| false);
            forget(host, &id, lock);
        }
    }
}

fn forget(host: &Host, id: &str, lock: Lock) {
    let _ = std::fs::remove_dir_all(host.paths.monitor(id));
    drop(lock);
}

#[cfg(test)]
mod tests {
    use nix::sched::setns;

    use super::*;

    #[test]
    fn bug_the_socket_that_brought_lo_up_kept_the_namespace() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let made = namespace().unwrap();
        let look = move || {
            setns(made, CloneFlags::CLONE_NEWNET).unwrap();
            std::fs::read_to_string("/proc/thread-self/net/sockstat").unwrap()
        };
        let told = thread::spawn(look).join().unwrap();
        assert!(told.starts_with("sockets: used 0\n"), "{told}");
    }
}
