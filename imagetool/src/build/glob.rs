//! Go's `path/filepath`: `Match` and `Clean`, on bytes.

/// Whether a pattern of Go's `filepath.Match` fits a whole name; `None` if it is no pattern.
pub fn matches(pattern: &[u8], name: &[u8]) -> Option<bool> {
    let parts = parse(pattern)?;
    let (mut p, mut s) = (0, 0);
    // Where to go on when what follows the last `*` doesn't fit.
    let mut again: Option<(usize, usize)> = None;
    loop {
        let fits = match parts.get(p) {
            None if s == name.len() => return Some(true),
            None => None,
            Some(Part::Star) => {
                again = Some((p + 1, s));
                p += 1;
                continue;
            }
            Some(part) => part.step(&name[s..]),
        };
        if let Some(n) = fits {
            (p, s) = (p + 1, s + n);
            continue;
        }
        match again {
            Some((at, from)) if from < name.len() && name[from] != b'/' => {
                again = Some((at, from + 1));
                (p, s) = (at, from + 1);
            }
            _ => return Some(false),
        }
    }
}

/// Whether a path is a pattern rather than a name.
pub fn is_pattern(path: &[u8]) -> bool {
    let mut bytes = path.iter();
    while let Some(b) = bytes.next() {
        match b {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// This byte.
    Byte(u8),
    /// `?`: a character that is no slash.
    Any,
    /// `*`: any number of bytes but slashes.
    Star,
    /// `[a-z]`, `[^a-z]`
    Class(Class),
}

/// A set of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Part {
    /// How many bytes at the beginning of `rest` fit it.
    pub fn step(&self, rest: &[u8]) -> Option<usize> {
        match self {
            Self::Byte(b) => (rest.first() == Some(b)).then_some(1),
            Self::Any if rest.first() == Some(&b'/') => None,
            Self::Any => character(rest).map(|(_, n)| n),
            Self::Class(class) => {
                let (c, n) = character(rest)?;
                let inside = class.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                (inside != class.negated).then_some(n)
            }
            Self::Star => None,
        }
    }
}

/// The parts of a pattern; `None` where Go says that it is bad.
fn parse(pattern: &[u8]) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let [first, tail @ ..] = rest {
        rest = tail;
        parts.push(match first {
            b'*' => Part::Star,
            b'?' => Part::Any,
            b'[' => Part::Class(class(&mut rest)?),
            b'\\' => {
                let (escaped, tail) = rest.split_first()?;
                rest = tail;
                Part::Byte(*escaped)
            }
            other => Part::Byte(*other),
        });
    }
    Some(parts)
}

/// Whether Go takes it for a pattern.
pub(super) fn is_valid(pattern: &[u8]) -> bool {
    parse(pattern).is_some()
}

/// A class, its `[` read already.
pub(super) fn class(rest: &mut &[u8]) -> Option<Class> {
    let negated = rest.first() == Some(&b'^');
    if negated {
        *rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        if rest.first() == Some(&b']') && !ranges.is_empty() {
            *rest = &rest[1..];
            return Some(Class { negated, ranges });
        }
        let low = member(rest)?;
        let mut high = low;
        if rest.first() == Some(&b'-') {
            *rest = &rest[1..];
            high = member(rest)?;
        }
        ranges.push((low, high));
    }
}

/// One character of a class.
fn member(rest: &mut &[u8]) -> Option<char> {
    match rest.first()? {
        b'-' | b']' => return None,
        b'\\' => *rest = &rest[1..],
        _ => {}
    }
    let (c, n) = character(rest)?;
    *rest = &rest[n..];
    // Something must follow: the class ends in a bracket.
    (!rest.is_empty()).then_some(c)
}

/// The first character, and its bytes; what is no UTF-8 is one byte.
fn character(bytes: &[u8]) -> Option<(char, usize)> {
    let first = *bytes.first()?;
    if first.is_ascii() {
        return Some((first as char, 1));
    }
    let n = bytes.len().min(4);
    for n in 2..=n {
        if let Ok(text) = std::str::from_utf8(&bytes[..n]) {
            return text.chars().next().map(|c| (c, n));
        }
    }
    Some((char::REPLACEMENT_CHARACTER, 1))
}

/// Go's `filepath.Clean`.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(&last) if last != b".." => drop(parts.pop()),
                _ if rooted => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits(pattern: &str, name: &str) -> Option<bool> {
        matches(pattern.as_bytes(), name.as_bytes())
    }

    #[test]
    fn as_go_matches() {
        for (pattern, name, want) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("[x\\-]", "z", false),
            ("*x", "xxx", true),
        ] {
            assert_eq!(fits(pattern, name), Some(want), "{pattern} {name}");
        }
        for bad in ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "\\", "[a"] {
            assert_eq!(fits(bad, "a"), None, "{bad}");
        }
    }

    #[test]
    fn as_go_cleans() {
        for (path, want) in [
            ("", "."),
            ("abc", "abc"),
            ("a//b/", "a/b"),
            ("./a", "a"),
            ("a/../..", ".."),
            ("../../a", "../../a"),
            ("/../a", "/a"),
            ("/", "/"),
            ("a/./b/..", "a"),
            ("//a", "/a"),
        ] {
            assert_eq!(clean(path.as_bytes()), want.as_bytes(), "{path}");
        }
    }

    /// The same, slowly.
    fn plainly(pattern: &[Part], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((Part::Star, rest)) => (0..=name.len())
                .take_while(|&n| !name[..n].contains(&b'/'))
                .any(|n| plainly(rest, &name[n..])),
            Some((part, rest)) => part.step(name).is_some_and(|n| plainly(rest, &name[n..])),
        }
    }

    proptest! {
        #[test]
        fn matches_as_the_plain_one(
            pattern in "[ab/*?\\[\\]\\\\^-]{0,12}", name in "[ab/☺]{0,10}",
        ) {
            let got = matches(pattern.as_bytes(), name.as_bytes());
            let parts = parse(pattern.as_bytes());
            prop_assert_eq!(got, parts.map(|parts| plainly(&parts, name.as_bytes())));
        }

        #[test]
        fn cleaning_twice_is_cleaning_once(path in "[a./]{0,20}") {
            let once = clean(path.as_bytes());
            prop_assert_eq!(clean(&once), once);
        }
    }
}
