//! Columns and sizes, as lists print them.

/// Columns as wide as their widest cell, two spaces apart, no trailing blanks.
pub fn table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |c: usize| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, w)| format!("{cell:<w$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Three digits and a unit of a thousand, as docker prints sizes.
#[allow(clippy::cast_precision_loss)] // three digits are shown
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut n = bytes as f64;
    let mut unit = 0;
    while n >= 1000.0 && unit + 1 < UNITS.len() {
        n /= 1000.0;
        unit += 1;
    }
    let digits = if unit == 0 || n >= 100.0 { 0 } else { 2 - usize::from(n >= 10.0) };
    format!("{n:.digits$}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (n, text) in
            [(0, "0B"), (999, "999B"), (1500, "1.50kB"), (15_000, "15.0kB"), (150_000_000, "150MB")]
        {
            assert_eq!(human(n), text);
        }
    }
}
