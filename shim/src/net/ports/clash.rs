//! Who has the port: the words for it, and where they come from.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::wanted::Want;
use super::{Target, joined};
use crate::error::Error;
use crate::host::Host;
use crate::model::{Protocol, Published};

/// Tells which container has a port.
pub type Holder<'a> = dyn Fn(&Published) -> Option<String> + 'a;

/// Looks for the container of this world, other than `own`, that has a port.
pub fn holder<'a>(host: &'a Host, own: &'a str) -> impl Fn(&Published) -> Option<String> + 'a {
    move |wanted| {
        let all = host.containers.list().ok()?;
        let has = |p: &Published| {
            (p.protocol, p.host_port) == (wanted.protocol, wanted.host_port)
                && overlap(p.host_ip, wanted.host_ip)
        };
        let found =
            all.into_iter().find(|c| c.record.id != own && c.state.published.iter().any(has));
        found.map(|c| c.record.name)
    }
}

/// The port is taken: docker's words, then whose it is.
pub fn clash(want: Want, place: IpAddr, port: u16, to: Target, holder: &Holder<'_>) -> Error {
    let published =
        Published { port: want.port, protocol: want.protocol, host_ip: place, host_port: port };
    if let Some(name) = holder(&published) {
        return Error::conflict(format!(
            "Bind for {place}:{port} failed: port is already allocated; container \"{name}\" has it"
        ));
    }
    let whose = match owner(Path::new("/proc"), &published) {
        Some((pid, name)) => format!("; process {pid} ({name}) has it"),
        None => String::new(),
    };
    let what = binding(want, place, port, to);
    Error::conflict(format!("failed to bind host port for {what}: address already in use{whose}"))
}

/// How docker writes a binding: `0.0.0.0:8080:172.17.0.2:80/tcp`.
pub fn binding(want: Want, place: IpAddr, port: u16, to: Target) -> String {
    let inside = match to.behind(place) {
        Some(ip) => joined(ip, want.port),
        None => want.port.to_string(),
    };
    format!("{}:{inside}/{}", joined(place, port), want.protocol.as_str())
}

fn overlap(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4() && (a == b || a.is_unspecified() || b.is_unspecified())
}

/// The process whose socket it is, by the kernel's tables: number and name.
fn owner(proc: &Path, wanted: &Published) -> Option<(i32, String)> {
    let mut inodes = BTreeSet::new();
    for (file, listens) in match wanted.protocol {
        Protocol::Tcp => [("tcp", true), ("tcp6", true)],
        Protocol::Udp => [("udp", false), ("udp6", false)],
        Protocol::Sctp => return None,
    } {
        let text = std::fs::read_to_string(proc.join("self/net").join(file)).unwrap_or_default();
        inodes.extend(text.lines().skip(1).filter_map(|line| socket_of(line, wanted, listens)));
    }
    let processes = std::fs::read_dir(proc).ok()?.flatten();
    let mut pids: Vec<i32> =
        processes.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let pid = pids.into_iter().find(|pid| has_one(&proc.join(pid.to_string()), &inodes))?;
    let name = std::fs::read_to_string(proc.join(pid.to_string()).join("comm")).ok()?;
    Some((pid, name.trim().to_owned()))
}

fn has_one(process: &Path, inodes: &BTreeSet<u64>) -> bool {
    let files = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|to| {
        let number = to.to_str().and_then(|t| t.strip_prefix("socket:[")?.strip_suffix(']'));
        number.and_then(|n| n.parse().ok()).is_some_and(|n| inodes.contains(&n))
    })
}

/// The inode of a line of /proc/net/tcp that is in the way of `wanted`.
fn socket_of(line: &str, wanted: &Published, listens: bool) -> Option<u64> {
    const LISTEN: &str = "0A";
    let mut words = line.split_whitespace();
    let local = words.nth(1)?;
    let state = words.nth(1)?;
    let (ip, port) = local.split_once(':')?;
    if u16::from_str_radix(port, 16).ok()? != wanted.host_port || listens && state != LISTEN {
        return None;
    }
    let ip = address(ip)?;
    // A socket of all IPv6 addresses may have all of IPv4's, too.
    let all = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    if !overlap(ip.to_canonical(), wanted.host_ip) && ip != all {
        return None;
    }
    words.nth(5)?.parse().ok().filter(|inode| *inode != 0)
}

/// KERNEL: addresses stand there as 32-bit words in the machine's order (proc_pid_net(5)).
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let bytes = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(ip: &str, protocol: Protocol) -> Published {
        Published { port: 1, protocol, host_ip: ip.parse().unwrap(), host_port: 8080 }
    }

    #[test]
    fn the_kernels_tables_are_read() {
        let line = |local: &str, state: &str| {
            format!(
                "  0: {local}:1F90 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 777 1"
            )
        };
        let local = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
        let (all, near) = (wanted("0.0.0.0", Protocol::Tcp), wanted("127.0.0.1", Protocol::Tcp));
        let (mine, other) = (local([127, 0, 0, 1]), local([10, 0, 0, 1]));
        assert_eq!(socket_of(&line(&mine, "0A"), &all, true), Some(777));
        assert_eq!(socket_of(&line(&mine, "0A"), &near, true), Some(777));
        assert_eq!(socket_of(&line(&other, "0A"), &near, true), None);
        assert_eq!(socket_of(&line(&local([0; 4]), "0A"), &near, true), Some(777));
        // A connection is in nobody's way; of UDP, every socket is.
        assert_eq!(socket_of(&line(&mine, "01"), &near, true), None);
        assert_eq!(socket_of(&line(&mine, "07"), &near, false), Some(777));
        assert_eq!(socket_of(&line(&"0".repeat(32), "0A"), &near, true), Some(777));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "[ 0-9A-F:é]{0,80}") {
            socket_of(&line, &wanted("::", Protocol::Udp), false);
        }

        #[test]
        fn addresses_are_read_in_the_machines_order(v4 in any::<[u8; 4]>(), v6 in any::<[u8; 16]>()) {
            let word = |b: &[u8]| format!("{:08X}", u32::from_ne_bytes(b.try_into().unwrap()));
            prop_assert_eq!(address(&word(&v4)), Some(IpAddr::from(v4)));
            let hex: String = v6.chunks(4).map(word).collect();
            prop_assert_eq!(address(&hex), Some(IpAddr::from(v6)));
        }
    }
}
