//! `HEALTHCHECK [--interval=30s …] CMD …`, or `HEALTHCHECK NONE`.

use super::{command, json};
use crate::config::Healthcheck;

/// What follows the word HEALTHCHECK.
pub(super) fn parse(text: &str) -> Result<Healthcheck, String> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while rest.starts_with("--") {
        let (flag, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let (name, value) = flag.split_once('=').ok_or("write --FLAG=VALUE")?;
        let time = || duration(value).ok_or(format!("{value} is no time, as 30s or 1m30s"));
        match name {
            "--interval" => check.interval = time()?,
            "--timeout" => check.timeout = time()?,
            "--start-period" => check.start_period = time()?,
            "--start-interval" => check.start_interval = time()?,
            "--retries" => {
                check.retries = value.parse().map_err(|_| format!("{value} is no number"))?;
            }
            other => return Err(format!("unknown flag {other}")),
        }
        rest = after.trim_start();
    }
    let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let rest = rest.trim();
    check.test = match (word.to_ascii_uppercase().as_str(), json(rest)) {
        ("NONE", _) if rest.is_empty() => vec!["NONE".into()],
        ("CMD", Some(words)) if !words.is_empty() => [vec!["CMD".into()], words].concat(),
        ("CMD", None) if !command(rest).is_empty() => vec!["CMD-SHELL".into(), rest.into()],
        _ => return Err("write NONE, or CMD and a command".into()),
    };
    Ok(check)
}

/// Go's durations (`1h2m3.5s`, `100ms`), in nanoseconds.
fn duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 6e10),
        ("h", 3.6e12),
    ];
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += number * UNITS.iter().find(|(name, _)| *name == &rest[..unit])?.1;
        rest = &rest[unit..];
    }
    // Over 290 years, or nothing at all, is no time to wait.
    (!text.is_empty() && total < 9e18).then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_read_as_in_a_dockerfile() {
        let check = parse("--interval=1m30s --timeout=1.5s --retries=2 CMD curl -f x").unwrap();
        assert_eq!(
            (check.interval, check.timeout, check.retries),
            (90 * 10_i64.pow(9), 1_500_000_000, 2)
        );
        assert_eq!(check.test, ["CMD-SHELL", "curl -f x"]);
        assert_eq!(parse("CMD [\"a\", \"b\"]").unwrap().test, ["CMD", "a", "b"]);
        assert_eq!(parse("none").unwrap().test, ["NONE"]);
        for bad in
            ["", "NONE x", "CMD", "--interval=1 CMD x", "--nope=1 CMD x", "--interval CMD x", "x"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
