//! The last thing given away: capabilities. Loading a filter may take one of them.

use dhow_kernel::caps;

use super::fault::{Because, Cause, Done};
use super::protocol::{Link, Message};
use crate::validate::process::{Capabilities, Process};

/// Takes back what a change of user id has made ineffective, where a filter is yet to be loaded.
///
/// KERNEL: capabilities(7): PR_SET_KEEPCAPS keeps the permitted set alone.
pub fn hold(p: &Process, filter: bool) -> Done {
    if p.uid == 0 || !filter || p.no_new_privileges {
        return Ok(());
    }
    let own = caps::get().because("capget", "")?;
    caps::set(caps::Sets { effective: own.permitted, ..own }).because("capset", "")
}

/// Leaves the process its own sets.
///
/// SPEC: config.md §Linux Process, capabilities: what can't be granted is a warning, no error.
pub fn perform(asked: Capabilities, link: &Link) -> Done {
    if asked.effective & !asked.permitted != 0 {
        return Err(Cause::rule("process.capabilities: effective has what permitted lacks"));
    }
    // KERNEL: capset(2): EPERM where more is permitted than is. capabilities(7): ambient is only
    // what is inheritable, too.
    let sets = caps::Sets {
        effective: asked.effective,
        permitted: asked.permitted,
        inheritable: asked.inheritable,
    };
    if asked.inheritable == 0 && caps::set(sets).is_ok() {
        return Ok(());
    }
    caps::clear_ambient().because("clear", "the ambient capabilities")?;
    let own = caps::get().because("capget", "")?;
    let sets = grantable(asked, own);
    caps::set(sets).because("capset", "process.capabilities")?;
    let mut lost = (asked.permitted & !sets.permitted) | (asked.inheritable & !sets.inheritable);
    // The others have been warned of.
    let ambient = asked.ambient & asked.permitted & asked.inheritable;
    for cap in (0..63u8).filter(|cap| ambient & 1 << cap != 0) {
        if caps::raise_ambient(cap).is_err() {
            lost |= 1 << cap;
        }
    }
    if lost == 0 {
        return Ok(());
    }
    let warning = format!("ignoring unknown or unavailable capabilities: [{}]", names(lost));
    // Who can't hear it any more has nobody to tell.
    let _ = link.send(&Message::Warning(warning));
    Ok(())
}

/// Of what is asked for, what a process with these sets can have.
const fn grantable(asked: Capabilities, own: caps::Sets) -> caps::Sets {
    caps::Sets {
        effective: asked.effective & own.permitted,
        permitted: asked.permitted & own.permitted,
        inheritable: asked.inheritable & (own.permitted | own.inheritable),
    }
}

fn names(mask: u64) -> String {
    let known = caps::NAMES.iter().enumerate();
    let names = known.filter(|(n, _)| mask & 1 << n != 0).map(|(_, name)| *name);
    names.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runtime_lacks_is_left_out_and_named() {
        let asked = Capabilities { permitted: 0b111, effective: 0b101, ..Capabilities::default() };
        let own = caps::Sets { effective: 0b011, permitted: 0b011, inheritable: 0 };
        let sets = grantable(asked, own);
        assert_eq!((sets.permitted, sets.effective), (0b011, 0b001));
        assert_eq!(names(asked.permitted & !sets.permitted), "CAP_DAC_READ_SEARCH");
    }
}
