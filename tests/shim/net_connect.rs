//! A container that runs gets networks and loses them; names, aliases and links.

use e2e::{Wires, World};

use super::net_tools::{address, at, from_within, mirror};

fn addresses(w: &World, container: &str) -> Vec<String> {
    let list = w.dhow(["exec", container, "ip", "-o", "-4", "addr"]).ok().lines();
    let words = list.iter().filter_map(|l| l.split_whitespace().nth(3));
    words.filter(|a| !a.starts_with("127.")).map(str::to_owned).collect()
}

#[test]
fn a_running_container_is_connected_and_disconnected() {
    let w = World::wired();
    w.dhow(["network", "create", "pier", "--subnet", "10.7.0.0/24"]).ok();
    mirror(&w, "m", &["-p", "8080:7"]);
    mirror(&w, "p", &["--network", "pier"]);
    assert_eq!(from_within(&w, "p", "m", 7), None);
    w.dhow(["network", "connect", "--ip", "10.7.0.77", "--alias", "mate", "pier", "m"]).ok();
    assert_eq!(addresses(&w, "m").len(), 2);
    assert!(addresses(&w, "m").contains(&"10.7.0.77/24".to_owned()));
    let own = address(&w, "p");
    for name in ["m", "mate", "m.pier", "10.7.0.77"] {
        assert_eq!(from_within(&w, "p", name, 7), Some(own.clone()), "{name}");
    }
    assert_eq!(from_within(&w, "m", "p", 7).as_deref(), Some("10.7.0.77"));
    let ip = "{{(index .NetworkSettings.Networks \"pier\").IPAddress}}";
    w.dhow(["inspect", "-f", ip, "m"]).ok().out_is("10.7.0.77");
    let in_it = "{{range .Containers}}{{.Name}} {{end}}";
    let mut names: Vec<String> = w
        .dhow(["network", "inspect", "-f", in_it, "pier"])
        .ok()
        .out()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    names.sort();
    assert_eq!(names, ["m", "p"]);
    w.dhow(["network", "rm", "pier"]).code(1).err_has("pier");
    // What is published stays so, whatever else it is in.
    let wires = w.wires();
    wires.client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8080));
    w.dhow(["network", "disconnect", "bridge", "m"]).ok();
    assert_eq!(addresses(&w, "m"), ["10.7.0.77/24"]);
    assert_eq!(from_within(&w, "p", "m", 7), Some(own.clone()));
    wires.client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8080));
    w.dhow(["network", "disconnect", "pier", "m"]).ok();
    assert!(addresses(&w, "m").is_empty());
    w.dhow(["exec", "p", "nslookup", "m"]).code(1);
    wires.client.is_not_heard("tcp", &at(Wires::SERVER, 8080));
    w.dhow(["network", "connect", "bridge", "m"]).ok();
    wires.client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8080));
    // It begins again with what it had.
    w.dhow(["network", "connect", "pier", "m"]).ok();
    w.dhow(["restart", "-t", "1", "m"]).ok();
    e2e::until("it is back", || from_within(&w, "p", "m", 7) == Some(own.clone()));
    assert_eq!(addresses(&w, "m").len(), 2);
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

