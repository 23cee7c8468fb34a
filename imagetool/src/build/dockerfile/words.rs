//! How the rest of a line is split: at blanks, into words with their quotes, or as JSON.

/// The line's first word, its flags, and the rest.
pub(super) struct Split<'a> {
    pub(super) word: &'a str,
    pub(super) flags: Vec<String>,
    pub(super) rest: &'a str,
}

/// Blanks of a line; Go's `[\t\v\f\r ]`.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Where flags part: what BuildKit looks at are bytes.
pub(super) fn is_ascii_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{b}'
}

/// `RUN --mount=x make all`
pub(super) fn split(line: &str, escape: char) -> Split<'_> {
    let (word, rest) = cut(line.trim());
    let (flags, rest) = rest.map_or((Vec::new(), ""), |rest| flags(rest, escape));
    Split { word, flags, rest: rest.trim() }
}

/// The first word and what follows the blanks behind it.
pub(super) fn cut(text: &str) -> (&str, Option<&str>) {
    match text.split_once(is_blank) {
        Some((word, rest)) => (word, Some(rest.trim_start_matches(is_blank))),
        None => (text, None),
    }
}

/// Words that begin with `--`, quotes and escapes gone, up to the first that doesn't or is `--`.
fn flags(text: &str, escape: char) -> (Vec<String>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(is_ascii_blank);
        if !rest.starts_with("--") {
            return (found, rest);
        }
        let (flag, after) = flag(rest, escape);
        rest = after;
        if flag == "--" {
            return (found, rest);
        }
        found.push(flag);
    }
}

fn flag(text: &str, escape: char) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if is_ascii_blank(c) => return (word, &text[at..]),
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            // Nothing to escape at the end.
            _ if c == escape => word.extend(chars.next().map(|next| next.1)),
            _ => word.push(c),
        }
    }
    (word, "")
}

/// All the line's words, at blanks alone.
pub(super) fn at_blanks(text: &str) -> Vec<String> {
    text.split(is_blank).filter(|word| !word.is_empty()).map(Into::into).collect()
}

/// Words at blanks that aren't quoted or escaped; quotes and escapes stay.
pub(super) fn quoted(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        if c == escape && quote != Some('\'') {
            let Some(next) = chars.next() else { break };
            word.push(c);
            word.push(next);
        } else {
            word.push(c);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// A JSON list of strings; `None` if it is no JSON list at all.
///
/// # Errors
///
/// When it is one of something else.
pub(super) fn json(text: &str) -> Result<Option<Vec<String>>, String> {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Ok(None);
    }
    let read = |text: &str| serde_json::from_str::<Vec<serde_json::Value>>(text);
    let Ok(values) = read(text).or_else(|_| read(&whole_escapes(text))) else { return Ok(None) };
    let strings = values.into_iter().map(|value| match value {
        serde_json::Value::String(text) => Ok(text),
        _ => Err("when using JSON array syntax, arrays must be comprised of strings only".into()),
    });
    strings.collect::<Result<_, _>>().map(Some)
}

/// A half of a surrogate pair alone is U+FFFD to Go, and no JSON at all elsewhere.
fn whole_escapes(text: &str) -> String {
    let unit = |text: &str| {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        u32::from_str_radix(digits, 16).ok().filter(|unit| (0xd800..0xe000).contains(unit))
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(6..).unwrap_or_default();
        let length = match (unit(rest), unit(after)) {
            (Some(..0xdc00), Some(0xdc00..)) => 12,
            (Some(_), _) => {
                out += "\\ufffd";
                rest = after;
                continue;
            }
            // What is escaped begins no escape itself.
            (None, _) if c == '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            (None, _) => c.len_utf8(),
        };
        out += &rest[..length];
        rest = &rest[length..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_end_at_the_first_other_word() {
        let s = split("  RUN  --a=1 --b=\"x y\"z --c=\\\" -- --d e ", '\\');
        assert_eq!((s.word, s.rest), ("RUN", "--d e"));
        assert_eq!(s.flags, ["--a=1", "--b=x yz", "--c=\""]);
        let s = split("CMD -x --y", '\\');
        assert_eq!((s.flags.len(), s.rest), (0, "-x --y"));
        let s = split("RUN --only", '\\');
        assert_eq!((s.flags, s.rest), (vec!["--only".to_owned()], ""));
        let s = split("RUN --a=x\\", '\\');
        assert_eq!((s.flags, s.rest), (vec!["--a=x".to_owned()], ""));
        assert_eq!(split("", '\\').word, "");
    }

    #[test]
    fn words_keep_quotes() {
        assert_eq!(quoted(r#"a="b c" d\ e 'f\' g\"#, '\\'), [r#"a="b c""#, r"d\ e", r"'f\'", "g"]);
        assert_eq!(quoted(r#""a\" b" c"#, '\\'), [r#""a\" b""#, "c"]);
        assert_eq!(quoted("a='' b", '\\'), ["a=''", "b"]);
        assert_eq!(quoted("a\\ b", '`'), ["a\\", "b"]);
    }

    #[test]
    fn json_is_a_list_of_strings_or_nothing() {
        assert_eq!(json(r#"["a", "b c"]"#), Ok(Some(vec!["a".to_owned(), "b c".to_owned()])));
        assert_eq!(json("[]"), Ok(Some(Vec::new())));
        for (text, want) in [
            (r#"["\ud83d\ude00"]"#, "\u{1f600}"),
            (r#"["\ud83dx\udc00"]"#, "\u{fffd}x\u{fffd}"),
            (r#"["\\ud83d\ud83d"]"#, "\\ud83d\u{fffd}"),
            (r#"["\ud83d\ud83d\ude00é"]"#, "\u{fffd}\u{1f600}é"),
        ] {
            assert_eq!(json(text), Ok(Some(vec![want.to_owned()])), "{text}");
        }
        for no in ["['a']", "[\"a\"", "[\"a\"] x", "x", "[a]", "{}", "[\"a\",]"] {
            assert_eq!(json(no), Ok(None), "{no}");
        }
        for bad in ["[1]", "[\"a\", [\"b\"]]", "[null]", "[true, \"a\"]"] {
            assert!(json(bad).is_err(), "{bad}");
        }
    }
}
