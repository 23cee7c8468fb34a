//! A CDI file: its shape, and what it may not say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use crate::options::gpus::cdi_name;

/// Versions of the format.
const VERSIONS: [&str; 8] =
    ["0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"];

/// More than this is no description of devices.
const LARGEST: u64 = 16 << 20;

/// SPEC: CDI SPEC.md, CDI JSON Definition.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    cdi_version: String,
    /// `vendor/class`
    pub kind: String,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
    /// Its devices.
    pub devices: Vec<Device>,
    /// For whoever gets one of its devices.
    #[serde(default)]
    pub container_edits: Edits,
}

/// One device.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Within its kind.
    pub name: String,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
    /// For whoever gets it.
    pub container_edits: Edits,
}

/// What a container must be given.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Edits {
    /// `KEY=VALUE`
    pub env: Vec<String>,
    /// Nodes below /dev.
    pub device_nodes: Vec<Node>,
    /// Network interfaces, moved in.
    pub net_devices: Vec<NetDevice>,
    /// Programs run on the host, or in the container.
    pub hooks: Vec<Hook>,
    /// Files of the host.
    pub mounts: Vec<Mount>,
    /// As the runtime-spec has it.
    pub intel_rdt: Option<serde_json::Map<String, serde_json::Value>>,
    /// Groups of the process.
    pub additional_gids: Vec<u32>,
}

/// A device node.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Node {
    /// In the container.
    pub path: String,
    /// On the host; empty means the same.
    pub host_path: String,
    /// `b`, `c`, `u`, `p`, or empty for what the host has.
    #[serde(rename = "type")]
    pub kind: String,
    /// 0 for what the host has.
    pub major: i64,
    /// With `major`.
    pub minor: i64,
    /// Permission bits.
    pub file_mode: Option<u32>,
    /// Some of `rwm`; empty means all.
    pub permissions: String,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetDevice {
    /// Outside.
    pub host_interface_name: String,
    /// Inside.
    pub name: String,
}

/// A mount.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Mount {
    /// Source.
    pub host_path: String,
    /// Destination.
    pub container_path: String,
    /// As mount(8) has them.
    pub options: Vec<String>,
    /// Empty for a bind.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A hook of the runtime-spec.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Hook {
    /// `createRuntime` and its kin.
    #[serde(rename = "hookName")]
    pub stage: String,
    /// The program.
    pub path: String,
    /// With argv\[0\].
    pub args: Vec<String>,
    /// All that it gets.
    pub env: Vec<String>,
    /// Seconds.
    pub timeout: Option<i64>,
}

/// The runtime-spec's hooks.
pub const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

impl Spec {
    /// Reads the file at `path`; JSON is YAML.
    pub fn read(path: &Path) -> Result<Self, String> {
        let meta = std::fs::metadata(path).map_err(|e| e.to_string())?;
        if !meta.is_file() || meta.len() > LARGEST {
            return Err("is no regular file of a sensible size".to_owned());
        }
        let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
        let value = if path.extension().is_some_and(|e| e == "json") {
            serde_json::from_str(&text).map_err(|e| e.to_string())?
        } else {
            dhow_image::yaml::parse(&text)?
        };
        let spec: Self = serde_json::from_value(value).map_err(|e| e.to_string())?;
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), String> {
        let version = self.cdi_version.strip_prefix('v').unwrap_or(&self.cdi_version);
        if !VERSIONS.contains(&version) {
            return Err(format!("invalid version \"{version}\""));
        }
        if self.devices.is_empty() {
            return Err("invalid spec, no devices".to_owned());
        }
        self.container_edits.check()?;
        let mut names = BTreeSet::new();
        for device in &self.devices {
            let name = &device.name;
            if cdi_name(&format!("{}={name}", self.kind)).is_none() {
                return Err(format!("\"{}={name}\" is no name of a device", self.kind));
            }
            if !names.insert(name) {
                return Err(format!("invalid spec, multiple device \"{name}\""));
            }
            if device.container_edits == Edits::default() {
                return Err(format!("invalid device \"{name}\", empty device edits"));
            }
            device.container_edits.check()?;
        }
        Ok(())
    }
}

impl Edits {
    fn check(&self) -> Result<(), String> {
        variables(&self.env)?;
        for node in &self.device_nodes {
            let path = &node.path;
            if path.is_empty() {
                return Err("invalid (empty) device path".to_owned());
            } else if !matches!(node.kind.as_str(), "" | "b" | "c" | "u" | "p") {
                return Err(format!("device \"{path}\": invalid type \"{}\"", node.kind));
            } else if !node.permissions.chars().all(|c| "rwm".contains(c)) {
                return Err(format!(
                    "device \"{path}\": invalid permissions \"{}\"",
                    node.permissions
                ));
            }
        }
        for hook in &self.hooks {
            if !HOOKS.contains(&hook.stage.as_str()) {
                return Err(format!("invalid hook name \"{}\"", hook.stage));
            } else if hook.path.is_empty() {
                return Err(format!("invalid hook \"{}\" with empty path", hook.stage));
            }
            variables(&hook.env)?;
        }
        if self.mounts.iter().any(|m| m.host_path.is_empty() || m.container_path.is_empty()) {
            return Err("invalid mount, empty path".to_owned());
        }
        if self.net_devices.iter().any(|d| d.name.is_empty() || d.host_interface_name.is_empty()) {
            return Err("invalid linux net device, empty name".to_owned());
        }
        Ok(())
    }
}

fn variables(list: &[String]) -> Result<(), String> {
    match list.iter().find(|e| e.find('=').is_none_or(|at| at == 0)) {
        Some(bad) => Err(format!("invalid environment variable \"{bad}\"")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Spec, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.yaml");
        std::fs::write(&path, text).unwrap();
        Spec::read(&path)
    }

    #[test]
    fn files_that_say_nonsense_are_refused() {
        let good =
            "{cdiVersion: 0.8.0, kind: a.b/c, devices: [{name: d, containerEdits: {env: [A=1]}}]}";
        assert!(read(good).is_ok());
        for (from, to, words) in [
            ("0.8.0", "9.9.9", "invalid version"),
            ("a.b/c", "nothing", "no name of a device"),
            ("name: d", "name: -d", "no name of a device"),
            ("A=1", "=1", "invalid environment variable"),
            ("env: [A=1]", "", "empty device edits"),
            ("env: [A=1]", "what: 1", "unknown field `what`"),
            ("env: [A=1]", "deviceNodes: [{path: /x, type: z}]", "invalid type"),
            ("env: [A=1]", "deviceNodes: [{path: /x, permissions: x}]", "invalid permissions"),
            ("env: [A=1]", "hooks: [{hookName: x, path: /x}]", "invalid hook name"),
            ("env: [A=1]", "mounts: [{hostPath: /x}]", "invalid mount"),
            (
                "devices: [",
                "devices: [{name: d, containerEdits: {env: [A=1]}}, ",
                "multiple device",
            ),
        ] {
            let said = read(&good.replace(from, to)).unwrap_err();
            assert!(said.contains(words), "{to}: {said}");
        }
    }
}
