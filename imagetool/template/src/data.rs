//! What a template sees: JSON, with what Go knows of it beyond JSON: which objects are maps and
//! which structs, what a nil is a nil of, and which fields JSON leaves out when they are empty.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::keys;

/// A value of Go's.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// A key that a map hasn't.
    NoValue,
    /// A nil pointer.
    Nil,
    /// bool
    Bool(bool),
    /// Any integer.
    Int(i64),
    /// An integer above i64's.
    Big(u64),
    /// float64
    Float(f64),
    /// string
    Text(String),
    /// A slice; `true` for one that is nil.
    List(Vec<Data>, bool),
    /// A time.Duration, in nanoseconds.
    Duration(i64),
    /// A map; `true` for one that is nil.
    Map(BTreeMap<String, Data>, bool),
    /// A struct.
    Struct(Vec<Field>),
}

/// A struct's.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// As JSON names it.
    pub name: String,
    /// Its value.
    pub value: Data,
    /// Empty, and left out of JSON.
    pub left_out: bool,
}

/// The last field of a struct that is a list's row.
const ROW: &str = "__row";

impl Data {
    /// What `inspect` shows, as docker's types have it.
    pub fn of(value: &Value) -> Self {
        Self::at(value, "", true)
    }

    /// What `inspect` shows, as docker's daemon sends it.
    pub fn sent(value: &Value) -> Self {
        Self::at(value, "", false)
    }

    /// A row of a list: its fields stay in the alphabet's order.
    pub fn row(fields: &Map<String, Value>) -> Self {
        let field = |(name, value): (&String, &Value)| Field {
            name: name.clone(),
            value: Self::at(value, name, true),
            left_out: name.starts_with("__"),
        };
        let mark = Field { name: ROW.to_owned(), value: Self::Nil, left_out: true };
        Self::Struct(fields.iter().map(field).chain([mark]).collect())
    }

    /// The value of `key`.
    fn at(value: &Value, key: &str, typed: bool) -> Self {
        let item = |v: &Value| Self::at(v, keys::item(key), typed);
        match value {
            Value::Null if keys::is_list(key) => Self::List(Vec::new(), true),
            Value::Null if keys::is_map(key) => Self::Map(BTreeMap::new(), true),
            Value::Null => Self::Nil,
            Value::Bool(b) => Self::Bool(*b),
            Value::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(n), _) if keys::is_duration(key) => Self::Duration(n),
                (Some(n), _) => Self::Int(n),
                (_, Some(n)) => Self::Big(n),
                _ => Self::Float(n.as_f64().unwrap_or_default()),
            },
            Value::String(s) => Self::Text(s.clone()),
            Value::Array(list) => Self::List(list.iter().map(item).collect(), false),
            Value::Object(map) if keys::is_map(key) => {
                Self::Map(map.iter().map(|(k, v)| (k.clone(), item(v))).collect(), false)
            }
            Value::Object(map) => Self::Struct(fields(map, keys::object(key, map, typed), typed)),
        }
    }

    /// As JSON, on one line.
    pub fn json(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        match self {
            // docker makes rows with Go's own encoder, which minds HTML.
            Self::Struct(fields) if fields.last().is_some_and(|f| f.name == ROW) => {
                text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
            }
            _ => text,
        }
    }

    /// Go's truth: not empty, not zero; a struct is always true.
    pub fn truth(&self) -> bool {
        match self {
            Self::NoValue | Self::Nil => false,
            Self::Bool(b) => *b,
            Self::Int(n) | Self::Duration(n) => *n != 0,
            Self::Big(_) | Self::Struct(_) => true,
            Self::Float(n) => *n != 0.0,
            Self::Text(s) => !s.is_empty(),
            Self::List(list, _) => !list.is_empty(),
            Self::Map(map, _) => !map.is_empty(),
        }
    }

    /// What a template prints of it.
    pub fn text(&self) -> String {
        crate::format::plain(self)
    }

    /// A field, or a key of a map.
    pub fn field(&self, name: &str) -> Result<Self, String> {
        match self {
            Self::Map(map, _) => Ok(map.get(name).cloned().unwrap_or(Self::NoValue)),
            Self::Struct(fields) => {
                let found = fields.iter().find(|f| f.name == name && !name.starts_with("__"));
                let missing =
                    || format!("can't evaluate field {name}: map has no entry for key \"{name}\"");
                found.map(|f| f.value.clone()).ok_or_else(missing)
            }
            Self::Nil => Err(format!("nil pointer evaluating field {name}")),
            Self::NoValue => Err(format!("nil data; no entry for key \"{name}\"")),
            other => Err(format!("can't evaluate field {name} in type {}", other.kind())),
        }
    }

    /// Go's name of its type, as far as one is worth telling.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoValue | Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Duration(_) => "time.Duration",
            Self::Big(_) => "uint64",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(list, _) => match list.first() {
                Some(Self::Struct(_)) => "[]struct",
                _ => "[]string",
            },
            Self::Map(..) => "map[string]string",
            Self::Struct(_) => "struct",
        }
    }
}

/// In docker's order, with those that JSON leaves out.
fn fields(map: &Map<String, Value>, parent: &str, typed: bool) -> Vec<Field> {
    let field = |name: &str, value: &Value, left_out| Field {
        name: name.to_owned(),
        value: Data::at(value, keys::named(parent, name), typed),
        left_out,
    };
    let left_out = keys::left_out(parent);
    let is_empty = |name: &str, value: &Value| {
        left_out.iter().any(|(known, empty)| *known == name && empty.value() == *value)
    };
    let there = map.iter().map(|(k, v)| field(k, v, is_empty(k, v)));
    let missing = left_out.iter().filter(|(name, _)| !map.contains_key(*name));
    let mut all: Vec<Field> =
        there.chain(missing.map(|(name, empty)| field(name, &empty.value(), true))).collect();
    all.sort_by_key(|f| keys::place(parent, &f.name));
    all
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::NoValue | Self::Nil | Self::List(_, true) | Self::Map(_, true) => {
                serializer.serialize_unit()
            }
            Self::Bool(b) => serializer.serialize_bool(*b),
            Self::Int(n) | Self::Duration(n) => serializer.serialize_i64(*n),
            Self::Big(n) => serializer.serialize_u64(*n),
            Self::Float(n) => serializer.serialize_f64(*n),
            Self::Text(s) => serializer.serialize_str(s),
            Self::List(list, false) => serializer.collect_seq(list),
            Self::Map(map, false) => serializer.collect_map(map),
            Self::Struct(fields) => {
                let shown = fields.iter().filter(|f| !f.left_out);
                serializer.collect_map(shown.map(|f| (&f.name, &f.value)))
            }
        }
    }
}
