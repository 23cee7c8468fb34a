//! `dhow info`.

mod plain;

use std::path::Path;

use clap::Args;
use dhow_image::rootless;
use serde_json::{Map, Value, json};

use super::version;
use crate::delegation::Delegation;
use crate::error::Result;
use crate::exit::Exit;
use crate::host::{Host, search};
use crate::machine;
use crate::making::of_image;
use crate::model::Status;
use crate::output::{Output, compact, human};
use crate::settings::Daemon;

/// Show what dhow finds on this machine
#[derive(Debug, Args)]
pub struct Info {
    /// A Go template, or json
    #[arg(short, long, value_name = "TEMPLATE")]
    pub format: Option<String>,
}

impl Info {
    /// docker's keys.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let value = match value(host) {
            Ok(value) => value,
            Err(e) => return out.end(Err(e)),
        };
        let text = match self.format.as_deref() {
            Some("json") => Ok(compact(&value)),
            None | Some("") => {
                let text = plain::page(&value, host);
                out.line(&text);
                for warning in value["Warnings"].as_array().into_iter().flatten() {
                    out.note(warning.as_str().unwrap_or_default());
                }
                return out.exit();
            }
            Some(text) => super::template(text).and_then(|t| Ok(t.render(&with_go_names(value))?)),
        };
        let told = text.map(|text| out.line(&text));
        out.end(told)
    }
}

/// Templates name fields as Go does, which for two is not as JSON has them.
fn with_go_names(mut value: Value) -> Value {
    for (go, json) in [("CPUCfsPeriod", "CpuCfsPeriod"), ("CPUCfsQuota", "CpuCfsQuota")] {
        let found = value[json].clone();
        value[go] = found;
    }
    value
}

fn value(host: &Host) -> Result<Value> {
    let mut all = Map::new();
    for part in [held(host)?, machine_itself(), engine(host)?, registries(host)?, limits()] {
        if let Value::Object(part) = part {
            all.extend(part);
        }
    }
    Ok(Value::Object(all))
}

/// What the stores hold.
fn held(host: &Host) -> Result<Value> {
    let counts = counts(host)?;
    Ok(json!({
        "Containers": counts.iter().sum::<u64>(),
        "ContainersRunning": counts[0],
        "ContainersPaused": counts[1],
        "ContainersStopped": counts[2],
        "Images": host.images()?.images().map_err(of_image)?.len(),
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", machine::file_system(&host.paths.root)]],
        "DockerRootDir": host.paths.root.display().to_string(),
    }))
}

fn machine_itself() -> Value {
    json!({
        "ID": machine::id(),
        "IPv4Forwarding": machine::is_on("net/ipv4/ip_forward"),
        "SystemTime": jiff::Timestamp::now().to_string(),
        "CgroupDriver": delegated().map_or("cgroupfs", |groups| groups.driver()),
        "CgroupVersion": if machine::is_unified() { "2" } else { "1" },
        "KernelVersion": machine::kernel(),
        "OperatingSystem": machine::os_release("PRETTY_NAME"),
        "OSVersion": machine::os_release("VERSION_ID"),
        "OSType": "linux",
        "Architecture": machine::hardware(),
        "NCPU": machine::processors(),
        "MemTotal": machine::memory(),
        "GenericResources": null,
        "Name": machine::name(),
    })
}

/// What dhow is and is set to. What only a daemon has is there, and empty.
fn engine(host: &Host) -> Result<Value> {
    let daemon = host.settings.daemon()?;
    let runtime = version::runtime(host)?;
    let mut value = json!({
        "Plugins": {
            "Volume": ["local"], "Network": networks(daemon), "Authorization": null,
            "Log": ["journald", "json-file", "local"],
        },
        "Debug": false, "NFd": 0, "NGoroutines": 0, "NEventsListener": 0,
        "LoggingDriver": daemon.log_driver.as_deref().unwrap_or("json-file"),
        "Labels": daemon.labels,
        "ExperimentalBuild": false,
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Runtimes": runtimes(host)?,
        "DefaultRuntime": runtime.name,
        "LiveRestoreEnabled": true,
        "Isolation": "",
        "InitBinary": "dhow-init",
        "SecurityOptions": security(),
        "CDISpecDirs": cdi_dirs(daemon),
    });
    value["Swarm"] = json!({
        "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false,
        "Error": "", "RemoteManagers": null,
    });
    value["ClientInfo"] = json!({
        "Debug": false, "Version": env!("CARGO_PKG_VERSION"), "DefaultAPIVersion": version::API,
        "GitCommit": version::commit(), "GoVersion": "", "Os": "linux", "Arch": machine::arch(),
        "BuildTime": "", "Context": "default", "Plugins": [], "Warnings": null,
    });
    for (key, id) in
        [("ContainerdCommit", ""), ("RuncCommit", runtime.commit.as_str()), ("InitCommit", "")]
    {
        value[key] = json!({"ID": id});
    }
    for (key, var) in
        [("HttpProxy", "http_proxy"), ("HttpsProxy", "https_proxy"), ("NoProxy", "no_proxy")]
    {
        let value_of = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let found = value_of(var).or_else(|| value_of(&var.to_uppercase())).unwrap_or_default();
        value[key] = human::masked(&found).into();
    }
    Ok(value)
}

