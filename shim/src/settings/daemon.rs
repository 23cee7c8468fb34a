//! dockerd's `daemon.json`: what the machine's owner has settled for every container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// The keys of daemon.json that mean something without a daemon.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Daemon {
    /// Mirrors of Docker Hub, as URLs, asked first and in order.
    pub registry_mirrors: Vec<String>,
    /// Registries, or networks of them, that are spoken to without checking certificates, or by http.
    pub insecure_registries: Vec<String>,
    /// `--log-driver` of new containers.
    pub log_driver: Option<String>,
    /// `--log-opt` of new containers with that driver.
    pub log_opts: BTreeMap<String, String>,
    /// `--runtime` of new containers: a name of `runtimes`, or a program's.
    pub default_runtime: Option<String>,
    /// Runtimes by name.
    pub runtimes: BTreeMap<String, RuntimeEntry>,
    /// `--ulimit` of new containers, by name.
    pub default_ulimits: BTreeMap<String, Ulimit>,
    /// `--shm-size` of new containers, as typed.
    pub default_shm_size: Option<Text>,
    /// `--init` of new containers.
    pub init: bool,
    /// `--ipc` of new containers.
    pub default_ipc_mode: Option<String>,
    /// `--cgroupns` of new containers.
    pub default_cgroupns_mode: Option<String>,
    /// `--cgroup-parent` of new containers.
    pub cgroup_parent: Option<String>,
    /// `--security-opt no-new-privileges` of new containers.
    pub no_new_privileges: bool,
    /// `--security-opt seccomp=` of new containers: a file, or `unconfined`.
    pub seccomp_profile: Option<String>,
    /// Whose ids containers' root has; dhow can't yet, and says so.
    pub userns_remap: Option<String>,
    /// Folders of CDI specs.
    pub cdi_spec_dirs: Vec<PathBuf>,
    /// Labels of the machine, told by `info`.
    pub labels: Vec<String>,
    /// The device of the default network; `none` for no such network.
    pub bridge: String,
    /// The default network's own address, with the length of its subnet.
    pub bip: String,
    /// The same of IPv6.
    pub bip6: String,
    /// The part of the default network's subnet that containers get addresses from.
    pub fixed_cidr: String,
    /// The same of IPv6.
    pub fixed_cidr_v6: String,
    /// Where containers of the default network leave, when it isn't the bridge.
    pub default_gateway: String,
    /// The same of IPv6.
    pub default_gateway_v6: String,
    /// Containers of the default network get IPv6 addresses as well.
    pub ipv6: bool,
    /// Bytes of the default network's packets.
    pub mtu: Option<u32>,
    /// Containers of the default network reach each other.
    pub icc: Option<bool>,
    /// Where ports are published when `-p` names no address.
    pub ip: String,
    /// What leaves the default network gets the machine's address.
    pub ip_masq: Option<bool>,
    /// dhow may turn forwarding on.
    pub ip_forward: Option<bool>,
    /// dhow may make rules; without, there are no bridge networks.
    pub iptables: Option<bool>,
    /// The same of IPv6.
    pub ip6tables: Option<bool>,
    /// Packets are forwarded for everybody; dhow never does that, and says so.
    pub ip_forward_no_drop: bool,
    /// Containers are reached by their own addresses from outside; the same.
    pub allow_direct_routing: bool,
    /// Whether processes carry connections of the loopback; here that is the monitor's work, always.
    pub userland_proxy: Option<bool>,
    /// The program of docker's that carries them; a monitor isn't another's.
    pub userland_proxy_path: String,
    /// Where networks without `--subnet` get theirs.
    pub default_address_pools: Vec<AddressPool>,
    /// Options of new networks, by driver.
    pub default_network_opts: BTreeMap<String, BTreeMap<String, String>>,
    /// `--dns` of new containers.
    pub dns: Vec<String>,
    /// `--dns-search` of new containers.
    pub dns_search: Vec<String>,
    /// `--dns-option` of new containers.
    pub dns_opts: Vec<String>,
    /// What `host-gateway` means in `--add-host`.
    pub host_gateway_ip: String,
    /// The same, of both families.
    pub host_gateway_ips: Vec<String>,
}

/// Addresses that are cut into subnets.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AddressPool {
    /// `172.80.0.0/16`
    pub base: String,
    /// The length of the subnets that it is cut into.
    pub size: u8,
}

impl Daemon {
    /// Whether there is a default network.
    pub fn has_bridge(&self) -> bool {
        self.bridge != "none"
    }
}

/// A runtime by name.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RuntimeEntry {
    /// The program.
    pub path: Option<PathBuf>,
    /// Arguments before its verb.
    pub runtime_args: Vec<String>,
    /// A containerd shim's name, which dhow can't call.
    pub runtime_type: Option<String>,
}

/// A limit by name.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Ulimit {
    /// What holds until somebody raises it.
    pub soft: i64,
    /// As far as it can be raised.
    pub hard: i64,
}

/// Text that some write as a number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "TextOrNumber")]
pub struct Text(pub String);

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Number(i64),
}

impl From<TextOrNumber> for Text {
    fn from(value: TextOrNumber) -> Self {
        match value {
            TextOrNumber::Text(text) => Self(text),
            TextOrNumber::Number(n) => Self(n.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_daemons_file_is_read() {
        let text = r#"{"registry-mirrors": ["https://m.example"], "log-opts": {"max-size": "10m"},
            "default-runtime": "nvidia", "runtimes": {"nvidia": {"path": "nvidia-container-runtime", "runtimeArgs": []}},
            "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 64000, "Soft": 32000}},
            "default-shm-size": "128M", "features": {"containerd-snapshotter": true}, "bip": "10.0.0.1/24",
            "default-address-pools": [{"base": "172.30.0.0/16", "size": 24}], "icc": false}"#;
        let daemon: Daemon = serde_json::from_str(text).unwrap();
        assert_eq!(daemon.registry_mirrors, ["https://m.example"]);
        assert_eq!(daemon.default_ulimits["nofile"].soft, 32000);
        assert_eq!((daemon.bip.as_str(), daemon.icc), ("10.0.0.1/24", Some(false)));
        assert_eq!(daemon.default_address_pools[0].size, 24);
        assert!(daemon.has_bridge());
        assert_eq!(daemon.default_shm_size, Some(Text("128M".into())));
        assert_eq!(
            daemon.runtimes["nvidia"].path.as_deref(),
            Some("nvidia-container-runtime".as_ref())
        );
    }
}
