//! Where something is mounted in a RUN's container, and what stands there is no part of a layer.

use super::Container;
use crate::bundle::config::MOUNTS;
use crate::layer::name::Name;

/// Files that every container gets.
pub(super) const FILES: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];

/// The places where a container has mounts, relative to its root: `etc/hosts`, `proc`. An entry of
/// its layer that is there for one of them alone is left out ([`crate::layer::diff`]).
pub fn places(container: &Container<'_>) -> Vec<Vec<u8>> {
    let kernel = MOUNTS.iter().map(|(to, ..)| *to).filter(|to| to.matches('/').count() == 1);
    let own = container.mounts.iter().map(|mount| mount.target.as_str());
    let all = kernel.chain(FILES).chain(own);
    all.filter_map(|path| Name::clean(path.as_bytes()).ok())
        .filter(|name| !name.is_root())
        .map(|name| name.as_bytes().to_vec())
        .collect()
}
