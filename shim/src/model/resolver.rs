//! What daemon.json says of names.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What the machine's owner has settled for containers that say nothing themselves. A monitor
/// doesn't read daemon.json, so this is in the container's record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MachineResolver {
    /// Name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of /etc/resolv.conf.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// What `host-gateway` means; empty for the default bridge's own addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<IpAddr>,
}

impl MachineResolver {
    /// The owner said nothing.
    pub fn is_silent(&self) -> bool {
        *self == Self::default()
    }
}
