//! A server in a namespace of the test's own, with clients and other servers.

mod hostile;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};

use super::*;
use crate::bundle::etc::NameServer;

const ASKED: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 0, 0, 11), 53);

/// A namespace with loopback, and this thread in it.
fn alone() -> File {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    dhow_kernel::net::loopback_up().unwrap();
    File::open("/proc/thread-self/ns/net").unwrap()
}

/// A server in `ns` on a thread of its own, until dropped.
struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    config: mpsc::Sender<Config>,
}

impl Running {
    fn start(ns: &File, config: Config) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ns, stopped) = (ns.try_clone().unwrap(), stop.clone());
        let (ready, wait) = mpsc::channel();
        let (sender, configs) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut server = Server::open(ns.as_fd(), config).unwrap();
            ready.send(()).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                if let Ok(config) = configs.try_recv() {
                    server.reconfigure(config);
                }
                let idle =
                    server.idle_time().unwrap_or(Duration::MAX).min(Duration::from_millis(20));
                let mut fds = [PollFd::new(server.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut fds, PollTimeout::try_from(idle).unwrap());
                server.attend();
            }
        });
        wait.recv().unwrap();
        Self { stop, thread: Some(thread), config: sender }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

/// A thread in `ns`.
fn within<T: Send + 'static>(
    ns: &File,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let ns = ns.try_clone().unwrap();
    std::thread::spawn(move || {
        setns(&ns, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    })
}

/// RUN/networks/ID/endpoints.json with containers `(names, address)`.
fn leases(dir: &Path, network: &str, containers: &[(&[&str], &str)]) -> Membership {
    let leases: Vec<serde_json::Value> = containers
        .iter()
        .map(|(names, address)| {
            let address: IpAddr = address.parse().unwrap();
            let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
            serde_json::json!({"container": "c", "endpoint": "e", "mac": "", "names": names, family: address})
        })
        .collect();
    let boot = crate::monitor::boot_id().unwrap();
    let file = dir.join(format!("{network}.json"));
    let text = serde_json::json!({"boot": boot, "leases": leases}).to_string();
    crate::store::write_atomic(&file, text.as_bytes(), crate::store::Sync::No).unwrap();
    Membership { name: network.into(), file, links: Vec::new() }
}

fn server(address: &str, of_host: bool) -> Upstream {
    Upstream { server: NameServer::from(address.parse::<IpAddr>().unwrap()), of_host }
}

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

fn client() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

fn exchange(socket: &UdpSocket, query: &[u8]) -> Message {
    socket.send_to(query, ASKED).unwrap();
    let mut buffer = vec![0; 65535];
    let (n, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(from, SocketAddr::from(ASKED));
    let message = Message::from_vec(&buffer[..n]).unwrap();
    assert_eq!(buffer[..2], query[..2]);
    message
}

fn ask(name: &str, kind: RecordType) -> Message {
    exchange(&client(), &question(name, kind))
}

fn addresses(message: &Message) -> Vec<String> {
    let mut all: Vec<String> = message.answers.iter().map(|r| r.data.to_string()).collect();
    all.sort();
    all
}

fn over_tcp(bytes: &[u8]) -> Message {
    let mut stream = TcpStream::connect(ASKED).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&(bytes.len() as u16).to_be_bytes()).unwrap();
    stream.write_all(bytes).unwrap();
    let mut size = [0; 2];
    stream.read_exact(&mut size).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(size))];
    stream.read_exact(&mut answer).unwrap();
    Message::from_vec(&answer).unwrap()
}

/// The answer that `query` gets from a well-meaning server.
fn answer(query: &[u8], code: ResponseCode) -> Vec<u8> {
    let query = Message::from_vec(query).unwrap();
    let mut message = Message::response(query.metadata.id, OpCode::Query);
    message.metadata.response_code = code;
    let asked = query.queries[0].clone();
    if code == ResponseCode::NoError {
        let data = RData::A(A("192.0.2.7".parse().unwrap()));
        message.add_answer(Record::from_rdata(asked.name().clone(), 5, data));
    }
    message.add_query(asked);
    message.to_vec().unwrap()
}

