//! CDI's edits, done to a config.json.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use dhow_image::rootless;
use nix::sys::stat::{major, minor};
use serde_json::{Map, Value, json};

use super::spec::{Edits, Hook, Mount, Node};

/// Does `edits` to `config`; the mounts are put in order by [`order`], after all.
pub fn apply(edits: &Edits, config: &mut Value) -> Result<(), String> {
    variables(&edits.env, config);
    for node in &edits.device_nodes {
        device(node, config)?;
    }
    for device in &edits.net_devices {
        let all = &mut config["linux"]["netDevices"];
        all[&device.host_interface_name] = json!({"name": device.name});
        newer(config);
    }
    for mount in &edits.mounts {
        add_mount(mount, config);
    }
    for hook in &edits.hooks {
        list(&mut config["hooks"][&hook.stage]).push(of_hook(hook));
    }
    if let Some(rdt) = &edits.intel_rdt {
        config["linux"]["intelRdt"] = Value::Object(rdt.clone());
        if rdt.contains_key("schemata") || rdt.contains_key("enableMonitoring") {
            newer(config);
        }
    }
    for gid in edits.additional_gids.iter().filter(|gid| **gid != 0) {
        let groups = list(&mut config["process"]["user"]["additionalGids"]);
        if !groups.iter().any(|g| g.as_u64() == Some((*gid).into())) {
            groups.push((*gid).into());
        }
    }
    Ok(())
}

/// What the runtime-spec has had since 1.3 only.
fn newer(config: &mut Value) {
    config["ociVersion"] = "1.3.0".into();
}

/// The array that `value` is, or becomes.
fn list(value: &mut Value) -> &mut Vec<Value> {
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(list) => list,
        _ => unreachable!("it was made one"),
    }
}

fn variables(env: &[String], config: &mut Value) {
    let all = list(&mut config["process"]["env"]);
    for entry in env {
        let key = &entry[..=entry.find('=').unwrap_or(entry.len() - 1)];
        match all.iter_mut().find(|e| e.as_str().is_some_and(|e| e.starts_with(key))) {
            Some(old) => *old = entry.as_str().into(),
            None => all.push(entry.as_str().into()),
        }
    }
}

fn device(wanted: &Node, config: &mut Value) -> Result<(), String> {
    let node = settled(wanted)?;
    if rootless::is_confined() && node.host_path != node.path {
        bound(&node, config);
        return Ok(());
    }
    let mut entry = Map::new();
    entry.insert("path".into(), node.path.as_str().into());
    entry.insert("type".into(), node.kind.as_str().into());
    if node.kind != "p" {
        entry.insert("major".into(), node.major.into());
        entry.insert("minor".into(), node.minor.into());
    }
    entry.extend(node.file_mode.map(|mode| ("fileMode".to_owned(), mode.into())));
    for (key, own) in [("uid", node.uid), ("gid", node.gid)] {
        let of_process = config["process"]["user"][key].as_u64().filter(|id| *id > 0);
        let id = own.map(u64::from).or(of_process);
        entry.extend(id.map(|id| (key.to_owned(), id.into())));
    }
    let all = list(&mut config["linux"]["devices"]);
    all.retain(|d| d["path"] != node.path.as_str());
    all.push(Value::Object(entry));
    if matches!(node.kind.as_str(), "b" | "c") {
        let access = if node.permissions.is_empty() { "rwm" } else { &node.permissions };
        list(&mut config["linux"]["resources"]["devices"]).push(json!({"allow": true,
            "type": node.kind, "major": node.major, "minor": node.minor, "access": access}));
    }
    Ok(())
}

/// The host's node under another name, for a user who can't make one.
fn bound(node: &Node, config: &mut Value) {
    let options = ["bind", "nosuid", "noexec"];
    list(&mut config["mounts"]).push(json!({"source": node.host_path, "destination": node.path,
        "type": "bind", "options": options}));
}

/// What the file left open, from the host's node.
fn settled(wanted: &Node) -> Result<Node, String> {
    let mut node = wanted.clone();
    if node.host_path.is_empty() {
        node.host_path.clone_from(&node.path);
    }
    let whole = !node.kind.is_empty() && (node.major != 0 || node.kind == "p");
    let (kind, meta) = match host(&node.host_path) {
        Ok(found) => found,
        Err(_) if whole => return Ok(node),
        Err(why) => {
            return Err(format!("failed to stat CDI host device \"{}\": {why}", node.host_path));
        }
    };
    node.file_mode = node.file_mode.or(Some(meta.mode() & 0o7777));
    if whole {
        return Ok(node);
    }
    if node.kind.is_empty() {
        kind.clone_into(&mut node.kind);
    } else if node.kind != kind {
        return Err(format!(
            "CDI device (\"{}\", \"{}\"), host type mismatch ({}, {kind})",
            node.path, node.host_path, node.kind
        ));
    }
    if kind != "p" && node.major == 0 {
        node.major = major(meta.rdev()) as i64;
        node.minor = minor(meta.rdev()) as i64;
    }
    Ok(node)
}

fn host(path: &str) -> Result<(&'static str, std::fs::Metadata), String> {
    let meta = std::fs::symlink_metadata(path).map_err(|e| e.to_string())?;
    let kind = meta.file_type();
    let word = if kind.is_block_device() {
        "b"
    } else if kind.is_char_device() {
        "c"
    } else if kind.is_fifo() {
        "p"
    } else {
        return Err("not a device node".to_owned());
    };
    Ok((word, meta))
}

fn add_mount(mount: &Mount, config: &mut Value) {
    let mut entry = json!({"source": mount.host_path, "destination": mount.container_path,
        "options": mount.options});
    if !mount.kind.is_empty() {
        entry["type"] = mount.kind.as_str().into();
    }
    let all = list(&mut config["mounts"]);
    all.retain(|m| m["destination"] != mount.container_path.as_str());
    all.push(entry);
}

fn of_hook(hook: &Hook) -> Value {
    let mut entry = json!({"path": hook.path});
    if !hook.args.is_empty() {
        entry["args"] = json!(hook.args);
    }
    // CVE-2025-23266: a hook gets what its file says, and nothing of the image.
    entry["env"] = json!(hook.env);
    if let Some(timeout) = hook.timeout {
        entry["timeout"] = timeout.into();
    }
    entry
}

/// Fewer parts first: a mount must not hide one that was made before it.
pub fn order(config: &mut Value) {
    let parts = |mount: &Value| {
        let target = mount["destination"].as_str().unwrap_or_default();
        target.split('/').filter(|p| !p.is_empty()).count()
    };
    list(&mut config["mounts"]).sort_by_key(parts);
}
