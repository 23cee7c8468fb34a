//! `network`: what a network's making and removal leave on the machine, and what daemon.json settles.

use std::collections::BTreeSet;
use std::fs;

use e2e::{World, needs};
use serde_json::Value;

fn daemon(w: &World, text: &str) {
    fs::write(w.path("daemon.json"), text).unwrap();
}

fn subnets(w: &World, network: &str) -> Vec<String> {
    let found: Value = w.dhow(["network", "inspect", network]).ok().json();
    let pools = found[0]["IPAM"]["Config"].as_array().unwrap().clone();
    pools.iter().map(|pool| pool["Subnet"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_bridge_is_there_from_the_making_of_its_network_to_its_removal() {
    needs!(Root, Nftables);
    let w = World::wired();
    let id = w.dhow(["network", "create", "--subnet", "10.70.0.0/24", "net"]).ok().out();
    let device = format!("dh-{}", &id[..12]);
    assert_eq!(w.wires().server.devices(), ["lo", "eth0", &device]);
    let shown = w.server(["ip", "-o", "-4", "addr", "show", &device]).ok().out();
    assert!(shown.contains("10.70.0.1/24"), "{shown}");
    w.dhow(["network", "create", "-o", "com.docker.network.bridge.name=own0", "named"]).ok();
    assert!(w.wires().server.devices().contains(&"own0".to_owned()));
    w.dhow(["network", "create", "-o", "com.docker.network.bridge.name=own0", "again"])
        .code(1)
        .err_has("networks have same bridge name");
    w.dhow(["network", "create", "-o", "com.docker.network.bridge.name=eth0", "wrong"]).code(1);
    w.dhow(["network", "rm", "net", "named"]).ok();
    assert_eq!(w.wires().server.devices(), ["lo", "eth0"]);
    w.dhow(["network", "ls", "-q", "--filter", "type=custom"]).ok().out_is("");
}

#[test]
fn somebody_elses_bridge_is_used_and_left() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.wires()
        .server
        .ip("link add own0 type bridge\naddr add 10.75.0.7/24 dev own0\nlink set own0 up\n");
    let option = "com.docker.network.bridge.name=own0";
    w.dhow(["network", "create", "--subnet", "10.75.1.0/24", "-o", option, "net"]).ok();
    w.dhow(["network", "rm", "net"]).ok();
    assert!(w.wires().server.devices().contains(&"own0".to_owned()), "it was not dhow's to remove");
    daemon(&w, r#"{"bridge": "own0"}"#);
    let run = ["run", "--rm", "busybox", "sh", "-c", "ip -4 -o addr show eth0; ip route"];
    let said = w.dhow(run).ok().out();
    assert!(said.contains("10.75.0.1/24") && said.contains("default via 10.75.0.7"), "{said}");
    w.wires().server.ip("link delete own0\n");
}

#[test]
fn subnets_keep_off_the_machines_routes_and_other_worlds() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.wires()
        .server
        .ip("route add 172.17.0.0/16 dev eth0\nroute add 172.19.5.0/24 via 203.0.113.1\n");
    w.dhow(["network", "create", "one"]).ok();
    // The default network has the first that is free.
    assert_eq!(subnets(&w, "bridge"), ["172.18.0.0/16"]);
    assert_eq!(subnets(&w, "one"), ["172.20.0.0/16"]);
    let other = |args: &[&str]| {
        w.dhow_cmd(args).env("DHOW_ROOT", w.path("r2")).env("DHOW_RUN", w.path("n2")).run().ok()
    };
    other(&["network", "create", "two"]);
    let found: Value = other(&["network", "inspect", "two"]).json();
    let subnet = found[0]["IPAM"]["Config"][0]["Subnet"].as_str().unwrap().to_owned();
    assert!(!["172.17.0.0/16", "172.20.0.0/16"].contains(&subnet.as_str()), "{subnet}");
    other(&["network", "rm", "two"]);
    w.dhow(["network", "rm", "one"]).ok();
}

#[test]
fn daemon_json_settles_the_default_network_and_follows_when_nobody_is_in_it() {
    needs!(Root, Nftables);
    let w = World::wired();
    daemon(
        &w,
        r#"{"bip": "10.71.3.1/16", "fixed-cidr": "10.71.4.0/24", "mtu": 1400, "icc": false}"#,
    );
    let show = "ip -4 -o addr show eth0; cat /sys/class/net/eth0/mtu; ip route";
    let said = w.dhow(["run", "--rm", "busybox", "sh", "-c", show]).ok().out();
    for part in ["10.71.4.0/16", "1400", "default via 10.71.3.1"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    w.dhow(["run", "-d", "--name", "stays", "busybox", "sleep", "1000"]).ok();
    daemon(&w, r#"{"bip": "10.72.0.1/24"}"#);
    assert_eq!(subnets(&w, "bridge"), ["10.71.0.0/16"], "as long as somebody is in it");
    w.dhow(["rm", "-f", "stays"]).ok();
    assert_eq!(subnets(&w, "bridge"), ["10.72.0.0/24"]);
    daemon(&w, r#"{"default-address-pools": [{"base": "10.73.0.0/16", "size": 28}]}"#);
    assert_eq!(subnets(&w, "bridge"), ["10.73.0.0/28"]);
    w.dhow(["network", "create", "next"]).ok();
    assert_eq!(subnets(&w, "next"), ["10.73.0.16/28"]);
    w.dhow(["network", "rm", "next"]).ok();
    for (text, word) in [
        (r#"{"iptables": false}"#, "nftables"),
        (r#"{"ip-forward-no-drop": true}"#, "ip-forward-no-drop"),
        (r#"{"userland-proxy-path": "/usr/bin/docker-proxy"}"#, "userland-proxy-path"),
        (r#"{"bip": "nonsense"}"#, "bip"),
        (
            r#"{"default-address-pools": [{"base": "10.0.0.0/8", "size": 4}]}"#,
            "default-address-pools",
        ),
    ] {
        daemon(&w, text);
        w.dhow(["run", "--rm", "busybox", "true"]).code(125).err_has(word);
    }
    daemon(&w, r#"{"bridge": "none"}"#);
    w.dhow(["network", "ls", "--format", "{{.Name}}"]).ok().out_is("host\nnone");
    daemon(&w, "{}");
}

#[test]
fn many_at_once_have_subnets_and_addresses_of_their_own() {
    needs!(Root, Nftables);
    let w = World::wired();
    let names: Vec<String> = (0..6).map(|n| format!("net{n}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            let w = &w;
            scope.spawn(move || w.dhow(["network", "create", name]).ok());
        }
        let same = |_| w.dhow(["network", "create", "--subnet", "10.74.0.0/24", "same"]).code;
        let made = (0..3).map(|n| scope.spawn(move || same(n))).collect::<Vec<_>>();
        let codes: Vec<i32> = made.into_iter().map(|t| t.join().unwrap()).collect();
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    });
    let all: BTreeSet<Vec<String>> = names.iter().map(|name| subnets(&w, name)).collect();
    assert_eq!(all.len(), names.len());
    let show = "ip -4 -o addr show eth0 | awk '{print $4}'; sleep 1000";
    let holders: Vec<String> = (0..6).map(|n| format!("c{n}")).collect();
    std::thread::scope(|scope| {
        for holder in &holders {
            let w = &w;
            let args =
                ["run", "-d", "--name", holder, "--network", "same", "busybox", "sh", "-c", show];
            scope.spawn(move || w.dhow(args).ok());
        }
    });
    let found: Value = w.dhow(["network", "inspect", "same"]).ok().json();
    let given: BTreeSet<String> = (found[0]["Containers"].as_object().unwrap().values())
        .map(|c| c["IPv4Address"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(given, (2..8).map(|n| format!("10.74.0.{n}/24")).collect());
    w.dhow(["network", "rm", "same"]).code(1).err_has("has active endpoints (name:\"c");
    w.dhow([&["rm", "-f"][..], &holders.iter().map(String::as_str).collect::<Vec<_>>()].concat())
        .ok();
    w.dhow(["network", "prune", "-f"]).ok().out_has("same");
    assert_eq!(w.wires().server.devices(), ["lo", "eth0"]);
}

#[test]
fn a_full_network_says_so() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "--subnet", "10.76.0.0/30", "small"]).ok();
    w.dhow(["run", "-d", "--name", "only", "--network", "small", "busybox", "sleep", "1000"]).ok();
    w.dhow(["run", "--rm", "--network", "small", "busybox", "true"])
        .code(125)
        .err_has("no available addresses on this pool: network small");
    w.dhow(["rm", "-f", "only"]).ok();
    w.dhow(["run", "--rm", "--network", "small", "busybox", "true"]).ok();
    w.dhow(["network", "rm", "small"]).ok();
}
