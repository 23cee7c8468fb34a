//! A container that runs gets networks and loses them; names, aliases and links.

use std::os::unix::fs::PermissionsExt;

use e2e::{Wires, World, needs};

use super::net_tools::{address, at, from_within, is_deaf_within, mirror};

fn addresses(w: &World, container: &str) -> Vec<String> {
    let list = w.dhow(["exec", container, "ip", "-o", "-4", "addr"]).ok().lines();
    let words = list.iter().filter_map(|l| l.split_whitespace().nth(3));
    words.filter(|a| !a.starts_with("127.")).map(str::to_owned).collect()
}

#[test]
fn a_running_container_is_connected_and_disconnected() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "pier", "--subnet", "10.7.0.0/24"]).ok();
    mirror(&w, "mm", &["-p", "8080:7"]);
    mirror(&w, "pp", &["--network", "pier"]);
    assert!(is_deaf_within(&w, "pp", "mm", 7));
    w.dhow(["network", "connect", "--ip", "10.7.0.77", "--alias", "mate", "pier", "mm"]).ok();
    assert_eq!(addresses(&w, "mm").len(), 2);
    assert!(addresses(&w, "mm").contains(&"10.7.0.77/24".to_owned()));
    let own = address(&w, "pp");
    for name in ["mm", "mate", "mm.pier", "10.7.0.77"] {
        assert_eq!(from_within(&w, "pp", name, 7), Some(own.clone()), "{name}");
    }
    assert_eq!(from_within(&w, "mm", "pp", 7).as_deref(), Some("10.7.0.77"));
    let ip = "{{(index .NetworkSettings.Networks \"pier\").IPAddress}}";
    w.dhow(["inspect", "-f", ip, "mm"]).ok().out_is("10.7.0.77");
    let in_it = "{{range .Containers}}{{.Name}} {{end}}";
    let mut names: Vec<String> = w
        .dhow(["network", "inspect", "-f", in_it, "pier"])
        .ok()
        .out()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    names.sort();
    assert_eq!(names, ["mm", "pp"]);
    w.dhow(["network", "rm", "pier"]).code(1).err_has("pier");
    // What is published stays so, whatever else it is in.
    let wires = w.wires();
    wires.client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8080));
    w.dhow(["network", "disconnect", "bridge", "mm"]).ok();
    assert_eq!(addresses(&w, "mm"), ["10.7.0.77/24"]);
    assert_eq!(from_within(&w, "pp", "mm", 7), Some(own.clone()));
    wires.client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8080));
    w.dhow(["network", "disconnect", "pier", "mm"]).ok();
    assert!(addresses(&w, "mm").is_empty());
    w.dhow(["exec", "pp", "nslookup", "mm"]).code(1);
    wires.client.is_not_heard("tcp", &at(Wires::SERVER, 8080));
    w.dhow(["network", "connect", "bridge", "mm"]).ok();
    wires.client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8080));
    // It begins again with what it had.
    w.dhow(["network", "connect", "pier", "mm"]).ok();
    w.dhow(["restart", "-t", "1", "mm"]).ok();
    e2e::until("it is back", || from_within(&w, "pp", "mm", 7) == Some(own.clone()));
    assert_eq!(addresses(&w, "mm").len(), 2);
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

#[test]
fn an_interface_that_its_container_renamed_goes_all_the_same() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "pier"]).ok();
    mirror(&w, "mm", &["--cap-add", "NET_ADMIN"]);
    w.dhow(["network", "connect", "pier", "mm"]).ok();
    let hide = "ip link set eth1 down && ip link set eth1 name mine && ip link set mine up";
    w.dhow(["exec", "mm", "sh", "-c", hide]).ok();
    w.dhow(["network", "disconnect", "pier", "mm"]).ok();
    w.dhow(["exec", "mm", "ip", "link", "show", "mine"]).code(2);
    assert_eq!(addresses(&w, "mm").len(), 1);
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

#[test]
fn a_stopped_container_is_connected_for_its_next_start() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "pier"]).ok();
    w.dhow(["create", "--name", "mm", "mirror"]).ok();
    w.dhow(["network", "connect", "pier", "mm"]).ok();
    w.dhow(["network", "disconnect", "bridge", "mm"]).ok();
    mirror(&w, "pp", &["--network", "pier"]);
    w.dhow(["start", "mm"]).ok();
    e2e::until("by name", || from_within(&w, "pp", "mm", 7).is_some());
    assert_eq!(addresses(&w, "mm").len(), 1);
    w.dhow(["network", "disconnect", "-f", "pier", "mm"]).ok();
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

