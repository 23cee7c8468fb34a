//! Values as people write them: `uint64 5`, `'a'`, `['a', 'b']`, `[('/dev/x', 'rw')]`.
//!
//! SPEC: GLib, GVariant Text Format; that of Go's dbus, which runc reads annotations by.

use super::value::{Value, one_type};

/// How deep arrays and tuples may lie in each other.
const DEPTH: u8 = 16;

/// Reads one value; else why not.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text.trim_start() };
    let value = parser.value(None, DEPTH)?;
    match parser.rest {
        "" => Ok(value),
        rest => Err(format!("{rest:?} follows the value")),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

const NUMBERS: [(&str, &str); 9] = [
    ("byte", "y"),
    ("boolean", "b"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
];

const TEXTS: [(&str, &str); 3] = [("string", "s"), ("objectpath", "o"), ("signature", "g")];

impl<'a> Parser<'a> {
    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest[bytes..].trim_start();
    }

    fn has(&mut self, text: &str) -> bool {
        let has = self.rest.starts_with(text);
        if has {
            self.skip(text.len());
        }
        has
    }

    fn word(&mut self) -> &'a str {
        let in_word = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
        let end = self.rest.find(|c| !in_word(c)).unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        self.skip(end);
        word
    }

    /// A value of the type `want`, or of whatever type it looks like.
    fn value(&mut self, want: Option<&str>, depth: u8) -> Result<Value, String> {
        let depth = depth.checked_sub(1).ok_or("it is nested too deep")?;
        match self.rest.chars().next() {
            None => Err("a value is missing".into()),
            Some('@') => {
                let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
                let kind = &self.rest[1..end];
                let mut types = kind.as_bytes();
                if one_type(&mut types, DEPTH).is_none() || !types.is_empty() {
                    return Err(format!("{kind:?} is no type"));
                }
                self.skip(end);
                self.value(Some(kind), depth)
            }
            Some('\'' | '"') => {
                let text = self.quoted()?;
                match want.unwrap_or("s") {
                    "s" => Ok(Value::Text(text)),
                    "o" => Ok(Value::Path(text)),
                    "g" => Ok(Value::Signature(text)),
                    other => Err(format!("{text:?} is not of type {other}")),
                }
            }
            Some('[') => self.array(want, depth),
            Some('(') => self.tuple(want, depth),
            Some('<') => {
                self.skip(1);
                let inner = self.value(None, depth)?;
                if self.has(">") {
                    Ok(Value::Variant(Box::new(inner)))
                } else {
                    Err("> is missing".into())
                }
            }
            Some(_) => self.plain(want, depth),
        }
    }

    fn plain(&mut self, want: Option<&str>, depth: u8) -> Result<Value, String> {
        let word = self.word();
        let known = NUMBERS.iter().chain(&TEXTS).find(|(name, _)| *name == word);
        if let Some((_, kind)) = known {
            return self.value(Some(kind), depth);
        }
        match word {
            "true" | "false" if want.is_none_or(|want| want == "b") => {
                Ok(Value::Bool(word == "true"))
            }
            _ => number(word, want),
        }
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut chars = self.rest.char_indices();
        let quote = chars.next().map_or('\'', |(_, c)| c);
        let mut out = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some(c @ ('\\' | '\'' | '"')) => out.push(c),
                    _ => return Err("an escape that isn't \\\\, \\', \\\", \\n or \\t".into()),
                },
                // SPEC: D-Bus §Basic types: a string has no null.
                '\0' => return Err("a string has no null".into()),
                c if c == quote => {
                    self.skip(at + 1);
                    return Ok(out);
                }
                c => out.push(c),
            }
        }
        Err(format!("the closing {quote} is missing"))
    }

    fn array(&mut self, want: Option<&str>, depth: u8) -> Result<Value, String> {
        self.skip(1);
        let of = match want {
            Some(want) => Some(want.strip_prefix('a').ok_or("an array is not what its type says")?),
            None => None,
        };
        let parts = self.list("]", depth, |_| of.map(str::to_owned))?;
        let of = match (of, parts.first()) {
            (Some(of), _) => of.to_owned(),
            (None, Some(first)) => first.signature(),
            (None, None) => return Err("an empty array needs a type, as @as []".into()),
        };
        if parts.iter().any(|part| part.signature() != of) {
            return Err("an array's elements are of one type".into());
        }
        Ok(Value::Array(of, parts))
    }

    fn tuple(&mut self, want: Option<&str>, depth: u8) -> Result<Value, String> {
        self.skip(1);
        let mut kinds = Vec::new();
        if let Some(want) = want {
            let inner = want.strip_prefix('(').and_then(|want| want.strip_suffix(')'));
            let mut types = inner.ok_or("a tuple is not what its type says")?.as_bytes();
            while let Some(one) = one_type(&mut types, DEPTH) {
                kinds.push(String::from_utf8_lossy(one).into_owned());
            }
        }
        let parts = self.list(")", depth, |at| kinds.get(at).cloned())?;
        let value = Value::Struct(parts);
        match want {
            _ if value == Value::Struct(vec![]) => Err("a tuple has something in it".into()),
            Some(want) if value.signature() != want => Err(format!("it is not of type {want}")),
            _ => Ok(value),
        }
    }

    fn list(
        &mut self,
        end: &str,
        depth: u8,
        want: impl Fn(usize) -> Option<String>,
    ) -> Result<Vec<Value>, String> {
        let mut parts = Vec::new();
        loop {
            if self.has(end) {
                return Ok(parts);
            }
            parts.push(self.value(want(parts.len()).as_deref(), depth)?);
            if !self.has(",") && !self.rest.starts_with(end) {
                return Err(format!("{end} is missing"));
            }
        }
    }
}

