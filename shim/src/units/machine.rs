//! dhow.service: `dhow system start` at boot, `dhow system stop` at shutdown.

use super::{Manager, Text, line};
use crate::error::Result;

/// The unit for `dhow`, the program and the flags that choose its world; what is kept lies at `root`.
pub fn machine(manager: Manager, dhow: &[String], root: Option<&str>) -> Result<String> {
    let dhow = line(dhow)?;
    let mut unit = Text::default();
    unit.section("Unit");
    unit.set("Description", "Containers of dhow");
    unit.set("Documentation", "man:dhow(1)");
    if manager == Manager::System {
        unit.set("Wants", "network-online.target");
        // Those that lay out rules anew come before ours; stopping goes the other way round.
        unit.set(
            "After",
            "network-online.target nss-lookup.target local-fs.target remote-fs.target \
             time-set.target firewalld.service nftables.service ufw.service",
        );
    }
    if let Some(root) = root {
        unit.set("RequiresMountsFor", &super::word(root)?);
    }
    unit.section("Service");
    unit.set("Type", "oneshot");
    unit.set("RemainAfterExit", "yes");
    // The dash: a container that can't start is told in the journal, and the others have to be
    // stopped in the end nevertheless, which systemd does for units that are active alone.
    unit.set("ExecStart", &format!("-{dhow} system start"));
    unit.set("ExecStop", &format!("{dhow} system stop"));
    // Monitors are no processes of the unit's, wherever they were started.
    unit.set("KillMode", "process");
    unit.set("TimeoutSec", "infinity");
    unit.set("Delegate", "yes");
    unit.set("TasksMax", "infinity");
    unit.section("Install");
    unit.set("WantedBy", manager.target());
    Ok(unit.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_fails_leaves_the_unit_active() {
        let unit = machine(Manager::System, &["/usr/bin/dhow".into()], None).unwrap();
        assert!(unit.contains("\nExecStart=-/usr/bin/dhow system start\n"), "{unit}");
        assert!(unit.contains("\nWantedBy=multi-user.target\n"));
    }

    #[test]
    fn a_user_s_unit_names_nothing_of_the_machine_s() {
        let unit = machine(Manager::User, &["/usr/bin/dhow".into()], None).unwrap();
        assert!(!unit.contains("network-online") && !unit.contains("multi-user"), "{unit}");
    }
}
