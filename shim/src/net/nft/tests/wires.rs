//! A machine with containers, two neighbours, and what they can reach of each other: network
//! namespaces of a case's own, and sockets that are opened in them.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

use super::said;

/// Long enough for all that gets through.
const PATIENT: Duration = Duration::from_secs(3);
/// Long enough to be sure that nothing does.
const SHORT: Duration = Duration::from_millis(150);

/// A network namespace.
pub struct Node(File);

impl Node {
    /// A new one, that has its loopback up.
    pub fn new() -> Self {
        std::thread::scope(|scope| {
            let made = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).unwrap();
                said("ip link set lo up");
                Self::own()
            });
            made.join().unwrap()
        })
    }

    /// The one that this thread is in.
    pub fn own() -> Self {
        Self(File::open("/proc/thread-self/ns/net").unwrap())
    }

    /// Does something there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let there = scope.spawn(|| {
                setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            there.join().unwrap()
        })
    }

    /// Runs commands there.
    pub fn run(&self, commands: &str) -> String {
        self.within(|| said(commands))
    }

    /// For `ip link set DEV netns …`.
    pub fn path(&self) -> String {
        use std::os::fd::AsRawFd as _;
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Answers on a TCP and a UDP port for good: who asks is told the address that it is seen by.
    pub fn serve(&self, address: &str) {
        let at: SocketAddr = address.parse().unwrap();
        let (tcp, udp) =
            self.within(|| (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap()));
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                let peer = stream.peer_addr().map(|a| a.ip().to_string()).unwrap_or_default();
                let _ = stream.write_all(peer.as_bytes());
            }
        });
        std::thread::spawn(move || {
            let mut room = [0; 64];
            while let Ok((_, from)) = udp.recv_from(&mut room) {
                let _ = udp.send_to(from.ip().to_string().as_bytes(), from);
            }
        });
    }

    /// As what this node is seen at `address`, by TCP; it has to get there.
    pub fn seen(&self, address: &str) -> String {
        self.tcp(address, PATIENT).unwrap_or_else(|| panic!("{address} is not reached"))
    }

    /// As what it is seen by UDP.
    pub fn seen_by_udp(&self, address: &str) -> String {
        self.udp(address, PATIENT).unwrap_or_else(|| panic!("{address} is not reached by UDP"))
    }

    /// Neither TCP nor UDP gets there.
    pub fn reaches_not(&self, address: &str) {
        assert_eq!(self.tcp(address, SHORT), None, "{address} by TCP");
        assert_eq!(self.udp(address, SHORT), None, "{address} by UDP");
    }

    fn tcp(&self, address: &str, patience: Duration) -> Option<String> {
        let to: SocketAddr = address.parse().unwrap();
        self.within(|| {
            let mut stream = TcpStream::connect_timeout(&to, patience).ok()?;
            stream.set_read_timeout(Some(patience)).ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            Some(text)
        })
    }

    fn udp(&self, address: &str, patience: Duration) -> Option<String> {
        self.asker(address).ask(patience)
    }

    /// A socket there that asks `address` by UDP, from one port always.
    pub fn asker(&self, address: &str) -> Asker {
        let to: SocketAddr = address.parse().unwrap();
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let socket = self.within(|| UdpSocket::bind((any, 0)).unwrap());
        Asker(socket, to)
    }
}

/// A client that goes on asking.
pub struct Asker(UdpSocket, SocketAddr);

impl Asker {
    /// The answer, if there is one.
    pub fn ask(&self, patience: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(patience)).unwrap();
        let mut room = [0; 64];
        self.0.send_to(b"?", self.1).ok()?;
        let length = self.0.recv(&mut room).ok()?;
        String::from_utf8(room[..length].to_vec()).ok()
    }

    /// The same, and it has to come.
    pub fn hears(&self) -> String {
        self.ask(PATIENT).unwrap()
    }
}

/// This thread is the machine: `eth0` leads to `client`, `eth1` to `other`.
pub struct Wires {
    /// At 203.0.113.9 and 2001:db8::9; the machine is .1 and ::1.
    pub client: Node,
    /// At 198.51.100.9 and 2001:db8:1::9; the machine is .1 and ::1.
    pub other: Node,
    /// The machine.
    pub machine: Node,
}

impl Wires {
    /// Laid out; the machine forwards nothing yet.
    pub fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        // The machine's own settings are handed on to new namespaces.
        said(
            "ip link set lo up
             echo 0 > /proc/sys/net/ipv4/ip_forward
             echo 0 > /proc/sys/net/ipv6/conf/all/forwarding",
        );
        let wires = Self { client: Node::new(), other: Node::new(), machine: Node::own() };
        wires.neighbour(&wires.client, "eth0", "203.0.113", "2001:db8:0:0");
        wires.neighbour(&wires.other, "eth1", "198.51.100", "2001:db8:0:1");
        wires
    }

    fn neighbour(&self, node: &Node, device: &str, four: &str, six: &str) {
        let there = node.path();
        self.machine.run(&format!(
            "ip link add {device} type veth peer name eth0 netns {there}
             echo 0 > /proc/sys/net/ipv6/conf/{device}/accept_dad
             ip address add {four}.1/24 dev {device}
             ip address add {six}::1/64 dev {device} nodad
             ip link set {device} up"
        ));
        node.run(&format!(
            "ip address add {four}.9/24 dev eth0
             ip address add {six}::9/64 dev eth0 nodad
             ip link set eth0 up
             ip route add default via {four}.1
             ip route add default via {six}::1"
        ));
    }

    /// A bridge with the gateway's addresses.
    pub fn bridge(&self, name: &str, addresses: &[&str]) {
        // KERNEL: while a bridge's link-local address is tentative, nobody behind it is asked for.
        self.machine.run(&format!(
            "ip link add {name} type bridge
             echo 0 > /proc/sys/net/ipv6/conf/{name}/accept_dad
             ip link set {name} up"
        ));
        for address in addresses {
            self.machine.run(&format!("ip address add {address} dev {name} nodad"));
        }
    }

    /// A container on it; the gateways are .1 and ::1 of its addresses. It serves port 80.
    pub fn container(&self, bridge: &str, four: &str, six: &str) -> Node {
        let node = Node::new();
        let there = node.path();
        let end = format!("v{}", four.replace('.', ""));
        self.machine.run(&format!(
            "ip link add {end} type veth peer name eth0 netns {there}
             ip link set {end} master {bridge} up
             # As link::plug does where bridges show the firewall what stays within them: a
             # container that asks for its own published port is answered by its own port.
             ip link set {end} type bridge_slave hairpin on"
        ));
        let via4 = four.rsplit_once('.').unwrap().0;
        let via6 = six.rsplit_once("::").unwrap().0;
        node.run(&format!(
            "ip address add {four}/24 dev eth0
             ip address add {six}/64 dev eth0 nodad
             ip link set eth0 up
             ip route add default via {via4}.1
             ip route add default via {via6}::1"
        ));
        node.serve(&format!("{four}:80"));
        node.serve(&format!("[{six}]:80"));
        node
    }
}
