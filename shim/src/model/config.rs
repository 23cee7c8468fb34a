//! The part of a container that is the image's idea, as the user changed it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// docker's `Config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// Name of the container in its UTS namespace; empty when it shares the host's.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// `user[:group]`, names or numbers, empty for root.
    pub user: String,
    /// The starting client follows stdin.
    pub attach_stdin: bool,
    /// The starting client follows stdout.
    pub attach_stdout: bool,
    /// The starting client follows stderr.
    pub attach_stderr: bool,
    /// Ports the image says it serves, `80/tcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    /// The container has a terminal.
    pub tty: bool,
    /// stdin stays open when nobody is attached.
    pub open_stdin: bool,
    /// stdin closes when the first attached client leaves.
    pub stdin_once: bool,
    /// `KEY=value`, in docker's order.
    pub env: Vec<String>,
    /// Arguments, or the command when there is no entrypoint.
    pub cmd: Option<Vec<String>>,
    /// How to find out whether the container is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The image as it was typed.
    pub image: String,
    /// Paths that are volumes of their own.
    pub volumes: Option<BTreeMap<String, serde_json::Value>>,
    /// Where the command starts; empty means `/`.
    pub working_dir: String,
    /// What runs before `cmd`.
    pub entrypoint: Option<Vec<String>>,
    /// Labels, image's and user's.
    pub labels: BTreeMap<String, String>,
    /// Name or number of the signal `stop` sends; empty means SIGTERM.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// What runs a health check's line; unset means `/bin/sh -c`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Seconds `stop` waits before SIGKILL; unset means 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
}

/// docker's `HealthConfig`; times in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", line]`.
    pub test: Vec<String>,
    /// Between two runs.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Longest run.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Failures in this time after the start don't count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between two runs in that time, until one succeeds.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(n: &i64) -> bool {
    *n == 0
}
