//! Control groups: one request, two kernels' interfaces.
//!
//! [`prepare`] judges `linux.resources` and `linux.cgroupsPath` against this
//! machine without touching it, [`Cgroup::create`] makes the groups or undoes
//! what it made, and a [`Record`] of them goes into the state, by which later
//! commands join, signal, pause and remove. On a hybrid machine the limits are
//! cgroup v1's ([`v1`]), and the unified hierarchy's group is joined besides.

mod devices;
mod door;
mod files;
mod host;
mod limit;
mod mounts;
mod oom;
mod place;
mod probe;
mod record;
mod resources;
mod stats;
mod systemd;
#[cfg(test)]
mod tests;
mod update;
mod v1;
mod v2;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

pub use door::Doors;
pub use mounts::{Mount, Mounts};
pub use oom::OomWatch;
pub use record::Record;
pub use resources::{
    BlockIo, Cpu, Device, HugepageLimit, Memory, Network, Pids, Priority, Rdma, Resources,
    ThrottleDevice, WeightDevice,
};
pub use stats::Stats;
pub use systemd::{Addresses, PREFIX as PROPERTIES, Unit};

use crate::error::{Error, Result};
use crate::validate::pointer::escaped;
use devices::Policy;
use host::{Hierarchy, Host};
use limit::Limit;
use place::Place;
use systemd::Scope;

/// Who makes a container's groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Manager {
    /// We do.
    #[default]
    Cgroupfs,
    /// `--systemd-cgroup`: systemd does.
    Systemd,
    /// Nobody, as crun's `--cgroup-manager disabled`: it stays in its caller's.
    Disabled,
}

/// What a container asks for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The container's id.
    pub id: &'a str,
    /// `linux.cgroupsPath`.
    pub path: Option<&'a str>,
    /// Who makes the groups.
    pub manager: Manager,
    /// Where systemd listens.
    pub systemd: &'a Addresses,
    /// `annotations`, some of which are properties of a scope.
    pub annotations: &'a BTreeMap<String, String>,
    /// Whether being refused is to be expected: an unprivileged user, or root
    /// in a user namespace. Groups that can't be made and have no limit to
    /// carry are then done without, unless a path was asked for.
    pub rootless: bool,
    /// The user that a group of a pure cgroup v2 is handed to.
    pub owner: Option<u32>,
    /// Whether the container sees groups as the host does: it has no cgroup namespace of its own.
    pub host_view: bool,
    /// `linux.resources`.
    pub resources: &'a Resources<'a>,
}

/// A container's groups, before and after [`Cgroup::create`].
#[derive(Debug, Default)]
pub struct Cgroup {
    places: Vec<Place>,
    /// Directories made, in order.
    made: Vec<String>,
    /// Whether a place that is refused may be done without.
    optional: bool,
    /// As in the request.
    host_view: bool,
    /// The scope that they are, where systemd makes them.
    scope: Option<Scope>,
    /// Whether a limit on tasks counts a stand-in still.
    stood_in: Cell<bool>,
}

/// Judges a request against this machine; changes nothing.
pub fn prepare(request: &Request) -> Result<Cgroup> {
    match request.manager {
        Manager::Cgroupfs => prepare_on(&Host::read()?, request),
        Manager::Disabled => without(&Host::read()?, request.resources),
        Manager::Systemd => by_systemd(&Host::read()?, request),
    }
}

/// The groups of a scope, which systemd makes or not: none can be done without.
fn by_systemd(host: &Host, request: &Request) -> Result<Cgroup> {
    let path = request.path.filter(|path| !path.is_empty());
    let (of, annotations) = (request.systemd, request.annotations);
    let scope = Scope::prepare(path, request.id, of, annotations, request.resources)?;
    let path = scope.path();
    let cgroup = prepare_on(host, &Request { path: Some(&path), ..*request })?;
    Ok(Cgroup { scope: Some(scope), ..cgroup })
}

/// No groups, which can't limit anything; device rules, which every config has, go unheard.
fn without(host: &Host, resources: &Resources<'_>) -> Result<Cgroup> {
    let limits = if host.is_unified() { v2::limits(resources)? } else { v1::limits(resources)? };
    if let Some(limit) = limits.iter().find(|limit| !limit.is_none()) {
        let why = "needs a cgroup, and --cgroup-manager disabled makes none";
        return Err(Error::config(format!("/linux/resources{}", limit.pointer), why));
    }
    Ok(Cgroup { optional: true, ..Cgroup::default() })
}

/// Whether this machine has cgroup v2 alone.
pub fn is_unified() -> bool {
    Host::read().is_ok_and(|host| host.is_unified())
}

