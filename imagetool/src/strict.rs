//! JSON that every reader understands alike. Go takes a key for a field's name whatever its case,
//! and the last one wins; others take the first, or tell them apart. A document with such twins
//! says one thing to whoever checks it and another to whoever uses it.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Whose keys are free text, in which case tells.
const FREE: [&str; 5] = ["annotations", "labels", "volumes", "exposedports", "layersources"];

/// Refuses a document with two keys in one object that differ in case only, or not at all.
pub(crate) fn check(bytes: &[u8]) -> serde_json::Result<()> {
    serde_json::from_slice::<Checked>(bytes).map(drop)
}

struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Strict { free: false }.deserialize(d).map(|()| Self)
    }
}

/// A value; `free` says that its keys are anybody's.
#[derive(Clone, Copy)]
struct Strict {
    free: bool,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let folded = fold(&key);
            let free = FREE.contains(&folded.as_str());
            let known = if self.free { key } else { folded };
            if let Some(twice) = (!seen.insert(known.clone())).then_some(known) {
                let twice: String = twice.chars().take(60).collect();
                return Err(A::Error::custom(format!(
                    "the key {twice:?} comes twice, whatever its case"
                )));
            }
            map.next_value_seed(Self { free })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// As Go folds: letters of ASCII, and the two others that fold to one.
fn fold(key: &str) -> String {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    key.chars().map(fold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn twins_are_refused_wherever_a_field_is_meant() {
        for bad in [
            r#"{"layers":[],"Layers":[]}"#,
            r#"{"layers":[],"layers":[]}"#,
            r#"{"layers":[{"digest":"a","dIgest":"b"}]}"#,
            "{\"digest\":1,\"dige\u{17f}t\":2}",
            r#"{"config":{"Env":[],"env":[]}}"#,
            r#"{"annotations":{"a":1},"Annotations":{}}"#,
            r#"{"annotations":{"a":1,"a":2}}"#,
        ] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
        for good in [
            r#"{"layers":[{"digest":"a"},{"digest":"b"}],"config":{"digest":"a"}}"#,
            r#"{"config":{"Labels":{"Version":"1","version":"2"},"Volumes":{"/A":{},"/a":{}}}}"#,
            "[1,-2,3.5,\"x\",null,true]",
        ] {
            check(good.as_bytes()).unwrap();
        }
    }

    proptest! {
        #[test]
        fn checking_never_panics(s in "(\\[|\\]|\\{|\\}|\"a\"|\"A\"|:|,|null|1){0,30}") {
            let _ = check(s.as_bytes());
        }
    }
}
