//! A container's networks, changed while it runs or before it does: docker's rules, the monitor's
//! work, and the record.

use super::attach::Line;
use super::birth::Birth;
use super::lock::Lock;
use super::protocol::Frame;
use super::{clear, is_active, process, state};
use crate::bundle::etc;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::network::Driver;
use crate::model::{Endpoint, Network, Record, Wish};
use crate::options::networks::{check_endpoint, is_private};

/// Puts the container into one more network: now, if it runs, and in all its lives to come.
pub fn connect(host: &Host, record: &Record, wish: Wish) -> Result<()> {
    let network = host.networks.find(&wish.network)?;
    let wish = Wish { network: network.name.clone(), ..wish };
    may_join(record, &network)?;
    check_endpoint(&network, &wish)
        .map_err(|why| Error::usage(format!("invalid endpoint settings: {why}")))?;
    let now = state(host, record)?;
    let there = record.networks.iter().any(|w| w.network == wish.network);
    if there && is_active(&now) {
        return Err(Error::conflict(format!(
            "endpoint with name {} already exists in network {}",
            record.name, network.name
        )));
    }
    if there {
        return Ok(());
    }
    let idle = idle(host, record)?;
    let done = idle.is_none() && done_by_life(host, record, &Frame::Connect(wish.clone()))?;
    let kept = host.containers.change(&record.id, |fresh| {
        if !fresh.networks.iter().any(|w| w.network == wish.network) {
            fresh.networks.push(wish.clone());
        }
        Ok(())
    });
    let lives = idle.is_none();
    let_go(host, record, idle);
    if kept.is_err() && done {
        let _ = Line::ask(host, record, &Frame::Disconnect(wish.network));
        return kept.map(drop);
    }
    kept?;
    if done || !lives {
        return Ok(());
    }
    // A life that has begun meanwhile may have read the record of before.
    done_by_life(host, record, &Frame::Connect(wish.clone())).map(drop).inspect_err(|_| {
        let _ = host.containers.change(&record.id, |fresh| {
            fresh.networks.retain(|w| w.network != wish.network);
            Ok(())
        });
    })
}

/// Has the life that is there do it; false between two lives, when it is the record's alone.
fn done_by_life(host: &Host, record: &Record, wish: &Frame) -> Result<bool> {
    let mut tries = 2;
    loop {
        if !is_active(&state(host, record)?) {
            return Ok(false); // it has ended for good
        }
        // One that is about to live answers when it does.
        match Line::ask(host, record, wish) {
            Ok(()) => return Ok(true),
            Err(error) => {
                let lives = state(host, record)?.status.is_alive();
                tries -= 1;
                match lives {
                    false => return Ok(false),
                    // It may have been about to live when it was asked.
                    true if tries > 0 => {}
                    true => return Err(error),
                }
            }
        }
    }
}

/// The lock of a container that doesn't run: nobody starts it while its record changes.
fn idle(host: &Host, record: &Record) -> Result<Option<Lock>> {
    let lock = Lock::of_idle(host, record)?;
    lock.iter().for_each(Lock::mark_ending);
    Ok(lock)
}

fn let_go(host: &Host, record: &Record, idle: Option<Lock>) {
    if idle.is_some() {
        clear(host, &record.id);
    }
}

fn may_join(record: &Record, network: &Network) -> Result<()> {
    let mode = record.host_config.network_mode.as_str();
    if network.driver == Driver::Host && mode != "host" {
        return Err(Error::usage(
            "cannot connect container to host network - container must be created in host network mode",
        ));
    }
    if !is_private(mode) {
        return Err(Error::usage(
            "container sharing network namespace with another container or host cannot be \
             connected to any other network",
        ));
    }
    if mode == "none" || network.driver == Driver::Null {
        return Err(Error::usage(
            "container cannot be connected to multiple networks with one of the networks in \
             private (none) mode",
        ));
    }
    Ok(())
}

/// Takes the container out of the network called `name`.
pub fn disconnect(host: &Host, record: &Record, name: &str, force: bool) -> Result<()> {
    let now = state(host, record)?;
    let mode = record.host_config.network_mode.as_str();
    if mode == "host" && name == "host" {
        return Err(Error::usage(
            "cannot disconnect container from host network - container was created in host network mode",
        ));
    }
    let alone = mode == "none" && name == "none";
    if !alone && !record.networks.iter().any(|wish| wish.network == name) {
        let the = if now.status.is_alive() { "" } else { "the " };
        return Err(Error::usage(format!(
            "container {} is not connected to {the}network {name}",
            record.id
        )));
    }
    let idle = idle(host, record)?;
    let leave = || {
        let left = done_by_life(host, record, &Frame::Disconnect(name.to_owned()));
        if force { Ok(left.unwrap_or(true)) } else { left }
    };
    let lives = idle.is_none() && !alone;
    let done = lives && leave()?;
    let kept = host.containers.change(&record.id, |fresh| {
        fresh.networks.retain(|wish| wish.network != name);
        if alone {
            // Isolated as before, and free to join others.
            Network::BRIDGE.clone_into(&mut fresh.host_config.network_mode);
        }
        Ok(())
    });
    let_go(host, record, idle);
    kept?;
    // A life that has begun meanwhile may have read the record of before.
    if lives && !done { leave().map(drop) } else { Ok(()) }
}

