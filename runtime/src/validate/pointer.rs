//! Where in a JSON text a parser stopped, as a JSON pointer.
//!
//! serde_json says line and column; people and programs want `/process/args/0`.
//! Only walked when parsing has failed.

/// One open container on the way to the place.
enum Level {
    Object { key: String },
    Array { index: usize },
}

/// A key as it stands in a pointer.
pub fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The JSON pointer of the value at (1-based) `line` and `column` of `text`.
pub fn at(text: &str, line: usize, column: usize) -> String {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let end = (start + column).min(text.len());
    let mut levels: Vec<Level> = Vec::new();
    let mut last_string = String::new();
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < end {
        match bytes[i] {
            b'"' => (last_string, i) = string(bytes, i + 1),
            b':' => {
                if let Some(Level::Object { key }) = levels.last_mut() {
                    *key = std::mem::take(&mut last_string);
                }
            }
            b',' if i + 1 < end => {
                if let Some(Level::Array { index }) = levels.last_mut() {
                    *index += 1;
                }
            }
            b'{' => levels.push(Level::Object { key: String::new() }),
            b'[' => levels.push(Level::Array { index: 0 }),
            b'}' | b']' if i + 1 < end => drop(levels.pop()),
            _ => {}
        }
        i += 1;
    }
    let mut out = String::new();
    for level in &levels {
        out.push('/');
        match level {
            Level::Object { key } => out.push_str(&escaped(key)),
            Level::Array { index } => out.push_str(&index.to_string()),
        }
    }
    out.trim_end_matches('/').to_owned()
}

/// The string that starts at `from`, and where its closing quote is.
fn string(bytes: &[u8], from: usize) -> (String, usize) {
    let mut i = from;
    while i < bytes.len() && bytes[i] != b'"' {
        i += if bytes[i] == b'\\' { 2 } else { 1 };
    }
    let to = i.min(bytes.len());
    (String::from_utf8_lossy(&bytes[from..to]).into_owned(), i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::spec::Spec;
    use proptest::prelude::*;

    fn pointer_of(text: &str) -> String {
        let e = serde_json::from_str::<Spec>(text).unwrap_err();
        at(text, e.line(), e.column())
    }

    #[test]
    fn a_wrong_type_is_named_by_its_pointer() {
        assert_eq!(pointer_of(r#"{"process":{"args":["a",7]}}"#), "/process/args/1");
        assert_eq!(pointer_of("{\n\"root\":\n {\"path\": [] }}"), "/root/path");
        assert_eq!(
            pointer_of(r#"{"linux":{"uidMappings":[{"hostID":1},{"hostID":-1}]}}"#),
            "/linux/uidMappings/1/hostID"
        );
    }

    proptest! {
        #[test]
        fn no_text_and_place_make_it_panic(text in ".{0,200}", line in 0usize..9, column in 0usize..99) {
            let _ = at(&text, line, column);
        }
    }
}
