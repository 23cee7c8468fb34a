//! Names of what there is, for a shell to complete.

use super::candidates::Kind;
use crate::host::Host;

/// All names of this kind; none where a store can't be read.
pub fn of(host: &Host, kind: Kind) -> Vec<String> {
    match kind {
        Kind::Container => containers(host),
        Kind::Image => images(host),
        Kind::Volume => volumes(host),
        Kind::Object => [containers(host), images(host), volumes(host)].concat(),
    }
}

fn containers(host: &Host) -> Vec<String> {
    let all = host.containers.list().unwrap_or_default();
    all.into_iter().map(|c| c.record.name).collect()
}

fn images(host: &Host) -> Vec<String> {
    let all = host.images().ok().and_then(|store| store.images().ok()).unwrap_or_default();
    let mut names = Vec::new();
    for image in all {
        for name in &image.names {
            let short = name.familiar();
            names.extend(short.strip_suffix(":latest").map(str::to_owned));
            names.push(short);
        }
    }
    names.sort();
    names
}

fn volumes(host: &Host) -> Vec<String> {
    host.volumes.list().into_iter().map(|v| v.name).collect()
}
