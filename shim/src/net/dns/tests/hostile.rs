//! Clients and servers that mean no good.

use super::*;

fn forwarding(servers: &[&str]) -> Config {
    let upstream = servers.iter().map(|address| server(address, false)).collect();
    Config { upstream, forwards: true, ..Config::default() }
}

#[test]
fn a_server_that_is_silent_or_fails_is_not_the_last() {
    let ns = alone();
    upstream(&ns, "127.0.0.2", |_, _, _| {});
    upstream(&ns, "127.0.0.3", |socket, query, from| {
        let _ = socket.send_to(&answer(query, ResponseCode::ServFail), from);
    });
    upstream(&ns, "127.0.0.4", |socket, query, from| {
        let _ = socket.send_to(&answer(query, ResponseCode::NoError), from);
    });
    // Nobody listens at the first one.
    for servers in
        [["127.0.0.9", "127.0.0.3", "127.0.0.4"], ["127.0.0.3", "127.0.0.2", "127.0.0.4"]]
    {
        let _server = Running::start(&ns, forwarding(&servers));
        assert_eq!(addresses(&ask("example.org.", RecordType::A)), ["192.0.2.7"], "{servers:?}");
    }
    let _server = Running::start(&ns, forwarding(&["127.0.0.9", "127.0.0.3"]));
    let message = ask("example.org.", RecordType::A);
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(message.queries[0].name().to_string(), "example.org.");
}

#[test]
fn a_late_answer_still_counts() {
    let ns = alone();
    upstream(&ns, "127.0.0.2", |socket, query, from| {
        let reply = answer(query, ResponseCode::NoError);
        let socket = socket.try_clone().unwrap();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_secs(2));
            let _ = socket.send_to(&reply, from);
        });
    });
    upstream(&ns, "127.0.0.3", |_, _, _| {});
    let _server = Running::start(&ns, forwarding(&["127.0.0.2", "127.0.0.3"]));
    assert_eq!(addresses(&ask("example.org.", RecordType::A)), ["192.0.2.7"]);
}

#[test]
fn forged_answers_are_dropped() {
    let ns = alone();
    upstream(&ns, "127.0.0.2", |socket, query, from| {
        let right = answer(query, ResponseCode::NoError);
        let forged = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = right.clone();
            change(&mut bytes);
            bytes
        };
        let query_again = query.to_vec();
        for bytes in [
            Vec::new(),
            right[..11].to_vec(),
            right[..14].to_vec(),
            vec![0xff; 4096],
            query_again,
            forged(&|b| b[1] ^= 1),
            forged(&|b| b[2] &= 0x7f),
            forged(&|b| b[13] ^= 2),
            forged(&|b| b[12..14].copy_from_slice(&[0xc0, 12])),
            forged(&|b| b[5] = 0),
        ] {
            let _ = socket.send_to(&bytes, from);
        }
        // Right in all, but from another server.
        let other = UdpSocket::bind("127.0.0.3:53").unwrap();
        let _ = other.send_to(&forged(&|b| *b.last_mut().unwrap() = 99), from);
        let _ = socket.send_to(&right, from);
    });
    let _server = Running::start(&ns, forwarding(&["127.0.0.2"]));
    for _ in 0..20 {
        assert_eq!(addresses(&ask("example.org.", RecordType::A)), ["192.0.2.7"]);
    }
}

#[test]
fn questions_pass_untouched_under_numbers_and_ports_of_their_own() {
    let ns = alone();
    let (seen, sees) = mpsc::channel();
    upstream(&ns, "127.0.0.2", move |socket, query, from| {
        seen.send((query.to_vec(), from.port())).unwrap();
        let mut reply = answer(query, ResponseCode::NoError);
        reply.extend(b"rest");
        let _ = socket.send_to(&reply, from);
    });
    let _server = Running::start(&ns, forwarding(&["127.0.0.2"]));
    let (mut numbers, mut ports) = (Vec::new(), Vec::new());
    for n in 0..30 {
        let mut query = question(&format!("n{n}.example."), RecordType::HTTPS);
        query[11] = 1; // one further record: an OPT with an option that nobody knows
        query.extend([0, 0, 41, 4, 208, 0, 0, 128, 0, 0, 6, 253, 233, 0, 2, 1, 2]);
        let socket = client();
        socket.send_to(&query, ASKED).unwrap();
        let mut buffer = [0; 4096];
        let (size, _) = socket.recv_from(&mut buffer).unwrap();
        let (passed, port) = sees.recv().unwrap();
        assert_eq!(passed[2..], query[2..]);
        assert!(buffer[..size].ends_with(b"rest") && buffer[..2] == query[..2]);
        numbers.push(u16::from_be_bytes([passed[0], passed[1]]));
        ports.push(port);
    }
    for mut all in [numbers, ports] {
        let steady = all.windows(2).filter(|pair| pair[1].wrapping_sub(pair[0]) == 1).count();
        assert!(steady < 3, "{all:?}");
        all.sort_unstable();
        all.dedup();
        assert!(all.len() > 25, "{all:?}");
    }
}

