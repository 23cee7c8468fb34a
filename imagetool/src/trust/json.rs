//! JSON read strictly: a key twice, a key nobody asked for, or a value of another type is an
//! error. What decides about trust must not be read differently by two readers.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// A value; an object keeps its keys in order, each once.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number without a fraction.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// `[…]`
    List(Vec<Json>),
    /// `{…}`
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a document.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|e| e.to_string())
    }

    /// The fields of an object.
    pub fn fields(self, what: &'static str) -> Result<Fields, String> {
        match self {
            Self::Object(fields) => Ok(Fields { what, fields }),
            _ => Err(format!("{what} must be an object")),
        }
    }

    fn text(self, key: &str) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(format!("{key:?} must be a string")),
        }
    }
}

/// An object's fields, taken one by one; what is left at the end is unknown.
pub struct Fields {
    what: &'static str,
    fields: Vec<(String, Json)>,
}

impl Fields {
    /// A field, if it is there.
    pub fn take(&mut self, key: &str) -> Option<Json> {
        let at = self.fields.iter().position(|(k, _)| k == key)?;
        Some(self.fields.remove(at).1)
    }

    /// A field that must be there.
    pub fn need(&mut self, key: &str) -> Result<Json, String> {
        self.take(key).ok_or_else(|| format!("{} lacks {key:?}", self.what))
    }

    /// A text that must be there.
    pub fn need_text(&mut self, key: &str) -> Result<String, String> {
        self.need(key)?.text(key)
    }

    /// A text, if it is there.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        self.take(key).map(|v| v.text(key)).transpose()
    }

    /// Texts, if they are there; then at least one.
    pub fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, String> {
        match self.take(key) {
            None => Ok(None),
            Some(Json::List(list)) if !list.is_empty() => {
                list.into_iter().map(|v| v.text(key)).collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(format!("{key:?} must be a list of strings with at least one entry")),
        }
    }

    /// All that is left.
    pub fn rest(self) -> Vec<(String, Json)> {
        self.fields
    }

    /// An error if anything is left.
    pub fn end(self) -> Result<(), String> {
        match self.fields.first() {
            None => Ok(()),
            Some((key, _)) => Err(format!("{} has an unknown key {key:?}", self.what)),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Json, E> {
        Ok(Json::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Json, E> {
        Ok(Json::Integer(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Json, E> {
        #[allow(clippy::cast_precision_loss)] // too large for what we read, whatever it is
        Ok(i64::try_from(v).map_or(Json::Float(v as f64), Json::Integer))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Json, E> {
        Ok(Json::Float(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Json, E> {
        Ok(Json::Text(v.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut seen = std::collections::HashSet::new();
        let mut fields = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Json>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format_args!("duplicate key {key:?}")));
            }
            fields.push((key, value));
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_twice_or_unknown_is_refused() {
        for bad in [r#"{"a":1,"a":1}"#, r#"{"x":{"a":1,"a":2}}"#, r#"[{"a":1,"a":1}]"#, "{} {}", ""]
        {
            assert!(Json::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let mut fields = Json::parse(br#"{"a":"1","A":"2"}"#).unwrap().fields("x").unwrap();
        assert_eq!(fields.need_text("a").unwrap(), "1");
        assert_eq!(fields.end().unwrap_err(), r#"x has an unknown key "A""#);
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Json::parse(&bytes);
        }
    }
}
