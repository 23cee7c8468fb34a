//! What `dhow build`'s RUNs have of networks.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::thread;
use std::time::Instant;

use e2e::{Done, Wires, World, needs, until};

/// Builds `script` as one RUN upon busybox; what it prints is in the answer's stderr.
fn run(w: &World, flags: &[&str], run: &str) -> Done {
    fs::create_dir_all(w.path("context")).unwrap();
    fs::write(w.path("context/Dockerfile"), format!("FROM busybox\n{run}\n")).unwrap();
    let context = w.path("context").display().to_string();
    let words = ["build", "--progress", "plain", "--no-cache"];
    w.dhow(words.iter().chain(flags).copied().chain([context.as_str()]))
}

/// Nothing of a build's is left: no lease, no lock, no device but the networks'.
fn clean(w: &World) {
    let monitors = fs::read_dir(w.run_dir().join("monitors")).into_iter().flatten().flatten();
    assert_eq!(monitors.count(), 0);
    for network in fs::read_dir(w.run_dir().join("networks")).into_iter().flatten().flatten() {
        let leases = fs::read_to_string(network.path().join("endpoints.json")).unwrap_or_default();
        assert!(!leases.contains("\"container\""), "{leases}");
    }
    // Nobody who takes an address next has to see to its flows: a build has done so before it ends,
    // a container's monitor does so when all have been told of the end.
    until("all flows are forgotten", || {
        let networks = fs::read_dir(w.run_dir().join("networks")).into_iter().flatten().flatten();
        let mut leases = networks.map(|n| fs::read_to_string(n.path().join("endpoints.json")));
        !leases.any(|all| all.is_ok_and(|all| all.contains("\"known\":[\"")))
    });
    until("the pairs have gone", || !w.wires().server.devices().iter().any(|d| d.contains('.')));
    let home = fs::read_dir(w.run_dir().join("build")).into_iter().flatten().flatten();
    assert_eq!(home.filter(|entry| entry.path().is_dir()).count(), 0);
}

#[test]
fn the_default_one_is_the_bridge_and_leads_out() {
    needs!(Root);
    let w = World::wired();
    let listener = w.wires().client.within(|| TcpListener::bind((Wires::CLIENT, 7777)).unwrap());
    let heard = thread::spawn(move || {
        let (mut stream, from) = listener.accept().unwrap();
        stream.write_all(b"from afar\n").unwrap();
        from.ip().to_string()
    });
    let script = format!(
        "RUN ip -4 addr show eth0; ip route; nc -w 5 {} 7777 </dev/null; cat /etc/hosts\n\
         RUN ip -4 addr show eth0 | grep inet",
        Wires::CLIENT
    );
    let done =
        run(&w, &["--add-host", "up:host-gateway", "--add-host", "db:10.1.2.3"], &script).ok();
    for has in
        ["172.17.0.2/16", "default via 172.17.0.1", "from afar", "172.17.0.1\tup", "10.1.2.3\tdb"]
    {
        assert!(done.err().contains(has), "{has} in {}", done.err());
    }
    assert_eq!(heard.join().unwrap(), Wires::SERVER);
    clean(&w);
}

#[test]
fn networks_of_ones_own_have_names() {
    needs!(Root);
    let w = World::wired();
    w.dhow(["network", "create", "own"]).ok();
    w.dhow(["run", "-d", "--name", "db", "--network", "own", "busybox", "sleep", "1000"]).ok();
    let script =
        "RUN cat /etc/resolv.conf; ping -c1 -W20 db\nRUN ping -c1 -W20 db >/dev/null && echo again";
    let done = run(&w, &["--network", "own"], script).ok();
    for has in ["nameserver 127.0.0.11", "1 packets received", "again"] {
        assert!(done.err().contains(has), "{has} in {}", done.err());
    }
    let done = run(&w, &["--network", "container:db"], "RUN ip -4 addr show eth0; hostname").ok();
    let address = w.dhow(["inspect", "-f", "{{.NetworkSettings.Networks.own.IPAddress}}", "db"]);
    assert!(done.err().contains(&address.ok().out()), "{}", done.err());
    run(&w, &["--network", "nothing"], "RUN true").code(1).err_has("network nothing not found");
    w.dhow(["rm", "-f", "db"]).ok();
    clean(&w);
    w.dhow(["network", "rm", "own"]).ok();
}

#[test]
fn none_and_host_are_what_they_say() {
    needs!(Root);
    let w = World::wired();
    let done = run(&w, &[], "RUN --network=none ls /sys/class/net; cat /etc/resolv.conf").ok();
    assert!(!done.err().contains("eth0"), "{}", done.err());
    assert!(done.err().contains(" nameserver "), "{}", done.err());
    run(&w, &[], "RUN --network=host true").code(1).err_has("network.host");
    let flags = ["--allow", "network.host"];
    let done = run(&w, &flags, "RUN --network=host ip -4 addr show eth0").ok();
    assert!(done.err().contains(Wires::SERVER), "{}", done.err());
    let done = run(&w, &["--network", "host"], "RUN ip -4 addr show eth0").ok();
    assert!(done.err().contains(Wires::SERVER), "{}", done.err());
    clean(&w);
}

#[test]
fn what_a_killed_build_had_is_anybodys() {
    needs!(Root);
    let w = World::wired();
    fs::create_dir_all(w.path("context")).unwrap();
    let script = "FROM busybox\nRUN echo up-and-running; sleep 1000\n";
    fs::write(w.path("context/Dockerfile"), script).unwrap();
    let context = w.path("context").display().to_string();
    let build = w.dhow_cmd(["build", "--progress", "plain", &context]);
    let mut child = build.start();
    until("it runs", || {
        let home = fs::read_dir(w.run_dir().join("build")).into_iter().flatten().flatten();
        home.filter(|entry| entry.path().join("state").is_dir()).count() == 1
            && w.wires().server.devices().iter().any(|d| d.contains('.'))
    });
    child.kill().unwrap();
    child.wait().unwrap();
    run(&w, &[], "RUN ip -4 addr show eth0 | grep 172.17.0").ok();
    w.dhow(["ps", "-a"]).ok();
    clean(&w);
}

#[test]
fn an_attachment_costs_little() {
    needs!(Root);
    let w = World::wired();
    let many = "RUN true\n".repeat(20);
    let time = |flags: &[&str]| {
        let begun = Instant::now();
        run(&w, flags, &many).ok();
        begun.elapsed()
    };
    time(&[]);
    let (none, bridge) = (time(&["--network", "none"]), time(&[]));
    println!("20 RUNs: none {none:?}, bridge {bridge:?}");
    assert!(bridge < none * 3, "none {none:?}, bridge {bridge:?}");
}
