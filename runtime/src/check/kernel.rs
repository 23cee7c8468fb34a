//! What this kernel lacks.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Asked, Report};
use crate::validate::linux::{KINDS, ns};
use crate::validate::mount::Kind;

/// The oldest that has every call this runtime makes.
const OLDEST: (u32, u32) = (5, 12);

/// Looks at version, namespaces, file systems, sysctls and seccomp.
pub fn look(asked: &Asked<'_>, report: &mut Report) {
    version(asked, report);
    namespaces(asked, report);
    file_systems(asked, report);
    sysctls(asked, report);
    block_devices(asked, report);
    seccomp(asked, report);
}

fn version(asked: &Asked<'_>, report: &mut Report) {
    let Ok(name) = nix::sys::utsname::uname() else { return };
    let release = name.release().to_string_lossy().into_owned();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (major, minor) = (parts.next(), parts.next());
    let (Some(Ok(major)), Some(Ok(minor))) = (major, minor) else { return };
    if (major, minor) < OLDEST {
        let why = format!("Linux {release} is older than {}.{}", OLDEST.0, OLDEST.1);
        report.problems.push(asked.about("", why, ""));
    }
}

fn namespaces(asked: &Asked<'_>, report: &mut Report) {
    let listed = asked.value("/linux/namespaces").as_array().map_or(&[][..], Vec::as_slice);
    for (n, item) in listed.iter().enumerate() {
        let Some(kind) = KINDS.iter().find(|kind| item["type"] == kind.word) else { continue };
        if !Path::new("/proc/self/ns").join(kind.proc).exists() {
            let why = format!("this kernel has no {} namespaces", kind.word);
            let pointer = format!("/linux/namespaces/{n}/type");
            report.problems.push(asked.about(&pointer, why, "leave it out"));
        }
        let new = item["path"].as_str().unwrap_or_default().is_empty();
        if new && kind.flag == ns::USER && exhausted("/proc/sys/user/max_user_namespaces") {
            let why = "/proc/sys/user/max_user_namespaces is 0";
            let pointer = format!("/linux/namespaces/{n}/type");
            report.problems.push(asked.about(&pointer, why, "raise it"));
        }
    }
}

fn exhausted(file: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.trim() == "0")
}

fn file_systems(asked: &Asked<'_>, report: &mut Report) {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let known: BTreeSet<&str> = known.lines().filter_map(|line| line.split('\t').nth(1)).collect();
    for mount in &asked.container.mounts {
        let Kind::New { fstype, .. } = &mount.kind else { continue };
        let fstype = fstype.to_string_lossy();
        // `fuse.x` is fuse's.
        let base = fstype.split('.').next().unwrap_or_default();
        if known.is_empty() || known.contains(base) {
            continue;
        }
        let pointer = format!("/mounts/{}/type", mount.index);
        let why = "this kernel doesn't list it in /proc/filesystems";
        let modules = nix::sys::utsname::uname()
            .is_ok_and(|name| Path::new("/lib/modules").join(name.release()).is_dir());
        let finding = asked.about(&pointer, why, "load its module, or leave the mount out");
        // A module may bring it when it is mounted.
        if modules { &mut report.warnings } else { &mut report.problems }.push(finding);
    }
}

fn sysctls(asked: &Asked<'_>, report: &mut Report) {
    let names = asked.value("/linux/sysctl").as_object();
    let names = names.into_iter().flatten().map(|(name, _)| name);
    // Both are sorted by name, and read in that order.
    for (name, (path, _)) in names.zip(&asked.container.sysctls) {
        let exists = |path: &CStr| {
            Path::new("/proc").join(std::ffi::OsStr::from_bytes(path.to_bytes())).exists()
        };
        if !exists(path) {
            let pointer = format!("/linux/sysctl/{}", name.replace('~', "~0").replace('/', "~1"));
            let why = format!("this kernel has no /proc/{}", path.to_string_lossy());
            report.problems.push(asked.about(&pointer, why, "load its module, or leave it out"));
        }
    }
}

/// KERNEL: a limit of a block device that isn't there is refused.
fn block_devices(asked: &Asked<'_>, report: &mut Report) {
    let lists = asked.value("/linux/resources/blockIO").as_object().into_iter().flatten();
    for (name, list) in lists.filter(|(_, value)| value.is_array()) {
        for (n, item) in list.as_array().into_iter().flatten().enumerate() {
            let number = |key: &str| item[key].as_i64().unwrap_or_default();
            let device = format!("{}:{}", number("major"), number("minor"));
            if !Path::new("/sys/dev/block").join(&device).exists() {
                let pointer = format!("/linux/resources/blockIO/{name}/{n}");
                let why = format!("there is no block device {device}");
                report.problems.push(asked.about(&pointer, why, "name one that exists"));
            }
        }
    }
}

fn seccomp(asked: &Asked<'_>, report: &mut Report) {
    let Some(profile) = &asked.container.seccomp else { return };
    let available = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
    let Ok(available) = available else {
        let why = "this kernel has no seccomp filters";
        report.problems.push(asked.about("/linux/seccomp", why, "leave it out"));
        return;
    };
    let named = |action: &str| match action {
        "SCMP_ACT_NOTIFY" => "user_notif".to_owned(),
        "SCMP_ACT_KILL" => "kill_thread".to_owned(),
        other => other.trim_start_matches("SCMP_ACT_").to_lowercase(),
    };
    let rules = profile.syscalls.iter().enumerate();
    let rules =
        rules.map(|(n, call)| (format!("/linux/seccomp/syscalls/{n}/action"), &call.action));
    let default = ("/linux/seccomp/defaultAction".to_owned(), &profile.default_action);
    for (pointer, action) in std::iter::once(default).chain(rules) {
        if !available.split_whitespace().any(|known| known == named(action)) {
            let why = "this kernel's seccomp lacks the action";
            report.problems.push(asked.about(&pointer, why, "choose another"));
        }
    }
    let supported = crate::seccomp::supported_flags();
    for (n, flag) in profile.flags.iter().flatten().enumerate() {
        if !supported.contains(&&*flag.0) {
            let pointer = format!("/linux/seccomp/flags/{n}");
            let why = "this kernel's seccomp lacks the flag";
            report.problems.push(asked.about(&pointer, why, "leave it out"));
        }
    }
    let asks = profile.syscalls.iter().any(|call| call.action == "SCMP_ACT_NOTIFY");
    if asks && !profile.listener_path.starts_with('@') {
        listener(asked, &profile.listener_path, report);
    }
}

fn listener(asked: &Asked<'_>, path: &str, report: &mut Report) {
    use std::os::unix::fs::FileTypeExt;
    let why = match fs::metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => return,
        Ok(_) => "is no socket".to_owned(),
        Err(e) => crate::error::describe(crate::init::protocol::errno_of(&e)),
    };
    report.problems.push(asked.about("/linux/seccomp/listenerPath", why, "start the agent first"));
}
