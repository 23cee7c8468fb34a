//! Points in time and durations, as docker's flags and filters take them.

use std::time::Duration;

use jiff::Timestamp;

/// RFC 3339 or a part of it, seconds since 1970 (with a fraction), or an age as `10m` counted from `now`.
pub fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    seconds(text).or_else(|| date(text)).or_else(|| age(text, now))
}

/// `-10m` is still to come.
fn age(text: &str, now: Timestamp) -> Option<Timestamp> {
    let (to_come, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let age = jiff::SignedDuration::try_from(duration(text)?).ok()?;
    if to_come { now.checked_add(age) } else { now.checked_sub(age) }.ok()
}

fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(whole.parse().ok()?, nanos).ok()
}

/// A date, with as much of a time as was typed; without a zone it is the machine's own.
fn date(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' ']).unwrap_or(rest);
    let (time, zone) = rest.split_at(rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len()));
    let more = ["T00:00:00", ":00:00", ":00", ""];
    let typed = if time.is_empty() { 0 } else { time.matches(':').count() + 1 };
    let between = if time.is_empty() { "" } else { "T" };
    let whole = format!("{date}{between}{time}{}", more.get(typed)?);
    if !zone.is_empty() {
        return format!("{whole}{zone}").parse().ok();
    }
    let local: jiff::civil::DateTime = whole.parse().ok()?;
    Some(local.to_zoned(jiff::tz::TimeZone::system()).ok()?.timestamp())
}

/// Go's durations: `1h30m`, `1.5s`, `300ms`.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0.0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    Duration::try_from_secs_f64(total).ok()
}

/// Go's words for a duration: `1m30s`, `1.5s`, `300ms`.
pub fn worded(duration: Duration) -> String {
    let part = |nanos: u128, unit: u128| {
        let fraction = format!("{:09}", nanos % unit * (1_000_000_000 / unit));
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{}{point}{fraction}", nanos / unit)
    };
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", part(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", part(nanos, 1_000_000)),
        _ => {
            let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = part(rest, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_dates_and_seconds() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let at = |text: &str| moment(text, now).unwrap().to_string();
        assert_eq!(at("90s"), "2026-01-01T23:58:30Z");
        assert_eq!(at("1h30m"), "2026-01-01T22:30:00Z");
        assert_eq!(at("0.5"), "1970-01-01T00:00:00.5Z");
        assert_eq!(at("2026-01-01T10:00:00+01:00"), "2026-01-01T09:00:00Z");
        assert_eq!(at("2026-01-01T10Z"), "2026-01-01T10:00:00Z");
        assert_eq!(at("2026-01-01T10:30Z"), "2026-01-01T10:30:00Z");
        assert_eq!(at("2026-01-01T10:30:05.25Z"), "2026-01-01T10:30:05.25Z");
        assert_eq!(at("2026-01-01Z"), "2026-01-01T00:00:00Z");
        assert_eq!(at("2026-01-01-01:00"), "2026-01-01T01:00:00Z");
        assert_eq!(at("-1m"), "2026-01-02T00:01:00Z");
        for local in ["2026-01-01", "2026-01-01T10", "2026-01-01T10:30", "2026-01-01T10:30:05"] {
            assert!(moment(local, now).is_some(), "{local}");
        }
        assert!(moment("soon", now).is_none());
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn durations_read_as_in_go() {
        for text in ["0s", "1ns", "1.5µs", "300ms", "1.5s", "30s", "1m30s", "2h0m0.25s"] {
            let parsed = if text == "0s" { Duration::ZERO } else { duration(text).unwrap() };
            assert_eq!(worded(parsed), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[0-9a-zµ.:TZ+-]*") {
            let _ = moment(&text, Timestamp::UNIX_EPOCH);
        }
    }
}
