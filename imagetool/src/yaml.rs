//! YAML as Go's tools read it, to JSON. What is read is bounded.

use std::collections::HashMap;

use saphyr::{Scalar, ScalarStyle, Yaml, YamlLoader};
use saphyr_parser::{Event, EventReceiver, Parser};
use serde_json::{Map, Number, Value};

/// The one document of `text`.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut size = Size::default();
    Parser::new_from_str(text).load(&mut size, true).map_err(|e| e.to_string())?;
    if size.nodes > MAX_NODES {
        return Err(format!("it has more than {MAX_NODES} values"));
    }
    let mut loader = YamlLoader::<Yaml>::default();
    loader.early_parse(false);
    Parser::new_from_str(text).load(&mut loader, true).map_err(|e| e.to_string())?;
    if let Some(e) = loader.error() {
        return Err(e.to_string());
    }
    match loader.into_documents().as_slice() {
        [one] => value(one),
        [] => Err("no Spec data".to_owned()),
        _ => Err("more than one document".to_owned()),
    }
}

/// What a document comes to with every alias in place of which its anchor stands: a few lines
/// can name billions of values.
#[derive(Default)]
struct Size {
    nodes: u64,
    anchors: HashMap<usize, u64>,
    open: Vec<(usize, u64)>,
}

/// No document has more values.
const MAX_NODES: u64 = 100_000;

impl EventReceiver<'_> for Size {
    fn on_event(&mut self, event: Event<'_>) {
        match event {
            Event::Scalar(_, _, anchor, _) => {
                self.nodes = self.nodes.saturating_add(1);
                self.anchors.insert(anchor, 1);
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                self.open.push((anchor, self.nodes));
                self.nodes = self.nodes.saturating_add(1);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((anchor, before)) = self.open.pop() {
                    self.anchors.insert(anchor, self.nodes - before);
                }
            }
            Event::Alias(anchor) => {
                let more = self.anchors.get(&anchor).copied().unwrap_or(1);
                self.nodes = self.nodes.saturating_add(more);
            }
            _ => {}
        }
    }
}

fn value(node: &Yaml) -> Result<Value, String> {
    Ok(match node {
        Yaml::Representation(text, style, tag) => {
            if let Some(octal) = octal(text).filter(|_| *style == ScalarStyle::Plain) {
                return Ok(octal.into());
            }
            scalar(Scalar::parse_from_cow_and_metadata(text.clone(), *style, tag.as_ref()))?
        }
        Yaml::Value(one) => scalar(Some(one.clone()))?,
        Yaml::Sequence(list) => Value::Array(list.iter().map(value).collect::<Result<_, _>>()?),
        Yaml::Mapping(pairs) => {
            let mut map = Map::new();
            for (key, one) in pairs {
                let Value::String(key) = value(key)? else {
                    return Err("a key is no text".to_owned());
                };
                map.insert(key, value(one)?);
            }
            Value::Object(map)
        }
        Yaml::Tagged(_, inner) => value(inner)?,
        Yaml::Alias(_) | Yaml::BadValue => return Err("a value can't be read".to_owned()),
    })
}

/// YAML 1.1's `0666`, which file modes are written as; YAML 1.2 would read it as 666.
fn octal(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('0').filter(|d| !d.is_empty())?;
    i64::from_str_radix(digits, 8).ok().filter(|_| !digits.starts_with(['+', '-']))
}

fn scalar(scalar: Option<Scalar>) -> Result<Value, String> {
    Ok(match scalar.ok_or("a value is not of its tag")? {
        Scalar::Null => Value::Null,
        Scalar::Boolean(on) => on.into(),
        Scalar::Integer(n) => n.into(),
        Scalar::FloatingPoint(n) => {
            Number::from_f64(n.into_inner()).map(Value::Number).ok_or("a number is none")?
        }
        Scalar::String(text) => Value::String(text.into_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_become_json() {
        let text = "a: 1\nb: [x, \"0666\", 0666, 438, true, ~]\nc:\n  d: &e {f: g}\n  h: *e\n";
        let want = json!({"a": 1, "b": ["x", "0666", 438, 438, true, null],
            "c": {"d": {"f": "g"}, "h": {"f": "g"}}});
        assert_eq!(parse(text).unwrap(), want);
        assert_eq!(parse("{\"a\": [1, \"b\"]}").unwrap(), json!({"a": [1, "b"]}));
        for bad in ["a: [", "a: 1\na: 2", "", "a: b: c", "--- 1\n--- 2"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn aliases_of_aliases_are_bounded() {
        use std::fmt::Write;
        let mut text = String::from("a0: &a0 [x, x]\n");
        for n in 1..40 {
            writeln!(text, "a{n}: &a{n} [*a{0}, *a{0}]", n - 1).unwrap();
        }
        assert!(parse(&text).unwrap_err().contains("more than"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
