//! Log lines in runc's two forms, which conmon and containerd parse.

use std::fs::File;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `time="…" level=error msg="…"`.
    #[default]
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`.
    Json,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only with `--debug`.
    Debug,
    /// Something odd that was survived.
    Warning,
    /// Why the command failed.
    Error,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Where log lines go.
#[derive(Debug, Default)]
pub struct Log {
    /// The file of `--log`; standard error when absent.
    pub file: Option<File>,
    /// `--log-format`.
    pub format: Format,
    /// `--debug`.
    pub debug: bool,
}

impl Log {
    /// Writes one line. A log that can't be written must not stop a container.
    pub fn line(&self, level: Level, message: &str) {
        if level == Level::Debug && !self.debug {
            return;
        }
        let line = render(self.format, level, message, SystemTime::now());
        let _ = match &self.file {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}

fn render(format: Format, level: Level, message: &str, now: SystemTime) -> String {
    let (word, time) = (level.word(), timestamp(now, 0));
    match format {
        Format::Json => {
            let message = serde_json::Value::from(message);
            format!("{{\"level\":\"{word}\",\"msg\":{message},\"time\":\"{time}\"}}\n")
        }
        Format::Text => {
            let message = serde_json::Value::from(message);
            format!("time=\"{time}\" level={word} msg={message}\n")
        }
    }
}

/// RFC 3339 in UTC with `digits` (0 or 9) digits of a second's fraction.
pub fn timestamp(at: SystemTime, digits: usize) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days as i64);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let fraction =
        if digits == 0 { String::new() } else { format!(".{:09}", since.subsec_nanos()) };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Days since 1970-01-01 to year, month, day, in the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_json_line_is_runc_s() {
        let at = UNIX_EPOCH + Duration::new(951_782_400, 5);
        assert_eq!(
            render(Format::Json, Level::Error, "a \"b\"\n", at),
            "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\n\",\"time\":\"2000-02-29T00:00:00Z\"}\n"
        );
        assert_eq!(timestamp(at, 9), "2000-02-29T00:00:00.000000005Z");
    }
}