#[test]
fn what_was_cut_comes_over_tcp() {
    let ns = alone();
    upstream(&ns, "127.0.0.3", |socket, query, from| {
        let mut reply = answer(query, ResponseCode::NoError);
        reply[2] |= 2;
        let _ = socket.send_to(&reply, from);
    });
    let (ready, wait) = mpsc::channel();
    within(&ns, move || {
        let listener = TcpListener::bind("127.0.0.3:53").unwrap();
        ready.send(()).unwrap();
        while let Ok((mut stream, _)) = listener.accept() {
            let mut size = [0; 2];
            stream.read_exact(&mut size).unwrap();
            let mut query = vec![0; usize::from(u16::from_be_bytes(size))];
            stream.read_exact(&mut query).unwrap();
            let mut reply = answer(&query, ResponseCode::NoError);
            reply.resize(60_000, 7);
            stream.write_all(&(reply.len() as u16).to_be_bytes()).unwrap();
            for part in reply.chunks(1000) {
                stream.write_all(part).unwrap();
            }
        }
    });
    wait.recv().unwrap();
    // The first doesn't take connections.
    let _server = Running::start(&ns, forwarding(&["127.0.0.2", "127.0.0.3"]));
    let query = question("example.org.", RecordType::A);
    assert!(exchange(&client(), &query).metadata.truncation);
    let mut stream = TcpStream::connect(ASKED).unwrap();
    // Several at once, in pieces.
    let one = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
    for part in one.repeat(20).chunks(7) {
        stream.write_all(part).unwrap();
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 20 * 60_002);
    assert!(all.chunks(60_002).all(|message| message[2..4] == query[..2]));
}

#[test]
fn a_server_that_asks_itself_gets_silence_not_a_storm() {
    let ns = alone();
    let heard = upstream(&ns, "127.0.0.2", |socket, query, _| {
        // A resolver of the container's that forwards to its monitor.
        let mut query = query.to_vec();
        query[0] ^= 0x55;
        let _ = socket.send_to(&query, ASKED);
    });
    let _server = Running::start(&ns, forwarding(&["127.0.0.2", "127.0.0.11"]));
    let socket = client();
    socket.send_to(&question("loop.example.", RecordType::A), ASKED).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    assert!(socket.recv_from(&mut [0; 512]).is_err());
    assert!(heard.try_iter().count() <= 3);
}

#[test]
fn a_flood_is_bounded_and_names_are_still_answered() {
    let dir = tempfile::tempdir().unwrap();
    let ns = alone();
    upstream(&ns, "127.0.0.2", |_, _, _| {});
    let networks = vec![leases(dir.path(), "app", &[(&["web"], "10.0.0.2")])];
    let config = Config { networks, ..forwarding(&["127.0.0.2"]) };
    let mut server = Server::open(ns.as_fd(), config).unwrap();
    let flood = client();
    let mut largest = 0;
    for n in 0..100_000u32 {
        let name = format!("{n}.{}.example.", "x".repeat(60));
        flood.send_to(&question(&name, RecordType::A), ASKED).unwrap();
        if n % 64 == 0 {
            server.attend();
            largest = largest.max(server.waiting());
        }
    }
    // How many wait at once is a matter of the machine's speed: the oldest are given up meanwhile.
    assert!((65..=1024).contains(&largest), "{largest}");
    let socket = client();
    socket.send_to(&question("web.", RecordType::A), ASKED).unwrap();
    for _ in 0..100 {
        server.attend();
    }
    let mut buffer = [0; 512];
    socket.set_nonblocking(true).unwrap();
    let (n, _) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(addresses(&Message::from_vec(&buffer[..n]).unwrap()), ["10.0.0.2"]);
    // Of this namespace alone: other tests have sockets of their own.
    let sockets = std::fs::read_to_string("/proc/thread-self/net/udp").unwrap().lines().count();
    assert!((4..200).contains(&sockets), "{sockets}");
}

