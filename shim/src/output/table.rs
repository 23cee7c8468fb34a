//! Rows in columns, laid out as Go's tabwriter does for docker.

/// Columns are at least this wide and this far apart.
const LEAST: usize = 10;
const GAP: usize = 3;

/// Rows of cells → lines; the last cell of a row is not padded.
pub fn layout(rows: &[Vec<String>]) -> String {
    layout_at_least(rows, LEAST)
}

/// As [`layout`], in columns of another least width (`top` has one of its own).
pub fn layout_at_least(rows: &[Vec<String>], least: usize) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (i, cell) in row.iter().enumerate().take(row.len().saturating_sub(1)) {
            let width = cell.chars().count() + GAP;
            if i == widths.len() {
                widths.push(least);
            }
            widths[i] = widths[i].max(width);
        }
    }
    let mut out = String::new();
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if i + 1 < row.len() {
                let width = widths.get(i).copied().unwrap_or(least);
                out.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_ten_wide_and_three_apart() {
        let rows = [vec!["ID".into(), "NAMES".into()], vec!["0123456789ab".into(), "web".into()]];
        assert_eq!(layout(&rows), "ID             NAMES\n0123456789ab   web\n");
        assert_eq!(layout(&[vec!["a".into(), "b".into()]]), "a         b\n");
    }
}
