//! Capabilities, security options, namespaces, host names, sysctls.

use std::collections::BTreeMap;
use std::time::Duration;

use dhow_image::bundle::caps::DEFAULT as DEFAULT_CAPABILITIES;
use dhow_kernel::caps::NAMES as CAPABILITIES;

use crate::error::{Error, Result};

/// `net_admin`, `CAP_NET_ADMIN`, `ALL` → the kernel's name, or `ALL`.
pub fn capability(flag: &str, text: &str) -> Result<String> {
    let upper = text.to_ascii_uppercase();
    if upper == "ALL" {
        return Ok("ALL".to_owned());
    }
    let name = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    if CAPABILITIES.contains(&name.as_str()) {
        return Ok(name);
    }
    let near = crate::output::nearest(&name, CAPABILITIES.map(String::from));
    let hint = near.map_or_else(String::new, |n| format!("; did you mean {n}?"));
    let what = if flag == "--cap-add" { "CapAdd" } else { "CapDrop" };
    Err(Error::conflict(format!("invalid {what}: unknown capability: \"{name}\"{hint}")))
}

/// The set a container gets: docker's rules for adding, dropping and `ALL`.
pub fn capabilities(privileged: bool, add: &[String], drop: &[String]) -> Vec<&'static str> {
    let has = |list: &[String], name: &str| list.iter().any(|c| c == name);
    if privileged {
        return CAPABILITIES.to_vec();
    }
    let base: &[&'static str] = match (has(add, "ALL"), has(drop, "ALL")) {
        (true, _) => &CAPABILITIES,
        (false, true) => &[],
        (false, false) => &DEFAULT_CAPABILITIES,
    };
    let mut set: Vec<&'static str> = base.to_vec();
    if !has(drop, "ALL") {
        set.retain(|c| !has(drop, c));
    }
    for c in CAPABILITIES {
        if has(add, c) && !set.contains(&c) {
            set.push(c);
        }
    }
    set
}

/// What `--security-opt` adds up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// The process can't gain rights by execve.
    pub no_new_privileges: bool,
    /// Which filter.
    pub seccomp: Seccomp,
    /// AppArmor profile, `unconfined` being none.
    pub apparmor: Option<String>,
    /// Nothing masked, nothing read-only in /proc and /sys.
    pub systempaths_unconfined: bool,
    /// The container's cgroups may be written to; unset means when it is privileged.
    pub writable_cgroups: Option<bool>,
}

/// Which seccomp filter a container gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// dhow's own default, which allows what docker's allows.
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// The text of a profile, docker's form or the OCI's.
    Profile(String),
}

/// `--security-opt` → what it means; entries are those of [`settle`].
pub fn security(options: &[String]) -> Result<Security> {
    let mut security = Security::default();
    for option in options {
        let bad =
            |why: &str| Error::conflict(format!("invalid --security-opt 2: \"{option}\"{why}"));
        let split = option.find(['=', ':']).map(|at| (&option[..at], &option[at + 1..]));
        let (key, value) = split.unwrap_or((option.as_str(), ""));
        let on = || match value {
            "" if split.is_none() => Ok(true),
            value => crate::cli::switch(value).map_err(|_| bad("; true or false")),
        };
        match (key, value) {
            ("no-new-privileges", _) => security.no_new_privileges = on()?,
            ("writable-cgroups", _) => security.writable_cgroups = Some(on()?),
            ("disable", "") => {}
            (_, "") => {
                return Err(Error::usage(format!("Invalid --security-opt: \"{option}\"")));
            }
            ("seccomp", "unconfined") => security.seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin" | "default") => security.seccomp = Seccomp::Default,
            ("seccomp", text) => security.seccomp = Seccomp::Profile(text.to_owned()),
            ("apparmor", "unconfined") => security.apparmor = None,
            ("apparmor", profile) => security.apparmor = Some(profile.to_owned()),
            ("label", label) => selinux(label).map_err(|why| bad(&why))?,
            ("systempaths", "unconfined") => security.systempaths_unconfined = true,
            _ => {
                return Err(bad(
                    "; use seccomp=, no-new-privileges, apparmor=, label=, writable-cgroups or systempaths=unconfined",
                ));
            }
        }
    }
    Ok(security)
}

