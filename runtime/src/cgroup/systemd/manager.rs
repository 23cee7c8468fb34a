//! systemd itself: the calls that scopes need.

use std::time::{Duration, Instant};

use super::properties::Property;
use crate::dbus::{Connection, Fault, Kind, Message, Method, PATIENCE, Value, escaped};
use crate::error::{Error, Result};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

const BUS: Method<'_> = Method {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "Hello",
};

/// Where a manager listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Its own socket, as `unix:path=/run/systemd/private`: no bus between.
    pub private: Option<String>,
    /// The bus that it is on.
    pub bus: Option<String>,
    /// Whether it is a user's.
    pub user: bool,
}

impl Addresses {
    /// The system's.
    pub fn system() -> Self {
        Self {
            private: Some("unix:path=/run/systemd/private".into()),
            bus: Some("unix:path=/run/dbus/system_bus_socket".into()),
            user: false,
        }
    }

    /// A user's, by `DBUS_SESSION_BUS_ADDRESS` and `XDG_RUNTIME_DIR` (else what it usually is).
    pub fn user(bus: Option<String>, runtime: &str) -> Self {
        let runtime = escaped(runtime);
        let bus = bus.unwrap_or_else(|| format!("unix:path={runtime}/bus"));
        let private = Some(format!("unix:path={runtime}/systemd/private"));
        Self { private, bus: Some(bus), user: true }
    }
}

/// A connection to a manager.
#[derive(Debug)]
pub(super) struct Manager {
    connection: Connection,
    /// Whether a bus is between.
    by_bus: bool,
    user: bool,
    version: Option<u32>,
}

impl Manager {
    /// Connects: directly where that can be had, which spares the bus two hops a message.
    pub(super) fn connect(addresses: &Addresses) -> Result<Self> {
        let mut last = None;
        let both = [(addresses.private.as_ref(), false), (addresses.bus.as_ref(), true)];
        for (address, by_bus) in both {
            let Some(address) = address else { continue };
            match Connection::open(address) {
                Ok(connection) => {
                    let user = addresses.user;
                    let mut manager = Self { connection, by_bus, user, version: None };
                    manager
                        .greet()
                        .map_err(|e| e.during(&format!("greet the bus at {address}")))?;
                    return Ok(manager);
                }
                Err(e) => last = Some((address, e)),
            }
        }
        let (address, why) = match last {
            Some((address, e)) => (address.as_str(), Fault::Broken(e).why()),
            None => ("", "it has no address".to_owned()),
        };
        Err(absent(addresses.user, address, &why))
    }

    /// SPEC: D-Bus §Message Bus Messages. On a private socket nobody has to be greeted, and
    /// systemd tells of jobs unasked. No answer is waited for: it comes before that of the call.
    fn greet(&mut self) -> std::result::Result<(), Fault> {
        if !self.by_bus {
            return Ok(());
        }
        let hello = self.connection.send(BUS, vec![])?;
        let rule = format!(
            "type='signal',sender='{SYSTEMD}',path='{PATH}',interface='{MANAGER}',member='JobRemoved'"
        );
        self.connection.send(Method { member: "AddMatch", ..BUS }, vec![Value::Text(rule)])?;
        self.send("Subscribe", vec![])?;
        self.connection.answer(hello).map(drop)
    }

    fn send(&mut self, member: &str, body: Vec<Value>) -> std::io::Result<u32> {
        let method = Method { destination: SYSTEMD, path: PATH, interface: MANAGER, member };
        self.connection.send(method, body)
    }

    fn call(&mut self, member: &str, body: Vec<Value>) -> std::result::Result<Vec<Value>, Fault> {
        let serial = self.send(member, body)?;
        self.connection.answer(serial)
    }

    /// One of the manager's properties.
    pub(super) fn property(&mut self, name: &str) -> Result<Value> {
        let method = Method {
            destination: SYSTEMD,
            path: PATH,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
        };
        let body = vec![Value::text(MANAGER), Value::text(name)];
        let got = self.connection.call(method, body);
        let got = got.map_err(|e| e.during(&format!("ask systemd for its {name}")))?;
        got.into_iter().next().ok_or_else(|| Error::rule(format!("systemd doesn't say its {name}")))
    }

    /// systemd's version; 0 for one that says no number.
    pub(super) fn version(&mut self) -> Result<u32> {
        if let Some(version) = self.version {
            return Ok(version);
        }
        let said = self.property("Version")?;
        let version = number(said.as_text().unwrap_or_default());
        self.version = Some(version);
        Ok(version)
    }

