//! What `inspect` shows: docker's keys over dhow's records.

mod host_config;
mod network;
mod networks;

pub use networks::network;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{Record, State, Status};
use crate::store::{Volume, size_of};

/// docker's `container inspect`.
pub fn container(host: &Host, record: &Record, size: bool) -> Result<Value> {
    let state = crate::monitor::state(host, record)?;
    let file = |name: &str| host.paths.container(&record.id).join(name).display().to_string();
    // As docker, which makes them at the first start.
    let made = |path: String| if state.started_at.is_some() { path } else { String::new() };
    let log = host.paths.log(&record.id);
    let lower: Vec<String> = record
        .layers
        .iter()
        .rev()
        .map(|chain| host.paths.layer_fs(chain).display().to_string())
        .collect();
    // As docker: the files of the driver local are nobody's business.
    let logged = matches!(record.host_config.log_config.kind.as_str(), "" | "json-file");
    let mut value = json!({
        "Id": record.id,
        "Created": record.created,
        "Path": record.path,
        "Args": record.args,
        "State": state_of(&state),
        "Image": record.image.id,
        "ResolvConfPath": made(file("resolv.conf")),
        "HostnamePath": made(file("hostname")),
        "HostsPath": made(file("hosts")),
        "LogPath": if logged { made(log.display().to_string()) } else { String::new() },
        "Name": format!("/{}", record.name),
        "RestartCount": state.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": execs(host, record),
        "HostConfig": host_config::host_config(host, record)?,
        "GraphDriver": {
            "Name": "overlay2",
            "Data": {
                "ID": record.id,
                "LowerDir": lower.join(":"),
                "MergedDir": file("rootfs"),
                "UpperDir": file("upper"),
                "WorkDir": file("work"),
            },
        },
        "Mounts": mounts(record)?,
        "Config": config(record)?,
        "NetworkSettings": network::settings(host, record, &state),
    });
    if size {
        value["SizeRw"] = size_of(&host.paths.container(&record.id).join("upper")).into();
        let image =
            host.images()?.find(&record.image.id).map(|image| image.size).unwrap_or_default();
        value["SizeRootFs"] = (image + value["SizeRw"].as_u64().unwrap_or_default()).into();
    }
    Ok(value)
}

fn of(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::engine(format!("encode: {e}")))
}

/// docker keeps an image's shell to the image, and a container's ONBUILD empty.
fn config(record: &Record) -> Result<Value> {
    let mut value = of(&record.config)?;
    if let Value::Object(map) = &mut value {
        map.remove("Shell");
        map.insert("OnBuild".to_owned(), Value::Null);
    }
    Ok(value)
}

/// Ids of what `exec` runs in it just now; docker says null for none.
fn execs(host: &Host, record: &Record) -> Option<Vec<String>> {
    let all = crate::monitor::execs(&host.paths.monitor(&record.id));
    (!all.is_empty()).then_some(all)
}

/// Without what dhow keeps for itself.
fn mounts(record: &Record) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    // docker lists a `--tmpfs` in HostConfig alone.
    for mount in
        record.mounts.iter().filter(|m| !record.host_config.tmpfs.contains_key(&m.destination))
    {
        let mut value = of(mount)?;
        if let Value::Object(map) = &mut value {
            map.retain(|key, _| !key.starts_with("dhow."));
            if mount.kind == "tmpfs" {
                map.insert("Mode".into(), "".into()); // its options stand in HostConfig
            }
        }
        all.push(value);
    }
    Ok(all)
}

/// docker's zero time.
fn time(at: Option<Timestamp>) -> Value {
    at.map_or_else(|| "0001-01-01T00:00:00Z".into(), |at| at.to_string().into())
}

fn state_of(state: &State) -> Value {
    let mut value = json!({
        "Status": state.status,
        "Running": state.status.is_alive() || state.status == Status::Restarting,
        "Paused": state.status == Status::Paused,
        "Restarting": state.status == Status::Restarting,
        "OOMKilled": state.oom_killed,
        "Dead": state.status == Status::Dead,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": time(state.started_at),
        "FinishedAt": time(state.finished_at),
    });
    if let Some(health) = &state.health {
        value["Health"] = json!(health);
    }
    value
}

/// docker's `volume inspect`.
pub fn volume(volume: &Volume) -> Result<Value> {
    let null_or = |map: &std::collections::BTreeMap<String, String>| {
        if map.is_empty() { Value::Null } else { json!(map) }
    };
    Ok(json!({
        "CreatedAt": volume.created().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "Driver": "local",
        "Labels": null_or(&volume.spec.labels),
        "Mountpoint": volume.data.display().to_string(),
        "Name": volume.name,
        "Options": null_or(&volume.spec.options),
        "Scope": "local",
    }))
}
