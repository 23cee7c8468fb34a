//! What a world's devices and rules are called: worlds stand side by side in one network namespace.

use std::path::{Path, PathBuf};

use dhow_image::digest::Digest;

use crate::host::Paths;

/// A world, as its devices and its nftables table know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// The nftables table of all its rules (family inet).
    pub table: String,
    /// The device of its default network.
    pub bridge: String,
    /// RUN: every device's alias ends with it.
    pub run: PathBuf,
}

impl World {
    /// The world of `paths`: the machine's usual one has the plain names.
    pub fn of(paths: &Paths) -> Self {
        let run = paths.run.clone();
        if paths.root == Path::new("/var/lib/dhow") && run == Path::new("/run/dhow") {
            return Self { table: "dhow".into(), bridge: "dhow0".into(), run };
        }
        let digest = Digest::of(run.as_os_str().as_encoded_bytes());
        let short = &digest.hex()[..8];
        Self { table: format!("dhow-{short}"), bridge: format!("dh-{short}"), run }
    }

    /// The alias of a user network's device or of the default one's.
    pub fn alias_of_network(&self, name: &str, id: &str) -> String {
        format!("dhow network {name} {id} {}", self.run.display())
    }

    /// The alias of a container's device on the host.
    pub fn alias_of_endpoint(&self, container: &str, network: &str) -> String {
        format!("dhow {container} {network} {}", self.run.display())
    }
}

/// A user network's bridge, by its id.
pub fn bridge_of(network: &str) -> String {
    format!("dh-{}", &network[..network.len().min(12)])
}

/// The host's end of a container's pair: at most 15 bytes, as the kernel wants.
pub fn host_end(container: &str, number: usize) -> String {
    format!("dh{}.{number}", &container[..container.len().min(10)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worlds_have_names_of_their_own_that_the_kernel_takes() {
        let of = |root: &str, run: &str| World::of(&Paths { root: root.into(), run: run.into() });
        assert_eq!(of("/var/lib/dhow", "/run/dhow").bridge, "dhow0");
        assert_eq!(of("/var/lib/dhow", "/run/dhow").table, "dhow");
        let (one, other) = (of("/var/lib/dhow", "/tmp/run"), of("/x", "/run/dhow"));
        assert_ne!(one.table, other.table);
        assert!(one.bridge.len() == 11 && one.table.len() == 13, "{one:?}");
        let id = "0123456789abcdef".repeat(4);
        assert!(bridge_of(&id).len() == 15 && host_end(&id, 99).len() == 15);
    }
}
