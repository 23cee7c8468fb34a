//! `linux.netDevices`: devices of the runtime's network namespace go to the container's.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use crate::error::{Error, Result, describe};
use crate::init::procfs::Procfs;
use crate::netlink::{Device, Netlink};
use crate::plan::Plan;
use crate::validate::linux::{NetDevice, ns};
use crate::validate::pointer::escaped;

/// Both ends of the way.
struct Way {
    here: Netlink,
    there: Netlink,
    space: OwnedFd,
}

/// Moves them all, once each is known to be able to go.
///
/// SPEC: config-linux.md §Network Devices: none is taken back, neither at the end nor when a
/// later one fails: they belong to the namespace then.
pub fn carry(plan: &Plan, proc: &Procfs, init: Pid) -> Result<()> {
    if plan.net_devices.is_empty() {
        return Ok(());
    }
    let way = Way::open(plan, proc, init)
        .map_err(|e| Error::system("open", "the container's network namespace", e))?;
    let found: Vec<Device> =
        plan.net_devices.iter().map(|device| way.check(device)).collect::<Result<_>>()?;
    for (device, link) in plan.net_devices.iter().zip(found) {
        way.carry(device, link)
            .map_err(|(step, errno)| refused(device, format!("{step}: {}", describe(errno))))?;
    }
    Ok(())
}

fn refused(device: &NetDevice, why: impl Into<String>) -> Error {
    Error::config(format!("/linux/netDevices/{}", escaped(&device.name)), why)
}

impl Way {
    fn open(plan: &Plan, proc: &Procfs, init: Pid) -> nix::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let space = match plan.spaces.join.iter().find(|(flag, _)| *flag == ns::NET) {
            Some((_, path)) => open(path.as_c_str(), flags, Mode::empty())?,
            None => proc.namespace(init, "net")?,
        };
        let own = open(c"/proc/self/ns/net", flags, Mode::empty())?;
        let here = Netlink::open()?;
        setns(&space, CloneFlags::CLONE_NEWNET)?;
        let there = Netlink::open();
        setns(&own, CloneFlags::CLONE_NEWNET)?;
        Ok(Self { here, there: there?, space })
    }

    fn check(&self, device: &NetDevice) -> Result<Device> {
        let link = self.here.find(&device.name).map_err(|errno| {
            let why = format!("there is no network device {}: {}", device.name, describe(errno));
            refused(device, why)
        })?;
        if !device.template() && self.there.find(&device.inside).is_ok() {
            let why = format!("the container has a network device {} already", device.inside);
            return Err(refused(device, why));
        }
        Ok(link)
    }

    fn carry(
        &self,
        device: &NetDevice,
        link: Device,
    ) -> std::result::Result<(), (&'static str, Errno)> {
        let step = |what| move |errno| (what, errno);
        // KERNEL: the move takes it down, and its addresses away, once nothing speaks against it:
        // what may not go (as `lo`) stays as it is.
        let addresses = self.here.addresses(link).map_err(step("read its addresses"))?;
        let before = if device.template() {
            self.there.devices().map_err(step("list the container's devices"))?
        } else {
            Vec::new()
        };
        self.here.send(link, &device.inside, &self.space).map_err(step("move it"))?;
        let link = if device.template() {
            let after = self.there.devices().map_err(step("list the container's devices"))?;
            after.into_iter().find(|link| !before.contains(link)).ok_or(Errno::ENODEV)
        } else {
            self.there.find(&device.inside)
        };
        let link = link.map_err(step("find it in the container"))?;
        for address in &addresses {
            self.there.give(link, address).map_err(step("give it its address back"))?;
        }
        self.there.up(link).map_err(step("set it up"))
    }
}
