//! Amounts: bytes as docker reads them, CPUs as decimals.

use dhow_image::amount;

use crate::error::{Error, Result};

/// `512m`, `1.5g`, `64MiB`, `100` → bytes; units are powers of 1024.
pub fn bytes(flag: &str, text: &str) -> Result<i64> {
    amount::bytes(text).map_err(|why| Error::argument(flag, text, &why))
}

/// As [`bytes`], or -1 for no limit.
pub fn bytes_or_unlimited(flag: &str, text: &str) -> Result<i64> {
    if text == "-1" { Ok(-1) } else { bytes(flag, text) }
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
    fn minus_one_is_no_limit() {
        assert_eq!(bytes_or_unlimited("--memory-swap", "-1").unwrap(), -1);
        assert!(bytes_or_unlimited("--memory-swap", "-2").is_err());
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
            let _ = nano_cpus(&text);
        }
    }
}
