//! JSON for people: docker's indentation, and docker's order of keys.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

/// docker's order at the top of what `inspect` shows; other keys follow by name.
const ORDER: [&str; 40] = [
    "Id",
    "Created",
    "RepoTags",
    "RepoDigests",
    "Parent",
    "Comment",
    "Path",
    "Args",
    "State",
    "Image",
    "Status",
    "Running",
    "Paused",
    "Restarting",
    "OOMKilled",
    "Dead",
    "Pid",
    "ExitCode",
    "Error",
    "StartedAt",
    "FinishedAt",
    "ResolvConfPath",
    "HostnamePath",
    "HostsPath",
    "LogPath",
    "Name",
    "RestartCount",
    "Driver",
    "Platform",
    "MountLabel",
    "ProcessLabel",
    "AppArmorProfile",
    "ExecIDs",
    "Type",
    "Source",
    "Destination",
    "HostConfig",
    "GraphDriver",
    "Mounts",
    "Config",
];

/// Four spaces a level.
pub fn pretty(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    match Ordered(value).serialize(&mut serializer) {
        Ok(()) => String::from_utf8(bytes).unwrap_or_default(),
        Err(_) => value.to_string(),
    }
}

struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(list) => {
                let mut seq = serializer.serialize_seq(Some(list.len()))?;
                for value in list {
                    seq.serialize_element(&Ordered(value))?;
                }
                seq.end()
            }
            Value::Object(object) => {
                let mut entries: Vec<_> = object.iter().collect();
                let place = |key: &str| ORDER.iter().position(|k| *k == key).unwrap_or(ORDER.len());
                entries.sort_by_key(|(key, _)| place(key));
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, &Ordered(value))?;
                }
                map.end()
            }
            other => other.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_comes_first_and_strangers_by_name() {
        let value = serde_json::json!({"Zoo": 1, "Config": {}, "Apple": [1], "Id": "x"});
        assert_eq!(
            pretty(&value),
            "{\n    \"Id\": \"x\",\n    \"Config\": {},\n    \"Apple\": [\n        1\n    ],\n    \"Zoo\": 1\n}"
        );
    }
}
