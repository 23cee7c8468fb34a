//! Published ports: where they are taken, by whom, and what is told of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use e2e::{Space, Wires, World, needs, until};
use serde_json::json;

/// The mirror behind what was published of it, from when it is heard.
fn mirror(w: &World, name: &str, flags: &[&str]) {
    let args = [&["run", "-d", "--name", name][..], flags, &["mirror"]].concat();
    w.dhow(args).ok();
}

/// The host's port that leads to one of the container's.
fn port_of(w: &World, name: &str, port: &str) -> u16 {
    let line = w.dhow(["port", name, port]).ok().lines()[0].clone();
    line.rsplit_once(':').unwrap().1.parse().unwrap()
}

fn heard(space: &Space, protocol: &str, to: &str) {
    until("the mirror listens", || space.ask(protocol, to).is_ok());
}

#[test]
fn a_published_port_is_reached_from_everywhere_and_sources_are_kept() {
    needs!(Root, Nftables);
    let w = World::wired();
    let (client, server) = (&w.wires().client, &w.wires().server);
    mirror(&w, "web", &["-p", "8080:7", "-p", "8080:7/udp"]);
    let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 8080).to_string();
    heard(server, "tcp", &at(Wires::SERVER));
    let gateway = w.dhow(["inspect", "-f", "{{.NetworkSettings.Gateway}}", "web"]).ok().out();
    for protocol in ["tcp", "udp"] {
        for ip in [Wires::SERVER, Wires::SECOND] {
            client.is_seen_as(Wires::CLIENT, protocol, &at(ip));
            // The host itself: whom it asks, it asks by the first address of that network.
            server.is_seen_as(Wires::SERVER, protocol, &at(ip));
        }
        // Loopback doesn't leave the host: its monitor carries it, as docker's proxy does.
        server.is_seen_as(&gateway, protocol, &at("127.0.0.1"));
        server.is_seen_as(&gateway, protocol, &at("127.3.2.1"));
        // IPv6 to a container that has none, too.
        server.is_seen_as(&gateway, protocol, &at("::1"));
        client.is_seen_as(&gateway, protocol, &at(Wires::SERVER6));
    }
    assert_eq!(server.sysctl("ipv4/conf/all/route_localnet"), "0");
    w.dhow(["port", "web"]).ok().out_is(
        "7/tcp -> 0.0.0.0:8080\n7/tcp -> [::]:8080\n7/udp -> 0.0.0.0:8080\n7/udp -> [::]:8080",
    );
    w.dhow(["port", "web", "7/udp"]).ok().out_is("0.0.0.0:8080\n[::]:8080");
    w.dhow(["rm", "-f", "web"]).ok();
    for ip in [Wires::SERVER, "127.0.0.1", "::1"] {
        server.is_not_heard("tcp", &at(ip));
        server.is_not_heard("udp", &at(ip));
    }
}

