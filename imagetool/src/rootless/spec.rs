//! What a container's config.json has to be like where its maker is root in a user namespace only.

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec, User};

use super::space;
use crate::error::{Error, Result};
use crate::layer::IdMap;

/// The ids that this process may give.
struct Ids {
    uids: IdMap,
    gids: IdMap,
}

impl Ids {
    /// Those of a user namespace; root has all.
    fn ours() -> Result<Option<Self>> {
        if !super::is_confined() {
            return Ok(None);
        }
        let (uids, gids) = match super::inside() {
            Some(inside) => (inside.uids.clone(), inside.gids.clone()),
            None => (space::map("uid_map")?, space::map("gid_map")?),
        };
        Ok(Some(Self { uids, gids }))
    }
}

/// Makes a config one that an ordinary user can run; root's stays as it is. With `own_groups` the
/// cgroup is one that somebody chose.
pub fn adapt(spec: &mut Spec, own_groups: bool) -> Result<()> {
    match Ids::ours()? {
        Some(ids) => adapt_to(spec, own_groups, &ids),
        None => Ok(()),
    }
}

fn adapt_to(spec: &mut Spec, own_groups: bool, ids: &Ids) -> Result<()> {
    if let Some(process) = spec.process_mut() {
        let mut user = process.user().clone();
        fit_user_to(&mut user, ids)?;
        process.set_user(user);
    }
    let Some(linux) = spec.linux_mut() else { return Ok(()) };
    if !own_groups {
        // The runtime makes what it may, and needs none.
        linux.set_cgroups_path(None);
    }
    let has = |kind| linux.namespaces().iter().flatten().any(|space| space.typ() == kind);
    let networked = has(LinuxNamespaceType::Network);
    let numbered = has(LinuxNamespaceType::Pid);
    if let Some(sysctl) = linux.sysctl_mut()
        && let Some(range) = sysctl.get_mut("net.ipv4.ping_group_range")
    {
        // KERNEL: a range of groups is one of the user namespace's.
        *range = clamped(range, last(&ids.gids));
    }
    for mount in spec.mounts_mut().iter_mut().flatten() {
        fit(mount, networked, numbered, &ids.gids);
    }
    Ok(())
}

/// Makes a process's user one that an ordinary user can have; root's stays as it is.
pub fn fit_user(user: &mut User) -> Result<()> {
    Ids::ours()?.map_or(Ok(()), |ids| fit_user_to(user, &ids))
}

fn fit_user_to(user: &mut User, ids: &Ids) -> Result<()> {
    known(&ids.uids, user.uid(), "user")?;
    known(&ids.gids, user.gid(), "group")?;
    // KERNEL: setgroups(2) is denied where there is one id only.
    let groups = user.additional_gids().clone().unwrap_or_default();
    let ours = |gid: &u32| !is_single(&ids.gids) && ids.gids.outside(*gid).is_some();
    user.set_additional_gids(Some(groups.into_iter().filter(ours).collect()));
    Ok(())
}

fn known(map: &IdMap, id: u32, what: &str) -> Result<()> {
    if map.outside(id).is_some() {
        return Ok(());
    }
    let hint = if is_single(map) {
        "this user has one id only: choose --user 0, or have ranges of ids added (usermod --add-subuids, --add-subgids, and the package uidmap)"
    } else {
        "the user's ranges in /etc/subuid and /etc/subgid are too short for it: have them made longer"
    };
    Err(Error::Conflict(format!(
        "{what} {id} of the container is none that this user may be: {hint}"
    )))
}

fn is_single(map: &IdMap) -> bool {
    map.0.iter().map(|range| u64::from(range.size)).sum::<u64>() < 2
}

fn last(map: &IdMap) -> u32 {
    map.0.iter().map(|range| range.inside + (range.size - 1)).max().unwrap_or(0)
}

fn clamped(range: &str, last: u32) -> String {
    let ends = range.split_whitespace().map(|end| end.parse::<u32>().unwrap_or(0).min(last));
    ends.map(|end| end.to_string()).collect::<Vec<_>>().join(" ")
}