/// A label means something only where SELinux is on, and there dhow has none to give yet.
fn selinux(label: &str) -> Result<(), String> {
    let on = std::path::Path::new("/sys/fs/selinux/enforce").exists();
    if !on || matches!(label, "disable" | "nested") {
        return Ok(());
    }
    Err("; SELinux is on, and dhow sets no labels yet: use label=disable".into())
}

/// As docker: a seccomp profile's file is read once, at creation, and its text kept.
pub fn settle(options: &[String]) -> Result<Vec<String>> {
    let mut settled = Vec::new();
    for option in options {
        let path = option.strip_prefix("seccomp=").or_else(|| option.strip_prefix("seccomp:"));
        settled.push(match path {
            Some("unconfined" | "builtin" | "default" | "") | None => option.clone(),
            Some(path) => format!("seccomp={}", read_profile(path)?),
        });
    }
    security(&settled)?;
    Ok(settled)
}

fn read_profile(path: &str) -> Result<String> {
    let at = std::path::Path::new(path);
    let text = std::fs::read_to_string(at).map_err(|e| {
        Error::usage(format!("opening seccomp profile ({path}) failed: open {path}: {}", plain(&e)))
    })?;
    let profile: serde_json::Value = serde_json::from_str(&text).map_err(|e| {
        Error::usage(format!("compacting json for seccomp profile ({path}) failed: {e}"))
    })?;
    crate::bundle::seccomp_profile(&profile, &[])
        .map_err(|e| Error::io("--security-opt seccomp: profile", at, e))?;
    Ok(profile.to_string())
}

/// An operating system's reason without Rust's number behind it.
pub fn plain(e: &std::io::Error) -> String {
    e.raw_os_error()
        .map_or_else(|| e.to_string(), |n| nix::errno::Errno::from_raw(n).desc().to_lowercase())
}

/// A host name that can stand in /etc/hosts and sethostname(2).
pub fn hostname(flag: &str, text: &str) -> Result<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if text.len() <= 64 && text.chars().all(good) {
        return Ok(text.to_owned());
    }
    if text.len() > 64 {
        return Err(Error::conflict(format!(
            "{flag}: hostname \"{text}\" is too long (maximum 64 bytes)"
        )));
    }
    Err(Error::conflict(format!(
        "invalid hostname format: {flag} {text}: letters, digits, - and . alone"
    )))
}

/// Namespaced kernel settings only: anything else would change the host.
pub fn sysctls(entries: &[String], network: &str, ipc: &str) -> Result<BTreeMap<String, String>> {
    for entry in entries {
        let key = entry.split('=').next().unwrap_or_default();
        let bad = |why: &str| Err(Error::argument("--sysctl", entry, why));
        let ipc_key = key.starts_with("fs.mqueue.")
            || matches!(
                key,
                "kernel.msgmax"
                    | "kernel.msgmnb"
                    | "kernel.msgmni"
                    | "kernel.sem"
                    | "kernel.shmall"
                    | "kernel.shmmax"
                    | "kernel.shmmni"
                    | "kernel.shm_rmid_forced"
            );
        let network_key = key.starts_with("net.");
        let odd = key.contains("..") || key.contains('/') || !entry.contains('=');
        if odd || !network_key && !ipc_key {
            return bad(&format!(
                "sysctl '{entry}' is not allowed; it would change the host's setting"
            ));
        } else if network_key && network == "host" {
            return bad(&format!("sysctl '{key}' not allowed in host network namespace"));
        } else if ipc_key && ipc == "host" {
            return bad(&format!("sysctl '{key}' not allowed in host ipc namespace"));
        }
    }
    super::env::pairs("--sysctl", entries)
}

