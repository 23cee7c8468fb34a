//! Other firewalls on the same machine: what is theirs stays as it is, and none of them is in the way.

use std::collections::BTreeSet;
use std::fs;

use e2e::{Space, Wires, World, needs};
use serde_json::Value;

use super::net_tools::{address, at, from_within, is_deaf_within, mirror};

/// All rules of tables that are not dhow's, as nft tells them, but for what they have counted.
fn others(space: &Space) -> Vec<Value> {
    let ours = |entry: &Value| {
        entry.as_object().unwrap().values().any(|thing| {
            let table = thing.get("table").or_else(|| thing.get("name"));
            table.and_then(Value::as_str).is_some_and(|name| name.starts_with("dhow"))
        })
    };
    let mut all: Vec<Value> = space.ruleset().into_iter().filter(|entry| !ours(entry)).collect();
    for expression in all.iter_mut().filter_map(|e| e["rule"]["expr"].as_array_mut()).flatten() {
        if expression.get("counter").is_some() {
            expression["counter"].take();
        }
    }
    all
}

/// The tables of `space` that are dhow's.
fn tables(space: &Space) -> Vec<String> {
    space.tables().into_iter().filter(|name| name.contains("dhow")).collect()
}

/// Things that were made again have other numbers, and elements another order.
fn without_handles(rules: Vec<Value>) -> BTreeSet<String> {
    let strip = |mut entry: Value| {
        for thing in entry.as_object_mut().unwrap().values_mut() {
            thing.as_object_mut().unwrap().remove("handle");
            if let Some(Value::Array(elements)) = thing.get_mut("elem") {
                elements.sort_by_key(Value::to_string);
            }
        }
        entry.to_string()
    };
    rules.into_iter().map(strip).collect()
}

#[track_caller]
fn is_as_before(now: Vec<Value>, before: Vec<Value>) {
    let (now, before) = (without_handles(now), without_handles(before));
    let more: Vec<_> = now.difference(&before).collect();
    let less: Vec<_> = before.difference(&now).collect();
    assert!(more.is_empty() && less.is_empty(), "more: {more:#?}\nless: {less:#?}");
}

const STRANGERS: &str = "
table inet site {
    set friends { type ipv4_addr; elements = { 198.51.100.2, 192.0.2.9 }; }
    chain input { type filter hook input priority 0; policy accept; ip saddr @friends accept; }
    chain forward { type filter hook forward priority 0; policy accept; ct state invalid drop; }
}
table ip nat {
    chain DOCKER { return; }
    chain PREROUTING { type nat hook prerouting priority -100; fib daddr type local jump DOCKER; }
    chain POSTROUTING { type nat hook postrouting priority 100; ip saddr 10.88.0.0/16 masquerade; }
}
table ip6 raw { chain x { type filter hook prerouting priority -300; ip6 saddr fe80::1 drop; }; }
table netdev odd { }
";

#[test]
fn tables_of_others_are_what_they_were_byte_by_byte() {
    needs!(Root, Nftables);
    let w = World::wired();
    let server = &w.wires().server;
    server.nft(STRANGERS);
    let before = others(server);
    w.dhow(["network", "create", "pier"]).ok();
    mirror(&w, "mm", &["-p", "8080:7"]);
    mirror(&w, "pp", &["--network", "pier", "-p", "8081:7"]);
    w.wires().client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8080));
    w.wires().client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8081));
    assert_eq!(others(server), before);
    w.dhow(["network", "reload"]).ok();
    assert_eq!(others(server), before);
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
    assert_eq!(others(server), before);
}

