//! What a template sees: JSON, with what Go knows of it beyond JSON: which objects are maps and
//! which structs, what a nil is a nil of, and which fields JSON leaves out when they are empty.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::output::keys;

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

impl Data {
    /// What `inspect` shows.
    pub fn of(value: &Value) -> Self {
        Self::at(value, "")
    }

    /// A row of a list: its fields stay in the alphabet's order.
    pub fn row(fields: &Map<String, Value>) -> Self {
        let field = |(name, value): (&String, &Value)| Field {
            name: name.clone(),
            value: Self::at(value, name),
            left_out: name.starts_with("__"),
        };
        Self::Struct(fields.iter().map(field).collect())
    }

    /// The value of `key`.
    fn at(value: &Value, key: &str) -> Self {
        match value {
            Value::Null if keys::is_list(key) => Self::List(Vec::new(), true),
            Value::Null if keys::is_map(key) => Self::Map(BTreeMap::new(), true),
            Value::Null => Self::Nil,
            Value::Bool(b) => Self::Bool(*b),
            Value::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(n), _) => Self::Int(n),
                (_, Some(n)) => Self::Big(n),
                _ => Self::Float(n.as_f64().unwrap_or_default()),
            },
            Value::String(s) => Self::Text(s.clone()),
            Value::Array(list) => {
                Self::List(list.iter().map(|v| Self::at(v, keys::item(key))).collect(), false)
            }
            Value::Object(map) if keys::is_map(key) => {
                let of = |(k, v): (&String, &Value)| (k.clone(), Self::at(v, keys::item(key)));
                Self::Map(map.iter().map(of).collect(), false)
            }
            Value::Object(map) => {
                let mut fields: Vec<Field> = map
                    .iter()
                    .map(|(k, v)| Field {
                        name: k.clone(),
                        value: Self::at(v, keys::named(key, k)),
                        left_out: k.starts_with("__"),
                    })
                    .collect();
                fields.sort_by_key(|f| keys::place(key, &f.name));
                for (name, empty) in keys::left_out(key) {
                    if !map.contains_key(*name) {
                        fields.push(Field {
                            name: (*name).to_owned(),
                            value: Self::at(&empty.value(), name),
                            left_out: true,
                        });
                    }
                }
                Self::Struct(fields)
            }
        }
    }

    /// As JSON, on one line.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Go's truth: not empty, not zero; a struct is always true.
    pub fn truth(&self) -> bool {
        match self {
            Self::NoValue | Self::Nil => false,
            Self::Bool(b) => *b,
            Self::Int(n) => *n != 0,
            Self::Big(_) | Self::Struct(_) => true,
            Self::Float(n) => *n != 0.0,
            Self::Text(s) => !s.is_empty(),
            Self::List(list, _) => !list.is_empty(),
            Self::Map(map, _) => !map.is_empty(),
        }
    }

    /// What a template prints of it.
    pub fn text(&self) -> String {
        super::format::plain(self)
    }

    /// A field, or a key of a map.
    pub fn field(&self, name: &str) -> Result<Self, String> {
        match self {
            Self::Map(map, _) => Ok(map.get(name).cloned().unwrap_or(Self::NoValue)),
            Self::Struct(fields) => {
                let found = fields.iter().find(|f| f.name == name && !name.starts_with("__"));
                let missing = || format!("can't evaluate field {name}");
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

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::NoValue | Self::Nil | Self::List(_, true) | Self::Map(_, true) => {
                serializer.serialize_unit()
            }
            Self::Bool(b) => serializer.serialize_bool(*b),
            Self::Int(n) => serializer.serialize_i64(*n),
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
