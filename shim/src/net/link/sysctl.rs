//! Settings of an interface that only `/proc/sys/net` has; those of this thread's namespace.

use std::fs;
use std::path::PathBuf;

use crate::error::{Error, Result};

const NET: &str = "/proc/sys/net";

/// docker's word for the interface, which nobody knows when it is typed.
const INTERFACE: &str = "IFNAME";

/// Sets `net.FAMILY.conf.INTERFACE.KEY`.
pub(super) fn set(family: &str, interface: &str, key: &str, value: &str) -> Result<()> {
    write([NET, family, "conf", interface, key].iter().collect(), value)
}

/// Turns an interface's IPv6 on or off; where the kernel has none it is off.
pub(super) fn set_ipv6(interface: &str, on: bool) -> Result<()> {
    let path: PathBuf = [NET, "ipv6", "conf", interface, "disable_ipv6"].iter().collect();
    match fs::write(&path, if on { "0" } else { "1" }) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !on => Ok(()),
        other => other.map_err(|e| Error::io("write", &path, e)),
    }
}

/// Whether what goes from port to port of a bridge passes the rules of IP (br_netfilter).
pub(super) fn bridges_are_filtered() -> bool {
    ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"].iter().any(|key| {
        let path: PathBuf = [NET, "bridge", key].iter().collect();
        fs::read(path).is_ok_and(|value| value.first() != Some(&b'0'))
    })
}

/// Sets what was typed: `net.ipv4.conf.IFNAME.log_martians` to `1`.
pub(super) fn set_typed(interface: &str, key: &str, value: &str) -> Result<()> {
    write(path(interface, key)?, value)
}

/// Only an interface's own settings: the others are the namespace's, and `--sysctl` sets them.
fn path(interface: &str, key: &str) -> Result<PathBuf> {
    let parts: Vec<&str> = key.split('.').collect();
    let plain = |part: &&str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    match parts[..] {
        ["net", family, kind, INTERFACE, name] if [family, kind, name].iter().all(plain) => {
            Ok([NET, family, kind, interface, name].iter().collect())
        }
        _ => Err(Error::usage(format!(
            "sysctl {key} is not one of an interface; write net.ipv4.conf.IFNAME.KEY, or use --sysctl"
        ))),
    }
}

fn write(path: PathBuf, value: &str) -> Result<()> {
    fs::write(&path, value).map_err(|e| Error::io("write", &path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_sysctl_names_one_interface_and_leads_nowhere_else() {
        let at = path("eth0.5", "net.ipv4.conf.IFNAME.log_martians").unwrap();
        assert_eq!(at.to_str(), Some("/proc/sys/net/ipv4/conf/eth0.5/log_martians"));
        for key in [
            "net.ipv4.ip_forward",
            "net.ipv4.conf.eth0.log_martians",
            "kernel.conf.x.IFNAME.y",
            "net...IFNAME.x",
            "net.ipv4.conf.IFNAME./etc",
            "net.ipv4.conf.IFNAME.a.b",
        ] {
            assert!(path("eth0", key).is_err(), "{key}");
        }
    }
}
