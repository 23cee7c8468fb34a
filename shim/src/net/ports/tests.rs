//! Ports on this machine's loopback: addresses of 127/8 stand for the host and for the container.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::*;

const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const CONTAINER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const TO: Target = Target { ipv4: Some(CONTAINER), ipv6: None };
const LONG: Duration = Duration::from_secs(20);

fn want(port: u16, protocol: Protocol, first: u16, last: u16) -> Want {
    Want { port, protocol, host_ip: Some(HOST.into()), first, last }
}

fn bind(wants: &[Want]) -> crate::Result<Reserved> {
    Reserved::bind(wants, None, TO, &|_| None)
}

/// A proxy in a thread, as a monitor would serve it; ended by dropping it.
struct Served {
    at: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn new(wants: &[Want]) -> Self {
        let reserved = bind(wants).unwrap();
        let at = reserved.published().iter().map(|p| (p.host_ip, p.host_port).into()).collect();
        let mut proxy = reserved.serve(TO).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            use std::os::fd::AsFd;
            while !stopped.load(Ordering::Relaxed) {
                let left = proxy.idle_time().unwrap_or(LONG).min(Duration::from_millis(5));
                let timeout = nix::poll::PollTimeout::from(left.as_millis() as u8);
                let readable = nix::poll::PollFlags::POLLIN;
                let mut set = [nix::poll::PollFd::new(proxy.as_fd(), readable)];
                let _ = nix::poll::poll(&mut set, timeout);
                proxy.attend();
            }
            proxy.finish();
        });
        Self { at, stop, thread: Some(thread) }
    }

    fn tcp(port: u16) -> Self {
        Self::new(&[want(port, Protocol::Tcp, 0, 0)])
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at[0]).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        stream
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(std::thread::panicking() || ended.is_ok());
    }
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((CONTAINER, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Says back what it hears, to everybody, until they end.
fn echo() -> u16 {
    let (listener, port) = listen();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    port
}

#[test]
fn all_ports_or_none() {
    let (_taken, port) = {
        let listener = TcpListener::bind((HOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    };
    let free = bind(&[want(1, Protocol::Tcp, 0, 0)]).unwrap().published()[0].host_port;
    let wants = [want(1, Protocol::Tcp, free, free), want(2, Protocol::Tcp, port, port)];
    let error = bind(&wants).unwrap_err().message;
    let words = format!(
        "failed to bind host port for 127.0.0.1:{port}:127.0.0.2:2/tcp: address already in use; \
         process {} (",
        std::process::id()
    );
    assert!(error.starts_with(&words), "{error}");
    // UDP has ports of its own.
    assert!(bind(&[want(2, Protocol::Udp, port, port)]).is_ok());
}

#[test]
fn a_container_that_has_the_port_is_named() {
    let held = bind(&[want(1, Protocol::Tcp, 0, 0)]).unwrap();
    let published = held.published()[0];
    let port = published.host_port;
    let named = |p: &Published| (p.host_port == port).then(|| "web".to_owned());
    let error = Reserved::bind(&[want(9, Protocol::Tcp, port, port)], None, TO, &named);
    assert_eq!(
        error.unwrap_err().message,
        format!(
            "Bind for 127.0.0.1:{port} failed: port is already allocated; container \"web\" has it"
        )
    );
    let other = bind(&[want(1, Protocol::Tcp, 0, 0)]).unwrap();
    drop(held);
    // Somebody has taken one of them meanwhile: the others are had all the same.
    let all = [other.published()[0], published];
    let (again, done) = Reserved::again(&all, TO, &|_| None);
    assert_eq!(again.published(), [published]);
    assert!(done.is_err());
}

#[test]
fn a_range_gives_the_first_that_is_free() {
    let first = bind(&[want(1, Protocol::Udp, 0, 0)]).unwrap();
    let port = first.published()[0].host_port;
    let second = bind(&[want(1, Protocol::Udp, port, port + 200)]).unwrap();
    assert!(second.published()[0].host_port > port);
    let both = [want(1, Protocol::Udp, port, port), want(2, Protocol::Udp, port, port + 1)];
    assert!(bind(&both).is_err());
    drop((first, second));
}

#[test]
fn a_host_without_that_address_says_so() {
    let want =
        Want { host_ip: Some("192.0.2.1".parse().unwrap()), ..want(80, Protocol::Tcp, 0, 0) };
    let error = bind(&[want]).unwrap_err().message;
    assert!(error.contains("cannot assign requested address"), "{error}");
    assert!(error.ends_with("no interface of this host has the address"), "{error}");
}

#[test]
fn bytes_go_both_ways_and_ends_are_told_apart() {
    let served = Served::tcp(echo());
    let sent: Vec<u8> =
        (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let client = served.connect();
    let (mut out, bytes) = (client.try_clone().unwrap(), sent.clone());
    let writer = std::thread::spawn(move || {
        out.write_all(&bytes).unwrap();
        // Half of it ends: the answer still comes.
        out.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    (&client).read_to_end(&mut back).unwrap();
    writer.join().unwrap();
    assert!(back == sent);
}

#[test]
fn nobody_listens_in_the_container() {
    let (listener, port) = listen();
    drop(listener);
    let served = Served::tcp(port);
    let error = served.connect().read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_of_one_end_reaches_the_other() {
    let (listener, port) = listen();
    let served = Served::tcp(port);
    let client = served.connect();
    let (server, _) = listener.accept().unwrap();
    super::socket::reset(server.into());
    let error = (&client).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn who_does_not_read_holds_nobody_else_up() {
    let (listener, port) = listen();
    let served = Served::tcp(port);
    let slow: Vec<TcpStream> = (0..20).map(|_| served.connect()).collect();
    let senders: Vec<_> = slow
        .iter()
        .map(|_| {
            let (mut server, _) = listener.accept().unwrap();
            std::thread::spawn(move || server.write_all(&vec![7; 8 << 20]))
        })
        .collect();
    let mut quick = served.connect();
    let (mut server, _) = listener.accept().unwrap();
    let began = Instant::now();
    for n in 0..100 {
        server.write_all(&[n]).unwrap();
        let mut byte = [0];
        quick.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [n]);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    for mut client in slow {
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 8 << 20);
    }
    for sender in senders {
        sender.join().unwrap().unwrap();
    }
}

#[test]
fn hundreds_at_once_get_their_own_answers() {
    let served = Served::tcp(echo());
    let clients: Vec<TcpStream> = (0..300).map(|_| served.connect()).collect();
    for (n, mut client) in clients.iter().enumerate() {
        client.write_all(&(n as u32).to_be_bytes()).unwrap();
    }
    for (n, mut client) in clients.iter().enumerate() {
        let mut back = [0; 4];
        client.read_exact(&mut back).unwrap();
        assert_eq!(u32::from_be_bytes(back), n as u32);
    }
}

#[test]
fn what_was_said_last_arrives() {
    let (listener, port) = listen();
    let served = Served::tcp(port);
    let mut client = served.connect();
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(&vec![1; 100_000]).unwrap();
    drop(server);
    drop(served);
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 100_000);
}

#[test]
fn datagrams_find_their_way_back() {
    let server = UdpSocket::bind((CONTAINER, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    let served = Served::new(&[want(port, Protocol::Udp, 0, 0)]);
    let (done, ended) = mpsc::channel::<()>();
    server.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let echo = std::thread::spawn(move || {
        let mut buffer = vec![0; 70_000];
        while ended.try_recv().is_err() {
            if let Ok((n, from)) = server.recv_from(&mut buffer) {
                server.send_to(&buffer[..n], from).unwrap();
            }
        }
    });
    let clients: Vec<UdpSocket> = (0..20)
        .map(|_| {
            let socket = UdpSocket::bind((HOST, 0)).unwrap();
            // Answers from elsewhere would not be heard.
            socket.connect(served.at[0]).unwrap();
            socket.set_read_timeout(Some(LONG)).unwrap();
            socket
        })
        .collect();
    for round in 0..3 {
        for (n, client) in clients.iter().enumerate() {
            client.send(format!("{round} {n}").as_bytes()).unwrap();
        }
        for (n, client) in clients.iter().enumerate() {
            let mut buffer = [0; 100];
            let length = client.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..length], *format!("{round} {n}").as_bytes());
        }
    }
    let long = vec![3; 60_000];
    clients[0].send(&long).unwrap();
    let mut buffer = vec![0; 70_000];
    let length = clients[0].recv(&mut buffer).unwrap();
    assert!(buffer[..length] == long);
    clients[1].send(&[]).unwrap();
    assert_eq!(clients[1].recv(&mut buffer).unwrap(), 0);
    done.send(()).unwrap();
    echo.join().unwrap();
}

#[test]
fn a_server_that_comes_later_is_found() {
    let early = UdpSocket::bind((CONTAINER, 0)).unwrap();
    let at = early.local_addr().unwrap();
    drop(early);
    let served = Served::new(&[want(at.port(), Protocol::Udp, 0, 0)]);
    let client = UdpSocket::bind((HOST, 0)).unwrap();
    client.connect(served.at[0]).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    client.send(b"lost").unwrap();
    assert!(client.recv(&mut [0; 10]).is_err());
    let server = UdpSocket::bind(at).unwrap();
    server.set_read_timeout(Some(LONG)).unwrap();
    client.send(b"found").unwrap();
    let mut buffer = [0; 10];
    assert_eq!(server.recv(&mut buffer).unwrap(), 5);
}
