//! Times and sizes in docker's words.
#![allow(clippy::cast_precision_loss)] // for people, or checked beforehand

use dhow_image::words;
use jiff::Timestamp;

/// "Less than a second", "5 seconds", "About a minute", "3 weeks", …
pub fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds as f64 / 3600.0).round() as i64;
    match seconds {
        s if s < 1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        s if s < 60 => format!("{s} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        s => format!("{} years", s / 3600 / 24 / 365),
    }
}

/// How long ago, with " ago".
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    format!("{} ago", since(then, now))
}

/// How long ago, without " ago".
pub fn since(then: Timestamp, now: Timestamp) -> String {
    duration(now.as_second().saturating_sub(then.as_second()))
}

/// `1.23MB`: four digits at most, thousands of bytes.
pub fn size(bytes: u64) -> String {
    words::size(bytes, 4)
}

/// `1.2MB`: three digits, as the columns of `ps -s`.
pub fn short_size(bytes: u64) -> String {
    words::size(bytes, 3)
}

/// `512MiB`: powers of 1024, four digits.
pub fn memory(bytes: u64) -> String {
    words::memory(bytes, 4)
}

/// docker's `CreatedAt`: `2026-01-02 15:04:05 +0000 UTC`, the machine's zone.
pub fn stamp(at: Timestamp) -> String {
    let zoned = at.to_zoned(jiff::tz::TimeZone::system());
    zoned.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// Go's RFC 3339 in the machine's zone, `Z` where that is UTC.
pub fn rfc3339(at: Timestamp) -> String {
    let zoned = at.to_zoned(jiff::tz::TimeZone::system());
    if zoned.offset() == jiff::tz::Offset::UTC {
        return zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    }
    zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// A URL with its user and password as docker masks them.
pub fn masked(url: &str) -> String {
    let at = url.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = url.split_at(at);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((_, host)) => format!("{scheme}xxxxx:xxxxx@{host}{}", &rest[end..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_docker_words_them() {
        for (seconds, want) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (13 * 86400, "13 days"),
            (14 * 86400, "2 weeks"),
            (59 * 86400, "8 weeks"),
            (60 * 86400, "2 months"),
            (800 * 86400, "2 years"),
            (-5, "Less than a second"),
        ] {
            assert_eq!(duration(seconds), want, "{seconds}");
        }
    }

    #[test]
    fn passwords_in_urls_are_masked() {
        for (url, want) in [
            ("http://u:p@h:1/a@b", "http://xxxxx:xxxxx@h:1/a@b"),
            ("http://u:p@q@h", "http://xxxxx:xxxxx@h"),
            ("u:p@h:1", "xxxxx:xxxxx@h:1"),
            ("https://h/a?b=c@d", "https://h/a?b=c@d"),
            ("", ""),
        ] {
            assert_eq!(masked(url), want, "{url}");
        }
    }

    #[test]
    fn sizes_as_docker_words_them() {
        for (bytes, want) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1234, "1.234kB"),
            (4_261_550, "4.262MB"),
            (77_800_000, "77.8MB"),
            (1_130_000_000, "1.13GB"),
            (u64::MAX, "18.45EB"),
        ] {
            assert_eq!(size(bytes), want, "{bytes}");
        }
        assert_eq!(short_size(4_261_550), "4.26MB");
        assert_eq!(memory(512 << 20), "512MiB");
    }

    proptest::proptest! {
        #[test]
        fn no_number_panics(n: i64, m: u64) {
            let _ = duration(n);
            let _ = (size(m), memory(m), short_size(m));
        }
    }
}