#[test]
fn names_and_aliases_are_answered_and_go_with_their_container() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "pier"]).ok();
    mirror(&w, "pp", &["--network", "pier"]);
    let alias = ["--network", "pier", "--network-alias", "db", "--hostname", "crew"];
    mirror(&w, "aa", &alias);
    mirror(&w, "bb", &alias);
    let own = address(&w, "pp");
    let id = w.dhow(["inspect", "-f", "{{slice .Id 0 12}}", "aa"]).ok().out();
    for name in ["aa", "AA", "bb", "db", "aa.pier", id.as_str()] {
        assert_eq!(from_within(&w, "pp", name, 7), Some(own.clone()), "{name}");
    }
    let both = w.dhow(["exec", "pp", "nslookup", "db"]).ok().out();
    for container in ["aa", "bb"] {
        assert!(both.contains(&address(&w, container)), "{both}");
    }
    let back = w.dhow(["exec", "pp", "nslookup", &address(&w, "aa")]).ok().out();
    assert!(back.contains("aa.pier"), "{back}");
    w.dhow(["exec", "pp", "cat", "/etc/resolv.conf"]).ok().out_has("nameserver 127.0.0.11");
    w.dhow(["rename", "aa", "anne"]).ok();
    assert_eq!(from_within(&w, "pp", "anne", 7), Some(own.clone()));
    w.dhow(["rm", "-f", "anne"]).ok();
    w.dhow(["exec", "pp", "nslookup", "anne"]).code(1);
    w.dhow(["exec", "pp", "nslookup", "db"]).ok().out_has(&address(&w, "bb"));
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

#[test]
fn links_are_in_hosts_and_environment_on_the_default_bridge() {
    needs!(Root, Nftables);
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
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "one", "--subnet", "10.7.1.0/24"]).ok();
    w.dhow(["network", "create", "two", "--subnet", "10.7.2.0/24"]).ok();
    let two = "name=two,ip=10.7.2.9,alias=second,mac-address=02:00:00:00:00:09,gw-priority=1";
    mirror(&w, "mm", &["--network", "one", "--network", two]);
    mirror(&w, "pp", &["--network", "two"]);
    assert_eq!(addresses(&w, "mm").len(), 2);
    assert!(from_within(&w, "pp", "second", 7).is_some());
    w.dhow(["exec", "mm", "ip", "link"]).ok().out_has("02:00:00:00:00:09");
    w.dhow(["exec", "mm", "ip", "route"]).ok().out_has("default via 10.7.2.1");
    w.dhow(["network", "disconnect", "two", "mm"]).ok();
    w.dhow(["exec", "mm", "ip", "route"]).ok().out_has("default via 10.7.1.1");
    w.remove_all();
    w.dhow(["network", "rm", "one", "two"]).ok();
}

#[test]
fn macvlan_containers_stand_beside_the_host() {
    needs!(Root, Nftables);
    let w = World::wired();
    let wires = w.wires();
    let create = ["network", "create", "-d", "macvlan", "-o", "parent=eth0"];
    let create =
        create.iter().chain(&["--subnet", "203.0.113.0/24", "--gateway", Wires::ROUTER, "lan"]);
    w.dhow(create).ok();
    mirror(&w, "mm", &["--network", "lan", "--ip", "203.0.113.77"]);
    mirror(&w, "nn", &["--network", "lan", "--ip", "203.0.113.78"]);
    wires.router.is_seen_as(Wires::ROUTER, "tcp", "203.0.113.77:7");
    wires.client.is_seen_as(Wires::CLIENT, "udp", "203.0.113.77:7");
    assert_eq!(from_within(&w, "nn", "mm", 7).as_deref(), Some("203.0.113.78"));
    assert_eq!(wires.server.devices(), ["lo", "eth0"], "none of it is on the host");
    w.remove_all();
    w.dhow(["network", "rm", "lan"]).ok();
}

/// Another program has swept all rules away: what the change needs is there again after it.
#[test]
fn a_network_is_left_and_joined_though_all_rules_were_swept_away() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "pier", "--subnet", "10.7.0.0/24"]).ok();
    mirror(&w, "mm", &["-p", "8080:7", "--network", "pier"]);
    let wires = w.wires();
    for (verb, network) in [("connect", "bridge"), ("disconnect", "pier"), ("connect", "pier")] {
        wires.server.nft("flush ruleset");
        w.dhow(["network", verb, network, "mm"]).ok();
        wires.client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8080));
    }
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