#[test]
fn clients_that_dawdle_hold_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let ns = alone();
    let networks = vec![leases(dir.path(), "app", &[(&["web"], "10.0.0.2")])];
    let _server = Running::start(&ns, Config { networks, ..Config::default() });
    let query = question("web.", RecordType::A);
    let mut slow = Vec::new();
    for n in 0..200u8 {
        let mut stream = TcpStream::connect(ASKED).unwrap();
        let begun: &[u8] = match n % 4 {
            0 => &[],
            1 => &[0],
            2 => &[0, 30, 1, 2],
            _ => &[0xff, 0xff, 1],
        };
        let _ = stream.write_all(begun);
        slow.push(stream);
    }
    assert_eq!(addresses(&over_tcp(&query)), ["10.0.0.2"]);
    assert_eq!(addresses(&ask("web.", RecordType::A)), ["10.0.0.2"]);
    // One that never takes its answers.
    let mut greedy = TcpStream::connect(ASKED).unwrap();
    greedy.set_nonblocking(true).unwrap();
    let many = [&(query.len() as u16).to_be_bytes()[..], &query].concat().repeat(1000);
    let until = Instant::now() + Duration::from_millis(500);
    while Instant::now() < until {
        let _ = greedy.write(&many);
    }
    assert_eq!(addresses(&over_tcp(&query)), ["10.0.0.2"]);
}

#[test]
fn who_isnt_the_container_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ns = alone();
    let added =
        std::process::Command::new("ip").args(["addr", "add", "10.9.9.9/32", "dev", "lo"]).status();
    assert!(added.unwrap().success());
    let networks = vec![leases(dir.path(), "app", &[(&["web"], "10.0.0.2")])];
    let config = Config { networks, ..Config::default() };
    let heard = |config: Config, wait| {
        let _server = Running::start(&ns, config);
        let socket = UdpSocket::bind("10.9.9.9:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(wait))).unwrap();
        socket.send_to(&question("web.", RecordType::A), ASKED).unwrap();
        socket.recv_from(&mut [0; 512]).is_ok()
    };
    assert!(!heard(config.clone(), 300));
    assert!(heard(Config { own: vec!["10.9.9.9".parse().unwrap()], ..config }, 10_000));
}

#[test]
fn garbage_is_refused_in_few_bytes() {
    let ns = alone();
    let _server = Running::start(&ns, Config::default());
    let good = question("web.", RecordType::A);
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let large = {
        let mut bytes = good.clone();
        bytes.resize(60_000, 0);
        bytes
    };
    for (bytes, code) in [
        (changed(2, &[0x28]), ResponseCode::NotImp),
        (changed(4, &[0, 2]), ResponseCode::FormErr),
        (changed(4, &[0xff, 0xff]), ResponseCode::FormErr),
        (changed(12, &[0xc0, 12]), ResponseCode::FormErr),
        (changed(12, &[63]), ResponseCode::FormErr),
        (good[..13].to_vec(), ResponseCode::FormErr),
        (large, ResponseCode::FormErr),
    ] {
        let socket = client();
        socket.send_to(&bytes, ASKED).unwrap();
        let mut buffer = [0; 512];
        let (n, _) = socket.recv_from(&mut buffer).unwrap();
        assert!(n <= 12, "{bytes:?}");
        assert_eq!(buffer[3] & 15, code.low(), "{bytes:?}");
        assert_eq!(buffer[..2], bytes[..2]);
    }
    // Answers and scraps are nobody's questions.
    for bytes in [changed(2, &[0x80]), good[..11].to_vec(), Vec::new()] {
        let socket = client();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        socket.send_to(&bytes, ASKED).unwrap();
        assert!(socket.recv_from(&mut [0; 512]).is_err(), "{bytes:?}");
    }
    assert_eq!(MessageType::Response, ask("x.", RecordType::A).metadata.message_type);
}