/// The kinds of networks that can be made here.
fn networks(daemon: &Daemon) -> Vec<&'static str> {
    let bridges = crate::store::allows_rules(daemon, false).is_ok();
    let mut all = vec!["bridge", "host", "ipvlan", "macvlan", "null"];
    all.retain(|kind| bridges || *kind != "bridge");
    all
}

/// Running, paused, and neither.
fn counts(host: &Host) -> Result<[u64; 3]> {
    let mut counts = [0_u64; 3];
    for found in host.containers.list()? {
        let state = crate::monitor::state(host, &found.record)?;
        counts[match state.status {
            Status::Running | Status::Restarting => 0,
            Status::Paused => 1,
            _ => 2,
        }] += 1;
    }
    Ok(counts)
}

/// What containers can be limited in, and docker's warnings about what the kernel lacks.
/// What an ordinary user was given; nothing for root, who has all.
fn delegated() -> Option<Delegation> {
    rootless::is_confined().then(Delegation::of_caller)
}

fn limits() -> Value {
    let knob = machine::has_knob;
    let mut all = [
        ("MemoryLimit", "memory limit", machine::has_controller("memory")),
        ("SwapLimit", "swap limit", knob("memory", "memory.memsw.limit_in_bytes")),
        ("CpuCfsPeriod", "cpu cfs period", knob("cpu", "cpu.cfs_period_us")),
        ("CpuCfsQuota", "cpu cfs quota", knob("cpu", "cpu.cfs_quota_us")),
        ("CPUShares", "cpu shares", knob("cpu", "cpu.shares")),
        ("CPUSet", "cpuset", machine::has_controller("cpuset")),
        ("PidsLimit", "pids limit", machine::has_controller("pids")),
        ("OomKillDisable", "oom kill disable", knob("memory", "memory.oom_control")),
    ];
    let mut value = Map::new();
    // An ordinary user's containers have the controllers that were delegated.
    if let Some(groups) = delegated() {
        let of = ["memory", "memory", "cpu", "cpu", "cpu", "cpuset", "pids", "memory"];
        for ((.., found), controller) in all.iter_mut().zip(of) {
            *found &= groups.has(controller);
        }
    }
    for (key, _, found) in all {
        value.insert(key.to_owned(), found.into());
    }
    let lacking = all.iter().filter(|(.., found)| !found);
    let told: Vec<String> =
        lacking.map(|(_, what, _)| format!("WARNING: No {what} support")).collect();
    value.insert("Warnings".to_owned(), if told.is_empty() { Value::Null } else { json!(told) });
    value.into()
}

fn cdi_dirs(daemon: &crate::settings::Daemon) -> Vec<String> {
    let usual = ["/etc/cdi", "/var/run/cdi"].map(str::to_owned).to_vec();
    let named: Vec<String> = daemon.cdi_spec_dirs.iter().map(|d| d.display().to_string()).collect();
    if named.is_empty() { usual } else { named }
}

fn registries(host: &Host) -> Result<Value> {
    let daemon = host.settings.daemon()?;
    let (nets, names): (Vec<&String>, Vec<&String>) =
        daemon.insecure_registries.iter().partition(|text| text.contains('/'));
    let mut nets: Vec<&str> = nets.into_iter().map(String::as_str).collect();
    nets.extend(["127.0.0.0/8", "::1/128"]);
    let mut indexes = Map::new();
    let index = |name: &str, mirrors: &[String], official: bool| json!({"Name": name, "Mirrors": mirrors, "Official": official, "Secure": official});
    indexes.insert("docker.io".into(), index("docker.io", &daemon.registry_mirrors, true));
    for name in names {
        indexes.insert(name.clone(), index(name, &[], false));
    }
    let mirrors = &daemon.registry_mirrors;
    Ok(json!({
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {
            "IndexConfigs": indexes,
            "InsecureRegistryCIDRs": nets,
            "Mirrors": if mirrors.is_empty() { Value::Null } else { json!(mirrors) },
        },
    }))
}

/// The default, those that daemon.json names, and the known ones in PATH.
fn runtimes(host: &Host) -> Result<Value> {
    let mut all = Map::new();
    for name in ["crun", "runc", "youki"] {
        if let Ok(path) = search(Path::new(name)) {
            all.insert(name.to_owned(), json!({"path": path.display().to_string()}));
        }
    }
    let usual = host.runtime_for(None)?;
    all.insert(usual.name, json!({"path": usual.path.display().to_string()}));
    for (name, entry) in &host.settings.daemon()?.runtimes {
        let mut shown = json!({"path": entry.path.as_ref().map_or_else(String::new, |p| p.display().to_string())});
        if !entry.runtime_args.is_empty() {
            shown["runtimeArgs"] = json!(entry.runtime_args);
        }
        all.insert(name.clone(), shown);
    }
    Ok(Value::Object(all))
}

/// In docker's form.
fn security() -> Vec<&'static str> {
    let mut all = vec!["name=seccomp,profile=builtin"];
    if rootless::is_confined() {
        all.push("name=rootless");
    }
    all.push("name=cgroupns");
    all
}