#[test]
fn no_rule_names_a_container_and_what_it_published_goes_with_it() {
    needs!(Root, Nftables);
    let w = World::wired();
    let server = &w.wires().server;
    mirror(&w, "first", &["-p", "8079:7"]);
    w.dhow(["rm", "-f", "first"]).ok();
    let bare = server.ruleset();
    let names: Vec<String> = (0..5).map(|n| format!("m{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        mirror(&w, name, &["-p", &format!("808{n}:7"), "-p", &format!("127.0.0.1:808{n}:7/udp")]);
    }
    let count =
        |rules: &[Value], kind: &str| rules.iter().filter(|e| e.get(kind).is_some()).count();
    let full = server.ruleset();
    for kind in ["rule", "chain", "table"] {
        assert_eq!(count(&full, kind), count(&bare, kind), "a {kind} more");
    }
    assert_ne!(full, bare);
    w.remove_all();
    is_as_before(server.ruleset(), bare);
}

#[test]
fn a_firewall_that_flushes_everything_is_mended_by_reload() {
    needs!(Root, Nftables);
    let w = World::wired();
    let wires = w.wires();
    w.dhow(["network", "create", "pier"]).ok();
    mirror(&w, "mm", &["-p", "8080:7"]);
    mirror(&w, "pp", &["--network", "pier", "-p", "8081:7", "-p", "8081:7/udp"]);
    let before = wires.server.ruleset();
    wires.server.nft("flush ruleset");
    // The monitor still has the port, but nobody keeps the client's address.
    assert_ne!(
        wires.client.ask("tcp", &at(Wires::SERVER, 8081)).ok().as_deref(),
        Some(Wires::CLIENT)
    );
    w.dhow(["network", "reload"]).ok();
    is_as_before(wires.server.ruleset(), before);
    wires.client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8080));
    wires.client.is_seen_as(Wires::CLIENT, "udp", &at(Wires::SERVER, 8081));
    assert!(is_deaf_within(&w, "pp", &address(&w, "mm"), 7), "isolation is back, too");
    // The next container brings its own back.
    wires.server.nft("flush ruleset");
    mirror(&w, "nn", &["-p", "8082:7"]);
    wires.client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8082));
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

/// Bridges, too: somebody removed them all.
#[test]
fn devices_that_somebody_removed_are_mended_by_the_next_start() {
    needs!(Root, Nftables);
    let w = World::wired();
    let wires = w.wires();
    mirror(&w, "mm", &["-p", "8080:7"]);
    w.dhow(["stop", "-t", "1", "mm"]).ok();
    let bridge = wires.server.devices().into_iter().find(|d| d.starts_with("dh")).unwrap();
    wires.server.ip(&format!("link del {bridge}"));
    wires.server.nft("flush ruleset");
    w.dhow(["start", "mm"]).ok();
    e2e::until("it serves", || wires.client.ask("tcp", &at(Wires::SERVER, 8080)).is_ok());
    w.remove_all();
}

/// `FORWARD` drops, as docker leaves it, ufw's and many an admin's: dhow's accept in a table of its
/// own undoes no other's drop, so one tagged rule goes into the hook that is there for it.
fn is_no_obstacle(script: &str) {
    let w = World::wired();
    let wires = w.wires();
    w.server(["sh", "-ec", script]).ok();
    let before = others(&wires.server);
    mirror(&w, "mm", &["-p", "8080:7"]);
    wires.client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8080));
    let mut outside = w.cmd(w.mirror()).arg("77").space(Some(&wires.client)).start();
    e2e::until("it listens", || wires.server.ask("tcp", &at(Wires::CLIENT, 77)).is_ok());
    assert_eq!(from_within(&w, "mm", Wires::CLIENT, 77).as_deref(), Some(Wires::SERVER));
    let grown: Vec<Value> =
        others(&wires.server).into_iter().filter(|entry| !before.contains(entry)).collect();
    assert!(!grown.is_empty() && grown.iter().all(|entry| entry.get("rule").is_some()));
    // nft doesn't tell comments of iptables' kind.
    let saved =
        ["iptables-save", "ip6tables-save"].map(|save| w.server([save]).ok().out()).concat();
    let tags = (saved + &format!("{grown:?}")).matches("dhow").count();
    assert!(tags >= grown.len(), "not tagged: {grown:#?}");
    assert!(grown.len() <= 2, "one for each IP: {grown:#?}");
    wires.router.ip("route add 172.16.0.0/12 via 203.0.113.2");
    wires.router.is_not_heard("tcp", &at(&address(&w, "mm"), 7));
    outside.kill().unwrap();
    outside.wait().unwrap();
    w.remove_all();
}

