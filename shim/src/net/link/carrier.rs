//! Devices that carry at once.
//!
//! What a device is plugged into is noticed by a worker of the kernel's (linkwatch), some time after
//! it came up: until then a bridge drops what comes from the port and what goes to it. A first packet
//! that is lost comes again after a second, so that is what a client waits for.
//!
//! KERNEL: an IPv6 address joins its multicast group by a worker too (addrconf_dad_work()), which
//! nobody can hurry; the container isn't started by then.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};

use super::message::get;
use super::query::one;
use super::socket::{Listener, Socket};
use crate::error::Result;

/// The longest that is worth waiting: docker's.
const LONGEST: Duration = Duration::from_millis(200);

/// Has the kernel notice at once that each of `devices` of this thread's namespace carries; what doesn't is let be, as
/// whatever is plugged in may come up later.
///
/// KERNEL: since 6.8 whoever looks at a device has that done first (linkwatch_sync_dev() in
/// rtnl_getlink()), so this is 50 µs. Before, the worker tells all who listen when it has.
pub(super) fn await_up(socket: &Socket, devices: &[&str]) -> Result<()> {
    if carry(socket, devices)? {
        return Ok(());
    }
    let listener = Listener::here()?;
    let end = Instant::now() + LONGEST;
    // What was told before there was a listener.
    while !carry(socket, devices)? {
        let left = end.saturating_duration_since(Instant::now()).as_millis() as u16;
        let mut set = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        if left == 0 || poll(&mut set, left) == Ok(0) {
            break;
        }
        listener.drain();
    }
    Ok(())
}

fn carry(socket: &Socket, devices: &[&str]) -> Result<bool> {
    for device in devices {
        let told = socket.batch(&[get(device)])?;
        if !one(&told, device)?.carries {
            return Ok(false);
        }
    }
    Ok(true)
}