fn prepare_on(host: &Host, request: &Request) -> Result<Cgroup> {
    let policy = Policy::new(&request.resources.devices)?;
    let unified = host.is_unified();
    let limits =
        if unified { v2::limits(request.resources)? } else { v1::limits(request.resources)? };
    let path = request.path.filter(|path| !path.is_empty());
    let inner = Inner::new(path, request.id)?;
    let mut places: Vec<Place> = host
        .v1
        .iter()
        .map(|hierarchy| inner.place(hierarchy, false))
        .chain(host.unified.iter().map(|hierarchy| inner.place(hierarchy, unified)))
        .collect();
    for limit in limits {
        let home = places.iter_mut().find(|place| {
            if unified {
                place.is_unified()
            } else {
                place.controllers.contains(&limit.controller.to_string())
            }
        });
        match home {
            Some(place) => place.limits.push(limit),
            None if limit.is_none() => {}
            None => return Err(no_controller(&limit)),
        }
    }
    let guard = places.iter_mut().find(|place| {
        if unified { place.is_unified() } else { place.controllers.iter().any(|c| c == "devices") }
    });
    match guard {
        Some(place) => {
            place.devices = Some(policy);
            place.lenient = request.rootless;
            // SPEC: config-linux.md §Cgroup ownership: never on v1.
            place.owner = request.owner.filter(|_| unified);
        }
        None if request.rootless => {}
        None => {
            let why = "this host has no devices cgroup controller mounted to restrict devices with";
            return Err(Error::config("/linux/resources/devices", why));
        }
    }
    let optional = request.rootless && path.is_none();
    Ok(Cgroup { places, optional, host_view: request.host_view, ..Cgroup::default() })
}

fn no_controller(limit: &Limit) -> Error {
    let why = format!("this host has no {} cgroup controller mounted", limit.controller);
    Error::config(format!("/linux/resources{}", limit.pointer), why)
}

/// Where in a hierarchy a container's group is.
struct Inner {
    path: String,
    /// Whether the path starts at the top, rather than at our own group.
    absolute: bool,
}

impl Inner {
    /// SPEC: config-linux.md §Cgroups Path. As runc: absent, it is the id
    /// below our own group.
    fn new(path: Option<&str>, id: &str) -> Result<Self> {
        let path = path.unwrap_or(id);
        let parts = || path.split('/').filter(|part| !matches!(*part, "" | "."));
        // CVE: runc cleans ".." away; a group above the one meant is never
        // what was meant.
        if parts().any(|part| part == "..") {
            let why = format!("{path:?}: \"..\" is refused");
            return Err(Error::config("/linux/cgroupsPath", why));
        }
        let clean: String = parts().flat_map(|part| ["/", part]).collect();
        if clean.is_empty() {
            let why = format!("{path:?}: a container can't be the top group");
            return Err(Error::config("/linux/cgroupsPath", why));
        }
        Ok(Self { path: clean, absolute: path.starts_with('/') })
    }

    /// `beside`: as runc on v2, next to our own group rather than below it,
    /// since a group with processes can't hand controllers down.
    fn place(&self, hierarchy: &Hierarchy, beside: bool) -> Place {
        let own = hierarchy.own.as_str();
        let base = match (self.absolute, beside) {
            (true, _) => "",
            (false, false) => own,
            (false, true) => own.rsplit_once('/').map_or("", |(parent, _)| parent),
        };
        Place {
            dir: format!("{}{base}{}", hierarchy.mountpoint, self.path),
            mountpoint: hierarchy.mountpoint.clone(),
            controllers: hierarchy.controllers.clone(),
            limits: vec![],
            devices: None,
            lenient: false,
            owner: None,
            limited: beside || !hierarchy.controllers.is_empty(),
            shared: false,
        }
    }
}

impl Cgroup {
    /// Makes the groups and sets the limits; on failure nothing stays.
    pub fn create(&mut self) -> Result<()> {
        let done = self.start().and_then(|()| self.make());
        done.map_err(|e| {
            let e = if self.is_starved() { short_of_memory(&e) } else { e };
            self.undo();
            e
        })
    }

    /// Whether a limit on memory has killed who keeps the groups' place.
    pub fn is_starved(&self) -> bool {
        self.scope.as_ref().is_some_and(Scope::is_starved)
    }

    /// Has systemd make what it makes.
    fn start(&mut self) -> Result<()> {
        let Some(scope) = &mut self.scope else { return Ok(()) };
        let limits: Vec<&Limit> = self.places.iter().flat_map(|place| &place.limits).collect();
        let mut guards = self.places.iter().filter(|place| !place.is_unified());
        let devices = guards.find_map(|place| place.devices.as_ref());
        let v1 = !self.places.iter().all(Place::is_unified);
        scope.start(&limits, devices, v1)?;
        self.places.iter_mut().for_each(|place| place.shared = true);
        self.stood_in.set(true);
        Ok(())
    }