#[test]
fn beside_docker() {
    needs!(Root, Nftables);
    is_no_obstacle(
        "for iptables in iptables ip6tables; do
            $iptables -P FORWARD DROP
            $iptables -N DOCKER-USER
            $iptables -A FORWARD -j DOCKER-USER
        done",
    );
}

#[test]
fn beside_ufw() {
    needs!(Root, Nftables);
    is_no_obstacle(
        "for ufw in 'iptables ufw' 'ip6tables ufw6'; do
            set -- $ufw
            $1 -P FORWARD DROP
            $1 -N $2-before-forward
            $1 -N $2-user-forward
            $1 -A FORWARD -j $2-before-forward
            $1 -A $2-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
            $1 -A $2-before-forward -j $2-user-forward
        done",
    );
}

/// An admin's own chain that drops has no hook but itself.
#[test]
fn beside_a_forward_policy_of_somebodys_own() {
    needs!(Root, Nftables);
    is_no_obstacle(
        "nft 'table inet mine {
            chain forward {
                type filter hook forward priority 0; policy drop;
                ct state established accept;
            }
        }'",
    );
}

/// What dhow needs of the kernel and can't have is told before anything is made.
#[test]
fn without_rights_to_nftables_it_is_told_and_nothing_is_left() {
    needs!(Root, Nftables);
    let w = World::wired();
    let server = &w.wires().server;
    let refused = w
        .dhow_cmd(["run", "--rm", "busybox", "true"])
        .under(["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"])
        .run()
        .code(125);
    refused.err_has("net");
    assert_eq!(server.devices(), ["lo", "eth0"]);
    assert_eq!(tables(server), [""; 0]);
    w.dhow(["ps", "-aq"]).ok().out_is("");
}

#[test]
fn two_worlds_share_a_machine() {
    needs!(Root, Nftables);
    let w = World::wired();
    let other = [w.path("root2"), w.path("run2")];
    let second = |args: &[&str]| {
        let cmd = w.dhow_cmd(args).env("DHOW_ROOT", &other[0]).env("DHOW_RUN", &other[1]);
        cmd.run().ok().out()
    };
    let layout = e2e::fixtures::mirror_layout();
    let copy = ["copy", &format!("oci:{}:mirror", layout.display()), "mirror"];
    w.image_cmd(copy).env("DHOW_ROOT", &other[0]).env("DHOW_RUN", &other[1]).run().ok();
    mirror(&w, "mm", &["-p", "8080:7"]);
    second(&["run", "-d", "--name", "mm", "-p", "8081:7", "mirror"]);
    let wires = w.wires();
    for port in [8080, 8081] {
        e2e::until("both serve", || wires.client.ask("tcp", &at(Wires::SERVER, port)).is_ok());
        wires.client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, port));
    }
    let theirs = second(&["inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "mm"]);
    assert_ne!(theirs, address(&w, "mm"));
    assert!(is_deaf_within(&w, "mm", &theirs, 7), "worlds don't reach each other");
    let clash = w.dhow_cmd(["run", "--rm", "-p", "8080:7", "mirror"]);
    clash.env("DHOW_ROOT", &other[0]).env("DHOW_RUN", &other[1]).run().code(125).err_has("8080");
    w.remove_all();
    wires.client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8081));
    second(&["rm", "-f", "mm"]);
    assert_eq!(fs::read_dir(other[1].join("monitors")).map_or(0, Iterator::count), 0);
}
