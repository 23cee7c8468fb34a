//! Versions and constraints on them, as `images-by-semver` has them: `>= 3.12, < 4 || ~1.2`.
//!
//! The rules are those of Go's Masterminds/semver, which skopeo asks.

use std::cmp::Ordering;

/// A version: `v1.2`, `3`, `1.2.3-rc.1+build`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    parts: [u64; 3],
    /// What comes before the release; empty for the release itself.
    pre: String,
}

impl Version {
    /// Reads a tag; most tags are no versions.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = text.split_once('+').map_or((text, None), |(t, b)| (t, Some(b)));
        let (numbers, pre) = text.split_once('-').map_or((text, None), |(n, p)| (n, Some(p)));
        if ![build, pre].into_iter().flatten().all(identifiers) {
            return None;
        }
        let mut parts = [0; 3];
        for (n, part) in numbers.split('.').enumerate() {
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            *parts.get_mut(n)? = part.parse().ok()?;
        }
        Some(Self { parts, pre: pre.unwrap_or_default().to_owned() })
    }
}

fn identifiers(text: &str) -> bool {
    text.split('.').all(|part| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let pre = || match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => before(&self.pre, &other.pre),
        };
        self.parts.cmp(&other.parts).then_with(pre)
    }
}

/// SPEC: semver.org 2.0.0 §11.
fn before(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(x), Some(y)) => match (x.parse::<u64>(), y.parse::<u64>()) {
                (Ok(x), Ok(y)) => x.cmp(&y),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => x.cmp(y),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// What versions are wanted: one of several lists of conditions.
#[derive(Clone, Debug)]
pub struct Constraint(Vec<Vec<Condition>>);

#[derive(Clone, Debug)]
struct Condition {
    how: How,
    than: Version,
    /// How many numbers were given; the rest fits anything.
    given: usize,
    /// Whether it is `*`.
    any: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Is,
    Not,
    Greater,
    Less,
    AtLeast,
    AtMost,
    Tilde,
    Caret,
}

impl Constraint {
    /// Reads a constraint.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("improper constraint: {text}");
        let list = |part: &str| conditions(part).filter(|l| !l.is_empty()).ok_or_else(bad);
        text.split("||").map(list).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a version is wanted.
    pub fn fits(&self, version: &Version) -> bool {
        self.0.iter().any(|all| all.iter().all(|c| c.fits(version)))
    }
}

fn conditions(text: &str) -> Option<Vec<Condition>> {
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c| !"=!<>~^".contains(c)).unwrap_or(rest.len());
        let (sign, more) = rest.split_at(end);
        let more = more.trim_start();
        let (word, more) = word(more);
        // `1.2 - 1.4`
        let upper = more.trim_start().strip_prefix("- ").filter(|_| sign.is_empty());
        if let Some(upper) = upper {
            let (high, more) = self::word(upper.trim_start());
            all.push(condition(How::AtLeast, word)?);
            all.push(condition(How::AtMost, high)?);
            rest = separated(more)?;
            continue;
        }
        let how = match sign {
            "" | "=" => How::Is,
            "!=" => How::Not,
            ">" => How::Greater,
            "<" => How::Less,
            ">=" | "=>" => How::AtLeast,
            "<=" | "=<" => How::AtMost,
            "~" | "~>" => How::Tilde,
            "^" => How::Caret,
            _ => return None,
        };
        all.push(condition(how, word)?);
        rest = separated(more)?;
    }
    Some(all)
}

fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(text.len()))
}

/// What comes after spaces and at most one comma, which something has to follow.
fn separated(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let Some(after) = text.strip_prefix(',') else { return Some(text) };
    Some(after.trim_start()).filter(|t| !t.is_empty())
}

fn condition(how: How, word: &str) -> Option<Condition> {
    let bare = word.strip_prefix('v').unwrap_or(word);
    let end = bare.find(['-', '+']).unwrap_or(bare.len());
    let (numbers, rest) = bare.split_at(end);
    let wild = |part: &&str| matches!(*part, "x" | "X" | "*");
    let parts: Vec<&str> = numbers.split('.').collect();
    let given = parts.iter().position(wild).unwrap_or(parts.len());
    if parts.len() > 3 || numbers.is_empty() {
        return None;
    }
    let known = if given == 0 { "0".to_owned() } else { parts[..given].join(".") };
    // What follows a wildcard must still read as a version's part.
    let fine = |p: &&str| wild(p) || p.bytes().all(|b| b.is_ascii_digit()) && !p.is_empty();
    if !parts[given..].iter().all(fine) {
        return None;
    }
    let than = Version::parse(&format!("{known}{rest}"))?;
    Some(Condition { how, than, given, any: given == 0 })
}

