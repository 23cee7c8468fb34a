//! What the kernel refused, as a line for the user: what, on which device, why, what to do.

use nix::errno::Errno;

use super::message::Request;
use super::socket::Failure;
use crate::error::{Error, Kind};

/// `create bridge dhow0: Operation not permitted; …`
pub(super) fn of(request: &Request<'_>, failure: &Failure) -> Error {
    let errno = Errno::from_raw(failure.errno);
    let text = failure.text.trim_end_matches('.');
    let own = if text.is_empty() { String::new() } else { format!(" ({text})") };
    let advice = advice(request.what, errno).map(|what| format!("; {what}")).unwrap_or_default();
    let line = format!("{} {}: {}{own}{advice}", request.what, request.device, errno.desc());
    let kind = if errno == Errno::EEXIST { Kind::Conflict } else { Kind::Engine };
    Error::new(kind, line)
}

/// What to do, where it is known.
fn advice(what: &str, errno: Errno) -> Option<&'static str> {
    let of_kind = |kind: &str| what.ends_with(kind);
    Some(match errno {
        Errno::EPERM => "networks of containers take root, or --network none or host",
        // KERNEL: rtnl_newlink() loads rtnl-link-KIND itself; what is missing then is not installed.
        Errno::EOPNOTSUPP if of_kind("macvlan") => {
            "this kernel has no macvlan; install its module macvlan, or take a bridge network"
        }
        Errno::EOPNOTSUPP if of_kind("ipvlan") => {
            "this kernel has no ipvlan; install its module ipvlan, or take a macvlan or bridge network"
        }
        Errno::EOPNOTSUPP if of_kind("vlan") => {
            "this kernel has no VLANs; install its module 8021q, or name a parent without a number"
        }
        Errno::EOPNOTSUPP if of_kind("dummy") => {
            "this kernel has no dummy devices; install its module dummy, or name a parent: -o parent=eth0"
        }
        Errno::EOPNOTSUPP if of_kind("pair") => "this kernel has no veth; install its module veth",
        Errno::EOPNOTSUPP if of_kind("bridge") => {
            "this kernel has no bridges; install its module bridge"
        }
        // KERNEL: BR_MAX_PORTS is 1024, and 0 isn't one.
        Errno::EXFULL => "a bridge has at most 1023 containers; make another network",
        Errno::EBUSY if of_kind("macvlan") || of_kind("ipvlan") => {
            "an interface carries macvlan or ipvlan, not both, and one container where the mode is passthru"
        }
        Errno::EINVAL if of_kind("macvlan") => {
            "with mode passthru an interface carries one container alone"
        }
        Errno::ENETUNREACH | Errno::EHOSTUNREACH => "the gateway is not in a subnet of the network",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::link::message::get;

    #[test]
    fn a_refusal_is_one_line_with_the_kernels_words() {
        let mut request = get("eth0");
        request.what = "create ipvlan";
        let failure = Failure { errno: libc::EOPNOTSUPP, text: "Unknown device type.".into() };
        let line = of(&request, &failure).message;
        assert!(line.starts_with("create ipvlan eth0: Operation not supported"), "{line}");
        assert!(line.contains("(Unknown device type); this kernel has no ipvlan"), "{line}");
        let taken = Failure { errno: libc::EEXIST, text: String::new() };
        assert_eq!(of(&request, &taken).kind, Kind::Conflict);
        assert_eq!(of(&request, &taken).message, "create ipvlan eth0: File exists");
    }
}
