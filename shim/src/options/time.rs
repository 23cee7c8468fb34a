//! Points in time as `logs --since` and filters take them.

use jiff::Timestamp;

pub use dhow_image::moment::{duration, worded};

use crate::error::{Error, Result};

/// RFC 3339 or a part of it, seconds since 1970 (with a fraction), or an age as `10m` counted from `now`.
pub fn moment(flag: &str, text: &str, now: Timestamp) -> Result<Timestamp> {
    dhow_image::moment::moment(text, now).ok_or_else(|| {
        Error::usage(format!(
            "{flag}: failed to parse value as time or duration: \"{text}\"; \
             write 2026-01-02T15:04:05, seconds since 1970, or an age as 10m"
        ))
    })
}