#[test]
fn ps_and_inspect_tell_ports_as_docker_does() {
    needs!(Root, Nftables);
    let w = World::wired();
    let flags = ["-p", "8080:7", "-p", "9:9/udp", "-p", "127.0.0.1:8081:8081", "--expose", "80-82"];
    mirror(&w, "web", &flags);
    let ports = || w.dhow(["ps", "-a", "--format", "{{.Ports}}"]).ok().out();
    let shown = ports();
    for part in [
        "0.0.0.0:8080->7/tcp, [::]:8080->7/tcp",
        "127.0.0.1:8081->8081/tcp",
        "0.0.0.0:9->9/udp, [::]:9->9/udp",
        "80-82/tcp",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let inspected = w.dhow(["inspect", "-f", "{{json .NetworkSettings.Ports}}", "web"]).ok().json();
    let both = |port: &str| json!([{"HostIp": "0.0.0.0", "HostPort": port}, {"HostIp": "::", "HostPort": port}]);
    assert_eq!(inspected["7/tcp"], both("8080"));
    assert_eq!(inspected["9/udp"], both("9"));
    assert_eq!(inspected["8081/tcp"], json!([{"HostIp": "127.0.0.1", "HostPort": "8081"}]));
    assert_eq!(inspected["80/tcp"], json!(null));
    let found =
        |filter: &str| w.dhow(["ps", "--filter", filter, "--format", "{{.Names}}"]).ok().out();
    for filter in
        ["publish=8080", "publish=8000-8080/tcp", "publish=9/udp", "expose=7", "expose=81/tcp"]
    {
        assert_eq!(found(filter), "web", "{filter}");
    }
    for filter in ["publish=7", "publish=9", "publish=80", "expose=8080", "expose=83-90"] {
        assert_eq!(found(filter), "", "{filter}");
    }
    w.dhow(["port", "web", "80"]).code(1).err_has("No public port '80' published for web");
    w.dhow(["stop", "-t", "0", "web"]).ok();
    assert_eq!(ports(), "");
    w.dhow(["port", "web"]).ok().out_is("");
    w.dhow(["start", "web"]).ok();
    assert_eq!(ports(), shown);
    w.dhow(["rm", "-f", "web"]).ok();
}

#[test]
fn ports_that_nobody_names_are_any_that_is_free() {
    needs!(Root, Nftables);
    let w = World::wired();
    mirror(&w, "all", &["-P"]);
    mirror(&w, "one", &["-p", "7", "-p", "127.0.0.1::7/udp"]);
    let (first, second) = (port_of(&w, "all", "7"), port_of(&w, "one", "7"));
    assert!(first >= 32768 && second >= 32768 && first != second, "{first} {second}");
    // The same for both families.
    let v6 = w.dhow(["port", "all", "7"]).ok().lines()[1].clone();
    assert_eq!(v6, format!("[::]:{first}"));
    let to = format!("{}:{second}", Wires::SERVER);
    heard(&w.wires().server, "tcp", &to);
    w.wires().client.is_seen_as(Wires::CLIENT, "tcp", &to);
    let udp = port_of(&w, "one", "7/udp");
    assert!(w.wires().server.ask("udp", &format!("127.0.0.1:{udp}")).is_ok());
    w.wires().client.is_not_heard("udp", &format!("{}:{udp}", Wires::SERVER));
    let few = ["-p", "7000-7001:7"];
    mirror(&w, "r1", &few);
    mirror(&w, "r2", &few);
    assert_eq!((port_of(&w, "r1", "7"), port_of(&w, "r2", "7")), (7000, 7001));
    w.dhow(["run", "--rm", "-p", "7000-7001:7", "busybox"])
        .code(125)
        .err_has("all ports are allocated");
    w.remove_all();
}

#[test]
fn a_taken_port_says_who_has_it() {
    needs!(Root, Nftables);
    let w = World::wired();
    mirror(&w, "first", &["-p", "8080:7"]);
    let taken = ["run", "--name", "second", "-p", "8090:9", "-p", "8080:7", "mirror"];
    w.dhow(taken)
        .code(125)
        .err_has("Bind for 0.0.0.0:8080 failed: port is already allocated")
        .err_has("container \"first\" has it");
    // Nothing of the second stays: not even the port that was free.
    mirror(&w, "third", &["-p", "8090:7"]);
    w.dhow(["rm", "second"]).ok();
    // One address of them is enough; another protocol is another port.
    w.dhow(["run", "--rm", "-p", "127.0.0.1:8080:7", "mirror"])
        .code(125)
        .err_has("already allocated");
    mirror(&w, "fourth", &["-p", "8080:7/udp"]);
    let _listener = w.wires().server.within(|| TcpListener::bind("203.0.113.2:8100").unwrap());
    w.dhow(["run", "--rm", "-p", "8100:7", "mirror"])
        .code(125)
        .err_has("failed to bind host port for 0.0.0.0:8100:")
        .err_has(":7/tcp: address already in use")
        .err_has(&format!("process {} (", std::process::id()));
    mirror(&w, "fifth", &["-p", "203.0.113.3:8100:7"]);
    w.dhow(["run", "--rm", "-p", "192.0.2.1:1:7", "mirror"])
        .code(125)
        .err_has("no interface of this host");
    w.remove_all();
}

#[test]
fn publishing_is_narrowed_by_environment_and_daemon_json() {
    needs!(Root, Nftables);
    let w = World::wired();
    let run = |name: &str| {
        w.dhow_cmd(["run", "-d", "--name", name, "-p", "7", "-p", "0.0.0.0::9", "mirror"])
    };
    run("env").env("DHOW_PUBLISH_DEFAULT", "127.0.0.1").run().ok();
    let shown = w.dhow(["port", "env", "7"]).ok().out();
    assert!(shown.starts_with("127.0.0.1:") && !shown.contains('\n'), "{shown}");
    w.dhow(["port", "env", "9"]).ok().out_has("0.0.0.0:");
    let port = port_of(&w, "env", "7");
    heard(&w.wires().server, "tcp", &format!("127.0.0.1:{port}"));
    w.wires().client.is_not_heard("tcp", &format!("{}:{port}", Wires::SERVER));
    w.wires().server.is_not_heard("tcp", &format!("{}:{port}", Wires::SERVER));
    std::fs::write(w.path("daemon.json"), format!("{{\"ip\": \"{}\"}}", Wires::SECOND)).unwrap();
    run("json").run().ok();
    let at = w.dhow(["port", "json", "7"]).ok().out();
    assert!(at.starts_with(Wires::SECOND), "{at}");
    heard(&w.wires().client, "tcp", &at);
    std::fs::remove_file(w.path("daemon.json")).unwrap();
    let option = "com.docker.network.bridge.host_binding_ipv4=127.0.0.1";
    w.dhow(["network", "create", "-o", option, "near"]).ok();
    w.dhow(["run", "-d", "--name", "option", "--network", "near", "-p", "7", "mirror"]).ok();
    w.dhow(["port", "option"]).ok().out_has("7/tcp -> 127.0.0.1:");
    run("none")
        .env("DHOW_PUBLISH_DEFAULT", "here")
        .run()
        .code(125)
        .err_has("invalid IP address: here");
    w.remove_all();
    w.dhow(["network", "rm", "near"]).ok();
}

#[test]
fn the_hosts_network_discards_ports_and_says_so() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["run", "--rm", "--network", "host", "-p", "8080:7", "busybox", "true"])
        .ok()
        .err_has("WARNING: Published ports are discarded when using host network mode");
    for (flags, words) in [
        (["-p", "1:1"], "port publishing and the container type network mode"),
        (["--expose", "1"], "port exposing and the container type network mode"),
    ] {
        let args = [&["run", "--network", "container:x"][..], &flags, &["busybox"]].concat();
        w.dhow(args).code(125).err_has(&format!("conflicting options: {words}"));
    }
}