/// The record has changed (`rename`): whoever asks for its names hears the new ones.
pub fn renew(host: &Host, record: &Record) -> Result<()> {
    if record.networks.is_empty() {
        return Ok(());
    }
    done_by_life(host, record, &Frame::Renew).map(drop)
}

/// Takes away the link `PARENT/ALIAS`.
pub fn unlink(host: &Host, link: &str) -> Result<()> {
    let Some((parent, alias)) = link.trim_start_matches('/').rsplit_once('/') else {
        host.containers.find(link)?;
        let why = "Conflict, cannot remove the default link name of the container";
        return Err(Error::conflict(why));
    };
    let parent = host.containers.find(parent)?.record;
    let unknown = || Error::not_found(format!("No such container: {link}"));
    let changed = host.containers.change(&parent.id, |fresh| {
        let links = fresh.host_config.links.get_or_insert_default();
        let before = links.len();
        links.retain(|link| link.rsplit_once(':').is_none_or(|(_, of)| of != alias));
        let gone = links.len() < before;
        if links.is_empty() {
            fresh.host_config.links = None;
        }
        gone.then_some(()).ok_or_else(unknown)
    });
    changed?;
    if state(host, &parent)?.status.is_alive() {
        etc::unlinked(host, &parent, alias)?;
    }
    Ok(())
}

/// In the monitor: one more network.
pub(super) fn connected(birth: &mut Birth<'_>, wish: &Wish) -> Result<()> {
    let mut record = birth.newest().clone();
    if birth.net.endpoints().iter().any(|e| e.network == wish.network) {
        return Ok(()); // another command's
    }
    record.networks.push(wish.clone());
    let ended = || Error::conflict(format!("Container {} is not running", record.name));
    birth.net.enter(process::namespace(&birth.state, "net")?.ok_or_else(ended)?);
    let joined = birth.net.connect(birth.host, &record, wish).and_then(|()| {
        let all = birth.net.endpoints();
        let new = all.iter().find(|e| e.network == wish.network);
        new.map_or(Ok(()), |new| etc::joined(birth.host, &record, &all, new))
    });
    if let Err(error) = joined {
        let before = birth.newest().clone();
        let _ = birth.net.disconnect(birth.host, &before, &wish.network);
        return Err(error);
    }
    let all = birth.net.endpoints();
    birth.newest = Some(record);
    birth.state.published = birth.net.published();
    keep(birth, all);
    tell(birth, "connect", &wish.network);
    Ok(())
}

/// In the monitor: one network less.
pub(super) fn disconnected(birth: &mut Birth<'_>, name: &str) -> Result<()> {
    let gone = birth.net.endpoints().into_iter().find(|endpoint| endpoint.network == name);
    let mut record = birth.newest().clone();
    record.networks.retain(|wish| wish.network != name);
    let left = birth.net.disconnect(birth.host, &record, name);
    let all = birth.net.endpoints();
    if all.iter().any(|endpoint| endpoint.network == name) {
        return left;
    }
    let cleared = gone.map_or(Ok(()), |gone| etc::left(birth.host, &record, &gone));
    birth.newest = Some(record);
    keep(birth, all);
    tell(birth, "disconnect", name);
    left.and(cleared)
}

/// In the monitor: the record was changed.
pub(super) fn renewed(birth: &mut Birth<'_>) -> Result<()> {
    if let Some(record) = birth.host.containers.record(&birth.record.id)? {
        birth.net.rename(birth.host, &record)?;
        birth.newest = Some(record);
        let all = birth.net.endpoints();
        keep(birth, all);
    }
    Ok(())
}

/// A full disk hides it from `inspect`; it is there all the same.
fn keep(birth: &mut Birth<'_>, endpoints: Vec<Endpoint>) {
    birth.state.endpoints = endpoints;
    let _ = birth.host.containers.write_state(birth.record, &birth.state);
}

fn tell(birth: &Birth<'_>, action: &str, network: &str) {
    if let Ok(Some(network)) = birth.host.networks.get(network) {
        birth.host.networks.tell(action, &network, &[("container", &birth.record.id)]);
    }
}
