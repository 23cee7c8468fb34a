//! Names of what there is, for a shell to complete.

use super::candidates::Kind;
use crate::host::Host;
use crate::model::Network;
use crate::settings::Daemon;

/// All names of this kind; none where a store can't be read.
pub fn of(host: &Host, kind: Kind) -> Vec<String> {
    match kind {
        Kind::Container => containers(host),
        Kind::Image => images(host),
        Kind::Network => networks(host),
        Kind::Volume => volumes(host),
        Kind::Object => [containers(host), images(host), networks(host), volumes(host)].concat(),
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

/// Looking makes no network: the default one is there unless daemon.json says otherwise.
fn networks(host: &Host) -> Vec<String> {
    let all = host.networks.list().unwrap_or_default();
    let mut names: Vec<String> = all.into_iter().map(|network| network.name).collect();
    names.retain(|name| name != Network::BRIDGE);
    if host.settings.daemon().is_ok_and(Daemon::has_bridge) {
        names.push(Network::BRIDGE.to_owned());
    }
    names.sort();
    names
}

fn volumes(host: &Host) -> Vec<String> {
    host.volumes.list().into_iter().map(|v| v.name).collect()
}
