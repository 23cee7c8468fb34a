//! Patterns in `${name#pattern}` and its like: `?`, `*`, and a backslash before what is meant itself.

use super::Result;

pub(super) fn without_prefix(pattern: &str, value: &str, longest: bool) -> Result<String> {
    let regex = regex(pattern, longest, true)?;
    let end = regex.find(value).map_or(0, |found| found.end());
    Ok(value[end..].to_owned())
}

/// Read from its end, a suffix is a prefix.
pub(super) fn without_suffix(pattern: &str, value: &str, longest: bool) -> Result<String> {
    let backwards: String = value.chars().rev().collect();
    let rest = without_prefix(&reversed(pattern), &backwards, longest)?;
    Ok(rest.chars().rev().collect())
}

pub(super) fn replaced(pattern: &str, value: &str, new: &str, all: bool) -> Result<String> {
    let regex = regex(pattern, true, false)?;
    if all {
        return Ok(regex.replace_all(value, new).into_owned());
    }
    Ok(match regex.find(value) {
        Some(found) => format!("{}{new}{}", &value[..found.start()], &value[found.end()..]),
        None => value.to_owned(),
    })
}

fn regex(pattern: &str, longest: bool, anchored: bool) -> Result<regex_lite::Regex> {
    let bad = |why: String| format!("invalid pattern ({pattern}) in substitution: {why}");
    let mut out = String::from(if anchored { "^" } else { "" });
    let mut rest = pattern.chars().peekable();
    while let Some(mut c) = rest.next() {
        match c {
            '*' => {
                out += if longest { ".*" } else { ".*?" };
                continue;
            }
            '?' => {
                out.push('.');
                continue;
            }
            '\\' => {
                // What ends the substitution has to be escaped in it, and is itself then.
                if matches!(rest.peek(), Some('}' | '/')) {
                    continue;
                }
                c = match rest.next() {
                    Some(c @ ('*' | '?' | '\\')) => c,
                    Some(c) => return Err(bad(format!("invalid escape '\\{c}'"))),
                    None => return Err(bad("it ends in an escape".into())),
                };
                out.push('\\');
            }
            '[' | ']' | '{' | '}' | '.' | '+' | '(' | ')' | '|' | '^' | '$' => out.push('\\'),
            _ => {}
        }
        out.push(c);
    }
    regex_lite::Regex::new(&out).map_err(|why| bad(why.to_string()))
}

/// Backwards, but an escape stays before what it escapes.
fn reversed(pattern: &str) -> String {
    let mut units: Vec<String> = Vec::new();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        let mut unit = String::from(c);
        if c == '\\' {
            unit.extend(rest.next());
        }
        units.push(unit);
    }
    units.into_iter().rev().collect()
}
