//! Devices that a vendor describes: the Container Device Interface, 0.3 to 1.1.
//!
//! A file in /etc/cdi or /var/run/cdi names devices of a kind, and says what a container
//! must be given for each: nodes, mounts, variables, hooks. What it says becomes part of
//! the container's config.json at each start.

mod edit;
mod spec;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::{DeviceRequest, Record};
use crate::options::gpus::{CDI, cdi_name};
use spec::{Edits, Spec};

/// Where CDI files are looked for, unless daemon.json says otherwise; the last wins.
pub const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// Kinds that `--gpus` means, the first of which there are devices.
const GPUS: [&str; 2] = ["nvidia.com/gpu", "amd.com/gpu"];

/// Gives the container of `config` the devices that `record` asks for.
pub fn inject(record: &Record, config: &mut Value) -> Result<()> {
    let Some(requests) = record.host_config.device_requests.as_deref() else { return Ok(()) };
    let files = Files::read(&record.cdi_dirs);
    let names = files.names(requests)?;
    for edits in files.edits(&names)? {
        edit::apply(&edits, config).map_err(|why| {
            Error::engine(format!("CDI device injection failed: failed to inject devices: {why}"))
        })?;
    }
    edit::order(config);
    Ok(())
}

/// Whether all that is asked for is there.
pub fn check(directories: &[PathBuf], requests: &[DeviceRequest]) -> Result<()> {
    let files = Files::read(directories);
    let names = files.names(requests)?;
    files.edits(&names).map(drop)
}

/// What the directories hold.
#[derive(Default)]
struct Files {
    directories: Vec<PathBuf>,
    specs: Vec<(PathBuf, Spec)>,
    /// Qualified name → file and device.
    devices: BTreeMap<String, (usize, usize)>,
    /// Files that can't be read, and names that two of one directory have.
    faults: Vec<String>,
}

impl Files {
    fn read(directories: &[PathBuf]) -> Self {
        let mut all = Self { directories: directories.to_vec(), ..Self::default() };
        for directory in directories {
            let mut here: BTreeMap<String, (usize, usize)> = BTreeMap::new();
            let mut twice = Vec::new();
            for path in files_of(directory) {
                match Spec::read(&path) {
                    Ok(spec) => {
                        let at = all.specs.len();
                        for (n, device) in spec.devices.iter().enumerate() {
                            let name = format!("{}={}", spec.kind, device.name);
                            if let Some((other, _)) = here.insert(name.clone(), (at, n)) {
                                let other = all.specs[other].0.display().to_string();
                                all.faults.push(format!(
                                    "conflicting device \"{name}\" (specs \"{other}\", \"{}\")",
                                    path.display()
                                ));
                                twice.push(name);
                            }
                        }
                        all.specs.push((path, spec));
                    }
                    Err(why) => all.faults.push(format!("{}: {why}", path.display())),
                }
            }
            all.devices.extend(here);
            for name in twice {
                all.devices.remove(&name);
            }
        }
        all
    }

    /// Requests → qualified names.
    fn names(&self, requests: &[DeviceRequest]) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for request in requests {
            let ids = request.device_ids.clone().unwrap_or_default();
            match request.driver.as_str() {
                CDI => names.extend(ids),
                driver => names.extend(self.gpus(driver, request, ids)?),
            }
        }
        Ok(names)
    }

    /// `--gpus`: devices of the first vendor that has some.
    fn gpus(&self, driver: &str, request: &DeviceRequest, ids: Vec<String>) -> Result<Vec<String>> {
        let wanted = match driver {
            "" => &GPUS[..],
            "nvidia" | "nvidia.cdi" => &GPUS[..1],
            "amd" => &GPUS[1..],
            _ => &[],
        };
        let of =
            |kind: &&str| self.devices.keys().any(|name| name.starts_with(&format!("{kind}=")));
        let capabilities = request.capabilities.clone().unwrap_or_default();
        let Some(kind) = wanted.iter().copied().find(of) else {
            let words: Vec<String> =
                capabilities.iter().map(|c| format!("[{}]", c.join(" "))).collect();
            return Err(Error::engine(format!(
                "could not select device driver \"{driver}\" with capabilities: [{}]; {}",
                words.join(" "),
                self.what_is_there()
            )));
        };
        let ids = match request.count {
            0 => ids,
            -1 => vec!["all".to_owned()],
            n => (0..n).map(|n| n.to_string()).collect(),
        };
        let qualified = |id: String| if id.contains('=') { id } else { format!("{kind}={id}") };
        Ok(ids.into_iter().map(qualified).collect())
    }

    /// A file's own edits come once, before those of its first device.
    fn edits(&self, names: &[String]) -> Result<Vec<Edits>> {
        let unknown: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| cdi_name(name).is_none() || !self.devices.contains_key(*name))
            .collect();
        if !unknown.is_empty() {
            return Err(Error::engine(format!(
                "CDI device injection failed: unresolvable CDI devices {}; {}",
                unknown.join(", "),
                self.what_is_there()
            )));
        }
        let mut edits = Vec::new();
        let mut begun = Vec::new();
        for name in names {
            let (file, device) = self.devices[name];
            let spec = &self.specs[file].1;
            if !begun.contains(&file) {
                begun.push(file);
                edits.push(spec.container_edits.clone());
            }
            edits.push(spec.devices[device].container_edits.clone());
        }
        Ok(edits)
    }

    fn what_is_there(&self) -> String {
        let places: Vec<String> =
            self.directories.iter().map(|d| d.display().to_string()).collect();
        let places = places.join(" and ");
        let names: Vec<&str> = self.devices.keys().map(String::as_str).take(20).collect();
        let there = if names.is_empty() {
            format!("no devices are described in {places}")
        } else {
            format!("{places} have {}", names.join(", "))
        };
        match self.faults.as_slice() {
            [] => there,
            faults => format!("{there}; {}", faults.join("; ")),
        }
    }
}

