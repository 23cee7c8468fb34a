//! JSON for people: docker's indentation, and docker's order of keys.

use serde::Serialize;
use serde_json::Value;

use super::Data;

/// Four spaces a level.
pub fn pretty(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    match Data::sent(value).serialize(&mut serializer) {
        Ok(()) => String::from_utf8(bytes).unwrap_or_default(),
        Err(_) => value.to_string(),
    }
}

/// On one line, keys in docker's order as well.
pub fn compact(value: &Value) -> String {
    Data::sent(value).json()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_comes_first_and_strangers_by_name() {
        let value = serde_json::json!({"Zoo": 1, "Config": {}, "Apple": [1], "Id": "x"});
        assert_eq!(
            pretty(&value),
            "{\n    \"Id\": \"x\",\n    \"Config\": {},\n    \"Apple\": [\n        1\n    ],\n    \"Zoo\": 1\n}"
        );
        assert_eq!(compact(&value), r#"{"Id":"x","Config":{},"Apple":[1],"Zoo":1}"#);
    }
}
