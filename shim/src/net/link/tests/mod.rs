//! On the real kernel, each case in network namespaces of its own; as root.

mod answers;
mod bridges;
mod figures;
mod kinds;
mod plugs;

use std::fs::File;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use netlink_packet_route::AddressFamily;
use nix::sched::{CloneFlags, unshare};

use super::query::all_routes;
use super::*;
use crate::model::network::Subnet;

/// Runs a case in a namespace of its own, that of a thread.
fn alone(case: impl FnOnce() + Send + 'static) {
    if nix::unistd::geteuid().is_root() {
        let ran = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            case();
        });
        ran.join().unwrap();
    }
}

/// Another namespace, which lives as long as the descriptor.
fn namespace() -> File {
    let made = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        dhow_kernel::net::loopback_up().unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    });
    made.join().unwrap()
}

fn subnet(text: &str) -> Subnet {
    text.parse().unwrap()
}

fn bridge() -> Bridge {
    Bridge {
        name: "dh-test".into(),
        alias: "dhow network test 0123 /run/test".into(),
        mtu: None,
        addresses: vec![subnet("10.9.0.1/24"), subnet("fd09::1/64")],
        ipv6: true,
        adopts: false,
    }
}

fn veth(number: u8) -> Plug {
    Plug {
        kind: Kind::Veth {
            host_name: format!("dhtest.{number}"),
            bridge: "dh-test".into(),
            alias: format!("dhow {number:064} 0123 /run/test"),
            isolated: false,
        },
        inside: Inside {
            interface: "eth0".into(),
            mac: format!("02:42:0a:09:00:{number:02x}"),
            addresses: vec![
                subnet(&format!("10.9.0.{number}/24")),
                subnet(&format!("fd09::{number:x}/64")),
            ],
            gateway4: Some("10.9.0.1".parse().unwrap()),
            gateway6: Some("fd09::1".parse().unwrap()),
            ..Inside::default()
        },
    }
}

fn get(socket: &Socket, name: &str) -> Found {
    find(socket, name).unwrap().unwrap_or_else(|| panic!("no {name}"))
}

fn addresses_on(socket: &Socket, name: &str) -> Vec<String> {
    let index = get(socket, name).index;
    let all = addresses(socket).unwrap().into_iter().filter(|a| a.index == index);
    all.map(|a| a.subnet.to_string()).collect()
}

fn defaults(socket: &Socket) -> Vec<String> {
    let both = [AddressFamily::Inet, AddressFamily::Inet6];
    let all = both.into_iter().flat_map(|family| all_routes(socket, family).unwrap());
    let all = all.filter(|r| r.to.bits == 0 && r.kind == libc::RTN_UNICAST);
    all.map(|r| r.gateway.map_or("device".into(), |to| to.to_string())).collect()
}

/// Something is said from one namespace to another, by TCP.
fn reaches(from: &File, to: &File, address: &str) {
    let address: IpAddr = address.parse().unwrap();
    let listener = enter(to.as_fd(), || TcpListener::bind((address, 0)).unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let limit = std::time::Duration::from_secs(10);
    let begun = std::time::Instant::now();
    let connected =
        enter(from.as_fd(), || TcpStream::connect_timeout(&(address, port).into(), limit));
    // A first packet that is lost comes again after a second; see `carrier` for IPv6.
    assert!(
        address.is_ipv6() || begun.elapsed().as_millis() < 900,
        "{address} after {:?}",
        begun.elapsed()
    );
    connected.unwrap().unwrap_or_else(|e| panic!("{address}: {e}"));
}

fn ip(script: &str) {
    let done = std::process::Command::new("sh").args(["-ec", script]).status().unwrap();
    assert!(done.success(), "{script}");
}
