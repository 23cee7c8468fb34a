//! Text with tabs → columns, as Go's tabwriter lays them out for docker: a column is a run of
//! lines that have a cell there with a tab after it.

/// Columns are at least this wide and this far apart.
const LEAST: usize = 10;
const GAP: usize = 3;

/// Rows of cells → lines; the last cell of a row is not padded.
pub fn layout(rows: &[Vec<String>]) -> String {
    layout_at_least(rows, LEAST)
}

/// As [`layout`], in columns of another least width (`top` has one of its own).
pub fn layout_at_least(rows: &[Vec<String>], least: usize) -> String {
    let mut out = String::new();
    let mut widths = Vec::new();
    block(rows, least, &mut widths, &mut out);
    out
}

/// Lines whose cells stand between tabs.
pub fn tabbed(text: &str) -> String {
    let rows: Vec<Vec<String>> =
        text.lines().map(|line| line.splitn(256, '\t').map(str::to_owned).collect()).collect();
    layout(&rows)
}

/// Lines that share the columns of `widths`; those that share one more are a block of their own.
fn block(rows: &[Vec<String>], least: usize, widths: &mut Vec<usize>, out: &mut String) {
    let column = widths.len();
    let has_it = |row: &Vec<String>| row.len() > column + 1;
    let mut at = 0;
    while at < rows.len() {
        if !has_it(&rows[at]) {
            line(&rows[at], widths, out);
            at += 1;
            continue;
        }
        let end = at + rows[at..].iter().take_while(|r| has_it(r)).count();
        let widest = rows[at..end].iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
        widths.push(least.max(widest + GAP));
        block(&rows[at..end], least, widths, out);
        widths.pop();
        at = end;
    }
}

fn line(row: &[String], widths: &[usize], out: &mut String) {
    for (i, cell) in row.iter().enumerate() {
        out.push_str(cell);
        if i + 1 < row.len() {
            let width = widths.get(i).copied().unwrap_or(cell.chars().count());
            out.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
        }
    }
    out.push('\n');
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

    #[test]
    fn a_line_without_the_column_ends_it() {
        assert_eq!(
            tabbed("a long first cell\tb\nno tab\nc\td\n"),
            "a long first cell   b\nno tab\nc         d\n"
        );
        assert_eq!(
            tabbed("a\t\t\nb\tbbbbbbbbbb\tc\n"),
            "a                      \nb         bbbbbbbbbb   c\n"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[a-c\t\n]*") {
            let _ = tabbed(&text);
        }
    }
}