/// Its CDI files by name; a directory that isn't there has none.
fn files_of(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_spec = |path: &PathBuf| {
        path.extension().is_some_and(|e| e == "json" || e == "yaml") && !path.is_dir()
    };
    let mut files: Vec<PathBuf> = entries.map(|e| e.path()).filter(is_spec).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CAMERA: &str = "cdiVersion: 0.8.0\nkind: acme.example/camera\ncontainerEdits:\n  env:\n  - ACME=1\n\
        devices:\n- name: front\n  containerEdits:\n    deviceNodes:\n    - path: /dev/cam\n      hostPath: /dev/null\n\
        \x20     fileMode: 0666\n    mounts:\n    - hostPath: /usr\n      containerPath: /opt/acme\n      options: [ro, bind]\n";

    fn request(names: &[&str]) -> Vec<DeviceRequest> {
        let ids = names.iter().map(|n| (*n).to_owned()).collect();
        vec![DeviceRequest {
            driver: CDI.into(),
            device_ids: Some(ids),
            ..DeviceRequest::default()
        }]
    }

    fn edited(directories: &[PathBuf], names: &[&str]) -> Result<Value> {
        let files = Files::read(directories);
        let names = files.names(&request(names))?;
        let mut config = json!({"process": {"env": ["A=1", "ACME=0"], "user": {"uid": 7, "gid": 0}},
            "linux": {"resources": {"devices": []}}, "mounts": [{"destination": "/opt"}]});
        for edits in files.edits(&names)? {
            edit::apply(&edits, &mut config).map_err(Error::engine)?;
        }
        edit::order(&mut config);
        Ok(config)
    }

    #[test]
    fn a_device_brings_what_its_file_says() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("acme.yaml"), CAMERA).unwrap();
        let config = edited(&[dir.path().into()], &["acme.example/camera=front"]).unwrap();
        assert_eq!(config["process"]["env"], json!(["A=1", "ACME=1"]));
        let node = &config["linux"]["devices"][0];
        assert_eq!((node["path"].as_str(), node["major"].as_i64()), (Some("/dev/cam"), Some(1)));
        assert_eq!((node["fileMode"].as_i64(), node["uid"].as_i64()), (Some(0o666), Some(7)));
        let rule = &config["linux"]["resources"]["devices"][0];
        assert_eq!(
            rule,
            &json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"})
        );
        assert_eq!(config["mounts"][1]["source"], "/usr");
    }

    #[test]
    fn the_later_directory_wins_and_one_directory_contradicts_itself() {
        let (low, high) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(low.path().join("a.yaml"), CAMERA).unwrap();
        std::fs::write(high.path().join("a.yaml"), CAMERA.replace("ACME=1", "ACME=2")).unwrap();
        let both = [low.path().to_owned(), high.path().to_owned()];
        let config = edited(&both, &["acme.example/camera=front"]).unwrap();
        assert_eq!(config["process"]["env"][1], "ACME=2");
        std::fs::write(low.path().join("b.yaml"), CAMERA).unwrap();
        let said = edited(&both[..1], &["acme.example/camera=front"]).unwrap_err().message;
        assert!(said.contains("conflicting device \"acme.example/camera=front\""), "{said}");
    }

    #[test]
    fn an_error_names_the_file_and_what_there_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("acme.yaml"), CAMERA).unwrap();
        std::fs::write(dir.path().join("bad.json"), "{").unwrap();
        let place = [dir.path().to_owned()];
        let said = edited(&place, &["acme.example/camera=back"]).unwrap_err().message;
        for part in ["unresolvable CDI devices acme.example/camera=back", "=front", "bad.json"] {
            assert!(said.contains(part), "{said}");
        }
        let gpus = vec![crate::options::gpus::gpus("all").unwrap()];
        let said = check(&place, &gpus).unwrap_err().message;
        assert!(
            said.contains("could not select device driver \"\" with capabilities: [[gpu]]"),
            "{said}"
        );
    }

    #[test]
    fn gpus_are_devices_of_nvidias_kind() {
        let dir = tempfile::tempdir().unwrap();
        let text = CAMERA.replace("acme.example/camera", "nvidia.com/gpu").replace("front", "all");
        let more = text.replace("name: all", "name: \"0\"");
        std::fs::write(dir.path().join("a.yaml"), &text).unwrap();
        std::fs::write(dir.path().join("b.yaml"), more).unwrap();
        let place = [dir.path().to_owned()];
        for good in ["all", "1", "device=0", "driver=nvidia,count=all"] {
            check(&place, &[crate::options::gpus::gpus(good).unwrap()]).unwrap();
        }
        for bad in ["2", "device=7", "driver=what"] {
            assert!(check(&place, &[crate::options::gpus::gpus(bad).unwrap()]).is_err(), "{bad}");
        }
    }
}
