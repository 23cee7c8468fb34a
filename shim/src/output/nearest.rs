//! Did you mean …?

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
fn distance(a: &str, b: &str) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_is_found_and_strangers_are_not() {
        let names = || ["busybox", "debian"].map(String::from);
        assert_eq!(nearest("bussybox", names()).as_deref(), Some("busybox"));
        assert_eq!(nearest("nginx", names()), None);
    }
}
