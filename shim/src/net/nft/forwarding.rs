//! Packets are forwarded; what was not forwarded before dhow turned that on is not forwarded now.

use std::fs;
use std::path::{Path, PathBuf};

use super::Table;
use super::layout::GUARDED;
use super::object::Element;
use super::wire::Requests;
use crate::error::{Error, Result};

const SWITCHES: [&str; 2] =
    ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"];
const DEVICES: &str = "/proc/sys/net/ipv6/conf";

/// What shall be forwarded, and what of the rest.
#[derive(Debug, Clone)]
pub struct Forwarding {
    /// IPv4 is.
    pub ipv4: bool,
    /// IPv6 is.
    pub ipv6: bool,
    /// What wasn't before still isn't (daemon.json's `ip-forward-no-drop` says no).
    pub guard: bool,
    /// The file that remembers which IPs dhow turned on: one of RUN, for both end with the boot.
    pub note: PathBuf,
}

/// Turns on what is off. The table has to be there.
///
/// The guard stands before the switch is touched: a kill between the two leaves a machine that
/// forwards nothing yet.
pub fn forwarding(table: &Table, want: &Forwarding) -> Result<()> {
    let mut note = fs::read_to_string(&want.note).unwrap_or_default();
    for (six, wanted) in [(false, want.ipv4), (true, want.ipv6)] {
        let switch = Path::new(SWITCHES[usize::from(six)]);
        // A kernel without IPv6 has nothing to turn on.
        if !wanted || !switch.exists() {
            continue;
        }
        let word = if six { "ipv6\n" } else { "ipv4\n" };
        let off = read(switch)? == "0";
        if !off && !note.contains(word) {
            continue;
        }
        if want.guard {
            guard(table, six)?;
        }
        if off {
            if want.guard && !note.contains(word) {
                note.push_str(word);
                fs::write(&want.note, &note).map_err(|e| Error::io("write", &want.note, e))?;
            }
            if six {
                keep_advertisements(Path::new(DEVICES))?;
            }
            turn(switch, "1")?;
        }
    }
    Ok(())
}

fn guard(table: &Table, six: bool) -> Result<()> {
    let element = Element::new(GUARDED, &[&[if six { 10 } else { 2 }]]);
    if table.present(std::slice::from_ref(&element))?.is_empty() {
        let mut batch = Requests::transaction();
        table.place.on(&mut batch).element(&element, false);
        table.socket.commit(batch)?;
    }
    Ok(())
}

/// A machine that gets its IPv6 address and route by advertisements goes on to.
///
/// KERNEL: who forwards ignores advertisements where `accept_ra` is 1, and drops the routes that
/// it has from them; 2 means "even so", and has to stand before the switch.
fn keep_advertisements(devices: &Path) -> Result<()> {
    let list = fs::read_dir(devices).map_err(|e| Error::io("list", devices, e))?;
    for device in list.flatten().map(|entry| entry.path()) {
        let accepts = device.join("accept_ra");
        // A device that went away meanwhile needs nothing.
        let says = |file: &Path, value: &str| read(file).is_ok_and(|text| text == value);
        if says(&accepts, "1") && says(&device.join("forwarding"), "0") {
            let _ = fs::write(&accepts, "2");
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<String> {
    let text = fs::read_to_string(file).map_err(|e| Error::io("read", file, e))?;
    Ok(text.trim().to_owned())
}

fn turn(switch: &Path, value: &str) -> Result<()> {
    fs::write(switch, value).map_err(|e| {
        let file = switch.display();
        Error::engine(format!(
            "write {file}: {e}; containers reach nothing outside until it is {value}, \
             or use --network host or none"
        ))
    })
}
