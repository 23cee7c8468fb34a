//! Groups made by systemd: a transient scope that is delegated to us.
//!
//! systemd wants a process for a new scope, and the container's first one isn't there yet: it is
//! to be born in its group, with limits that hold. So a [`StandIn`] keeps the place, and leaves
//! when init is there. From then on the groups are as others: the scope's limits are written to
//! its files, and told to systemd besides ([`properties`]), which would else write its own.

mod manager;
mod name;
mod properties;
mod stand_in;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::devices::Policy;
use super::limit::Limit;
use super::resources::Resources;
use crate::dbus::Value;
use crate::error::{Error, Result};
pub use manager::Addresses;
use manager::Manager;
use name::Name;
pub use properties::PREFIX;
use stand_in::StandIn;

/// What is remembered of a container's scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Where its manager's own socket was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private: Option<String>,
    /// Where its manager's bus was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus: Option<String>,
    /// Whether the manager is a user's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub user: bool,
}

impl Unit {
    fn manager(&self) -> Result<Manager> {
        let (private, bus) = (self.private.clone(), self.bus.clone());
        Manager::connect(&Addresses { private, bus, user: self.user })
    }

    /// Tells systemd of limits that have changed.
    pub(super) fn set(&self, limits: &[Limit]) -> Result<()> {
        let mut manager = self.manager()?;
        let limits: Vec<&Limit> = limits.iter().collect();
        let properties = properties::of_limits(&limits, &mut || manager.version())?;
        if properties.is_empty() { Ok(()) } else { manager.set(&self.name, &properties) }
    }

    /// Moves a process in that may not be moved by us.
    pub(super) fn attach(&self, pid: i32) -> Result<()> {
        self.manager()?.attach(&self.name, pid)
    }

    /// Stops it. What systemd has removed with it isn't there any more.
    pub(super) fn stop(&self) -> Result<()> {
        self.manager()?.stop(&self.name)
    }
}

/// A scope that is to be, or is.
#[derive(Debug)]
pub(super) struct Scope {
    /// What will be remembered of it.
    pub unit: Unit,
    name: Name,
    /// Properties that are the config's to say.
    annotations: Vec<(String, Value)>,
    /// What `memory.oom.group` is to be: systemd takes it at the start only.
    oom_group: Option<String>,
    description: String,
    manager: RefCell<Option<Manager>>,
    stand_in: RefCell<Option<StandIn>>,
    started: bool,
    /// The group of its manager, as a path.
    base: String,
}

impl Scope {
    /// Decides it; a user's manager is asked where its groups are.
    pub(super) fn prepare(
        path: Option<&str>,
        id: &str,
        addresses: &Addresses,
        annotations: &BTreeMap<String, String>,
        resources: &Resources<'_>,
    ) -> Result<Self> {
        if !addresses.user && !Path::new("/run/systemd/system").is_dir() {
            let why = "systemd isn't this machine's first process (there is no \
                       /run/systemd/system): leave the flag out";
            return Err(Error::unsupported("--systemd-cgroup", why));
        }
        let name = Name::new(path, id, addresses.user)?;
        let Addresses { private, bus, user } = addresses.clone();
        let mut scope = Self {
            unit: Unit { name: name.scope.clone(), private, bus, user },
            name,
            annotations: properties::of_annotations(annotations)?,
            oom_group: resources.unified.get("memory.oom.group").cloned(),
            description: format!("container {id}"),
            manager: RefCell::default(),
            stand_in: RefCell::default(),
            started: false,
            base: String::new(),
        };
        if user {
            let group = scope.with(|manager| manager.property("ControlGroup"))?;
            let group = group.as_text().unwrap_or_default();
            scope.base.push_str(group.trim_end_matches('/'));
        }
        Ok(scope)
    }

    /// Its group's path from the top of the hierarchies.
    pub(super) fn path(&self) -> String {
        format!("{}{}", self.base, self.name.path())
    }

    fn with<T>(&self, call: impl FnOnce(&mut Manager) -> Result<T>) -> Result<T> {
        let mut held = self.manager.borrow_mut();
        let manager = match held.take() {
            Some(manager) => manager,
            None => self.unit.manager()?,
        };
        call(held.insert(manager))
    }

    /// Starts it, with a stand-in; `devices` are those that systemd has in its hands.
    pub(super) fn start(
        &mut self,
        limits: &[&Limit],
        devices: Option<&Policy>,
        v1: bool,
    ) -> Result<()> {
        let stand_in = StandIn::new()?;
        let pid = stand_in.pid();
        self.stand_in.replace(Some(stand_in));
        self.with(|manager| {
            let mut all = self.settled(pid, v1);
            all.extend(devices.map(properties::of_devices).into_iter().flatten());
            let limits = properties::of_limits(limits, &mut || manager.version())?;
            all.extend(limits);
            if let Some(value) = &self.oom_group
                && manager.version()? >= 253
            {
                let policy = if value.trim() == "0" { "continue" } else { "kill" };
                all.push(("OOMPolicy", Value::text(policy)));
            }
            let mut all: Vec<_> =
                all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            // As runc: the config's last, which may say some of them otherwise.
            all.retain(|(name, _)| self.annotations.iter().all(|(theirs, _)| theirs != name));
            all.extend(self.annotations.iter().cloned());
            manager.start(&self.unit.name, &all)
        })?;
        self.started = true;
        Ok(())
    }

    /// As runc. Accounting is on for all: systemd else takes a controller out of a group in use.
    fn settled(&self, pid: i32, v1: bool) -> Vec<properties::Property> {
        let pids = Value::Array("u".into(), vec![Value::U32(pid as u32)]);
        let io = if v1 { "BlockIOAccounting" } else { "IOAccounting" };
        let mut all = vec![
            ("Description", Value::text(self.description.as_str())),
            ("Slice", Value::text(self.name.slice.as_str())),
            ("Delegate", Value::Bool(true)),
            ("PIDs", pids),
        ];
        let accounts = ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"];
        all.extend(accounts.map(|name| (name, Value::Bool(true))));
        all.push(("DefaultDependencies", Value::Bool(false)));
        all
    }

    /// Whether who keeps its place was killed there: its limit on memory has no room for anybody, and
    /// what failed then is a consequence.
    pub(super) fn is_starved(&self) -> bool {
        self.stand_in.borrow().as_ref().is_some_and(StandIn::is_killed)
    }

    /// The first process is there: its stand-in isn't needed any more.
    pub(super) fn settle(&self) {
        self.stand_in.take();
    }

    /// Moves a process in, where the kernel wouldn't let us.
    pub(super) fn attach(&self, pid: i32) -> Result<()> {
        self.with(|manager| manager.attach(&self.unit.name, pid))
    }

    /// Ends it, since what followed has failed.
    pub(super) fn undo(&mut self) {
        // It hears no signal that systemd would ask it to end by.
        self.settle();
        if std::mem::take(&mut self.started) {
            let _ = self.with(|manager| manager.stop(&self.unit.name));
        }
    }

    /// What it does, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let Unit { name, user, .. } = &self.unit;
        let whose = if *user { "the user's systemd" } else { "systemd" };
        let mut lines = vec![format!("start {name} in {} by {whose}", self.name.slice)];
        let said = self.annotations.iter();
        lines.extend(said.map(|(name, value)| format!("set {name} to {}", value.shown())));
        lines
    }
}
