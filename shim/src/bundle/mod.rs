//! Record → bundle/config.json, at each start, with the root file system mounted.
//!
//! The monitor calls [`prepare`] in its own mount namespace after it has
//! mounted the overlay at ROOT/containers/ID/rootfs, and before it asks the
//! runtime to create the container. What the image says is hostile input here:
//! paths are opened inside the root only, and nothing of it reaches annotations.

mod block_io;
pub mod cdi;
mod command;
pub(crate) mod copy_up;
mod devices;
pub mod etc;
mod init;
mod joining;
mod linux;
pub mod local;
mod mounts;
mod notify;
mod process;
mod propagation;
mod root;
mod seccomp;
mod shm;
mod sources;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use dhow_image::rootless;
use oci_spec::runtime::{Root, Spec, User};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{Endpoint, Record};
use crate::options::rights;
use crate::store::{Sync, make_dir, write_atomic};

pub use joining::Shares;
pub use linux::{masked_paths, read_only_paths};
pub use propagation::is_shared;
pub use root::RootDir;
pub use seccomp::profile as seccomp_profile;
pub use sources::{mounts_more, of_view};

/// Settles what needs the mounted root (user, working directory, command,
/// volumes' first contents) and writes bundle/config.json and the files bound
/// over /etc/{hosts,hostname,resolv.conf}. The answer is to be kept until the
/// runtime has created the container. `by_systemd`: a user's systemd makes its groups.
pub fn prepare(
    host: &Host,
    record: &Record,
    endpoints: &[Endpoint],
    by_systemd: bool,
) -> Result<Shares> {
    let root = RootDir::open(&host.paths.rootfs(&record.id))?;
    let shares = Shares::of(host, record)?;
    let sources = sources::settle(host, record)?;
    shm::provide(host, record)?;
    copy_up::volumes(&root, record, &sources)?;
    sources::first_contents(host, record, &sources)?;
    etc::write(host, record, endpoints)?;
    if init::wanted(&record.host_config) {
        init::write(host, record)?;
    }
    let links = etc::link_env(host, record, endpoints)?;
    let mut spec = assemble(host, record, &root, &shares, sources, links)?;
    if let Some(linux) = spec.linux_mut().as_mut().filter(|_| by_systemd) {
        linux.set_cgroups_path(Some(format!("user.slice:dhow:{}", record.id).into()));
    }
    notify::add(host, record, &mut spec);
    notify::add_sockets(&mut spec);
    let bundle = host.paths.bundle(&record.id);
    make_dir(&bundle)?;
    let encode = |e| Error::io("encode", &bundle.join("config.json"), e);
    let bytes = if record.host_config.device_requests.is_some() {
        let mut config = serde_json::to_value(&spec).map_err(encode)?;
        cdi::inject(record, &mut config)?;
        serde_json::to_vec(&config)
    } else {
        serde_json::to_vec(&spec)
    };
    let bytes = bytes.map_err(encode)?;
    write_atomic(&bundle.join("config.json"), &bytes, Sync::No)?;
    Ok(shares)
}

fn assemble(
    host: &Host,
    record: &Record,
    root: &RootDir,
    shares: &Shares,
    sources: Vec<PathBuf>,
    links: Vec<String>,
) -> Result<Spec> {
    let options = record.host_config.security_opt.as_deref().unwrap_or_default();
    let security = rights::security(options)?;
    let mut mounts = mounts::all(host, record, shares, sources);
    if rootless::is_confined() {
        mounts.extend(devices::bound(&record.host_config)?);
    }
    let mut spec = Spec::default();
    let mut rootfs = Root::default();
    rootfs
        .set_path(host.paths.rootfs(&record.id))
        .set_readonly(Some(record.host_config.readonly_rootfs));
    // What is written needs no more, and older runtimes refuse what they do not know.
    spec.set_version("1.0.2".into())
        .set_root(Some(rootfs))
        .set_mounts(Some(mounts))
        .set_process(Some(process::process(record, root, &security, links)?))
        .set_linux(Some(linux::linux(record, &security, shares)?));
    let own_name = record.host_config.uts_mode != "host";
    let domain = &record.config.domainname;
    spec.set_hostname(own_name.then(|| record.config.hostname.clone()))
        .set_domainname((own_name && !domain.is_empty()).then(|| domain.clone()));
    // Only what the user asked for: an image's labels are never annotations.
    let annotations: HashMap<String, String> =
        record.host_config.annotations.clone().into_iter().collect();
    spec.set_annotations((!annotations.is_empty()).then_some(annotations));
    let own_groups = !record.host_config.cgroup_parent.is_empty();
    rootless::adapt(&mut spec, own_groups).map_err(|e| Error::engine(e.to_string()))?;
    Ok(spec)
}

/// `user[:group]` in the root at `root` (of a running container: /proc/PID/root), for `exec -u`.
pub fn user(root: &Path, spec: &str) -> Result<User> {
    let account = process::lookup(&RootDir::open(root)?, spec, &[])?;
    let mut user = User::default();
    user.set_uid(account.uid).set_gid(account.gid).set_additional_gids(Some(account.groups));
    rootless::fit_user(&mut user).map_err(|e| Error::engine(e.to_string()))?;
    Ok(user)
}

/// Whether argv\[0\] can be executed in the root at `root`; else 126 or 127 by its kind.
pub fn command(root: &Path, args: &[String], env: &[String], cwd: &str) -> Result<()> {
    let name = args.first().map(String::as_str).unwrap_or_default();
    command::check(&RootDir::open(root)?, name, env, cwd)
}
