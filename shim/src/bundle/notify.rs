//! /run/notify: where a container says that it is ready, when a service manager wants to hear it.

use oci_spec::runtime::Spec;

use crate::host::Host;
use crate::model::Record;
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