    /// Starts a scope. One of that name that has failed is cleared away first.
    pub(super) fn start(&mut self, name: &str, properties: &[(String, Value)]) -> Result<()> {
        let what = format!("start the scope {name} by systemd");
        let body = || {
            let none = Value::Array("(sa(sv))".into(), vec![]);
            vec![Value::text(name), Value::text("replace"), pairs(properties), none]
        };
        let until = Instant::now() + PATIENCE;
        let mut started = self.call("StartTransientUnit", body());
        if started.as_ref().is_err_and(|e| e.is("UnitExists")) {
            let _ = self.call("ResetFailedUnit", vec![Value::text(name)]);
            started = self.call("StartTransientUnit", body());
        }
        let job = started.map_err(|e| match (self.user, e.is("AccessDenied")) {
            (true, true) => e.during(&format!("{what}, as a user")),
            _ => e.during(&what),
        })?;
        match self.job(&job, until).map_err(|e| e.during(&what))?.as_str() {
            "done" => Ok(()),
            other => {
                let _ = self.call("ResetFailedUnit", vec![Value::text(name)]);
                let why =
                    format!("the job ended as {other:?}: `systemctl status {name}` says more");
                Err(Error::rule(format!("{what}: {why}")))
            }
        }
    }

    /// Waits for a job's end: its result, as `done`.
    fn job(&mut self, started: &[Value], until: Instant) -> std::result::Result<String, Fault> {
        let job = started.first().and_then(Value::as_text).unwrap_or_default().to_owned();
        let is_its_end = |m: &Message| {
            m.kind == Kind::Signal
                && m.member == "JobRemoved"
                && m.body.get(1).and_then(Value::as_text) == Some(&job)
        };
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let signal = self.connection.wait(left, is_its_end)?;
        Ok(signal.body.get(3).and_then(Value::as_text).unwrap_or_default().to_owned())
    }

    /// Stops a scope, and has systemd forget it; one that is gone is stopped.
    pub(super) fn stop(&mut self, name: &str) -> Result<()> {
        let what = format!("stop the scope {name} by systemd");
        let until = Instant::now() + PATIENCE;
        let stopped = match self.call("StopUnit", vec![Value::text(name), Value::text("replace")]) {
            // As runc: whatever came of it, the groups are removed next.
            Ok(job) => self.job(&job, until).map(drop),
            Err(e) if e.is("NoSuchUnit") => return Ok(()),
            Err(e) => Err(e),
        };
        // One that has failed stays known, and its name taken, until it is forgotten.
        let _ = self.call("ResetFailedUnit", vec![Value::text(name)]);
        stopped.map_err(|e| e.during(&what))
    }

    /// Changes a scope's properties until it ends.
    pub(super) fn set(&mut self, name: &str, properties: &[Property]) -> Result<()> {
        let list: Vec<_> = properties.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
        let body = vec![Value::text(name), Value::Bool(true), pairs(&list)];
        let set = self.call("SetUnitProperties", body);
        set.map(drop).map_err(|e| e.during(&format!("set the properties of {name} by systemd")))
    }

    /// Moves a process into a scope's group.
    pub(super) fn attach(&mut self, name: &str, pid: i32) -> Result<()> {
        let pids = Value::Array("u".into(), vec![Value::U32(pid as u32)]);
        let body = vec![Value::text(name), Value::text("/"), pids];
        let attached = self.call("AttachProcessesToUnit", body);
        attached.map(drop).map_err(|e| e.during(&format!("move {pid} into {name} by systemd")))
    }
}

fn pairs(properties: &[(String, Value)]) -> Value {
    let one = |(name, value): &(String, Value)| {
        Value::Struct(vec![Value::text(name.as_str()), Value::Variant(Box::new(value.clone()))])
    };
    Value::Array("(sv)".into(), properties.iter().map(one).collect())
}

/// `252.39-1~deb12u2`, `v245` and the like.
fn number(version: &str) -> u32 {
    let digits = version.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

fn absent(user: bool, address: &str, why: &str) -> Error {
    let whose = if user { "the user's systemd" } else { "systemd" };
    let help = if user {
        "log in by a session that has one (loginctl enable-linger), or leave --systemd-cgroup out"
    } else {
        "leave --systemd-cgroup out where systemd isn't the first process"
    };
    Error::rule(format!("connect to {whose} at {address}: {why}: {help}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        for (text, version) in [("252.39-1~deb12u2", 252), ("v245", 245), ("257", 257), ("x", 0)] {
            assert_eq!(number(text), version, "{text}");
        }
    }

    #[test]
    fn a_systemd_that_isnt_there_is_named_with_what_to_do() {
        let nowhere = Addresses {
            private: Some("unix:path=/nowhere/private".into()),
            bus: Some("unix:path=/nowhere/bus".into()),
            user: true,
        };
        let line = Manager::connect(&nowhere).unwrap_err().to_string();
        assert!(line.contains("unix:path=/nowhere/bus") && line.contains("leave"), "{line}");
    }

    #[test]
    fn a_users_addresses_are_below_the_runtime_directory() {
        let user = Addresses::user(None, "/run/user/1000");
        assert_eq!(user.bus.as_deref(), Some("unix:path=/run/user/1000/bus"));
        assert_eq!(user.private.as_deref(), Some("unix:path=/run/user/1000/systemd/private"));
    }
}
