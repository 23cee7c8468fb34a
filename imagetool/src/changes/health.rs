//! HEALTHCHECK: `[--interval=…] CMD …`, or `NONE`.

use crate::config::Healthcheck;

/// Reads what stands behind the word, in docker's words where it is wrong.
pub(super) fn parse(text: &str) -> Result<Healthcheck, String> {
    let mut check = Healthcheck::default();
    let mut rest = text.trim();
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        match name {
            "interval" => check.interval = time(name, value)?,
            "timeout" => check.timeout = time(name, value)?,
            "start-period" => check.start_period = time(name, value)?,
            "start-interval" => check.start_interval = time(name, value)?,
            "retries" => {
                check.retries = value
                    .parse()
                    .ok()
                    .filter(|n| *n >= 0)
                    .ok_or_else(|| format!("--retries must be at least 0, not \"{value}\""))?;
            }
            _ => return Err(format!("unknown flag: --{name}")),
        }
        rest = after.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    check.test = match (kind.to_ascii_uppercase().as_str(), command.is_empty()) {
        ("NONE", true) => vec!["NONE".into()],
        ("NONE", false) => return Err("HEALTHCHECK NONE takes no arguments".into()),
        ("CMD", true) => return Err("Missing command after HEALTHCHECK CMD".into()),
        ("CMD", false) => match super::json(command) {
            Some(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
            None => vec!["CMD-SHELL".into(), command.into()],
        },
        (other, _) => return Err(format!("Unknown type \"{other}\" in HEALTHCHECK (try CMD)")),
    };
    Ok(check)
}

/// Go's durations, in nanoseconds; a shorter one than docker takes is refused.
fn time(name: &str, text: &str) -> Result<i64, String> {
    let nanos = duration(text).ok_or_else(|| format!("time: invalid duration \"{text}\""))?;
    if nanos != 0 && nanos < 1_000_000 {
        return Err(format!("Interval \"{name}\" cannot be less than 1ms"));
    }
    Ok(nanos)
}

fn duration(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let letters = &rest[digits..];
        let end = letters.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(letters.len());
        let unit = match &letters[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * unit;
        rest = &letters[end..];
    }
    (!text.is_empty() && total < 9e18).then_some(total.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_dockerfile_has_it() {
        let check = parse("--interval=5s --timeout=1m30s --retries=3 CMD curl -f x").unwrap();
        assert_eq!(check.test, ["CMD-SHELL", "curl -f x"]);
        assert_eq!((check.interval, check.timeout), (5_000_000_000, 90_000_000_000));
        assert_eq!(check.retries, 3);
        assert_eq!(parse("cmd [\"a\", \"b\"]").unwrap().test, ["CMD", "a", "b"]);
        assert_eq!(parse("NONE").unwrap().test, ["NONE"]);
    }

    #[test]
    fn what_is_wrong_is_said_in_dockers_words() {
        for (text, words) in [
            ("foo", "Unknown type \"FOO\" in HEALTHCHECK (try CMD)"),
            ("CMD", "Missing command after HEALTHCHECK CMD"),
            ("NONE x", "HEALTHCHECK NONE takes no arguments"),
            ("--interval=x CMD a", "time: invalid duration \"x\""),
            ("--interval=5 CMD a", "time: invalid duration \"5\""),
            ("--interval=1us CMD a", "Interval \"interval\" cannot be less than 1ms"),
            ("--nope=1 CMD a", "unknown flag: --nope"),
        ] {
            assert_eq!(parse(text).unwrap_err(), words, "{text}");
        }
    }
}