impl Condition {
    fn fits(&self, version: &Version) -> bool {
        // A version before a release is wanted only by who names one.
        if !version.pre.is_empty() && self.than.pre.is_empty() {
            return false;
        }
        let ([major, minor, _], [c_major, c_minor, _]) = (version.parts, self.than.parts);
        let (whole, no_minor) = (self.given == 3, self.given == 1);
        match self.how {
            How::Is if whole => version.cmp(&self.than) == Ordering::Equal,
            How::Is | How::Tilde => self.tilde(version),
            How::Not if whole => version.cmp(&self.than) != Ordering::Equal,
            How::Not => !self.any && (major != c_major || (!no_minor && minor != c_minor)),
            How::Greater if whole || self.any => version > &self.than,
            How::Greater => major > c_major || (major == c_major && !no_minor && minor > c_minor),
            How::Less => version < &self.than,
            How::AtLeast => version >= &self.than,
            How::AtMost if whole || self.any => version <= &self.than,
            How::AtMost => major < c_major || (major == c_major && (no_minor || minor <= c_minor)),
            How::Caret => self.caret(version),
        }
    }

    fn tilde(&self, version: &Version) -> bool {
        if self.any || (self.given == 3 && self.than.parts == [0; 3]) {
            return true;
        }
        version >= &self.than
            && version.parts[0] == self.than.parts[0]
            && (self.given == 1 || version.parts[1] == self.than.parts[1])
    }

    fn caret(&self, version: &Version) -> bool {
        if version < &self.than {
            return false;
        }
        let ([major, minor, patch], [c_major, c_minor, c_patch]) = (version.parts, self.than.parts);
        if c_major > 0 || self.given == 1 {
            return major == c_major;
        }
        if self.any || major > 0 {
            return self.any;
        }
        if c_minor > 0 || self.given == 2 {
            return minor == c_minor;
        }
        minor == 0 && patch == c_patch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn constraints_want_what_go_wants() {
        for (constraint, yes, no) in [
            (">= 3.12.0", &["3.12.0", "v3.13", "4"][..], &["3.11.9", "3.12.0-rc1", "edge"][..]),
            (">=3.14", &["3.14.0", "3.15"], &["3.13"]),
            ("~1.2", &["1.2.0", "1.2.9"], &["1.3", "2.2"]),
            ("~1", &["1.0", "1.9.9"], &["2"]),
            ("^1.2.3", &["1.2.3", "1.9"], &["2", "1.2.2"]),
            ("^0.2.3", &["0.2.3", "0.2.9"], &["0.3", "0.2.2"]),
            ("^0.0.3", &["0.0.3"], &["0.0.4"]),
            ("1.2.x", &["1.2.0", "1.2.7"], &["1.3"]),
            ("1.2", &["1.2.0", "1.2.7"], &["1.3"]),
            ("=1.2.3", &["1.2.3", "v1.2.3"], &["1.2.4"]),
            ("!=1.2.3", &["1.2.4"], &["1.2.3"]),
            ("*", &["0.0.1", "9"], &["x", "1.0.0-rc.1"]),
            (">11", &["12.0.0"], &["11.5"]),
            ("<=11", &["11.5"], &["12"]),
            (">= 1.2, < 3.0.0 || >= 4.2.3", &["1.2", "2.9", "4.2.3"], &["3.0.0", "4.2.2"]),
            ("1.2 - 1.4.5", &["1.2", "1.4.5"], &["1.4.6", "1.1"]),
            (">=1.0.0-0", &["1.0.0-rc.1", "1.0.0"], &["0.9"]),
            (">1 <3", &["2.5"], &["1.5", "3.0"]),
        ] {
            let c = Constraint::parse(constraint).unwrap();
            let fits = |t: &str| Version::parse(t).is_some_and(|v| c.fits(&v));
            assert!(yes.iter().all(|v| fits(v)), "{constraint} wants {yes:?}");
            assert!(!no.iter().any(|v| fits(v)), "{constraint} wants none of {no:?}");
        }
        for bad in ["", ">", "a.b", ">>1", "1.2.3.4", "1,", "1.x.y", "||"] {
            assert!(Constraint::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_come_in_order() {
        let all = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta.2", "1.0.0-beta.11", "1", "1.0.1"];
        for pair in all.windows(2) {
            assert!(Version::parse(pair[0]) < Version::parse(pair[1]), "{pair:?}");
        }
        for bad in ["", "latest", "1.2.3.4", "1.", "1-", "1.2_3", "99999999999999999999"] {
            assert!(Version::parse(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(c in "[0-9xX*.v<>=!~^|, -]{0,20}|\\PC{0,20}", v in "\\PC{0,20}") {
            if let (Ok(c), Some(v)) = (Constraint::parse(&c), Version::parse(&v)) {
                let _ = c.fits(&v);
            }
        }
    }
}
