//! `annotations` that this runtime acts upon: crun's names, which podman and its users write.
//!
//! DIFFERS: crun's `run.oci.hooks.stdout` and `.stderr` are not among them: engines pass on what
//! an image says, and they would have the runtime write to any file of the host.

use std::collections::BTreeMap;

/// The program keeps the groups of the runtime's caller (podman's `--group-add keep-groups`).
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
/// A name in `linux.seccomp` that is no system call of this machine is an error.
pub const KNOWN_CALLS: &str = "run.oci.seccomp_fail_unknown_syscall";
/// What `kill` sends when no signal is named.
pub const STOP_SIGNAL: &str = "org.opencontainers.image.stopSignal";

/// Whether one that is on or off is on. As crun: whatever it says but 0.
pub fn is_on(map: &BTreeMap<String, String>, name: &str) -> bool {
    map.get(name).is_some_and(|value| value != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_zero_is_off() {
        assert!(is_on(&map(KEEP_GROUPS, "1"), KEEP_GROUPS));
        assert!(!is_on(&map(KEEP_GROUPS, "0"), KEEP_GROUPS));
        assert!(!is_on(&map(KEEP_GROUPS, "1"), KNOWN_CALLS));
    }
}
