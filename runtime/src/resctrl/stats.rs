//! What a group has and uses, as `events` shows it: runc's keys.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::Record;

/// `intel_rdt` of an event's `data`; empty without a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_info: Option<Cache>,
    #[serde(skip_serializing_if = "String::is_empty")]
    l3_cache_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    l3_cache_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_info: Option<Throttle>,
    #[serde(skip_serializing_if = "String::is_empty")]
    mem_bw_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    mem_bw_schema: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    schemata: Vec<String>,
    #[serde(rename = "mbm_stats", skip_serializing_if = "Option::is_none")]
    bytes: Option<Vec<Bytes>>,
    #[serde(rename = "cmt_stats", skip_serializing_if = "Option::is_none")]
    occupied: Option<Vec<Occupancy>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Cache {
    cbm_mask: String,
    min_cbm_bits: u64,
    num_closids: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Throttle {
    bandwidth_gran: u64,
    delay_linear: u64,
    min_bandwidth: u64,
    num_closids: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Bytes {
    mbm_total_bytes: u64,
    mbm_local_bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Occupancy {
    llc_occupancy: u64,
}

impl Record {
    /// Reads them; what isn't there is left out.
    pub fn stats(&self) -> Stats {
        if self.is_empty() {
            return Stats::default();
        }
        let root = self.path.ancestors().find(|dir| dir.join("info").is_dir());
        let Some(root) = root else { return Stats::default() };
        let (whole, own) = (text(&root.join("schemata")), text(&self.path.join("schemata")));
        let schema = |of: &str, resource: &str| {
            let line = of.lines().rfind(|line| line.contains(resource));
            line.unwrap_or_default().trim().to_owned()
        };
        let mut stats = Stats::default();
        let l3 = root.join("info/L3");
        if l3.is_dir() {
            stats.l3_cache_info = Some(Cache {
                cbm_mask: text(&l3.join("cbm_mask")).trim().to_owned(),
                min_cbm_bits: number(&l3.join("min_cbm_bits")),
                num_closids: number(&l3.join("num_closids")),
            });
            stats.l3_cache_schema_root = schema(&whole, "L3");
            stats.l3_cache_schema = schema(&own, "L3");
        }
        let mb = root.join("info/MB");
        if mb.is_dir() {
            stats.mem_bw_info = Some(Throttle {
                bandwidth_gran: number(&mb.join("bandwidth_gran")),
                delay_linear: number(&mb.join("delay_linear")),
                min_bandwidth: number(&mb.join("min_bandwidth")),
                num_closids: number(&mb.join("num_closids")),
            });
            stats.mem_bw_schema_root = schema(&whole, "MB");
            stats.mem_bw_schema = schema(&own, "MB");
        }
        stats.schemata = own.trim().lines().map(str::to_owned).collect();
        self.monitored(&text(&root.join("info/L3_MON/mon_features")), &mut stats);
        stats
    }

    fn monitored(&self, features: &str, stats: &mut Stats) {
        let group = if self.monitor.as_os_str().is_empty() { &self.path } else { &self.monitor };
        let entries = fs::read_dir(group.join("mon_data")).into_iter().flatten().flatten();
        let mut nodes: Vec<_> = entries.map(|entry| entry.path()).filter(|p| p.is_dir()).collect();
        nodes.sort();
        let has = |feature: &str| features.lines().any(|line| line == feature);
        if has("mbm_total_bytes") || has("mbm_local_bytes") {
            let bytes = nodes.iter().map(|node| Bytes {
                mbm_total_bytes: number(&node.join("mbm_total_bytes")),
                mbm_local_bytes: number(&node.join("mbm_local_bytes")),
            });
            stats.bytes = Some(bytes.collect());
        }
        if has("llc_occupancy") {
            let occupied = nodes
                .iter()
                .map(|node| Occupancy { llc_occupancy: number(&node.join("llc_occupancy")) });
            stats.occupied = Some(occupied.collect());
        }
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// KERNEL: a counter that can't be read says so in words ("Unavailable").
fn number(path: &Path) -> u64 {
    text(path).trim().parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_told_with_runcs_keys() {
        let root = std::env::temp_dir().join(format!("resctrl-stats-{}", std::process::id()));
        let put = |file: &str, text: &str| {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("info/L3/cbm_mask", "fff\n");
        put("info/L3/min_cbm_bits", "2\n");
        put("info/L3/num_closids", "16\n");
        put("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\n");
        put("schemata", "    MB:0=100\n    L3:0=fff\n");
        put("c/schemata", "    L3:0=00f\n");
        put("c/mon_groups/c/mon_data/mon_L3_00/llc_occupancy", "4096\n");
        put("c/mon_groups/c/mon_data/mon_L3_00/mbm_total_bytes", "Unavailable\n");
        let path = root.join("c");
        let record = Record { monitor: path.join("mon_groups/c"), path, owned: true };
        let told = serde_json::to_value(record.stats()).unwrap();
        fs::remove_dir_all(&root).unwrap();
        let wanted = serde_json::json!({
            "l3_cache_info": {"cbm_mask": "fff", "min_cbm_bits": 2, "num_closids": 16},
            "l3_cache_schema_root": "L3:0=fff", "l3_cache_schema": "L3:0=00f",
            "schemata": ["L3:0=00f"],
            "mbm_stats": [{"mbm_total_bytes": 0, "mbm_local_bytes": 0}],
            "cmt_stats": [{"llc_occupancy": 4096}],
        });
        assert_eq!(told, wanted);
        assert_eq!(serde_json::to_string(&Record::default().stats()).unwrap(), "{}");
    }
}