fn fit(mount: &mut Mount, networked: bool, numbered: bool, gids: &IdMap) {
    let mut options = mount.options().clone().unwrap_or_default();
    match mount.typ().as_deref() {
        // The group tty is one that a user of one id hasn't.
        Some("devpts") => options.retain(|option| {
            let gid = option.strip_prefix("gid=").and_then(|gid| gid.parse().ok());
            gid.is_none_or(|gid| gids.outside(gid).is_some())
        }),
        // KERNEL: procfs is mounted by who owns the pid namespace.
        Some("proc") if !numbered => {
            mount.set_typ(Some("bind".into())).set_source(Some("/proc".into()));
            options.splice(0..0, ["rbind".into(), "rprivate".into()]);
        }
        // KERNEL: sysfs is mounted by who owns the network namespace.
        Some("sysfs") if !networked => {
            mount.set_typ(Some("bind".into())).set_source(Some("/sys".into()));
            options.splice(0..0, ["rbind".into(), "rprivate".into()]);
        }
        _ => return,
    }
    mount.set_options(Some(options));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Spec {
        serde_json::from_str(text).unwrap()
    }

    fn ids(size: u32) -> Ids {
        let map: IdMap = super::super::ids::map(1000, &[(100_000, size)]);
        let map = if size == 0 { IdMap(map.0[..1].to_vec()) } else { map };
        Ids { uids: map.clone(), gids: map }
    }

    const CONFIG: &str = r#"{"ociVersion": "1.0.2",
        "process": {"cwd": "/", "user": {"uid": 0, "gid": 0, "additionalGids": [0, 10]}},
        "mounts": [{"destination": "/dev/pts", "type": "devpts", "options": ["gid=5", "mode=0620"]},
                   {"destination": "/sys", "type": "sysfs", "options": ["ro"]},
                   {"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"cgroupsPath": "/dhow-x", "namespaces": [{"type": "mount"}],
                  "sysctl": {"net.ipv4.ping_group_range": "0 2147483647"}}}"#;

    #[test]
    fn one_id_has_no_groups_and_no_terminals_group() {
        let mut it = spec(CONFIG);
        adapt_to(&mut it, false, &ids(0)).unwrap();
        let json = serde_json::to_value(&it).unwrap();
        assert_eq!(json["process"]["user"]["additionalGids"], serde_json::json!([]));
        assert_eq!(json["mounts"][0]["options"], serde_json::json!(["mode=0620"]));
        assert_eq!(json["linux"]["sysctl"]["net.ipv4.ping_group_range"], "0 0");
        assert!(json["linux"].get("cgroupsPath").is_none());
        let mut it = spec(&CONFIG.replace("\"uid\": 0", "\"uid\": 33"));
        let error = adapt_to(&mut it, false, &ids(0)).unwrap_err().to_string();
        assert!(error.contains("user 33") && error.contains("--user 0"), "{error}");
    }

    #[test]
    fn ranges_have_what_they_reach_and_the_hosts_network_its_sysfs() {
        let mut it = spec(CONFIG);
        adapt_to(&mut it, true, &ids(65536)).unwrap();
        let json = serde_json::to_value(&it).unwrap();
        assert_eq!(json["process"]["user"]["additionalGids"], serde_json::json!([0, 10]));
        assert_eq!(json["mounts"][0]["options"][0], "gid=5");
        assert_eq!(json["mounts"][1]["type"], "bind");
        assert_eq!(json["mounts"][1]["options"], serde_json::json!(["rbind", "rprivate", "ro"]));
        assert_eq!(json["linux"]["sysctl"]["net.ipv4.ping_group_range"], "0 65536");
        assert_eq!(json["linux"]["cgroupsPath"], "/dhow-x");
        assert_eq!(json["mounts"][2]["type"], "bind");
        assert_eq!(json["mounts"][2]["source"], "/proc");
        let own = CONFIG.replace("[{\"type\": \"mount\"}]", "[{\"type\": \"pid\"}]");
        let mut it = spec(&own);
        adapt_to(&mut it, true, &ids(65536)).unwrap();
        assert_eq!(serde_json::to_value(&it).unwrap()["mounts"][2]["type"], "proc");
        let mut it = spec(&CONFIG.replace("\"uid\": 0", "\"uid\": 70000"));
        assert!(adapt_to(&mut it, false, &ids(65536)).unwrap_err().to_string().contains("longer"));
    }
}
