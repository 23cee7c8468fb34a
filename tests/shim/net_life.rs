//! A container's networks through its lives: what it keeps, what it loses, and what others see.

use e2e::{World, needs, until};

const ADDRESS: &str = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";

#[test]
fn a_restart_keeps_the_address_and_a_stopped_container_has_none() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["network", "create", "plain"]).ok();
    for name in ["aa", "bb"] {
        w.dhow(["run", "-d", "--name", name, "--network", "plain", "busybox", "sleep", "1000"])
            .ok();
    }
    let before = w.dhow(["inspect", "-f", ADDRESS, "bb"]).ok().out();
    w.dhow(["restart", "-t", "0", "bb"]).ok();
    assert_eq!(w.dhow(["inspect", "-f", ADDRESS, "bb"]).ok().out(), before);
    w.dhow(["stop", "-t", "0", "bb"]).ok();
    w.dhow(["inspect", "-f", ADDRESS, "bb"]).ok().out_is("");
    // KERNEL: a namespace is taken apart a moment after its last process.
    until("nobody answers there", || {
        w.dhow(["exec", "aa", "ping", "-c1", "-W1", &before]).code == 1
    });
    w.dhow(["rm", "-f", "aa", "bb"]).ok();
}

#[test]
fn who_stands_in_anothers_namespace_loses_its_devices_with_it() {
    needs!(Root, Nftables);
    let w = World::wired();
    w.dhow(["run", "-d", "--name", "donor", "busybox", "sleep", "1000"]).ok();
    w.dhow([
        "run",
        "-d",
        "--name",
        "guest",
        "--network",
        "container:donor",
        "busybox",
        "sleep",
        "1000",
    ])
    .ok();
    w.dhow(["exec", "guest", "ip", "addr"]).ok().out_has("eth0");
    w.dhow(["stop", "-t", "0", "donor"]).ok();
    let left = w.dhow(["exec", "guest", "ls", "/sys/class/net"]).ok().out();
    assert!(!left.contains("eth0"), "{left}");
    w.dhow(["rm", "-f", "guest", "donor"]).ok();
}

#[test]
fn links_follow_their_container_to_another_address() {
    needs!(Root, Nftables);
    let w = World::wired();
    let run = |args: &[&str]| w.dhow(["run", "-d"].iter().chain(args).copied()).ok();
    run(&["--name", "db", "--expose", "5432", "busybox", "sleep", "1000"]);
    run(&["--name", "web", "--link", "db:data", "busybox", "sleep", "1000"]);
    let address = || w.dhow(["inspect", "-f", ADDRESS, "db"]).ok().out();
    let first = address();
    w.dhow(["exec", "web", "env"]).ok().out_has(&format!("DATA_PORT_5432_TCP_ADDR={first}"));
    w.dhow(["inspect", "-f", "{{json .HostConfig.Links}}", "web"])
        .ok()
        .out_is("[\"/db:/web/data\"]");
    w.dhow(["stop", "-t", "0", "db"]).ok();
    run(&["--name", "other", "busybox", "sleep", "1000"]);
    w.dhow(["start", "db"]).ok();
    assert_ne!(address(), first);
    w.dhow(["exec", "web", "cat", "/etc/hosts"]).ok().out_has(&format!("{}\tdata", address()));
    w.dhow(["rm", "--link", "web/data"]).ok();
    let hosts = w.dhow(["exec", "web", "cat", "/etc/hosts"]).ok().out();
    assert!(!hosts.contains("data") && hosts.contains("localhost"), "{hosts}");
    w.dhow(["inspect", "-f", "{{json .HostConfig.Links}}", "web"]).ok().out_is("null");
    w.dhow(["rm", "-f", "web", "db", "other"]).ok();
}
