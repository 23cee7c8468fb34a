//! Which system calls are filtered: dhow's default, none, or the user's profile
//! in docker's form or the OCI's.

use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::model::Record;
use crate::options::rights::{self, Seccomp};

/// The filter of this container, its capabilities taken into account.
pub fn filter(record: &Record, wanted: &Seccomp) -> Result<Option<LinuxSeccomp>> {
    let host = &record.host_config;
    let none: &[String] = &[];
    let caps = rights::capabilities(
        host.privileged,
        host.cap_add.as_deref().unwrap_or(none),
        host.cap_drop.as_deref().unwrap_or(none),
    );
    match wanted {
        Seccomp::Unconfined => Ok(None),
        Seccomp::Default if host.privileged => Ok(None),
        Seccomp::Default => Ok(Some(dhow_image::bundle::seccomp::profile(&caps))),
        Seccomp::Profile(text) => {
            let value: Value = serde_json::from_str(text)
                .map_err(|e| Error::usage(format!("--security-opt seccomp: {e}")))?;
            profile(&value, &caps)
                .map(Some)
                .map_err(|e| Error::usage(format!("--security-opt seccomp: {e}")))
        }
    }
}

/// A profile in docker's form (`archMap`, `includes`, `excludes`) or the OCI's → the OCI's.
/// `caps` are the container's capabilities.
pub fn profile(value: &Value, caps: &[&str]) -> Result<LinuxSeccomp, String> {
    let object = value.as_object().ok_or("the profile must be a JSON object")?;
    let mut oci = Map::new();
    for key in ["defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata"] {
        if let Some(v) = object.get(key) {
            oci.insert(key.to_owned(), v.clone());
        }
    }
    let architectures = match object.get("archMap").and_then(Value::as_array) {
        Some(map) => architectures(map),
        None => object.get("architectures").cloned(),
    };
    if let Some(list) = architectures {
        oci.insert("architectures".to_owned(), list);
    }
    let mut syscalls = Vec::new();
    for rule in object.get("syscalls").and_then(Value::as_array).into_iter().flatten() {
        if applies(rule, caps) {
            syscalls.push(rule_of(rule)?);
        }
    }
    oci.insert("syscalls".to_owned(), Value::Array(syscalls));
    serde_json::from_value(Value::Object(oci)).map_err(|e| e.to_string())
}

fn machine() -> &'static str {
    if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" }
}

/// docker's `archMap`: this machine's architecture with those it can also run.
fn architectures(map: &[Value]) -> Option<Value> {
    let entry = map.iter().find(|e| e["architecture"] == machine())?;
    let mut list = vec![entry["architecture"].clone()];
    list.extend(entry["subArchitectures"].as_array().into_iter().flatten().cloned());
    Some(Value::Array(list))
}

/// docker's conditions: all of `includes`, none of `excludes`.
fn applies(rule: &Value, caps: &[&str]) -> bool {
    let list = |side: &str, key: &str| -> Vec<String> {
        let values = rule[side][key].as_array().into_iter().flatten();
        values.filter_map(|v| v.as_str().map(str::to_owned)).collect()
    };
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let has = |c: &String| caps.contains(&c.as_str());
    let includes = list("includes", "arches");
    let excludes = list("excludes", "arches");
    list("includes", "caps").iter().all(has)
        && !list("excludes", "caps").iter().any(has)
        && (includes.is_empty() || includes.iter().any(|a| a == arch))
        && !excludes.iter().any(|a| a == arch)
        && rule["includes"]["minKernel"].as_str().is_none_or(at_least)
}

/// The running kernel is this version or newer.
fn at_least(wanted: &str) -> bool {
    let numbers = |text: &str| -> Option<(u32, u32)> {
        let mut parts = text.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    let running = nix::sys::utsname::uname().ok();
    let running = running.as_ref().and_then(|u| u.release().to_str()).and_then(numbers);
    running >= numbers(wanted)
}

fn rule_of(rule: &Value) -> Result<Value, String> {
    let mut oci = Map::new();
    // docker's first profiles had one "name" a rule.
    let names = match (&rule["names"], &rule["name"]) {
        (Value::Array(names), _) if !names.is_empty() => Value::Array(names.clone()),
        (_, Value::String(name)) => Value::Array(vec![Value::String(name.clone())]),
        _ => return Err("a rule of \"syscalls\" has no names".to_owned()),
    };
    oci.insert("names".to_owned(), names);
    for key in ["action", "errnoRet"] {
        if let Some(v) = rule.get(key).filter(|v| !v.is_null()) {
            oci.insert(key.to_owned(), v.clone());
        }
    }
    if let Some(args) = rule.get("args").and_then(Value::as_array).filter(|a| !a.is_empty()) {
        oci.insert("args".to_owned(), Value::Array(args.clone()));
    }
    Ok(Value::Object(oci))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dockers_conditions_are_settled() {
        let value = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "archMap": [{"architecture": machine(), "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]},
             "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
            {"names": ["x"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}},
            {"names": ["y"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
        ]});
        let names = |caps: &[&str]| -> Vec<String> {
            let profile = profile(&value, caps).unwrap();
            let all = profile.syscalls().clone().unwrap();
            all.iter().flat_map(|s| s.names().clone()).collect()
        };
        assert_eq!(names(&[]), ["read", "clone"]);
        assert_eq!(names(&["CAP_SYS_ADMIN"]), ["read", "mount"]);
        assert!(profile(&json!([]), &[]).is_err());
        assert!(profile(&json!({"defaultAction": "NO"}), &[]).is_err());
    }
}
