//! A JSON document that is changed in places: what isn't changed keeps its bytes.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::error::{Error, Result};
use crate::strict;

/// A document that is read as a `T` and written back with that `T`'s changes.
#[derive(Clone, Debug)]
pub struct Doc<T> {
    raw: Box<RawValue>,
    /// What stands before and after it: a line end, usually.
    around: (String, String),
    before: Value,
    now: T,
}

impl<T: Serialize + DeserializeOwned> Doc<T> {
    /// Reads a document; `what` names it in errors.
    pub fn parse(bytes: &[u8], what: &str) -> Result<Self> {
        let bad = |e: serde_json::Error| Error::invalid(what, e);
        let text = std::str::from_utf8(bytes).map_err(|e| Error::invalid(what, e))?;
        let raw: Box<RawValue> = serde_json::from_str(text).map_err(bad)?;
        let blank = |c| matches!(c, ' ' | '\n' | '\r' | '\t');
        let (head, tail) = (text.trim_start_matches(blank), text.trim_end_matches(blank));
        let around = (text[..text.len() - head.len()].to_owned(), text[tail.len()..].to_owned());
        strict::check(bytes).map_err(bad)?;
        let now: T = serde_json::from_slice(bytes).map_err(bad)?;
        let before = serde_json::to_value(&now).map_err(bad)?;
        Ok(Self { raw, around, before, now })
    }

    /// A new document, with a line end as Go's encoder writes it.
    pub fn new(now: T) -> Result<Self> {
        let bad = |e| Error::invalid("document", e);
        let raw = to_raw_value(&now).map_err(bad)?;
        let around = (String::new(), "\n".to_owned());
        Ok(Self { raw, around, before: serde_json::to_value(&now).map_err(bad)?, now })
    }

    /// Its bytes: those it came with if nothing was changed.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let bad = |e| Error::invalid("document", e);
        let after = serde_json::to_value(&self.now).map_err(bad)?;
        let now = to_raw_value(&self.now).map_err(bad)?;
        let merged = merge((&self.raw, &self.before), (&now, &after)).map_err(bad)?;
        Ok([&self.around.0, merged.get(), &self.around.1].concat().into_bytes())
    }
}

impl<T> Deref for Doc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.now
    }
}

impl<T> DerefMut for Doc<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.now
    }
}

/// What lies there, which was read as a value, with what makes the new value of it. The new one's
/// own bytes are for what is new: its fields come in the type's order.
fn merge(
    (raw, before): (&RawValue, &Value),
    (now, after): (&RawValue, &Value),
) -> serde_json::Result<Box<RawValue>> {
    if before == after {
        return Ok(raw.to_owned());
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let Ok(mut fields) = serde_json::from_str::<Fields>(raw.get()) else {
                return Ok(now.to_owned()); // it was `null`
            };
            let fresh: Fields = serde_json::from_str(now.get())?;
            fields.0.retain(|(key, _)| new.contains_key(key) || !old.contains_key(key));
            for (key, value) in &fresh.0 {
                let (Some(was), Some(is)) = (old.get(key), new.get(key)) else {
                    fields.set(key, value.clone());
                    continue;
                };
                if was != is {
                    let merged = match fields.get(key) {
                        Some(raw) => merge((raw, was), (value, is))?,
                        None => value.clone(),
                    };
                    fields.set(key, merged);
                }
            }
            fields.raw()
        }
        (Value::Array(old), Value::Array(new)) => {
            let Ok(parts) = serde_json::from_str::<Vec<Box<RawValue>>>(raw.get()) else {
                return Ok(now.to_owned());
            };
            let fresh: Vec<Box<RawValue>> = serde_json::from_str(now.get())?;
            // What was there and still is, in the same order, keeps its bytes.
            let mut next = 0;
            let mut merged = Vec::with_capacity(new.len());
            for (value, own) in new.iter().zip(fresh) {
                let same = (next..old.len().min(parts.len())).find(|&i| old[i] == *value);
                merged.push(match same {
                    Some(i) => {
                        next = i + 1;
                        parts[i].clone()
                    }
                    None => own,
                });
            }
            to_raw_value(&merged)
        }
        _ => Ok(now.to_owned()),
    }
}

