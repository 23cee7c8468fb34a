//! Amounts: bytes as docker reads them, CPUs as decimals, durations.
#![allow(clippy::cast_precision_loss)] // for people, or checked beforehand

use crate::error::{Error, Result};

/// `512m`, `1.5g`, `64MiB`, `100` → bytes; units are powers of 1024.
pub fn bytes(flag: &str, text: &str) -> Result<i64> {
    parse_bytes(text).ok_or_else(|| {
        let end = text.rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' '));
        let (number, unit) = text.split_at(end.map_or(0, |at| at + 1));
        let what = match number.trim_end().parse::<f64>() {
            Ok(n) if n >= 0.0 => format!("invalid suffix: '{unit}'"),
            _ => format!("invalid size: '{text}'"),
        };
        let why = format!("{what}; write a number and b, k, m or g, as 512m");
        Error::argument(flag, text, &why)
    })
}

/// As [`bytes`], or -1 for no limit.
pub fn bytes_or_unlimited(flag: &str, text: &str) -> Result<i64> {
    if text == "-1" { Ok(-1) } else { bytes(flag, text) }
}

/// As [`bytes`], without words.
pub fn parse_bytes(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if !unit.starts_with('i') && unit.len() <= 1 => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    if unit.ends_with("bb") || !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let value: f64 = number.parse().ok()?;
    let scaled = value * (1_i64 << shift) as f64;
    (scaled.is_finite() && scaled < 9.0e18).then_some(scaled as i64)
}

/// `1.5` → billionths of a CPU.
pub fn nano_cpus(text: &str) -> Result<i64> {
    let bad = || {
        let why = format!("failed to parse {text} as a rational number; write it as 1.5");
        Error::argument("--cpus", text, &why)
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(bad());
    }
    if fraction.len() > 9 {
        return Err(Error::argument("--cpus", text, "value is too precise"));
    }
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(bad());
    }
    format!("{whole}{fraction:0<9}").parse().map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_docker_reads_them() {
        for (text, want) in [
            ("0", Some(0)),
            ("100", Some(100)),
            ("100b", Some(100)),
            ("1k", Some(1024)),
            ("1KB", Some(1024)),
            ("64MiB", Some(64 << 20)),
            ("1.5g", Some(3 << 29)),
            ("2 G", Some(2 << 30)),
            ("1t", Some(1 << 40)),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1x", None),
            ("1ib", None),
            ("1mbb", None),
            ("1.2.3m", None),
            ("99999999999p", None),
        ] {
            assert_eq!(parse_bytes(text), want, "{text:?}");
        }
        assert_eq!(bytes_or_unlimited("--memory-swap", "-1").unwrap(), -1);
    }

    #[test]
    fn cpus_are_exact() {
        for (text, want) in [
            ("1", Some(1_000_000_000)),
            ("1.5", Some(1_500_000_000)),
            (".5", Some(500_000_000)),
            ("0.000000001", Some(1)),
            ("0.0000000001", None),
            ("", None),
            (".", None),
            ("-1", None),
            ("1e3", None),
        ] {
            assert_eq!(nano_cpus(text).ok(), want, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse_bytes(&text);
            let _ = nano_cpus(&text);
        }
    }
}
