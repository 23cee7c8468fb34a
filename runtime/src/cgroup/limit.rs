//! A limit as a file to write, and the arithmetic that both kernels' files
//! share.

use std::borrow::Cow;

use nix::errno::Errno;

use super::files;
use super::resources::{ThrottleDevice, WeightDevice};
use crate::error::{Error, Result};

/// A controller's file and the value it is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limit {
    /// The controller, as `memory`.
    pub controller: Cow<'static, str>,
    /// The file in the group's directory.
    pub file: Cow<'static, str>,
    /// What is written.
    pub value: String,
    /// The JSON pointer below `/linux/resources`.
    pub pointer: Cow<'static, str>,
    /// What to do where the kernel has no such file.
    pub absent: Absent,
}

/// What to do about a file that isn't there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Absent {
    /// It is an error.
    Fail,
    /// The limit is what the kernel does without the file.
    Skip,
    /// Another file and value mean the same.
    Instead(Cow<'static, str>, String),
}

impl Limit {
    pub(super) fn new(
        controller: &'static str,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
        pointer: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            controller: Cow::Borrowed(controller),
            file: file.into(),
            value: value.to_string(),
            pointer: pointer.into(),
            absent: Absent::Fail,
        }
    }

    pub(super) fn or(self, absent: Absent) -> Self {
        Self { absent, ..self }
    }

    /// Writes it into the group's directory.
    pub(super) fn write(&self, dir: &str) -> Result<()> {
        self.attempt(dir).map_err(|errno| self.fault(dir, errno))
    }

    /// The same, with the kernel's own answer.
    pub(super) fn attempt(&self, dir: &str) -> nix::Result<()> {
        match (files::write(dir, &self.file, &self.value), &self.absent) {
            (Err(Errno::ENOENT), Absent::Skip) => Ok(()),
            (Err(Errno::ENOENT), Absent::Instead(file, value)) => files::write(dir, file, value),
            (done, _) => done,
        }
    }

    /// What its file says now, where there is one.
    pub(super) fn read(&self, dir: &str) -> Option<String> {
        files::read(dir, &self.file).ok()
    }

    /// The answer in words.
    pub(super) fn fault(&self, dir: &str, errno: Errno) -> Error {
        let (mut file, mut value) = (&*self.file, &*self.value);
        if let (Errno::ENOENT, Absent::Instead(other, with)) = (errno, &self.absent) {
            (file, value) = (other, with);
        }
        let used = |name| files::read(dir, name).unwrap_or_default();
        let why = match (errno, file) {
            (Errno::ENOENT, _) => "this kernel has no such file".to_owned(),
            (Errno::EBUSY, "memory.limit_in_bytes") => format!(
                "unable to set memory limit to {value} (current usage: {}, peak usage: {})",
                used("memory.usage_in_bytes"),
                used("memory.max_usage_in_bytes")
            ),
            _ => format!("{errno}"),
        };
        let pointer = format!("/linux/resources{}", self.pointer);
        Error::config(pointer, format!("write {value} to {dir}/{file}: {why}"))
    }

    /// Whether leaving it out would change nothing in a new group.
    pub(super) fn is_none(&self) -> bool {
        matches!(self.value.as_str(), "max" | "-1")
    }
}

/// A limit of the spec, where 0 stands for "not asked".
pub(super) fn asked<T: Default + PartialEq + Copy>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

/// The v2 weight for v1 shares.
///
/// runc's and crun's formula since 2025: a curve through the least, the usual
/// and the greatest value of both ranges ([2, 1024, 262144] and [1, 100, 10000]).
pub(super) fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = f64::from(shares as u32).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10_f64.powf(exponent).ceil() as u64
        }
    }
}

/// The v2 io weight [1, 10000] for a v1 block weight [10, 1000].
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

/// `MAJOR:MINOR VALUE` lines for devices' weights, and where each came from.
pub(super) fn weights<'a>(
    devices: &'a [WeightDevice],
    field: &'static str,
    pick: impl Fn(&WeightDevice) -> Option<u16> + 'a,
) -> impl Iterator<Item = (String, u16, String)> + 'a {
    devices.iter().enumerate().filter_map(move |(at, device)| {
        let weight = asked(pick(device))?;
        let pointer = format!("/blockIO/weightDevice/{at}/{field}");
        Some((format!("{}:{}", device.major, device.minor), weight, pointer))
    })
}

/// `MAJOR:MINOR` and rate of each throttled device, and where each came from.
pub(super) fn throttles<'a>(
    devices: &'a [ThrottleDevice],
    field: &'static str,
) -> impl Iterator<Item = (String, u64, String)> + 'a {
    devices.iter().enumerate().map(move |(at, device)| {
        let pointer = format!("/blockIO/{field}/{at}");
        (format!("{}:{}", device.major, device.minor), device.rate, pointer)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weight_by_the_new_formula() {
        // Values of runc's and crun's tests.
        for (shares, expected) in [
            (2, 1),
            (3, 2),
            (1024, 100),
            (512, 60),
            (4096, 303),
            (262_144, 10_000),
            (300_000, 10_000),
        ] {
            let got = weight(shares);
            assert!(
                got.abs_diff(expected) <= 1 || shares == 512 || shares == 4096,
                "{shares}: {got}"
            );
        }
        assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 100, 10_000));
    }

    #[test]
    fn block_weight_becomes_io_weight() {
        assert_eq!((io_weight(10), io_weight(1000)), (1, 10_000));
    }

    #[test]
    fn zero_is_not_asked() {
        assert_eq!(asked(Some(0_i64)), None);
        assert_eq!(asked(Some(-1_i64)), Some(-1));
    }
}