/// An object's fields in their order, their values unread.
struct Fields(Vec<(String, Box<RawValue>)>);

impl Fields {
    fn get(&self, key: &str) -> Option<&RawValue> {
        self.0.iter().rev().find(|(k, _)| k == key).map(|(_, v)| &**v)
    }

    fn set(&mut self, key: &str, value: Box<RawValue>) {
        match self.0.iter_mut().rev().find(|(k, _)| k == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    fn raw(&self) -> serde_json::Result<Box<RawValue>> {
        let mut text = String::from("{");
        for (i, (key, value)) in self.0.iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            text.push_str(&serde_json::to_string(key)?);
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
        RawValue::from_string(text)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Seen;
        impl<'de> Visitor<'de> for Seen {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        d.deserialize_map(Seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{History, ImageConfig};
    use proptest::prelude::*;

    const CONFIG: &str = r#"{ "os":"linux","x-num":1.10e2, "config": {"Env":null, "Odd": [ 1 ],"Labels":{"b":"2"}},
 "history":[ {"created_by":"a", "odd":1} ],"rootfs":{"type":"layers","diff_ids":null}}
"#;

    #[test]
    fn what_isnt_changed_keeps_its_bytes() {
        let doc: Doc<ImageConfig> = Doc::parse(CONFIG.as_bytes(), "c").unwrap();
        assert_eq!(doc.bytes().unwrap(), CONFIG.as_bytes());
    }

    #[test]
    fn a_change_touches_its_own_field_only() {
        let mut doc: Doc<ImageConfig> = Doc::parse(CONFIG.as_bytes(), "c").unwrap();
        doc.config.env.push("A=1".into());
        doc.config.labels.insert("a".into(), "1".into());
        doc.author = "me".into();
        doc.history.push(History { empty_layer: true, ..History::default() });
        let text = String::from_utf8(doc.bytes().unwrap()).unwrap();
        assert_eq!(
            text,
            r#"{"os":"linux","x-num":1.10e2,"config":{"Env":["A=1"],"Odd":[ 1 ],"Labels":{"b":"2","a":"1"}},"history":[{"created_by":"a", "odd":1},{"empty_layer":true}],"rootfs":{"type":"layers","diff_ids":null},"author":"me"}
"#
        );
        doc.config.env.clear();
        assert!(!String::from_utf8(doc.bytes().unwrap()).unwrap().contains("A=1"));
    }

    #[test]
    fn keys_that_differ_in_case_only_are_refused() {
        for bad in [
            r#"{"os":"a","OS":"b"}"#,
            r#"{"config":{"Env":[],"env":[]}}"#,
            r#"{"x":1,"x":2}"#,
            "[]",
        ] {
            assert!(Doc::<ImageConfig>::parse(bad.as_bytes(), "c").is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_what_was_meant(
            os in "[a-z]{0,4}", env in proptest::collection::vec("[A-Z]=[a-z]", 0..4),
            new in proptest::collection::vec("[A-Z]=[a-z]", 0..4), odd in "[a-z]{1,6}",
        ) {
            let text = serde_json::json!({"os": os, "config": {"Env": env}, format!("x{odd}"): odd});
            let mut doc: Doc<ImageConfig> = Doc::parse(text.to_string().as_bytes(), "c").unwrap();
            doc.config.env.clone_from(&new);
            let back: Doc<ImageConfig> = Doc::parse(&doc.bytes().unwrap(), "c").unwrap();
            prop_assert_eq!(&*back, &*doc);
            prop_assert_eq!(&back.config.env, &new);
        }
    }
}
