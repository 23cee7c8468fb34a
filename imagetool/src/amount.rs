//! Amounts as docker's flags take them: bytes, and limits of processes.

/// `512m`, `1.5g`, `64MiB`, `100` → bytes; units are powers of 1024.
///
/// # Errors
///
/// What is wrong with it, in docker's words and what to write instead.
pub fn bytes(text: &str) -> Result<i64, String> {
    let bad = |what: String| format!("{what}; write a number and b, k, m or g, as 512m");
    let no_size = || bad(format!("invalid size: '{text}'"));
    let is_last = |c: char| c.is_ascii_digit() || matches!(c, '.' | ' ');
    let at = text.rfind(is_last).ok_or_else(no_size)?;
    let (number, unit) = text.split_at(at + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let number: f64 = number.parse().map_err(|_| no_size())?;
    if !number.is_finite() || number.is_sign_negative() {
        return Err(no_size());
    }
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err(bad(format!("invalid suffix: '{unit}'"))),
    };
    #[allow(clippy::cast_precision_loss)] // a power of two
    let scaled = number * (1_i64 << shift) as f64;
    #[allow(clippy::cast_possible_truncation)] // it fits
    if scaled < 9.0e18 { Ok(scaled as i64) } else { Err(no_size()) }
}

/// Limits that a process can have.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// One limit of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// As `nofile`.
    pub name: String,
    /// What holds; -1 for none.
    pub soft: i64,
    /// How far the process may raise it; -1 for none.
    pub hard: i64,
}

/// `NAME=SOFT[:HARD]`, -1 for no limit.
///
/// # Errors
///
/// What is wrong with it, in docker's words.
pub fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, values) =
        text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}; nofile, nproc, core are usual"));
    }
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |s: &str| {
        let n = s.parse::<i64>().ok().filter(|n| *n >= -1);
        n.ok_or_else(|| format!("parsing \"{s}\": a limit is a number, or -1 for none"))
    };
    if hard.contains(':') {
        return Err(format!(
            "too many limit value arguments - {values}, can only have up to two, `soft[:hard]`"
        ));
    }
    let (soft, hard) = (number(soft)?, number(hard)?);
    if hard != -1 && (soft == -1 || soft > hard) {
        let soft = if soft == -1 {
            format!("soft: -1 (unlimited), hard: {hard}")
        } else {
            format!("{soft} > {hard}")
        };
        return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft}"));
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
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
            (".5k", Some(512)),
            ("1e3k", Some(1000 << 10)),
            ("2 G", Some(2 << 30)),
            ("1t", Some(1 << 40)),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1x", None),
            ("1mi", None),
            ("1ib", None),
            ("1mbb", None),
            ("1.2.3m", None),
            ("inf m", None),
            (" 1m", None),
            ("99999999999p", None),
        ] {
            assert_eq!(bytes(text).ok(), want, "{text:?}");
        }
        assert!(bytes("1x").unwrap_err().starts_with("invalid suffix: 'x'; write"));
        assert!(bytes("much").unwrap_err().starts_with("invalid size: 'much'; write"));
    }

    #[test]
    fn ulimits() {
        let limit = ulimit("nofile=10:20").unwrap();
        assert_eq!((limit.soft, limit.hard), (10, 20));
        assert_eq!(ulimit("core=-1").unwrap(), Ulimit { name: "core".into(), soft: -1, hard: -1 });
        for bad in ["nofile", "what=1", "nofile=2:1", "nofile=-1:1", "nofile=-2", "core=1:2:3"] {
            assert!(ulimit(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*", unit in "[0-9. ]{0,5}[kmgib]{0,3}") {
            for text in [text, unit] {
                let size = bytes(&text);
                proptest::prop_assert!(size.is_err() || size.is_ok_and(|n| n >= 0), "{text:?}");
                let _ = ulimit(&text);
                let _ = ulimit(&format!("core={text}"));
            }
        }
    }
}
