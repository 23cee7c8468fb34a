//! What a service manager and a container have to do with each other: /run/notify, where the container
//! says that it is ready, and the sockets that it is given.

use oci_spec::runtime::Spec;

use crate::host::Host;
use crate::model::Record;
use crate::monitor::listen::Sockets;
use crate::monitor::notify::SOCKET;

/// Where the container has it; runc has it there, too.
const INSIDE: &str = "/run/notify";

/// Adds the mount and the variable, if the client that started it has made the directory.
pub fn add(host: &Host, record: &Record, spec: &mut Spec) {
    let dir = host.paths.notify(&record.id);
    if !dir.is_dir() {
        return;
    }
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"];
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    mounts.push(super::mounts::mount(INSIDE, "bind", dir, &options));
    spec.set_mounts(Some(mounts));
    if let Some(process) = spec.process_mut() {
        let mut env = process.env().clone().unwrap_or_default();
        env.retain(|set| !set.starts_with("NOTIFY_SOCKET="));
        env.push(format!("NOTIFY_SOCKET={INSIDE}/{SOCKET}"));
        process.set_env(Some(env));
    }
}

/// Tells the container of the sockets that it has from 3 on.
pub fn add_sockets(spec: &mut Spec) {
    let told = Sockets::ours().env();
    if let Some(process) = spec.process_mut().as_mut().filter(|_| !told.is_empty()) {
        let mut env = process.env().clone().unwrap_or_default();
        env.retain(|set| !set.starts_with("LISTEN_"));
        env.extend(told);
        process.set_env(Some(env));
    }
}
