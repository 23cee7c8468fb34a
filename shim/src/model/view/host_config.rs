//! `HostConfig`: what was asked for, and docker's words for what was not.

use serde_json::{Value, json};

use super::of;
use crate::bundle::{masked_paths, read_only_paths};
use crate::error::Result;
use crate::host::Host;
use crate::model::Record;

pub fn host_config(host_of: &Host, record: &Record) -> Result<Value> {
    let host = &record.host_config;
    let mut value = of(host)?;
    let Value::Object(map) = &mut value else { return Ok(value) };
    let unset = |v: Option<&Value>| v.is_none_or(|v| v.is_null() || *v == json!(""));
    for (key, default) in defaults() {
        if unset(map.get(key)) {
            map.insert(key.to_owned(), default);
        }
    }
    if !host.privileged && unset(map.get("MaskedPaths")) {
        map.insert("MaskedPaths".to_owned(), json!(masked_paths()));
        map.insert("ReadonlyPaths".to_owned(), json!(read_only_paths()));
    }
    if let Some(Value::Array(options)) = map.get_mut("SecurityOpt") {
        let before = options.len();
        options.retain(|o| *o != json!("systempaths=unconfined"));
        if options.len() < before {
            map.insert("MaskedPaths".to_owned(), json!([]));
            map.insert("ReadonlyPaths".to_owned(), json!([]));
        }
    } else if host.privileged || host.pid_mode == "host" || host.ipc_mode == "host" {
        map.insert("SecurityOpt".to_owned(), json!(["label=disable"]));
    }
    // As docker: whose alias it is stands in it.
    if let Some(links) = &host.links {
        let pairs = links.iter().filter_map(|link| link.rsplit_once(':'));
        let name = |id: &str| {
            let found = host_of.containers.record(id).ok().flatten();
            found.map_or_else(|| id.to_owned(), |other| other.name)
        };
        let all = pairs.map(|(other, alias)| format!("/{}:/{}/{alias}", name(other), record.name));
        map.insert("Links".to_owned(), all.collect());
    }
    for key in ["CapAdd", "CapDrop"] {
        if let Some(Value::Array(capabilities)) = map.get_mut(key) {
            capabilities.sort_by_key(ToString::to_string);
        }
    }
    if map.get("PidsLimit").and_then(Value::as_i64).is_some_and(|n| n <= 0) {
        map.insert("PidsLimit".to_owned(), Value::Null);
    }
    // As much swap as memory, unless said otherwise.
    if map.get("MemorySwap") == Some(&json!(0))
        && let Some(memory) = map.get("Memory").and_then(Value::as_i64).filter(|m| *m > 0)
    {
        map.insert("MemorySwap".to_owned(), json!(memory.saturating_mul(2)));
    }
    Ok(value)
}

/// What is there though nobody asked for it.
fn defaults() -> Vec<(&'static str, Value)> {
    let mut all = vec![
        ("PortBindings", json!({})),
        ("CgroupnsMode", json!("private")),
        ("IpcMode", json!("private")),
        ("Cgroup", json!("")),
        ("Links", Value::Null),
        ("PublishAllPorts", json!(false)),
        ("Isolation", json!("")),
        ("OomKillDisable", json!(false)),
        ("MaskedPaths", Value::Null),
        ("ReadonlyPaths", Value::Null),
    ];
    let zeros = ["CpuCount", "CpuPercent", "IOMaximumIOps", "IOMaximumBandwidth"];
    all.extend(zeros.map(|key| (key, json!(0))));
    let lists = [
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "BlkioWeightDevice",
        "BlkioDeviceReadBps",
        "BlkioDeviceWriteBps",
        "BlkioDeviceReadIOps",
        "BlkioDeviceWriteIOps",
        "Devices",
        "Ulimits",
    ];
    all.extend(lists.map(|key| (key, json!([]))));
    all
}