fn read<T: std::str::FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

fn number(word: &str, want: Option<&str>) -> Result<Value, String> {
    let not = || match want {
        None if word.is_empty() => "a value is missing".to_owned(),
        None => format!("{word:?} is no value; a string is quoted"),
        Some(want) => format!("{word:?} is not of type {want}"),
    };
    let kind = want.unwrap_or(if word.contains('.') { "d" } else { "i" });
    let value = match kind {
        "y" => read(word).map(Value::Byte),
        "n" => read(word).map(Value::I16),
        "q" => read(word).map(Value::U16),
        "i" => read(word).map(Value::I32),
        "u" => read(word).map(Value::U32),
        "x" => read(word).map(Value::I64),
        "t" => read(word).map(Value::U64),
        "d" => read(word).map(Value::F64),
        _ => None,
    };
    value.ok_or_else(not)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_read_as_runc_reads_them() {
        let texts = |list: &[&str]| {
            Value::Array("s".into(), list.iter().map(|text| Value::text(*text)).collect())
        };
        let pair = Value::Struct(vec![Value::text("/dev/x"), Value::text("rw")]);
        for (text, value) in [
            ("uint64 123456789", Value::U64(123_456_789)),
            ("'inactive-or-failed'", Value::text("inactive-or-failed")),
            ("\"it's\"", Value::text("it's")),
            ("true", Value::Bool(true)),
            ("-5", Value::I32(-5)),
            ("1.5", Value::F64(1.5)),
            ("['a', 'b']", texts(&["a", "b"])),
            ("@as []", texts(&[])),
            ("[('/dev/x', 'rw')]", Value::Array("(ss)".into(), vec![pair])),
            ("@at [1,2]", Value::Array("t".into(), vec![Value::U64(1), Value::U64(2)])),
            ("<true>", Value::Variant(Box::new(Value::Bool(true)))),
            ("objectpath '/a'", Value::Path("/a".into())),
        ] {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_said() {
        for (text, part) in [
            ("", "missing"),
            ("word", "quoted"),
            ("'a", "closing"),
            ("[]", "@as"),
            ("['a', 1]", "one type"),
            ("byte 256", "not of type y"),
            ("1 2", "follows"),
            ("@ 1", "no type"),
            ("()", "something"),
            ("[1", "missing"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
        assert!(parse(&"[".repeat(1000)).is_err());
    }

    proptest! {
        #[test]
        fn foreign_text_is_read_without_panic(text in "[@a-z0-9 '\"\\[\\]()<>,.\\\\-]{0,24}|.{0,24}") {
            let _ = parse(&text);
        }
    }
}