#[test]
fn a_stopped_container_is_connected_for_its_next_start() {
    let w = World::wired();
    w.dhow(["network", "create", "pier"]).ok();
    w.dhow(["create", "--name", "m", "mirror"]).ok();
    w.dhow(["network", "connect", "pier", "m"]).ok();
    w.dhow(["network", "disconnect", "bridge", "m"]).ok();
    mirror(&w, "p", &["--network", "pier"]);
    w.dhow(["start", "m"]).ok();
    e2e::until("by name", || from_within(&w, "p", "m", 7).is_some());
    assert_eq!(addresses(&w, "m").len(), 1);
    w.dhow(["network", "disconnect", "-f", "pier", "m"]).ok();
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

#[test]
fn names_and_aliases_are_answered_and_go_with_their_container() {
    let w = World::wired();
    w.dhow(["network", "create", "pier"]).ok();
    mirror(&w, "p", &["--network", "pier"]);
    let alias = ["--network", "pier", "--network-alias", "db", "--hostname", "crew"];
    mirror(&w, "a", &alias);
    mirror(&w, "b", &alias);
    let own = address(&w, "p");
    let id = w.dhow(["inspect", "-f", "{{slice .Id 0 12}}", "a"]).ok().out();
    for name in ["a", "A", "b", "db", "a.pier", id.as_str()] {
        assert_eq!(from_within(&w, "p", name, 7), Some(own.clone()), "{name}");
    }
    let both = w.dhow(["exec", "p", "nslookup", "db"]).ok().out();
    for container in ["a", "b"] {
        assert!(both.contains(&address(&w, container)), "{both}");
    }
    let back = w.dhow(["exec", "p", "nslookup", &address(&w, "a")]).ok().out();
    assert!(back.contains("a.pier"), "{back}");
    w.dhow(["exec", "p", "cat", "/etc/resolv.conf"]).ok().out_has("nameserver 127.0.0.11");
    w.dhow(["rename", "a", "anne"]).ok();
    assert_eq!(from_within(&w, "p", "anne", 7), Some(own.clone()));
    w.dhow(["rm", "-f", "anne"]).ok();
    w.dhow(["exec", "p", "nslookup", "anne"]).code(1);
    w.dhow(["exec", "p", "nslookup", "db"]).ok().out_has(&address(&w, "b"));
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

#[test]
fn links_are_in_hosts_and_environment_on_the_default_bridge() {
    let w = World::wired();
    mirror(&w, "db", &["-e", "PASS=word"]);
    mirror(&w, "web", &["--link", "db:store"]);
    assert_eq!(from_within(&w, "web", "store", 7), Some(address(&w, "web")));
    assert_eq!(from_within(&w, "web", "db", 7), Some(address(&w, "web")));
    let env = w.dhow(["exec", "web", "env"]).ok().out();
    let expected = format!("STORE_PORT_7_TCP=tcp://{}:7", address(&w, "db"));
    for line in [&expected, "STORE_NAME=/web/store", "STORE_ENV_PASS=word"] {
        assert!(env.lines().any(|l| l == line), "no {line} in\n{env}");
    }
    w.remove_all();
}

#[test]
fn a_container_has_several_networks_from_its_start() {
    let w = World::wired();
    w.dhow(["network", "create", "one", "--subnet", "10.7.1.0/24"]).ok();
    w.dhow(["network", "create", "two", "--subnet", "10.7.2.0/24"]).ok();
    let two = "name=two,ip=10.7.2.9,alias=second,mac-address=02:00:00:00:00:09,gw-priority=1";
    mirror(&w, "m", &["--network", "one", "--network", two]);
    mirror(&w, "p", &["--network", "two"]);
    assert_eq!(addresses(&w, "m").len(), 2);
    assert!(from_within(&w, "p", "second", 7).is_some());
    w.dhow(["exec", "m", "ip", "link"]).ok().out_has("02:00:00:00:00:09");
    w.dhow(["exec", "m", "ip", "route"]).ok().out_has("default via 10.7.2.1");
    w.dhow(["network", "disconnect", "two", "m"]).ok();
    w.dhow(["exec", "m", "ip", "route"]).ok().out_has("default via 10.7.1.1");
    w.remove_all();
    w.dhow(["network", "rm", "one", "two"]).ok();
}

#[test]
fn macvlan_containers_stand_beside_the_host() {
    let w = World::wired();
    let wires = w.wires();
    let create = ["network", "create", "-d", "macvlan", "-o", "parent=eth0"];
    let create =
        create.iter().chain(&["--subnet", "203.0.113.0/24", "--gateway", Wires::ROUTER, "lan"]);
    w.dhow(create).ok();
    mirror(&w, "m", &["--network", "lan", "--ip", "203.0.113.77"]);
    mirror(&w, "n", &["--network", "lan", "--ip", "203.0.113.78"]);
    wires.router.is_seen_as(Wires::ROUTER, "tcp", "203.0.113.77:7");
    wires.client.is_seen_as(Wires::CLIENT, "udp", "203.0.113.77:7");
    assert_eq!(from_within(&w, "n", "m", 7).as_deref(), Some("203.0.113.78"));
    assert_eq!(wires.server.devices(), ["lo", "eth0"], "none of it is on the host");
    w.remove_all();
    w.dhow(["network", "rm", "lan"]).ok();
}
