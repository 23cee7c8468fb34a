//! Go's durations: `1m30s`.

/// A HEALTHCHECK's time in nanoseconds; a shorter one than docker takes is refused.
pub(crate) fn time(name: &str, text: &str) -> Result<i64, String> {
    let nanos = duration(text).ok_or_else(|| format!("time: invalid duration \"{text}\""))?;
    if nanos != 0 && nanos < 1_000_000 {
        return Err(format!("Interval \"{name}\" cannot be less than 1ms"));
    }
    Ok(nanos)
}

fn duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (if text.starts_with('-') { -1.0 } else { 1.0 }, rest),
        None => (1.0, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
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
    #[allow(clippy::cast_possible_truncation)] // it is below i64's end
    (total < 9e18).then_some((sign * total).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_reads_them() {
        for (text, nanos) in [
            ("1m30s", 90_000_000_000),
            ("0", 0),
            ("0s", 0),
            ("1.5ms", 1_500_000),
            ("1h", 3_600_000_000_000),
            ("+2s", 2_000_000_000),
        ] {
            assert_eq!(time("interval", text), Ok(nanos), "{text}");
        }
        for bad in ["5", "x", "", "s", "1y", "-1s", "1us", "-", "1..s"] {
            assert!(time("interval", bad).is_err(), "{bad}");
        }
    }
}
