//! state.json: what became of a container. The monitor writes it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Endpoint, Health, Published};

/// docker's words for where a container is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Recorded, never started.
    #[default]
    Created,
    /// Its process lives.
    Running,
    /// Frozen.
    Paused,
    /// Between two lives of a restart policy.
    Restarting,
    /// Being removed.
    Removing,
    /// Its process has ended.
    Exited,
    /// Half removed.
    Dead,
}

impl Status {
    /// docker's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// A process of the container is alive (paused counts).
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// What became of a container; absent file means [`Status::Created`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Version of this form.
    pub version: u32,
    /// Where it is in its life.
    pub status: Status,
    /// First process, 0 when none lives.
    pub pid: i32,
    /// Field 22 of /proc/PID/stat, to know the pid is still the same process.
    pub start_time: u64,
    /// /proc/sys/kernel/random/boot_id at the start.
    pub boot_id: String,
    /// The monitor's process, 0 when none.
    pub monitor_pid: i32,
    /// Of the last life; 128+n when a signal ended it; -1 unknown (the monitor was killed).
    pub exit_code: i32,
    /// Why the last start failed, one line.
    pub error: String,
    /// The kernel killed it for memory.
    pub oom_killed: bool,
    /// When the last life began.
    pub started_at: Option<Timestamp>,
    /// When the last life ended.
    pub finished_at: Option<Timestamp>,
    /// Lives begun by the restart policy.
    pub restart_count: u32,
    /// Stopped by the user: `unless-stopped` leaves it so.
    pub stopped_by_user: bool,
    /// Whether it is well; unset when nothing checks it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What it has in its networks while it lives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// Ports of the host that lead into it while it lives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<Published>,
}

impl State {
    /// The version written today.
    pub const VERSION: u32 = 1;
}