/// Whoever of the two is first: what the record says is what the container has.
#[test]
fn a_container_is_connected_while_it_starts() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.pull("busybox");
    w.dhow(["network", "create", "pier"]).ok();
    for round in 0..10 {
        w.dhow(["create", "--name", "mm", "busybox", "sleep", "1000"]).ok();
        let mut start = w.dhow_cmd(["start", "mm"]).start();
        std::thread::sleep(std::time::Duration::from_millis(round * 9));
        w.dhow(["network", "connect", "pier", "mm"]).ok();
        assert!(start.wait().unwrap().success());
        assert_eq!(addresses(&w, "mm").len(), 2, "round {round}");
        w.dhow(["rm", "-f", "mm"]).ok();
    }
    w.dhow(["network", "rm", "pier"]).ok();
}

/// A runtime that makes no container as long as the file `hold` is there; `called` is there when it
/// would.
fn held_runtime(w: &World) -> String {
    let path = w.path("held");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *\" create \"*) \
         while [ -e {0}/hold ]; do : >{0}/called; sleep 0.05; done ;; esac\nexec {1} \"$@\"\n",
        w.path("").display(),
        e2e::program("dhow-runtime").display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn between_two_lives_a_container_is_connected_and_disconnected_for_the_next() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "pier"]).ok();
    let held = held_runtime(&w);
    for (name, action, has) in [("aa", "connect", 2), ("bb", "disconnect", 1)] {
        let script = "test -e /second && exec sleep 1000; \
                      until [ -e /end ]; do sleep 0.05; done; touch /second";
        let run = ["run", "-d", "--restart", "always", "--name", name, "--runtime", &held];
        w.dhow(run.iter().chain(&["busybox", "sh", "-c", script])).ok();
        if action == "disconnect" {
            w.dhow(["network", "connect", "pier", name]).ok();
        }
        std::fs::write(w.path("hold"), "").unwrap();
        w.dhow(["exec", name, "touch", "/end"]).ok();
        // The pause is over, and the next life has read the record, but isn't there yet.
        e2e::until("the next life begins", || w.path("called").exists());
        let status = || w.dhow(["inspect", "-f", "{{.State.Status}}", name]).ok().out();
        assert_eq!(status(), "restarting");
        let changed = w.dhow_cmd(["network", action, "pier", name]).start();
        std::thread::sleep(std::time::Duration::from_millis(250)); // it may wait for the life
        std::fs::remove_file(w.path("hold")).unwrap();
        assert!(changed.wait_with_output().unwrap().status.success());
        std::fs::remove_file(w.path("called")).unwrap();
        e2e::until("it lives", || status() == "running");
        assert_eq!(addresses(&w, name).len(), has, "{action}");
        let count = "{{len .NetworkSettings.Networks}}";
        w.dhow(["inspect", "-f", count, name]).ok().out_is(&has.to_string());
    }
    w.remove_all();
    w.dhow(["network", "rm", "pier"]).ok();
}

#[test]
fn ports_of_a_container_in_internal_networks_wait_for_a_way_out() {
    needs!(Root, Nftables);
    let w = World::wired();
    let wires = w.wires();
    w.dhow(["network", "create", "--internal", "cellar"]).ok();
    mirror(&w, "mm", &["--network", "cellar", "-p", "8080:7"]);
    mirror(&w, "other", &["-p", "8080:7"]);
    // As docker: nobody has them, so they are free.
    w.dhow(["port", "mm"]).ok().out_is("");
    w.dhow(["network", "connect", "bridge", "mm"]).code(1).err_has("port is already allocated");
    assert_eq!(addresses(&w, "mm").len(), 1);
    w.dhow(["rm", "-f", "other"]).ok();
    w.dhow(["network", "connect", "bridge", "mm"]).ok();
    w.dhow(["port", "mm"]).ok().out_has("7/tcp -> 0.0.0.0:8080");
    wires.client.is_seen_as(Wires::CLIENT, "tcp", &at(Wires::SERVER, 8080));
    assert!(wires.server.ask("tcp", "127.0.0.1:8080").is_ok());
    w.dhow(["network", "disconnect", "bridge", "mm"]).ok();
    wires.client.is_not_heard("tcp", &at(Wires::SERVER, 8080));
    w.remove_all();
    w.dhow(["network", "rm", "cellar"]).ok();
}
