//! In network namespaces that each case makes for itself, against what nft(8) says of the result.

use std::process::Command;

mod answers;
mod neighbours;
mod packets;
mod wires;

use super::*;
use crate::model::network::Protocol;

/// From here on, this thread is in a new network namespace.
fn alone() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
}

fn said(command: &str) -> String {
    let out = Command::new("sh").args(["-ec", command]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
    text
}

fn network(device: &str, subnets: &[&str]) -> NetworkRules {
    let subnets = subnets.iter().map(|s| s.parse().unwrap()).collect();
    NetworkRules { device: device.into(), subnets, ..NetworkRules::default() }
}

fn port(host: &str, host_port: u16, port: u16) -> Published {
    let host_ip = host.parse().unwrap();
    Published { port, protocol: Protocol::Tcp, host_ip, host_port }
}

#[test]
fn a_network_is_there_once_and_goes() {
    alone();
    let table = Table::named("dhow").unwrap();
    assert!(!table.is_there().unwrap());
    let networks = [network("dhow0", &["172.17.0.1/16", "fd00:1::1/64"])];
    table.ensure(&networks).unwrap();
    assert!(table.is_there().unwrap() && table.stale(&networks).unwrap().is_empty());
    let before = said("nft list ruleset");
    let head = "v2 masquerade icc nat nat 172.17.0.1/16 fd00:1::1/64";
    assert!(before.contains(&format!("elements = {{ \"dhow0\" comment \"{head}\" }}")), "{before}");
    assert!(before.contains("elements = { \"dhow0\" . 172.17.0.0/16 }"), "{before}");
    table.mend(&networks).unwrap();
    assert_eq!(said("nft list ruleset"), before);

    // The same network by other rules replaces the first.
    let sealed = [NetworkRules { internal: true, ..networks[0].clone() }];
    assert_eq!(table.stale(&sealed).unwrap().len(), 1);
    table.ensure(&sealed).unwrap();
    assert!(!said("nft list set inet dhow translated4").contains("elements"));
    assert_eq!(table.networks().unwrap(), ["dhow0".to_owned()].into());
    let other = network("dhow1", &["172.18.0.1/16"]);
    table.ensure(std::slice::from_ref(&other)).unwrap();
    table.forget_network(&sealed[0]).unwrap();
    assert!(!said("nft list ruleset").contains("dhow0"));
    assert_eq!(table.networks().unwrap(), ["dhow1".to_owned()].into());
    table.forget_network(&other).unwrap();
    assert_eq!(said("nft list ruleset"), "");
    table.forget_network(&other).unwrap();
    table.remove().unwrap();
    assert_eq!(said("nft list ruleset"), "");
}

#[test]
fn ports_are_their_holders_alone() {
    alone();
    let table = Table::named("dhow").unwrap();
    table.ensure(&[]).unwrap();
    let (four, six) = ("172.17.0.2".parse().unwrap(), "fd00:1::2".parse().unwrap());
    let ports = [
        (port("0.0.0.0", 8080, 80), four),
        (port("::", 8080, 80), six),
        (port("192.0.2.1", 81, 80), four),
        (port("2001:db8::1", 81, 80), six),
        (port("127.0.0.1", 82, 80), four),
        (port("::1", 82, 80), six),
        (port("::", 83, 80), four),
        (port("0.0.0.0", 0, 80), four),
        (port("0.0.0.0", 0, 80), four),
        (Published { protocol: Protocol::Sctp, ..port("0.0.0.0", 84, 80) }, four),
    ];
    table.publish("0123456789ab", &ports).unwrap();
    let list = said("nft list table inet dhow");
    for element in [
        "tcp . 8080 comment \"0123456789ab\" : 172.17.0.2 . 80",
        "tcp . 8080 comment \"0123456789ab\" : fd00:1::2 . 80 }",
        "192.0.2.1 . tcp . 81 comment \"0123456789ab\" : 172.17.0.2 . 80 }",
        "2001:db8::1 . tcp . 81 comment \"0123456789ab\" : fd00:1::2 . 80 }",
        "127.0.0.1 . tcp . 82 comment \"0123456789ab\" }",
        "172.17.0.2 . tcp . 80 comment \"0123456789ab\" }",
        "sctp . 84 comment \"0123456789ab\" : 172.17.0.2 . 80",
    ] {
        assert!(list.contains(element), "{element}: {list}");
    }
    assert_eq!(list.matches("0123456789ab").count(), 7, "{list}");

    // Another that has the port now takes it, and the first can't take it away.
    let other = "172.17.0.3".parse().unwrap();
    table.publish("ba9876543210", &[(port("0.0.0.0", 8080, 80), other)]).unwrap();
    assert_eq!(table.holders().unwrap().len(), 2);
    table.withdraw("0123456789ab", &ports).unwrap();
    let list = said("nft list table inet dhow");
    assert!(list.contains("172.17.0.3") && !list.contains("0123456789ab"), "{list}");
    // Exactly these, whatever there was.
    let moved = [(port("0.0.0.0", 8080, 81), four), (port("0.0.0.0", 0, 81), four)];
    table.settle("ba9876543210", &moved).unwrap();
    table.settle("ba9876543210", &moved).unwrap();
    let list = said("nft list table inet dhow");
    assert!(list.contains("172.17.0.2 . 81") && !list.contains("172.17.0.3"), "{list}");
    assert_eq!(list.matches("ba9876543210").count(), 2, "{list}");
    table.forget_container("ba9876543210").unwrap();
    table.withdraw("ba9876543210", &ports).unwrap();
    assert!(!said("nft list table inet dhow").contains("elements"));
}

#[test]
fn thousands_of_ports_come_and_go_in_one_piece() {
    alone();
    let table = Table::named("dhow").unwrap();
    table.ensure(&[]).unwrap();
    let address = "172.17.0.2".parse().unwrap();
    let ports: Vec<_> = (1..=8000).map(|n| (port("0.0.0.0", n, n), address)).collect();
    table.publish("0123456789ab", &ports).unwrap();
    assert_eq!(table.all_of(OF_CONTAINERS).unwrap().len(), ports.len());
    // Somebody's who was never withdrawn.
    table.publish("ba9876543210", &ports).unwrap();
    table.withdraw("0123456789ab", &ports).unwrap();
    assert_eq!(table.all_of(OF_CONTAINERS).unwrap().len(), ports.len());
    table.settle("ba9876543210", &ports[1..]).unwrap();
    assert_eq!(table.all_of(OF_CONTAINERS).unwrap().len(), ports.len() - 1);
    table.withdraw("ba9876543210", &ports).unwrap();
    assert!(table.all_of(OF_CONTAINERS).unwrap().is_empty());
}

#[test]
fn names_are_asked_where_the_monitor_listens() {
    alone();
    let ns = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
    alone();
    let own = said("nft list ruleset");
    let ns = std::os::fd::AsFd::as_fd(&ns);
    inside::redirect_dns(ns, 1, 2).unwrap();
    inside::redirect_dns(ns, 1053, 2053).unwrap();
    assert_eq!(said("nft list ruleset"), own);
    nix::sched::setns(ns, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    let list = said("nft list ruleset");
    assert!(list.contains("ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:1053"), "{list}");
    assert!(list.contains("ip daddr 127.0.0.11 tcp dport 53 dnat to 127.0.0.11:2053"), "{list}");
    assert_eq!(list.matches("dnat").count(), 2, "{list}");
}
