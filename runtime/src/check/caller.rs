//! What whoever calls this may not do.

use dhow_kernel::caps;

use super::{Asked, Finding, Report};
use crate::validate::capability;
use crate::validate::linux::ns;
use crate::validate::process::rlimit_name;

const SYS_ADMIN: &str = "CAP_SYS_ADMIN";
const SYS_RESOURCE: &str = "CAP_SYS_RESOURCE";
const MKNOD: &str = "CAP_MKNOD";

/// Looks at capabilities, limits and ids.
pub fn look(asked: &Asked<'_>, report: &mut Report) {
    let own = caps::get().map(|sets| sets.effective | sets.permitted).unwrap_or_default();
    let has = |name: &str| capability::number(name).is_some_and(|n| own & 1 << n != 0);
    let c = asked.container;
    // In a user namespace of its own init has them all.
    let user = c.namespaces.has(ns::USER);
    if !user && !has(SYS_ADMIN) {
        let why = format!("making a container takes {SYS_ADMIN}, which the caller lacks");
        let remedy = "run as root, or add a user namespace with id mappings";
        report.problems.push(asked.about("/linux/namespaces", why, remedy));
    }
    if !user && !has(MKNOD) && c.namespaces.has(ns::MOUNT) {
        let why = format!("making devices takes {MKNOD}, which the caller lacks");
        let remedy = "run as root, or bind /dev from the host";
        report.problems.push(asked.about("/linux/devices", why, remedy));
    }
    if !user {
        report.warnings.extend(lacking(asked, own));
    }
    report.problems.extend(maps(asked));
    report.warnings.extend(unknown(asked));
    if !has(SYS_RESOURCE) {
        report.problems.extend(limits(asked));
        oom(asked, report);
    }
}

/// KERNEL: user_namespaces(7): the unprivileged write one line of their own id, or have it done.
fn maps<'a>(asked: &'a Asked<'_>) -> impl Iterator<Item = Finding> + 'a {
    const DIRS: [&str; 5] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/bin"];
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let c = asked.container;
    let maps = [
        (&c.uid_map, uid.as_raw(), "newuidmap", "/linux/uidMappings"),
        (&c.gid_map, gid.as_raw(), "newgidmap", "/linux/gidMappings"),
    ];
    maps.into_iter().filter(move |_| !uid.is_root()).filter_map(|(map, id, program, pointer)| {
        let own = map.is_empty() || matches!(&map[..], [one] if one.host == id && one.size == 1);
        let found = || DIRS.iter().any(|dir| std::path::Path::new(dir).join(program).exists());
        let why = || format!("writing it takes {program}, which isn't there");
        let remedy = "install it (uidmap), or map the caller's own id alone";
        (!own && !found()).then(|| asked.about(pointer, why(), remedy))
    })
}

/// Capabilities that can't be given, and aren't: as runc, no error.
fn lacking(asked: &Asked<'_>, own: u64) -> Option<Finding> {
    let wanted = asked.container.process.capabilities;
    let lacking = (wanted.permitted | wanted.effective) & !own;
    let name = |n: usize| capability::NAMES.get(n).copied();
    let names: Vec<&str> = (0..64).filter(|n| lacking & 1 << n != 0).filter_map(name).collect();
    if names.is_empty() {
        return None;
    }
    let why = format!("the caller lacks {}: it will be left out", names.join(", "));
    let pointer = "/process/capabilities/permitted";
    Some(asked.about(pointer, why, "run with it, or take it out of the sets"))
}

/// What is left out already when it is read.
fn unknown<'a>(asked: &'a Asked<'_>) -> impl Iterator<Item = Finding> + 'a {
    asked.container.process.warnings.iter().map(move |why| {
        asked.about("/process/capabilities", why.clone(), "take it out of the sets")
    })
}

fn limits<'a>(asked: &'a Asked<'_>) -> impl Iterator<Item = Finding> + 'a {
    let rlimits = asked.container.process.rlimits.iter().enumerate();
    rlimits.filter_map(move |(n, &(resource, _, hard))| {
        let (_, most) = dhow_kernel::process::rlimit(resource).ok()?;
        (hard > most).then(|| {
            let name = rlimit_name(resource);
            let why = format!("{name} is at most {most} for the caller, who lacks {SYS_RESOURCE}");
            asked.about(&format!("/process/rlimits/{n}/hard"), why, "ask for less, or raise it")
        })
    })
}

/// KERNEL: proc_pid_oom_score_adj(5): without CAP_SYS_RESOURCE it goes no lower than it was put
/// with it.
fn oom(asked: &Asked<'_>, report: &mut Report) {
    let Some(score) = asked.container.process.oom_score_adj else { return };
    let own = std::fs::read_to_string("/proc/self/oom_score_adj");
    let own = own.ok().and_then(|text| text.trim().parse::<i32>().ok()).unwrap_or_default();
    if score >= own {
        return;
    }
    let why = format!("the caller, whose own is {own}, may lack the right to lower it");
    let finding = asked.about("/process/oomScoreAdj", why, "ask for no less than that");
    // Below both there is no way.
    let list = if score < own.min(0) { &mut report.problems } else { &mut report.warnings };
    list.push(finding);
}
