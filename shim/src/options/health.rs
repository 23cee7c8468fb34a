//! `--health-*` and `--no-healthcheck`: the user's half of a health check.

use clap::Args;

use super::time;
use crate::error::{Error, Result};
use crate::model::Healthcheck;

/// Shortest time that docker's daemon takes: a millisecond.
const SHORTEST: i64 = 1_000_000;

/// How to find out whether the container is well.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Health")]
pub struct HealthFlags {
    /// Command to run to check health
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub health_cmd: Option<String>,
    /// Time between two checks, as 1m30s (default 30s)
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub health_interval: Option<String>,
    /// Failures in a row that make it unhealthy (default 3)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub health_retries: Option<i64>,
    /// Time between two checks during the start period (default 5s)
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub health_start_interval: Option<String>,
    /// Time after the start in which failures don't count
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub health_start_period: Option<String>,
    /// Longest time a check may take (default 30s)
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub health_timeout: Option<String>,
    /// Drop the image's HEALTHCHECK
    #[arg(long)]
    pub no_healthcheck: bool,
}

/// What the user says of the health check; nothing when that is nothing.
pub fn check(flags: &HealthFlags) -> Result<Option<Healthcheck>> {
    let line = flags.health_cmd.as_deref().unwrap_or_default();
    let check = Healthcheck {
        test: if line.is_empty() { Vec::new() } else { vec!["CMD-SHELL".into(), line.into()] },
        interval: nanoseconds("interval", flags.health_interval.as_deref())?,
        timeout: nanoseconds("timeout", flags.health_timeout.as_deref())?,
        start_period: nanoseconds("start-period", flags.health_start_period.as_deref())?,
        start_interval: nanoseconds("start-interval", flags.health_start_interval.as_deref())?,
        retries: flags.health_retries.unwrap_or_default(),
    };
    let said = check != Healthcheck::default();
    if flags.no_healthcheck {
        if said {
            return Err(Error::usage("--no-healthcheck conflicts with --health-* options"));
        }
        return Ok(Some(Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() }));
    }
    for (flag, value) in [
        ("interval", check.interval),
        ("timeout", check.timeout),
        ("retries", check.retries),
        ("start-period", check.start_period),
        ("start-interval", check.start_interval),
    ] {
        if value < 0 {
            return Err(Error::usage(format!("--health-{flag} cannot be negative")));
        }
    }
    Ok(said.then_some(check))
}

/// The image's check under the user's: what the user left open is the image's.
pub fn merge(user: Option<Healthcheck>, image: Option<Healthcheck>) -> Result<Option<Healthcheck>> {
    let merged = match (user, image) {
        (None, None) => return Ok(None),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(user), Some(image)) => {
            let or = |mine: i64, theirs: i64| if mine == 0 { theirs } else { mine };
            Healthcheck {
                test: if user.test.is_empty() { image.test } else { user.test },
                interval: or(user.interval, image.interval),
                timeout: or(user.timeout, image.timeout),
                start_period: or(user.start_period, image.start_period),
                start_interval: or(user.start_interval, image.start_interval),
                retries: or(user.retries, image.retries),
            }
        }
    };
    // Here, and not with the flags: an image may ask for a check every nanosecond.
    for (name, value) in [
        ("Interval", merged.interval),
        ("Timeout", merged.timeout),
        ("StartPeriod", merged.start_period),
        ("StartInterval", merged.start_interval),
    ] {
        if value != 0 && value < SHORTEST {
            return Err(Error::conflict(format!("{name} in Healthcheck cannot be less than 1ms")));
        }
    }
    if merged.retries < 0 {
        return Err(Error::usage("Retries in Healthcheck cannot be negative"));
    }
    Ok(Some(merged))
}

/// Go's durations, the negative ones too.
fn nanoseconds(flag: &str, text: Option<&str>) -> Result<i64> {
    let Some(text) = text else { return Ok(0) };
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits == "0" {
        return Ok(0);
    }
    let nanos = time::duration(digits).and_then(|d| i64::try_from(d.as_nanos()).ok());
    nanos.map(|n| sign * n).ok_or_else(|| {
        let unitless = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let why = if unitless { "missing unit in" } else { "invalid" };
        Error::usage(format!(
            "invalid argument \"{text}\" for \"--health-{flag}\" flag: time: {why} duration \"{text}\""
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(interval: &str) -> HealthFlags {
        HealthFlags { health_interval: Some(interval.into()), ..HealthFlags::default() }
    }

    #[test]
    fn what_is_typed_is_checked_in_docker_s_words() {
        let says = |flags: &HealthFlags| check(flags).unwrap_err().message;
        assert_eq!(says(&flags("-1s")), "--health-interval cannot be negative");
        assert!(says(&flags("5")).ends_with("time: missing unit in duration \"5\""));
        assert!(says(&flags("soon")).ends_with("time: invalid duration \"soon\""));
        let both = HealthFlags { no_healthcheck: true, ..flags("1s") };
        assert_eq!(says(&both), "--no-healthcheck conflicts with --health-* options");
        assert_eq!(check(&HealthFlags::default()), Ok(None));
        assert_eq!(check(&flags("0")), Ok(None));
        let none = HealthFlags { no_healthcheck: true, ..HealthFlags::default() };
        assert_eq!(check(&none).unwrap().unwrap().test, ["NONE"]);
    }

    #[test]
    fn the_image_fills_what_the_user_left_open() {
        let image = Healthcheck {
            test: vec!["CMD".into(), "true".into()],
            interval: 7_000_000_000,
            retries: 9,
            ..Healthcheck::default()
        };
        let user = check(&flags("2m")).unwrap();
        let both = merge(user, Some(image.clone())).unwrap().unwrap();
        assert_eq!((both.test.len(), both.interval, both.retries), (2, 120_000_000_000, 9));
        assert_eq!(merge(None, Some(image.clone())).unwrap(), Some(image.clone()));
        let hasty = Healthcheck { interval: 1, ..image };
        let error = merge(None, Some(hasty)).unwrap_err().message;
        assert_eq!(error, "Interval in Healthcheck cannot be less than 1ms");
    }
}