/// Another server at `address`, UDP; `reply` makes what it says, if anything, and to whom.
fn upstream(
    ns: &File,
    address: &str,
    mut reply: impl FnMut(&UdpSocket, &[u8], SocketAddr) + Send + 'static,
) -> mpsc::Receiver<()> {
    let (ready, wait) = mpsc::channel();
    let (heard, hears) = mpsc::channel();
    let address: IpAddr = address.parse().unwrap();
    within(ns, move || {
        let socket = UdpSocket::bind((address, 53)).unwrap();
        ready.send(()).unwrap();
        let mut buffer = vec![0; 65535];
        while let Ok((n, from)) = socket.recv_from(&mut buffer) {
            let _ = heard.send(());
            reply(&socket, &buffer[..n], from);
        }
    });
    wait.recv().unwrap();
    hears
}

fn two_networks(dir: &Path) -> Vec<Membership> {
    let all = ["ABCDEF012345", "db", "data"];
    let mut app = leases(
        dir,
        "app",
        &[(&["web", "shared"], "10.0.0.2"), (&all, "10.0.0.3"), (&["x", "shared"], "10.0.0.4")],
    );
    app.links.push(("mydb".into(), "db".into()));
    vec![app, leases(dir, "back.end", &[(&["cache"], "10.1.0.2"), (&["six"], "fd00::6")])]
}

#[test]
fn names_of_its_networks_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let ns = alone();
    let networks = two_networks(dir.path());
    let _server = Running::start(&ns, Config { networks, ..Config::default() });
    for (name, want) in [
        ("web.", "10.0.0.2"),
        ("WEB.", "10.0.0.2"),
        ("abcdef012345.", "10.0.0.3"),
        ("data.", "10.0.0.3"),
        ("mydb.", "10.0.0.3"),
        ("MyDB.app.", "10.0.0.3"),
        ("cache.", "10.1.0.2"),
        ("web.app.", "10.0.0.2"),
        ("cache.back.end.", "10.1.0.2"),
    ] {
        let message = ask(name, RecordType::A);
        assert_eq!(addresses(&message), [want], "{name}");
        assert_eq!(message.answers[0].ttl, 600);
        assert!(message.metadata.recursion_available && message.metadata.recursion_desired);
        assert_eq!(addresses(&over_tcp(&question(name, RecordType::A))), [want], "{name}");
    }
    assert_eq!(addresses(&ask("six.", RecordType::AAAA)), ["fd00::6"]);
    for (name, kind) in [
        ("web.", RecordType::AAAA),
        ("six.", RecordType::A),
        ("web.", RecordType::MX),
        ("web.", RecordType::TXT),
        ("web.app.", RecordType::SRV),
    ] {
        let message = ask(name, kind);
        assert_eq!(message.metadata.response_code, ResponseCode::NoError, "{name}");
        assert!(message.answers.is_empty(), "{name}");
    }
    // Nobody else knows them, and there is nobody else to ask.
    for name in ["nope.", "web.back.end.", "cache.app.", "web.app.app."] {
        let code = ask(name, RecordType::A).metadata.response_code;
        assert_eq!(code, ResponseCode::ServFail, "{name}");
    }
}

#[test]
fn addresses_have_names_and_names_several_addresses_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    let ns = alone();
    let networks = two_networks(dir.path());
    let _server = Running::start(&ns, Config { networks, ..Config::default() });
    assert_eq!(addresses(&ask("2.0.0.10.in-addr.arpa.", RecordType::PTR)), ["web.app."]);
    assert_eq!(addresses(&ask("2.0.1.10.IN-ADDR.ARPA.", RecordType::PTR)), ["cache.back.end."]);
    let six = format!("6.{}0.0.d.f.ip6.arpa.", "0.".repeat(27));
    assert_eq!(addresses(&ask(&six, RecordType::PTR)), ["six.back.end."]);
    let mut first = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let message = ask("shared.", RecordType::A);
        assert_eq!(addresses(&message), ["10.0.0.2", "10.0.0.4"]);
        first.insert(message.answers[0].data.to_string());
    }
    assert_eq!(first.len(), 2);
}