    /// The first process is in its groups: what kept its place goes.
    pub fn settle(&self) -> Result<()> {
        let Some(scope) = self.scope.as_ref().filter(|_| self.stood_in.replace(false)) else {
            return Ok(());
        };
        scope.settle();
        self.places.iter().try_for_each(Place::count_tasks)
    }

    /// Moves the first process in, where the kernel doesn't let us put it there: a user's scope and
    /// their session lie in different parts of the tree.
    pub fn attach(&self, pid: i32) -> Result<()> {
        self.scope.as_ref().map_or(Ok(()), |scope| scope.attach(pid))
    }

    /// Whether systemd makes them.
    pub const fn is_scope(&self) -> bool {
        self.scope.is_some()
    }

    fn make(&mut self) -> Result<()> {
        let mut kept = Vec::with_capacity(self.places.len());
        for place in std::mem::take(&mut self.places) {
            match place.make(&mut self.made) {
                Ok(()) => kept.push(place),
                Err(fault) => {
                    let denied = fault.errno.is_some_and(files::is_denied);
                    if !(denied && self.optional) {
                        return Err(fault.error);
                    }
                    if let Some(limit) = place.limits.iter().find(|limit| !limit.is_none()) {
                        let pointer = format!("/linux/resources{}", limit.pointer);
                        let why = format!(
                            "needs a cgroup, and {}: run as root, have one delegated and named \
                             in /linux/cgroupsPath, or leave the limit out",
                            fault.error
                        );
                        return Err(Error::config(pointer, why));
                    }
                }
            }
        }
        self.places = kept;
        Ok(())
    }

    /// Removes what [`Cgroup::create`] made, after a later step failed.
    pub fn undo(&mut self) {
        if let Some(scope) = &mut self.scope {
            scope.undo();
        }
        while let Some(dir) = self.made.pop() {
            // What is below our own is ours; a parent that others have made use of meanwhile
            // stays, and theirs with it.
            let own = self.places.iter().any(|place| place.dir == dir);
            let _ = if own { record::remove(&dir) } else { files::unmake(&dir) };
        }
    }

    /// Removes what of the groups above its own [`Cgroup::create`] made, its own being gone.
    pub fn undo_above(&mut self) {
        while let Some(dir) = self.made.pop() {
            let _ = files::unmake(&dir);
        }
    }

    /// The ways into the v1 groups, for the process itself; it is born in the unified one
    /// ([`Cgroup::into_fd`]).
    pub fn doors(&self) -> Result<Doors> {
        let v1 = self.places.iter().filter(|place| !place.is_unified());
        Doors::open(v1.map(|place| place.dir.as_str()))
    }

    /// The unified group's directory, for `CLONE_INTO_CGROUP`.
    pub fn into_fd(&self) -> Result<Option<OwnedFd>> {
        let unified = self.places.iter().find(|place| place.is_unified());
        unified.map(|place| place.open().map(OwnedFd::from)).transpose()
    }

    /// What later commands need to know.
    pub fn record(&self) -> Record {
        let paths = self.places.iter().map(|p| (p.controllers.join(","), p.dir.clone())).collect();
        Record { paths, unit: self.scope.as_ref().map(|scope| scope.unit.clone()) }
    }

    /// What [`Cgroup::create`] makes and writes, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut out: Vec<String> = self.scope.iter().flat_map(Scope::lines).collect();
        for place in &self.places {
            out.push(format!("make {}", place.dir));
            let writes = place.limits.iter();
            out.extend(writes.map(|l| format!("write {} to {}/{}", l.value, place.dir, l.file)));
            if place.devices.is_some() {
                out.push(format!("restrict devices of {}", place.dir));
            }
        }
        out
    }

    /// What a container's own cgroup mounts are made of.
    pub fn mounts(&self) -> Mounts {
        Mounts::new(&self.places, self.host_view)
    }
}

/// In runc's words where the kernel has killed init for its memory limit.
pub fn short_of_memory(e: &Error) -> Error {
    let why = "container init was OOM-killed (memory limit too low?)";
    Error::rule(format!("unable to start container process: {why}: {e}"))
}

/// The value of `pids.max`.
fn pids(limit: i64) -> String {
    if limit > 0 { limit.to_string() } else { "max".to_owned() }
}

/// RDMA limits, which have the same file in v1 and v2.
fn rdma(out: &mut Vec<Limit>, devices: &BTreeMap<String, Rdma>) {
    for (name, limits) in devices {
        let handles = limits.hca_handles.map(|n| format!(" hca_handle={n}"));
        let objects = limits.hca_objects.map(|n| format!(" hca_object={n}"));
        let value =
            [Some(name.clone()), handles, objects].into_iter().flatten().collect::<String>();
        let pointer = format!("/rdma/{}", escaped(name));
        out.push(Limit::new("rdma", "rdma.max", value, pointer));
    }
}

fn pointer_to_unified(key: &str) -> String {
    format!("/linux/resources/unified/{}", escaped(key))
}
