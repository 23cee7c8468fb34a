//! The machine comes up, or goes down: all containers at once.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;

use super::control::end;
use super::protocol::Stopping;
use super::start::ensure;
use super::{is_active, restart, state};
use crate::error::Result;
use crate::host::Host;
use crate::model::{HostConfig, Record};
use crate::options::rights;

/// So many at once: starting is mostly waiting for the kernel.
const SIDE_BY_SIDE: usize = 8;

/// Ending is waiting for the containers.
const ENDING_AT_ONCE: usize = 256;

/// A container and what became of it.
pub type Outcome = (Record, Result<()>);

/// Starts what its restart policy wants to run, and does not. Doing it twice does no harm.
pub fn revive(host: &Host) -> Result<Vec<Outcome>> {
    let mut waiting = Vec::new();
    for container in host.containers.list()? {
        let state = state(host, &container.record)?;
        let policy = &container.record.host_config.restart_policy;
        if !is_active(&state) && restart::at_boot(policy, &state) {
            waiting.push(container.record);
        }
    }
    let mut all = Vec::new();
    while !waiting.is_empty() {
        // Whose namespaces another joins has to be there before it.
        let names: BTreeSet<String> =
            waiting.iter().flat_map(|r| [r.name.clone(), r.id.clone()]).collect();
        let bound = |record: &Record| joined(&record.host_config).any(|name| names.contains(name));
        let (later, mut now): (Vec<_>, Vec<_>) = waiting.into_iter().partition(bound);
        waiting = later;
        if now.is_empty() {
            now = std::mem::take(&mut waiting); // in a circle: each says so
        }
        all.extend(side_by_side(now, SIDE_BY_SIDE, |record| ensure(host, record)));
    }
    Ok(all)
}

/// Ends all that runs; it is not the user who stopped it.
pub fn close(host: &Host) -> Result<Vec<Outcome>> {
    let mut running = Vec::new();
    for container in host.containers.list()? {
        if is_active(&state(host, &container.record)?) {
            running.push(container.record);
        }
    }
    let mut all = Vec::new();
    while !running.is_empty() {
        // Who needs another ends before it.
        let needed: BTreeSet<String> =
            running.iter().flat_map(|r| joined(&r.host_config)).map(str::to_owned).collect();
        let held = |r: &Record| needed.contains(&r.name) || needed.contains(&r.id);
        let (later, mut now): (Vec<_>, Vec<_>) = running.into_iter().partition(held);
        running = later;
        if now.is_empty() {
            now = std::mem::take(&mut running); // in a circle
        }
        // They all wait at once, each as long as it was made to.
        all.extend(side_by_side(now, ENDING_AT_ONCE, |record| {
            let signal = rights::signal(&record.config.stop_signal).unwrap_or(libc::SIGTERM);
            let patience = rights::patience(record.stop_timeout());
            end(host, record, Stopping::ByMachine, signal, patience)
        }));
    }
    Ok(all)
}

/// Names of the containers that this one needs: whose namespaces it joins, and whom it is linked to.
pub fn joined(config: &HostConfig) -> impl Iterator<Item = &str> {
    let modes = [&config.network_mode, &config.pid_mode, &config.ipc_mode];
    let links = config.links.iter().flatten().filter_map(|link| link.rsplit_once(':'));
    let modes = modes.into_iter().filter_map(|mode| mode.strip_prefix("container:"));
    modes.chain(links.map(|(name, _)| name))
}

fn side_by_side(
    records: Vec<Record>,
    most: usize,
    act: impl Fn(&Record) -> Result<()> + Sync,
) -> Vec<Outcome> {
    let workers = most.min(records.len());
    let (queue, done) = (Mutex::new(records.into_iter()), Mutex::new(Vec::new()));
    let next = || queue.lock().ok()?.next();
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(record) = next() {
                    let result = act(&record);
                    if let Ok(mut done) = done.lock() {
                        done.push((record, result));
                    }
                }
            });
        }
    });
    done.into_inner().unwrap_or_default()
}
