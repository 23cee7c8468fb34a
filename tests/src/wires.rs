//! Machines for one case, made of network namespaces: a client, a server, and a router between them.
//!
//! ```text
//! client ── router ── server (dhow runs here)
//! 198.51.100.2        203.0.113.2, 203.0.113.3
//! 2001:db8:c::2       2001:db8:5::2
//! ```
//!
//! Both have their default route by the router, which is a neighbour of either, too: it can send to
//! the server what no published port is the way for. A namespace lives as long as a process is in it
//! or a [`Space`] holds it: when a case ends, however it does, all devices and tables are gone.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use serde_json::Value;

use crate::Cmd;

/// A network namespace.
#[derive(Debug, Clone)]
pub struct Space(Arc<OwnedFd>);

impl Default for Space {
    fn default() -> Self {
        Self::new()
    }
}

impl Space {
    /// A new one that has `lo`, up, and forwards nothing.
    pub fn new() -> Self {
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        // A thread that ends at once: what a thread does to its namespaces is its own.
        let file = thread::scope(|scope| scope.spawn(make).join().unwrap());
        let space = Self(Arc::new(file.into()));
        space.forwards(false);
        space.ip("link set lo up");
        space
    }

    /// Does something in it.
    pub fn within<T: Send>(&self, does: impl FnOnce() -> T + Send) -> T {
        let there = || {
            setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            does()
        };
        match thread::scope(|scope| scope.spawn(there).join()) {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// A path by which other programs open it while this one lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Lines of `ip -batch`, all of which must succeed.
    #[track_caller]
    pub fn ip(&self, lines: &str) {
        Cmd::new("ip").args(["-batch", "-"]).stdin(lines).space(Some(self)).run().ok();
    }

    /// What `nft ARGS` prints, or does.
    #[track_caller]
    pub fn nft(&self, script: &str) -> String {
        Cmd::new("nft").args(["-f", "-"]).stdin(script).space(Some(self)).run().ok().out()
    }

    /// A file of /proc/sys/net.
    pub fn sysctl(&self, below: &str) -> String {
        let path = Path::new("/proc/sys/net").join(below);
        self.within(|| fs::read_to_string(path).unwrap()).trim().to_owned()
    }

    /// Writes a file of /proc/sys/net.
    #[track_caller]
    pub fn set_sysctl(&self, below: &str, value: &str) {
        self.try_sysctl(below, value).unwrap();
    }

    /// The same where the file may not be there.
    pub fn try_sysctl(&self, below: &str, value: &str) -> io::Result<()> {
        let path = Path::new("/proc/sys/net").join(below);
        self.within(|| fs::write(path, value))
    }

    fn forwards(&self, does: bool) {
        // KERNEL: a new namespace has the first one's IPv4 settings.
        for file in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            self.set_sysctl(file, if does { "1" } else { "0" });
        }
    }

    /// The names of the devices.
    pub fn devices(&self) -> Vec<String> {
        let list = Cmd::new("ip").args(["-j", "link"]).space(Some(self)).run().ok().json();
        let names = list.as_array().unwrap().iter().map(|l| l["ifname"].as_str().unwrap());
        names.map(str::to_owned).collect()
    }

    /// The whole rule set as `nft -j` tells it.
    pub fn ruleset(&self) -> Vec<Value> {
        let list = Cmd::new("nft").args(["-j", "list", "ruleset"]).space(Some(self)).run().ok();
        list.json()["nftables"].as_array().unwrap().clone()
    }

    /// The tables there are, as `family name`.
    pub fn tables(&self) -> Vec<String> {
        let rules = self.ruleset();
        let tables = rules.iter().filter_map(|entry| entry.get("table"));
        let word = |table: &Value, key: &str| table[key].as_str().unwrap().to_owned();
        tables.map(|t| format!("{} {}", word(t, "family"), word(t, "name"))).collect()
    }

    /// Speaks to a `mirror` (the fixture) at `to` by `tcp` or `udp`: the address it sees.
    pub fn ask(&self, protocol: &str, to: &str) -> io::Result<String> {
        self.ask_for(protocol, to, Duration::from_secs(5))
    }

    /// The mirror at `to` must answer, and see this address.
    #[track_caller]
    pub fn is_seen_as(&self, address: &str, protocol: &str, to: &str) {
        match self.ask_for(protocol, to, Duration::from_secs(30)) {
            Ok(seen) => assert_eq!(seen, address, "who asks {protocol} {to}"),
            Err(e) => panic!("nobody answers at {protocol} {to}: {e}"),
        }
    }

    /// Nobody may answer at `to`: the connection is refused, or what is sent gets lost.
    #[track_caller]
    pub fn is_not_heard(&self, protocol: &str, to: &str) {
        if let Ok(seen) = self.ask_for(protocol, to, Duration::from_millis(400)) {
            panic!("{protocol} {to} answers, though it must not; it sees {seen}");
        }
    }

    fn ask_for(&self, protocol: &str, to: &str, limit: Duration) -> io::Result<String> {
        let to: SocketAddr = to.parse().unwrap_or_else(|e| panic!("{to}: {e}"));
        let answer = self.within(|| match protocol {
            "tcp" => ask_tcp(to, limit),
            "udp" => ask_udp(to, limit),
            other => panic!("no protocol {other}"),
        })?;
        let (seen, echo) = answer.split_once('\n').unwrap_or((&answer, ""));
        assert_eq!(echo, QUESTION, "what {protocol} {to} says is not what it was told");
        Ok(seen.to_owned())
    }
}

const QUESTION: &str = "who asks?";

fn ask_tcp(to: SocketAddr, limit: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(QUESTION.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn ask_udp(to: SocketAddr, limit: Duration) -> io::Result<String> {
    let any: IpAddr =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(limit))?;
    socket.send(QUESTION.as_bytes())?;
    let mut answer = [0; 256];
    let length = socket.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// The three of them.
#[derive(Debug)]
pub struct Wires {
    /// A machine elsewhere.
    pub client: Space,
    /// What is between; on the server's side its device is called `s`, on the client's `c`.
    pub router: Space,
    /// The machine where dhow runs; its uplink is called `eth0`.
    pub server: Space,
}

impl Default for Wires {
    fn default() -> Self {
        Self::new()
    }
}

impl Wires {
    /// The client's addresses.
    pub const CLIENT: &str = "198.51.100.2";
    /// See [`Wires::CLIENT`].
    pub const CLIENT6: &str = "2001:db8:c::2";
    /// The server's addresses; it also has [`Wires::SECOND`].
    pub const SERVER: &str = "203.0.113.2";
    /// The server's second address.
    pub const SECOND: &str = "203.0.113.3";
    /// See [`Wires::SERVER`].
    pub const SERVER6: &str = "2001:db8:5::2";
    /// The router's addresses on the server's side.
    pub const ROUTER: &str = "203.0.113.1";
    /// See [`Wires::ROUTER`].
    pub const ROUTER6: &str = "2001:db8:5::1";

    /// Three new machines.
    pub fn new() -> Self {
        let wires = Self { client: Space::new(), router: Space::new(), server: Space::new() };
        wires.router.forwards(true);
        wires.router.ip(&format!(
            "link add c type veth peer name eth0 netns {}
            link add s type veth peer name eth0 netns {}
            link set c up
            link set s up
            addr add 198.51.100.1/24 dev c
            addr add 203.0.113.1/24 dev s
            addr add 2001:db8:c::1/64 dev c nodad
            addr add 2001:db8:5::1/64 dev s nodad",
            wires.client.path(),
            wires.server.path()
        ));
        let host = |space: &Space, v4: &[&str], v6: &str, net4: &str, net6: &str| {
            let mut lines = "link set eth0 up\n".to_owned();
            for address in v4 {
                writeln!(lines, "addr add {address}/24 dev eth0").unwrap();
            }
            writeln!(lines, "addr add {v6}/64 dev eth0 nodad").unwrap();
            writeln!(lines, "route add default via {net4}").unwrap();
            writeln!(lines, "route add default via {net6}").unwrap();
            space.ip(&lines);
        };
        host(&wires.client, &[Self::CLIENT], Self::CLIENT6, "198.51.100.1", "2001:db8:c::1");
        let server = [Self::SERVER, Self::SECOND];
        host(&wires.server, &server, Self::SERVER6, Self::ROUTER, Self::ROUTER6);
        wires
    }

    /// What is there of containers, by the run directory of the world that had them: nothing of one
    /// may outlive it. What stays: `lo`, the uplink, and bridges and rules of networks (the default
    /// one's, and of those that were made and not removed).
    pub fn left(&self, run: &Path) -> Vec<String> {
        let mut left = Vec::new();
        let list = Cmd::new("ip").args(["-j", "link"]).space(Some(&self.server)).run().ok().json();
        for link in list.as_array().unwrap() {
            let name = link["ifname"].as_str().unwrap();
            let alias = link["ifalias"].as_str().unwrap_or("");
            if !["lo", "eth0"].contains(&name) && !alias.starts_with("dhow network ") {
                left.push(format!("device {name} ({alias})"));
            }
        }
        for element in self.server.ruleset() {
            // What is a container's is in a set, under its short id.
            let text = element.to_string();
            let marked = text.split("\"comment\":\"").skip(1).filter_map(|rest| rest.get(..13));
            let id = |c: &&str| c.ends_with('"') && c[..12].bytes().all(|b| b.is_ascii_hexdigit());
            left.extend(marked.filter(id).map(|c| format!("nft element of {c} in {text}")));
        }
        for network in fs::read_dir(run.join("networks")).into_iter().flatten().flatten() {
            let file = network.path().join("endpoints.json");
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let json: Value = serde_json::from_str(&text).unwrap_or_default();
            if json["leases"].as_array().is_none_or(|leases| !leases.is_empty()) {
                left.push(format!("lease in {}: {text}", file.display()));
            }
        }
        left
    }
}
