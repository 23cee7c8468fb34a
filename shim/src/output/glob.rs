//! Go's `path.Match`, by which docker compares names.

/// The pattern breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Whether `text` fits: `*` and `?` stop at a slash, `[a-z]` and `[^a-z]` are one character,
/// a backslash takes the next one as it is.
pub fn matches(pattern: &str, text: &str) -> Result<bool, Malformed> {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    check(&pattern)?;
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    loop {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
            continue;
        }
        if p == pattern.len() && t == text.len() {
            return Ok(true);
        }
        let one = text.get(t).and_then(|c| single(&pattern[p..], *c));
        if let Some(used) = one {
            (p, t) = (p + used, t + 1);
            continue;
        }
        // The last star takes one more, unless that is a slash.
        match star {
            Some((at, from)) if from < text.len() && text[from] != '/' => {
                star = Some((at, from + 1));
                (p, t) = (at + 1, from + 1);
            }
            _ => return Ok(false),
        }
    }
}

/// How much of the pattern stands for this one character.
fn single(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => (c != '/').then_some(1),
        '\\' => (*pattern.get(1)? == c).then_some(2),
        '[' => {
            let (ranges, not, used) = class(pattern).ok()?;
            (ranges.iter().any(|(a, b)| (*a..=*b).contains(&c)) != not).then_some(used)
        }
        literal => (*literal == c).then_some(1),
    }
}

type Class = (Vec<(char, char)>, bool, usize);

/// A class from its bracket on: its ranges, whether it is negated, and its length.
fn class(pattern: &[char]) -> Result<Class, Malformed> {
    let mut at = 1;
    let not = pattern.get(at) == Some(&'^');
    at += usize::from(not);
    let mut ranges = Vec::new();
    while ranges.is_empty() || pattern.get(at) != Some(&']') {
        let low = letter(pattern, &mut at)?;
        let mut high = low;
        if pattern.get(at) == Some(&'-') {
            at += 1;
            high = letter(pattern, &mut at)?;
        }
        ranges.push((low, high));
    }
    Ok((ranges, not, at + 1))
}

fn letter(pattern: &[char], at: &mut usize) -> Result<char, Malformed> {
    if pattern.get(*at) == Some(&'\\') {
        *at += 1;
    } else if matches!(pattern.get(*at), Some('-' | ']')) {
        return Err(Malformed);
    }
    *at += 1;
    pattern.get(*at - 1).copied().ok_or(Malformed)
}

fn check(pattern: &[char]) -> Result<(), Malformed> {
    let mut at = 0;
    while at < pattern.len() {
        at += match pattern[at] {
            '[' => class(&pattern[at..])?.2,
            '\\' if at + 1 == pattern.len() => return Err(Malformed),
            '\\' => 2,
            _ => 1,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_go_s() {
        for (pattern, text, want) in [
            ("busybox", "busybox", true),
            ("busy*", "busybox", true),
            ("*box", "busybox", true),
            ("b*y*x", "busybox", true),
            ("b?sybox", "busybox", true),
            ("*", "a/b", false),
            ("*", "", true),
            ("*/b", "a/b", true),
            ("a*/b", "a/c/b", false),
            ("*:latest", "busybox:latest", true),
            ("", "a", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("[\\]]", "]", true),
        ] {
            assert_eq!(matches(pattern, text), Ok(want), "{pattern} {text}");
        }
        for bad in ["[", "[]", "[a", "[-]", "[a-]", "a\\", "[^]"] {
            assert_eq!(matches(bad, "a"), Err(Malformed), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics_nor_loops(pattern in "[a*?\\[\\]^/\\\\-]{0,12}", text in "[a/b]{0,12}") {
            let _ = matches(&pattern, &text);
        }
    }
}
