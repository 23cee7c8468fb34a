//! Networks: a short container on the default bridge, a set of five on one of their own, and TCP
//! throughput, beside podman and dockerd where it is installed. Each engine has machines of its own
//! (network namespaces, `World::wired()`), so that no engine's packets pass another's rules.

use std::process::Child;
use std::thread;
use std::time::Duration;

use e2e::{Cmd, Space, Wires, World, fixtures, until};

use crate::measure::{Contender, race};
use crate::peers::{Docker, podman_wired, podman_with_busybox, release};

type Words<'a> = Box<dyn Fn(&[&str]) -> Cmd + 'a>;

/// An engine: its name, its command line, and where it runs.
struct Engine<'a> {
    name: &'a str,
    cmd: Words<'a>,
    wires: &'a Wires,
}

pub fn bench(rounds: usize) {
    let w = World::wired();
    let (for_docker, for_podman) = (Wires::new(), Wires::new());
    let docker = Docker::wired(&w, &for_docker.server);
    podman_with_busybox(&w);
    let mut engines = vec![
        Engine { name: "dhow", cmd: Box::new(|args| w.dhow_cmd(args)), wires: w.wires() },
        Engine {
            name: "podman",
            cmd: Box::new(|args| podman_wired(&w, &for_podman.server).args(args)),
            wires: &for_podman,
        },
    ];
    if let Some(docker) = &docker {
        let cmd = Box::new(|args: &[&str]| docker.cmd().args(args));
        engines.push(Engine { name: "docker", cmd, wires: &for_docker });
    }
    short(&w, rounds, &engines);
    set(&w, rounds.min(5), &engines);
    throughput(&w, docker.as_ref(), &engines);
    release(&w, "podman");
}

/// `run --rm busybox true`, with and without a network, and the least that a network costs.
fn short(w: &World, rounds: usize, engines: &[Engine<'_>]) {
    let parent = w.cgroup_parent();
    let run = |engine: &Engine<'_>, network: &[&str]| {
        let all = [&["run", "--rm", "--cgroup-parent", &parent], network, &["busybox", "true"]];
        (engine.cmd)(&all.concat())
    };
    let none = ["--network", "none"];
    let mut contenders: Vec<Contender<'_>> =
        engines.iter().map(|e| Contender::new(e.name, run(e, &[]))).collect();
    contenders.push(Contender::new("dhow --network none", run(&engines[0], &none)));
    let published = ["-p", "18080:80"];
    contenders.push(Contender::new("dhow -p", run(&engines[0], &published)));
    let floor = Space::new();
    contenders.push(Contender::new("ip: netns and veth", pair(w, &floor)));
    race("run --rm busybox true, on the default bridge", rounds, &contenders);
}

/// A new network namespace and a pair of devices into it, addresses and a route, by iproute2.
fn pair(w: &World, space: &Space) -> Cmd {
    let lines = w.path("pair");
    let batch = "link add f0 type veth peer name eth0\naddr add 10.0.0.2/24 dev eth0\nlink set f0 up\n\
        link set eth0 up\nroute add default via 10.0.0.1\n";
    std::fs::write(&lines, batch).unwrap();
    w.cmd("unshare").args(["--net", "ip", "-batch"]).arg(lines).space(Some(space))
}