#[test]
fn many_connections_over_loopback_are_carried_beside_each_other() {
    needs!(Root, Nftables);
    let w = World::wired();
    mirror(&w, "web", &["-p", "127.0.0.1:8080:7"]);
    let server = &w.wires().server;
    heard(server, "tcp", "127.0.0.1:8080");
    server.within(|| {
        let connect = || {
            let stream = TcpStream::connect("127.0.0.1:8080").unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream
        };
        // All stay open beside each other; the mirror's own queue is short, so they come in rows.
        let mut all: Vec<TcpStream> = Vec::new();
        for _ in 0..10 {
            let row: Vec<TcpStream> = (0..100).map(|_| connect()).collect();
            for mut stream in &row {
                let mut greeting = [0; 11];
                stream.read_exact(&mut greeting).unwrap();
            }
            all.extend(row);
        }
        for mut stream in all.iter().rev() {
            stream.write_all(b"hello").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        for mut stream in &all {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!(text, "hello");
        }
    });
    // The log and clients were served meanwhile, and are now.
    w.dhow(["exec", "web", "true"]).ok();
    w.dhow(["rm", "-f", "web"]).ok();
}

#[test]
fn a_container_killed_in_the_middle_leaves_no_connection_open() {
    needs!(Root, Nftables);
    let w = World::wired();
    mirror(&w, "web", &["-p", "127.0.0.1:8080:7"]);
    let server = &w.wires().server;
    heard(server, "tcp", "127.0.0.1:8080");
    let mut open = server.within(|| TcpStream::connect("127.0.0.1:8080").unwrap());
    open.write_all(b"half a question").unwrap();
    w.dhow(["kill", "web"]).ok();
    open.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut rest = Vec::new();
    let _ = open.read_to_end(&mut rest); // an end or a reset, but an end
    server.is_not_heard("tcp", "127.0.0.1:8080");
    w.dhow(["start", "web"]).ok();
    heard(server, "tcp", "127.0.0.1:8080");
    w.dhow(["rm", "-f", "web"]).ok();
}

#[test]
fn a_container_that_does_not_listen_refuses() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["run", "-d", "--name", "idle", "-p", "8080:7", "busybox", "sleep", "1000"]).ok();
    let server = &w.wires().server;
    for to in ["127.0.0.1:8080", "[::1]:8080"] {
        // KERNEL: tcp(7): one who is not quick enough hears of the reset from connect(2) already.
        let error = server.within(|| match TcpStream::connect(to) {
            Ok(mut stream) => stream.read(&mut [0]).unwrap_err(),
            Err(error) => error,
        });
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{to}");
    }
    let to = format!("{}:8080", Wires::SERVER);
    let error = server.within(|| TcpStream::connect(to).unwrap_err());
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    server.within(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(socket.send_to(b"x", "127.0.0.1:8080").is_ok());
    });
    w.dhow(["rm", "-f", "idle"]).ok();
}

#[test]
fn ports_are_served_again_after_the_monitor_was_killed() {
    needs!(Root, Nftables);
    let w = World::wired();
    mirror(&w, "web", &["-p", "8080:7", "-p", "8080:7/udp"]);
    let server = &w.wires().server;
    heard(server, "tcp", "127.0.0.1:8080");
    let id = w.dhow(["inspect", "-f", "{{.Id}}", "web"]).ok().out();
    let monitor = super::streams::monitor(&w, &id);
    nix::sys::signal::kill(monitor, nix::sys::signal::Signal::SIGKILL).unwrap();
    until("its sockets have gone", || server.ask("tcp", "127.0.0.1:8080").is_err());
    // Rules lead on as before; what the monitor carries waits for the next command.
    w.wires().client.is_seen_as(Wires::CLIENT, "tcp", &format!("{}:8080", Wires::SERVER));
    w.dhow(["port", "web", "7"]).ok().out_is("0.0.0.0:8080\n[::]:8080");
    for protocol in ["tcp", "udp"] {
        heard(server, protocol, "127.0.0.1:8080");
        heard(server, protocol, "[::1]:8080");
    }
    w.dhow(["rm", "-f", "web"]).ok();
}
