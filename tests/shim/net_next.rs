//! Addresses and their next containers.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use e2e::{Wires, World, needs, until};

use super::crash::monitors;
use super::net_crash::end;
use super::net_tools::{address, at, mirror};

/// What it is, and how it comes.
type End = (&'static str, fn(&World));

/// Who was led into the last container is known, and led on past the firewall as long as he goes on
/// asking. So he does.
#[test]
fn who_spoke_to_the_last_container_of_an_address_does_not_reach_the_next() {
    needs!(Root, Nftables);
    let w = World::wired();
    let client = w.wires().client.within(|| UdpSocket::bind((Wires::CLIENT, 7777)).unwrap());
    client.connect(at(Wires::SERVER, 8080)).unwrap();
    let hears = |limit| {
        client.set_read_timeout(Some(Duration::from_millis(limit))).unwrap();
        client.recv(&mut [0; 256]).is_ok()
    };
    let ends: [End; 3] = [
        ("an end", |w| drop(w.dhow(["rm", "-f", "last"]).ok())),
        ("a killed monitor", |w| {
            let pid = w.dhow(["inspect", "-f", "{{.State.Pid}}", "last"]).ok().out();
            monitors(w).into_iter().chain([pid.parse().unwrap()]).for_each(end);
            w.dhow(["rm", "last"]).ok();
        }),
        ("a disconnect", |w| drop(w.dhow(["network", "disconnect", "bridge", "last"]).ok())),
    ];
    for (what, ends) in ends {
        mirror(&w, "last", &["-p", "8080:7/udp"]);
        client.send(b"open").unwrap();
        assert!(hears(5000), "{what}: the way is open");
        let own = address(&w, "last");
        thread::scope(|scope| {
            let (stop, stopped) = channel::<()>();
            let client = &client;
            scope.spawn(move || {
                let turn = || stopped.recv_timeout(Duration::from_millis(1));
                while turn() == Err(RecvTimeoutError::Timeout) {
                    let _ = client.send(b"in"); // refused where nobody listens
                }
            });
            ends(&w);
            mirror(&w, "next", &[]);
            drop(stop);
        });
        assert_eq!(address(&w, "next"), own, "{what}: the lowest free address");
        // KERNEL: what is sent while nobody has the address may be lost with it.
        until("it answers", || w.wires().server.ask("udp", &at(&own, 7)).is_ok());
        client.set_nonblocking(true).unwrap();
        for _ in 0..100_000 {
            match client.recv(&mut [0; 256]) {
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => break,
                _ => {} // of the last one, or a refusal
            }
        }
        client.set_nonblocking(false).unwrap();
        let _ = client.send(b"in");
        assert!(!hears(500), "after {what} the next one answers");
        w.dhow(["rm", "-f", "next"]).ok();
        w.dhow(["rm", "-f", "last"]);
    }
    w.remove_all();
}

/// KERNEL: a namespace lives on while a TCP connection of it has something to say. Its pair must not
/// answer for the address any more.
#[test]
fn what_the_last_container_has_yet_to_say_does_not_stand_in_the_next_ones_way() {
    needs!(Root, Nftables);
    let w = World::wired();
    mirror(&w, "last", &["-p", "8080:7"]);
    let own = address(&w, "last");
    let client = w.wires().client.within(|| TcpStream::connect(at(Wires::SERVER, 8080)));
    let mut client = client.unwrap();
    client.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // Nobody reads what it says back, until nothing more goes either way.
    let much = vec![b'x'; 65536];
    while client.write(&much).is_ok() {}
    let pairs = || {
        let list = w.server(["ip", "-j", "link"]).ok().json();
        let pair = |link: &&serde_json::Value| link["ifname"].as_str().unwrap().ends_with(".0");
        let up = |link: &serde_json::Value| {
            link["flags"].as_array().unwrap().iter().any(|flag| flag == "UP")
        };
        list.as_array().unwrap().iter().filter(pair).map(up).collect::<Vec<bool>>()
    };
    assert_eq!(pairs(), [true]);
    w.dhow(["rm", "-f", "last"]).ok();
    mirror(&w, "next", &[]);
    assert_eq!(address(&w, "next"), own);
    let both = pairs();
    assert_eq!(both.iter().filter(|up| **up).count(), 1, "{both:?}");
    assert!(w.wires().server.ask("tcp", &at(&own, 7)).is_ok());
    drop(client);
    w.remove_all();
}
