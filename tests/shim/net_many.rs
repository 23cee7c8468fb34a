//! Many containers on one network.

use std::collections::BTreeSet;
use std::thread;

use e2e::{Wires, World, needs};

use super::net_tools::{address, at, from_within, mirror};

fn count() -> usize {
    std::env::var("DHOW_CONTAINERS").ok().and_then(|n| n.parse().ok()).unwrap_or(24)
}

/// By hand, `DHOW_CONTAINERS=250`.
#[test]
fn many_containers_on_one_network_all_find_each_other() {
    needs!(Root, Nftables);
    let w = World::wired();
    let count = count();
    w.dhow(["network", "create", "fleet"]).ok();
    mirror(&w, "flag", &["--network", "fleet"]);
    thread::scope(|scope| {
        for side in 0..4 {
            let w = &w;
            scope.spawn(move || {
                for n in (side..count).step_by(4) {
                    let (name, port) = (format!("s{n}"), format!("{}:7", 20_000 + n));
                    let run = ["run", "-d", "--name", &name, "--network", "fleet", "-p", &port];
                    w.dhow_cmd(run.iter().chain(&["mirror"])).limit(600).run().ok();
                }
            });
        }
    });
    let list = "{{range .Containers}}{{.IPv4Address}} {{end}}";
    let all = w.dhow(["network", "inspect", "-f", list, "fleet"]).ok().out();
    let addresses: BTreeSet<&str> = all.split_whitespace().collect();
    assert_eq!(addresses.len(), count + 1, "each has an address of its own");
    let own = address(&w, "flag");
    for n in 0..count {
        let to = at(Wires::SERVER, 20_000 + n as u16);
        w.wires().client.is_seen_as(Wires::CLIENT, "tcp", &to);
    }
    for n in [0, count / 2, count - 1] {
        assert_eq!(from_within(&w, "flag", &format!("s{n}"), 7), Some(own.clone()));
    }
    let names = (0..count).map(|n| format!("s{n}")).collect::<Vec<_>>().join(" ");
    let every = format!("for n in {names}; do nslookup $n >/dev/null || echo $n; done");
    w.dhow(["exec", "flag", "sh", "-c", &every]).ok().out_is("");
    w.remove_all();
    w.dhow(["network", "rm", "fleet"]).ok();
}

/// A subnet has an end, and what was given back is given again.
#[test]
fn addresses_run_out_and_come_back() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "--subnet", "10.9.0.0/29", "boat"]).ok();
    for n in 0..5 {
        let name = format!("b{n}");
        w.dhow(["run", "-d", "--name", &name, "--network", "boat", "busybox", "sleep", "600"]).ok();
    }
    let full = ["run", "--rm", "--network", "boat", "busybox", "true"];
    w.dhow(full).code(125).err_has("boat");
    w.dhow(["rm", "-f", "b2"]).ok();
    w.dhow(full).ok();
    w.dhow(full).ok();
    w.remove_all();
    w.dhow(["network", "rm", "boat"]).ok();
}

/// Started and ended side by side, again and again: nothing is lost and nothing doubled.
#[test]
fn starts_and_ends_side_by_side_leave_nothing() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "dock"]).ok();
    thread::scope(|scope| {
        for side in 0..4 {
            let w = &w;
            scope.spawn(move || {
                for n in 0..6 {
                    let port = format!("{}:7", 9000 + side * 10 + n % 2);
                    let net = if n % 3 == 0 { "bridge" } else { "dock" };
                    let run =
                        ["run", "--rm", "--network", net, "-p", &port, "busybox", "ip", "addr"];
                    w.dhow_cmd(run).run().ok().out_has("eth0");
                }
            });
        }
    });
    w.dhow(["network", "rm", "dock"]).ok();
    w.dhow(["ps", "-aq"]).ok().out_is("");
}
