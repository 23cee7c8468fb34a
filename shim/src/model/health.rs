//! Whether a container is well, as its health check tells.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// docker's words for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wellness {
    /// No check has succeeded yet, and not enough have failed.
    #[default]
    Starting,
    /// The last check that counted succeeded.
    Healthy,
    /// Too many failed in a row, or nobody checks any more.
    Unhealthy,
}

impl Wellness {
    /// docker's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// docker's `State.Health`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Health {
    /// What the checks amount to.
    pub status: Wellness,
    /// Failures in a row that counted.
    pub failing_streak: u32,
    /// The last [`Health::LONGEST_LOG`] checks, the oldest first.
    pub log: Vec<Probe>,
}

impl Health {
    /// So many checks are remembered.
    pub const LONGEST_LOG: usize = 5;

    /// Remembers `probe`, and forgets the oldest when there are too many.
    pub fn remember(&mut self, probe: Probe) {
        let surplus = (self.log.len() + 1).saturating_sub(Self::LONGEST_LOG);
        self.log.drain(..surplus);
        self.log.push(probe);
    }
}

/// One check that was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Probe {
    /// When it was begun.
    pub start: Timestamp,
    /// When it had ended.
    pub end: Timestamp,
    /// 0 is well; -1 when it did not come to its end.
    pub exit_code: i32,
    /// What it wrote, the beginning of it; or why it did not come to its end.
    pub output: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_five_checks_are_remembered() {
        let mut health = Health::default();
        for exit_code in 0..7 {
            health.remember(Probe { exit_code, ..Probe::default() });
        }
        let codes: Vec<i32> = health.log.iter().map(|probe| probe.exit_code).collect();
        assert_eq!(codes, [2, 3, 4, 5, 6]);
    }
}