#[test]
fn who_comes_and_goes_is_seen_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let ns = alone();
    let network = leases(dir.path(), "app", &[(&["web"], "10.0.0.2")]);
    let server =
        Running::start(&ns, Config { networks: vec![network.clone()], ..Config::default() });
    assert_eq!(addresses(&ask("web.", RecordType::A)), ["10.0.0.2"]);
    leases(dir.path(), "app", &[(&["web"], "10.0.0.3"), (&["new"], "10.0.0.2")]);
    assert_eq!(addresses(&ask("web.", RecordType::A)), ["10.0.0.3"]);
    assert_eq!(addresses(&ask("new.", RecordType::A)), ["10.0.0.2"]);
    // What can't be understood doesn't take away what was known.
    std::fs::write(&network.file, "{\"boot\":").unwrap();
    assert_eq!(addresses(&ask("web.", RecordType::A)), ["10.0.0.3"]);
    // Another boot's leases are nobody's.
    std::fs::write(&network.file, "{\"boot\":\"x\",\"leases\":[{\"names\":[\"web\"]}]}").unwrap();
    assert_eq!(ask("web.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
    server.config.send(Config { networks: two_networks(dir.path()), ..Config::default() }).unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while ask("cache.", RecordType::A).answers.is_empty() {
        assert!(Instant::now() < until);
    }
}

#[test]
fn an_answer_that_is_too_long_says_so_and_comes_over_tcp() {
    let dir = tempfile::tempdir().unwrap();
    let ns = alone();
    let addresses: Vec<String> = (1..250).map(|n| format!("10.0.0.{n}")).collect();
    let all: Vec<(&[&str], &str)> =
        addresses.iter().map(|a| (&["n", "many"][..], a.as_str())).collect();
    let networks = vec![leases(dir.path(), "app", &all)];
    let _server = Running::start(&ns, Config { networks, ..Config::default() });
    let message = ask("many.", RecordType::A);
    assert!(message.metadata.truncation && message.answers.len() < 40);
    assert_eq!(over_tcp(&question("many.", RecordType::A)).answers.len(), 249);
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii("many.").unwrap(), RecordType::A));
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    query.set_edns(edns);
    let message = exchange(&client(), &query.to_vec().unwrap());
    assert!(message.edns.is_some() && message.answers.len() == 249 && !message.metadata.truncation);
}

#[test]
fn other_names_are_asked_for_inside_or_at_home() {
    let home = alone();
    let ns = alone();
    upstream(&home, "127.0.0.53", |socket, query, from| {
        let _ = socket.send_to(&answer(query, ResponseCode::NoError), from);
    });
    upstream(&ns, "127.0.0.2", |socket, query, from| {
        let _ = socket.send_to(&answer(query, ResponseCode::NXDomain), from);
    });
    let config = |upstream, forwards| Config { upstream, forwards, ..Config::default() };
    let code = |message: Message| message.metadata.response_code;
    // The server runs where the host's servers are reached.
    let serve = |config| {
        let inside = ns.try_clone().unwrap();
        within(&home, move || Running::start(&inside, config))
    };
    let running = serve(config(vec![server("127.0.0.53", true)], true)).join().unwrap();
    assert_eq!(addresses(&ask("example.org.", RecordType::A)), ["192.0.2.7"]);
    drop(running);
    // Nothing that stays inside goes out by way of the host.
    let running = serve(config(vec![server("127.0.0.53", true)], false)).join().unwrap();
    assert_eq!(code(ask("example.org.", RecordType::A)), ResponseCode::ServFail);
    drop(running);
    let both = vec![server("127.0.0.2", false), server("127.0.0.53", true)];
    let running = serve(config(both, false)).join().unwrap();
    assert_eq!(code(ask("example.org.", RecordType::A)), ResponseCode::NXDomain);
    drop(running);
}
