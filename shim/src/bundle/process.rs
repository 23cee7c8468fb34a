//! The first process: arguments, environment, user, rights, limits.

use std::collections::HashSet;

use oci_spec::runtime::{
    BoxBuilder, Capabilities, Capability, LinuxCapabilities, PosixRlimit, PosixRlimitBuilder,
    PosixRlimitType, Process, User,
};

use crate::bundle::{RootDir, command, init};
use crate::error::{Error, Result};
use crate::model::Record;
use crate::options::{env, rights};

/// Record → process, its user and directory looked up in the root; `links` are variables that
/// tell of linked containers.
pub fn process(
    record: &Record,
    root: &RootDir,
    security: &rights::Security,
    links: Vec<String>,
) -> Result<Process> {
    let config = &record.config;
    let account = account(record, root)?;
    let cwd = if config.working_dir.is_empty() { "/" } else { &config.working_dir };
    root.make_dirs(cwd).map_err(|e| {
        Error::engine(format!("working directory {cwd}: cannot be made in the root: {}", e.desc()))
    })?;
    let mut env = env::process(&config.hostname, config.tty, &[links, config.env.clone()].concat());
    if !env.iter().any(|e| e.starts_with("HOME=")) {
        env.push(format!("HOME={}", account.home));
    }
    // In a mount of the user's, which the root doesn't show yet, only the runtime can tell.
    if record.mounts.is_empty() {
        command::check(root, &record.path, &env, cwd)?;
    }
    let mut args =
        if init::wanted(&record.host_config) { init::words().to_vec() } else { Vec::new() };
    args.push(record.path.clone());
    args.extend(record.args.iter().cloned());
    let mut user = User::default();
    user.set_uid(account.uid).set_gid(account.gid).set_additional_gids(Some(account.groups));
    let mut process = Process::default();
    process
        .set_terminal(Some(config.tty))
        .set_user(user)
        .set_args(Some(args))
        .set_env(Some(env))
        .set_cwd(cwd.into())
        .set_capabilities(Some(capabilities(record, account.uid)))
        .set_no_new_privileges(Some(security.no_new_privileges))
        .set_rlimits(rlimits(record)?);
    let [height, width] = record.host_config.console_size;
    if config.tty && height != 0 {
        let size = BoxBuilder::default().height(height).width(width).build();
        process.set_console_size(size.ok());
    }
    if !record.host_config.privileged {
        process.set_apparmor_profile(security.apparmor.clone());
    }
    let adjust = record.host_config.oom_score_adj;
    process.set_oom_score_adj((adjust != 0).then_some(adjust));
    Ok(process)
}

/// Who the process is.
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// HOME.
    pub home: String,
}

fn account(record: &Record, root: &RootDir) -> Result<Account> {
    let more = record.host_config.group_add.as_deref().unwrap_or_default();
    lookup(root, &record.config.user, more)
}

/// `user[:group]` and further groups, looked up in the root's /etc/passwd and /etc/group.
pub fn lookup(root: &RootDir, user: &str, more: &[String]) -> Result<Account> {
    let dir =
        dhow_image::layer::RootDir::open(root.path()).map_err(|e| Error::engine(e.to_string()))?;
    let found = dhow_image::bundle::user::resolve(&dir, user).map_err(unknown)?;
    let mut groups = found.additional_gids;
    for name in more {
        let gid = dhow_image::bundle::user::group(&dir, name).map_err(unknown)?;
        if !groups.contains(&gid) {
            groups.push(gid);
        }
    }
    Ok(Account { uid: found.uid, gid: found.gid, groups, home: found.home })
}

/// Who isn't there, in docker's words.
fn unknown(error: dhow_image::Error) -> Error {
    let dhow_image::Error::NotFound { what, name, .. } = &error else {
        return Error::engine(error.to_string());
    };
    let table = if *what == "user" { "passwd" } else { "group" };
    Error::engine(format!(
        "unable to find {what} {name}: no matching entries in {table} file; a number needs no entry"
    ))
}

/// CVE-2022-29162 and its kind: the inheritable and ambient sets stay empty.
fn capabilities(record: &Record, uid: u32) -> LinuxCapabilities {
    let host = &record.host_config;
    let none: &[String] = &[];
    let names = rights::capabilities(
        host.privileged,
        host.cap_add.as_deref().unwrap_or(none),
        host.cap_drop.as_deref().unwrap_or(none),
    );
    let set: Capabilities = names.iter().filter_map(|n| capability(n)).collect();
    // execve as another user than root loses them anyway; saying so keeps `inspect` honest.
    let effective = if uid == 0 { set.clone() } else { HashSet::new() };
    let mut caps = LinuxCapabilities::default();
    caps.set_bounding(Some(set))
        .set_effective(Some(effective.clone()))
        .set_permitted(Some(effective))
        .set_inheritable(None)
        .set_ambient(None);
    caps
}

/// oci-spec parses names without their prefix.
fn capability(name: &str) -> Option<Capability> {
    name.strip_prefix("CAP_")?.parse().ok()
}

fn rlimits(record: &Record) -> Result<Option<Vec<PosixRlimit>>> {
    let mut limits = Vec::new();
    for ulimit in record.host_config.ulimits.iter().flatten() {
        let name = format!("RLIMIT_{}", ulimit.name.to_ascii_uppercase());
        let kind: PosixRlimitType = serde_json::from_value(serde_json::Value::from(name))
            .map_err(|e| Error::usage(format!("--ulimit {}: {e}", ulimit.name)))?;
        // -1 is RLIM_INFINITY in either sign.
        let limit = PosixRlimitBuilder::default()
            .typ(kind)
            .hard(ulimit.hard as u64)
            .soft(ulimit.soft as u64)
            .build()
            .map_err(|e| Error::usage(format!("--ulimit {}: {e}", ulimit.name)))?;
        limits.push(limit);
    }
    let host = &record.host_config;
    let publishes = host.publish_all_ports || !host.port_bindings.is_empty();
    if publishes && !limits.iter().any(|l| l.typ() == PosixRlimitType::RlimitNofile) {
        // The monitor's own limit grows with the connections that it carries.
        let (soft, hard) = crate::net::ports::original_limit();
        let kind = PosixRlimitType::RlimitNofile;
        limits.extend(PosixRlimitBuilder::default().typ(kind).hard(hard).soft(soft).build());
    }
    Ok((!limits.is_empty()).then_some(limits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_has_its_spec_name() {
        for name in dhow_kernel::caps::NAMES {
            let parsed = capability(name).map(|c| serde_json::to_value(c).unwrap());
            assert_eq!(parsed, Some(name.into()));
        }
    }
}