/// Five containers on a network of their own, one after the other, and all of it away again: what a
/// command leaves running would be waited for.
fn set(w: &World, rounds: usize, engines: &[Engine<'_>]) {
    let script = "\"$@\" network create set >/dev/null && for n in 1 2 3 4 5; do
        \"$@\" run -d --name set$n --network set --stop-timeout 0 --cgroup-parent PARENT busybox sleep 600 >/dev/null || exit; done
        \"$@\" rm -f set1 set2 set3 set4 set5 >/dev/null && \"$@\" network rm set >/dev/null";
    let script = script.replace("PARENT", &w.cgroup_parent());
    let whole = |e: &Engine<'_>| (e.cmd)(&[]).under(["sh", "-c", &script, "sh"]);
    let contenders: Vec<_> = engines.iter().map(|e| Contender::new(e.name, whole(e))).collect();
    race("network create, five containers on it, and all away", rounds, &contenders);
}

/// Seconds of each measurement, and how many of each there are.
const SECONDS: u64 = 2;
const TIMES: usize = 3;

/// iperf3 in a container of dhow's and of docker's, in turn: Gbit/s.
fn throughput(w: &World, docker: Option<&Docker<'_>>, engines: &[Engine<'_>]) {
    let layout = fixtures::iperf_layout();
    w.add(&layout, "iperf");
    if let Some(docker) = docker {
        docker.load(&layout, "iperf");
    }
    let able: Vec<&Engine<'_>> = engines.iter().filter(|e| e.name != "podman").collect();
    let servers: Vec<_> = able.iter().map(|engine| serve(w, engine)).collect();
    println!("\nTCP throughput, iperf3, {SECONDS} s, {TIMES} times in turn, median Gbit/s");
    let names = able.iter().map(|e| format!("{:>10}", e.name)).collect::<Vec<_>>().concat();
    println!("{:<36}{names}{:>10}", "", "ratio");

    let from =
        |space: &Space, words: &[&str]| w.cmd("sh").args(["-c", &iperf(words)]).space(Some(space));
    rates("container to host", &able, |e| {
        (e.cmd)(&["exec", "iperf", "sh", "-c", &iperf(&["-c", &inside(e).1, "-p", "5202"])])
    });
    rates("host to container", &able, |e| from(&e.wires.server, &["-c", &inside(e).0]));
    rates("client to a published port", &able, |e| from(&e.wires.client, &["-c", Wires::SERVER]));
    rates("the same, from container to client", &able, |e| {
        from(&e.wires.client, &["-R", "-c", Wires::SERVER])
    });
    rates("host to a published port", &able, |e| from(&e.wires.server, &["-c", Wires::SERVER]));
    rates("loopback to a published port", &able, |e| from(&e.wires.server, &["-c", "127.0.0.1"]));
    for (engine, mut server) in able.iter().zip(servers) {
        (engine.cmd)(&["rm", "-f", "iperf"]).run().ok();
        server.kill().unwrap();
        server.wait().unwrap();
    }
}

fn iperf(words: &[&str]) -> String {
    [&["iperf3", "-J", "-t", &SECONDS.to_string()], words].concat().join(" ")
}

/// A container that serves on the published port 5201, and a server on the host's 5202.
fn serve(w: &World, engine: &Engine<'_>) -> Child {
    let parent = w.cgroup_parent();
    let run = ["run", "-d", "--name", "iperf", "-p", "5201:5201", "--cgroup-parent", &parent];
    (engine.cmd)(&[&run[..], &["iperf"]].concat()).run().ok();
    let space = &engine.wires.server;
    let server = w.cmd("iperf3").args(["-s", "-p", "5202"]).space(Some(space)).start();
    for port in ["5201", "5202"] {
        // A whole test each: a connection that says nothing keeps the others out.
        let ask = ["-c", "127.0.0.1", "-p", port, "-n", "1K"];
        let ask = || w.cmd("iperf3").args(ask).space(Some(space)).run().code == 0;
        until("iperf3 serves", ask);
    }
    server
}

/// The container's address, and its gateway's.
fn inside(engine: &Engine<'_>) -> (String, String) {
    let bridge = "{{.NetworkSettings.Networks.bridge";
    let format = format!("{bridge}.IPAddress}}}} {bridge}.Gateway}}}}");
    let both = (engine.cmd)(&["inspect", "-f", &format, "iperf"]).run().ok().out();
    both.split_once(' ').map(|(address, gateway)| (address.into(), gateway.into())).unwrap()
}

/// One line of the table.
fn rates(title: &str, able: &[&Engine<'_>], cmd: impl Fn(&Engine<'_>) -> Cmd) {
    let mut rates = vec![Vec::new(); able.len()];
    for time in 0..TIMES {
        for turn in 0..able.len() {
            let which = (turn + time) % able.len();
            thread::sleep(Duration::from_millis(300));
            let said = cmd(able[which]).run().ok().json();
            rates[which].push(said["end"]["sum_received"]["bits_per_second"].as_f64().unwrap());
        }
    }
    let median = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[TIMES / 2] / 1e9
    };
    let medians: Vec<f64> = rates.iter_mut().map(median).collect();
    let cells = medians.iter().map(|r| format!("{r:>10.2}")).collect::<Vec<_>>().concat();
    match medians[..] {
        [ours, theirs] => println!("{title:<36}{cells}{:>10.2}", ours / theirs),
        _ => println!("{title:<36}{cells}"),
    }
}
