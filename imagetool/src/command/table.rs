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
pub fn human(bytes: u64) -> String {
    dhow_image::words::size(bytes, 3)
}