/// One namespace flag: one of `plain`, or `container:NAME` where `shared` allows; else docker's
/// words, and which there are.
pub fn namespace(mode: Option<&str>, plain: &[&str], shared: bool, words: &str) -> Result<String> {
    let Some(mode) = mode.filter(|m| !m.is_empty()) else { return Ok(String::new()) };
    if plain.contains(&mode) {
        return Ok(mode.to_owned());
    }
    if shared && mode.strip_prefix("container:").is_some_and(|name| !name.is_empty()) {
        return Ok(mode.to_owned());
    }
    let container = if shared { " or container:NAME" } else { "" };
    Err(Error::usage(format!("{words}: {mode}; use {}{container}", plain.join(", "))))
}

/// `TERM`, `sigterm`, `15`, `SIGRTMIN+3` → its number.
pub fn signal(text: &str) -> Result<i32> {
    let bad = || Error::conflict(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(bad()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return offset(rest, '+').filter(|n| *n <= 30).map(|n| 34 + n).ok_or_else(bad);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return offset(rest, '-').filter(|n| *n <= 30).map(|n| 64 - n).ok_or_else(bad);
    }
    let alias = match name {
        "CLD" => "CHLD",
        "POLL" => "IO",
        "IOT" => "ABRT",
        "UNUSED" => "SYS",
        other => other,
    };
    format!("SIG{alias}").parse::<nix::sys::signal::Signal>().map(|s| s as i32).map_err(|_| bad())
}

/// Seconds until SIGKILL; below zero waits for ever.
pub fn patience(seconds: i64) -> Option<Duration> {
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

fn offset(rest: &str, sign: char) -> Option<i32> {
    if rest.is_empty() { Some(0) } else { rest.strip_prefix(sign)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn capabilities_add_up_as_dockers_do() {
        let set = |add: &[&str], drop: &[&str]| capabilities(false, &strings(add), &strings(drop));
        assert_eq!(set(&[], &[]).len(), 14);
        assert_eq!(set(&[], &["ALL"]).len(), 0);
        assert_eq!(set(&["CAP_CHOWN"], &["ALL"]), ["CAP_CHOWN"]);
        assert!(!set(&["ALL"], &["CAP_MKNOD"]).contains(&"CAP_MKNOD"));
        assert_eq!(set(&["ALL"], &[]).len(), 41);
        assert_eq!(capability("--cap-add", "net_admin").unwrap(), "CAP_NET_ADMIN");
        assert!(
            capability("--cap-add", "net_admim").unwrap_err().message.contains("CAP_NET_ADMIN")
        );
    }

    #[test]
    fn security_options() {
        let got = security(&strings(&["no-new-privileges", "seccomp=unconfined"])).unwrap();
        assert!(got.no_new_privileges && got.writable_cgroups.is_none());
        let got = security(&strings(&["no-new-privileges:false", "writable-cgroups"])).unwrap();
        assert!(!got.no_new_privileges && got.writable_cgroups == Some(true));
        let got = security(&strings(&["no-new-privileges", "seccomp=unconfined"])).unwrap();
        assert_eq!(got.seccomp, Seccomp::Unconfined);
        for bad in ["what", "seccomp=", "label=", "systempaths=x", "no-new-privileges=x"] {
            assert!(security(&strings(&[bad])).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_namespaced_sysctls() {
        let one = |key: &str, net: &str| sysctls(&strings(&[&format!("{key}=1")]), net, "");
        assert!(one("net.core.somaxconn", "none").is_ok());
        assert!(one("net.core.somaxconn", "host").is_err());
        assert!(one("kernel.msgmax", "none").is_ok());
        assert!(one("kernel.core_pattern", "none").is_err());
        assert!(one("net/../kernel", "none").is_err());
    }

    #[test]
    fn signals_by_name_and_number() {
        for (text, want) in
            [("TERM", 15), ("sigkill", 9), ("2", 2), ("SIGRTMIN+3", 37), ("RTMAX", 64), ("CLD", 17)]
        {
            assert_eq!(signal(text).unwrap(), want, "{text}");
        }
        for bad in ["", "0", "65", "WHAT", "RTMIN-1", "-9"] {
            assert!(signal(bad).is_err(), "{bad}");
        }
    }
}
