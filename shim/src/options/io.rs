//! Limits of single block devices, `PATH:NUMBER`.

use dhow_image::amount;

use crate::error::{Error, Result};
use crate::model::{ThrottleDevice, WeightDevice};

/// `PATH:WEIGHT`
pub fn weight(text: &str) -> Result<WeightDevice> {
    let bad = |why: String| Error::argument("--blkio-weight-device", text, &why);
    let (path, number) = split(text).map_err(bad)?;
    let weight = number.parse().ok().filter(|w| *w == 0 || (10..=1000).contains(w));
    let weight = weight.ok_or_else(|| {
        bad(format!("invalid weight for device: {text}; a weight is a number from 10 to 1000"))
    })?;
    Ok(WeightDevice { path: path.to_owned(), weight })
}

/// `PATH:SIZE`, bytes a second.
pub fn bytes(flag: &str, text: &str) -> Result<ThrottleDevice> {
    let bad = |why: String| Error::argument(flag, text, &why);
    let (path, number) = split(text).map_err(bad)?;
    let rate = amount::bytes(number).ok().and_then(|rate| u64::try_from(rate).ok());
    let rate = rate.ok_or_else(|| {
        bad(format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. \
             Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        ))
    })?;
    Ok(ThrottleDevice { path: path.to_owned(), rate })
}

/// `PATH:N`, operations a second.
pub fn operations(flag: &str, text: &str) -> Result<ThrottleDevice> {
    let bad = |why: String| Error::argument(flag, text, &why);
    let (path, number) = split(text).map_err(bad)?;
    let digits = number.bytes().all(|b| b.is_ascii_digit());
    let rate = number.parse().ok().filter(|_| digits).ok_or_else(|| {
        bad(format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>. \
             Number must be a positive integer"
        ))
    })?;
    Ok(ThrottleDevice { path: path.to_owned(), rate })
}

fn split(text: &str) -> Result<(&str, &str), String> {
    match text.split_once(':') {
        Some((path, number)) if path.starts_with("/dev/") => Ok((path, number)),
        Some((path, _)) if !path.is_empty() => Err(format!("bad format for device path: {text}")),
        _ => Err(format!("bad format: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_their_rates() {
        assert_eq!(bytes("--device-read-bps", "/dev/sda:1mb").unwrap().rate, 1 << 20);
        assert_eq!(operations("--device-read-iops", "/dev/sda:1000").unwrap().rate, 1000);
        assert_eq!(weight("/dev/sda:200").unwrap().weight, 200);
        for bad in ["/dev/sda", "sda:1", ":1", "/dev/sda:x", "/dev/sda:-1"] {
            assert!(bytes("x", bad).is_err(), "{bad}");
            assert!(operations("x", bad).is_err(), "{bad}");
            assert!(weight(bad).is_err(), "{bad}");
        }
        assert!(weight("/dev/sda:9").is_err() && weight("/dev/sda:1001").is_err());
        assert!(operations("x", "/dev/sda:1k").is_err() && operations("x", "/dev/sda:+1").is_err());
    }
}
