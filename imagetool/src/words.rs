//! What people read: sizes, and the name that was probably meant.

/// The candidate a typist most likely meant, when one is near enough.
pub fn nearest(typed: &str, candidates: impl IntoIterator<Item = String>) -> Option<String> {
    let limit = 1 + typed.chars().count() / 4;
    candidates
        .into_iter()
        .map(|c| (distance(typed, &c), c))
        .filter(|(d, _)| *d <= limit)
        .min()
        .map(|(_, c)| c)
}

/// Edits (insert, delete, replace) between two words.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Bytes as docker prints them: `1.98MB`, so many digits at most, thousands.
pub fn size(bytes: u64, digits: usize) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    scaled(bytes, digits, 1000.0, UNITS)
}

/// The same in powers of 1024: `512MiB`.
pub fn memory(bytes: u64, digits: usize) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    scaled(bytes, digits, 1024.0, UNITS)
}

#[allow(clippy::cast_precision_loss)] // few digits are shown
fn scaled(bytes: u64, digits: usize, step: f64, units: [&str; 7]) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), units[unit])
}

/// Go's `%.4g` of what is less than ten thousand: this many digits, no zeros at the end.
fn significant(value: f64, digits: usize) -> String {
    let before = match value {
        v if v < 10.0 => 1,
        v if v < 100.0 => 2,
        v if v < 1000.0 => 3,
        _ => 4,
    };
    let text = format!("{value:.*}", digits.saturating_sub(before));
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_gos() {
        for (n, three, four) in [
            (0, "0B", "0B"),
            (999, "999B", "999B"),
            (1000, "1kB", "1kB"),
            (1107, "1.11kB", "1.107kB"),
            (9_998_765, "10MB", "9.999MB"),
            (12_345_678, "12.3MB", "12.35MB"),
            (999_960, "1000kB", "1000kB"),
            (150_000_000, "150MB", "150MB"),
        ] {
            assert_eq!((size(n, 3).as_str(), size(n, 4).as_str()), (three, four), "{n}");
        }
        assert_eq!(memory(512 << 20, 4), "512MiB");
    }

    #[test]
    fn one_slip_is_found_and_strangers_are_not() {
        let names = || ["busybox", "debian"].map(String::from);
        assert_eq!(nearest("bussybox", names()).as_deref(), Some("busybox"));
        assert_eq!(nearest("nginx", names()), None);
    }
}
