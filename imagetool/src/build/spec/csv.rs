//! `key=value,…` as Go's csv package splits it: a field in quotes keeps its commas.

use std::borrow::Cow;

/// The fields of one record.
pub fn fields(text: &str) -> Result<Vec<Cow<'_, str>>, String> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (field, after) = unquoted(quoted)?;
            fields.push(Cow::Owned(field));
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None if after.is_empty() => return Ok(fields),
                None => return Err(format!("{text:?}: extraneous or missing \" in quoted field")),
            }
            continue;
        }
        let (field, more) = rest.split_once(',').map_or((rest, None), |(f, more)| (f, Some(more)));
        if field.contains('"') {
            return Err(format!("{text:?}: bare \" in non-quoted field"));
        }
        fields.push(Cow::Borrowed(field));
        match more {
            Some(more) => rest = more,
            None => return Ok(fields),
        }
    }
}

/// What stands before the closing quote, and what after it; `""` is a quote.
fn unquoted(text: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some((before, after)) = rest.split_once('"') else {
            return Err(format!("\"{text:?}: extraneous or missing \" in quoted field"));
        };
        field += before;
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Ok((field, after)),
        }
    }
}

/// Go's strconv.ParseBool.
pub fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_keep_commas() {
        for (text, expected) in [
            ("a", vec!["a"]),
            ("", vec![""]),
            ("a=1,b=2", vec!["a=1", "b=2"]),
            ("type=local,\"dest=a,b\"", vec!["type=local", "dest=a,b"]),
            ("\"a\"\"b\",c", vec!["a\"b", "c"]),
            ("a,", vec!["a", ""]),
        ] {
            assert_eq!(fields(text).unwrap(), expected, "{text}");
        }
        for bad in ["a\"b", "\"a", "\"a\"b"] {
            assert!(fields(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_comes_back(list in proptest::collection::vec("[a-z,\"= ]{0,8}", 1..5)) {
            let quoted: Vec<String> =
                list.iter().map(|f| format!("\"{}\"", f.replace('"', "\"\""))).collect();
            let joined = quoted.join(",");
            prop_assert_eq!(fields(&joined).unwrap(), list);
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,40}|[\",=a]{0,12}") {
            let _ = fields(&text);
        }
    }
}
