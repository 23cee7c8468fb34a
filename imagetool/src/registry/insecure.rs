//! Which registries the machine's owner has named as insecure.

use std::net::IpAddr;

/// Whether `host[:port]` is in the list: by its name, or by an address in a network of it.
pub(super) fn named(list: &[String], host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let address: Option<IpAddr> = bare.parse().ok();
    list.iter().any(|entry| {
        entry.eq_ignore_ascii_case(host)
            || address.is_some_and(|a| within(entry, a).unwrap_or(false))
    })
}

/// Whether an address lies in `network/prefix`; nothing if that is no network.
fn within(network: &str, address: IpAddr) -> Option<bool> {
    let (start, prefix) = network.split_once('/')?;
    let prefix: u32 = prefix.parse().ok()?;
    match (start.parse().ok()?, address) {
        (IpAddr::V4(start), IpAddr::V4(address)) if prefix <= 32 => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            Some(start.to_bits() & mask == address.to_bits() & mask)
        }
        (IpAddr::V6(start), IpAddr::V6(address)) if prefix <= 128 => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            Some(start.to_bits() & mask == address.to_bits() & mask)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_by_name_and_by_network() {
        let list = ["r.io:5000", "10.0.0.0/8", "fd00::/8", "0.0.0.0/40", "x/y"].map(str::to_owned);
        for yes in ["r.io:5000", "R.io:5000", "10.1.2.3:5000", "10.1.2.3", "[fd12::1]:5000"] {
            assert!(named(&list, yes), "{yes}");
        }
        for no in ["r.io", "11.0.0.1", "[fe80::1]", "10.evil.io", ""] {
            assert!(!named(&list, no), "{no}");
        }
        assert!(named(&["0.0.0.0/0".into()], "9.9.9.9"));
    }
}
