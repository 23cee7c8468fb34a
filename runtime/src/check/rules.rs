//! Every rule that a config breaks, by a judge that stops at the first: what it names is noted,
//! taken out (or given a value that passes), and the rest is judged again.

use serde_json::{Value, json};

use super::report::{Finding, shown};
use crate::error::{Error, Result};

/// A config without what breaks a rule.
pub struct Repaired {
    /// What is left.
    pub document: Value,
    /// Items taken out of arrays: the array as it is written, and the place in it.
    gone: Vec<(String, usize)>,
}

/// More than anyone wants to read.
const MOST: usize = 100;

/// Judges until nothing is found any more.
pub fn every(
    text: &str,
    problems: &mut Vec<Finding>,
    judge: impl Fn(&str) -> Result<()>,
) -> Repaired {
    let document = serde_json::from_str(text).unwrap_or(Value::Null);
    let written: Value = document.clone();
    let mut repaired = Repaired { document, gone: Vec::new() };
    let mut seen: Vec<String> = Vec::new();
    if written.is_null() {
        problems.extend(judge(text).err().map(|e| finding(&written, "", e)));
        return repaired;
    }
    for _ in 0..MOST {
        let Err(e) = judge(&repaired.document.to_string()) else { break };
        let Some(mut pointer) = pointer(&e).map(str::to_owned) else {
            problems.push(finding(&written, "", e));
            break;
        };
        let mut place = repaired.written(&pointer);
        if let Some(cut) = cause(&e, &place, &seen) {
            place.truncate(cut);
            // Its numbers may be others, as many as they are.
            let parts = place.split('/').count();
            pointer = pointer.split('/').take(parts).collect::<Vec<_>>().join("/");
        } else if !seen.contains(&place) {
            problems.push(finding(&written, &place, e));
        }
        // Named again, it is what surrounds it that has to go; that was said already.
        let level = seen.iter().filter(|known| **known == place).count();
        if !repaired.repair(&pointer, level) {
            break;
        }
        seen.push(place);
    }
    repaired
}

fn pointer(e: &Error) -> Option<&str> {
    match e {
        Error::Config { pointer, .. } => Some(pointer),
        Error::Unsupported { what, .. } => what.starts_with('/').then_some(what),
        _ => None,
    }
}

/// Whether a fault is only what an earlier repair has made of the rest: then, how much of the
/// place is to go.
fn cause(e: &Error, place: &str, seen: &[String]) -> Option<usize> {
    let emptied = |known: &String| known.strip_prefix(place).is_some_and(|r| r.starts_with('/'));
    if seen.iter().any(emptied) {
        return Some(place.len());
    }
    // A key was taken out that the object can't be without: serde names what follows.
    let parent = |place: &str| place.rsplit_once('/').map_or(0, |(parent, _)| parent.len());
    let object = seen.iter().map(|known| &known[..parent(known)]).find(|object| {
        !object.is_empty() && (*object == place || *object == &place[..parent(place)])
    })?;
    e.to_string().contains("missing field").then_some(object.len())
}

fn finding(written: &Value, place: &str, e: Error) -> Finding {
    let (what, why) = match e {
        Error::Config { why, .. } => (written.pointer(place), why),
        Error::Unsupported { why, .. } if !place.is_empty() => {
            (written.pointer(place), format!("not supported: {why}"))
        }
        other => (None, other.to_string()),
    };
    let what = if place.is_empty() { String::new() } else { shown(what.unwrap_or(&Value::Null)) };
    Finding { pointer: place.to_owned(), what, why, remedy: String::new() }
}

impl Repaired {
    /// A pointer into what is left, as one into what was written.
    pub fn written(&self, pointer: &str) -> String {
        let mut out = String::new();
        for part in pointer.split('/').skip(1) {
            let mut at = part.parse::<usize>().ok();
            if let Some(at) = &mut at {
                let mut gone: Vec<usize> =
                    self.gone.iter().filter(|(array, _)| *array == out).map(|(_, n)| *n).collect();
                gone.sort_unstable();
                for n in gone {
                    *at += usize::from(n <= *at);
                }
            }
            out.push('/');
            out.push_str(&at.map_or_else(|| part.to_owned(), |at| at.to_string()));
        }
        out
    }

    /// Makes a rule hold; `level` is how often that was tried there before.
    fn repair(&mut self, pointer: &str, level: usize) -> bool {
        if let Some(value) = passing(pointer) {
            return level == 0 && self.put(pointer, value);
        }
        let mut pointer = pointer;
        for _ in 0..level {
            pointer = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
        // Nothing there to take out: the next try is one level up.
        !pointer.is_empty() && (self.remove(pointer) || level < 8)
    }

    fn put(&mut self, pointer: &str, value: Value) -> bool {
        let Some((parent, key)) = pointer.rsplit_once('/') else { return false };
        match self.document.pointer_mut(parent) {
            Some(Value::Object(map)) => {
                match (map.get_mut(key), value) {
                    (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
                    (_, value) => drop(map.insert(key.to_owned(), value)),
                }
                true
            }
            _ => false,
        }
    }

    fn remove(&mut self, pointer: &str) -> bool {
        let Some((parent, key)) = pointer.rsplit_once('/') else { return false };
        let place = self.written(pointer);
        match self.document.pointer_mut(parent) {
            Some(Value::Object(map)) => {
                map.remove(&key.replace("~1", "/").replace("~0", "~")).is_some()
            }
            Some(Value::Array(list)) => match key.parse::<usize>() {
                Ok(at) if at < list.len() => {
                    list.remove(at);
                    if let Some((array, at)) = place.rsplit_once('/') {
                        self.gone.push((array.to_owned(), at.parse().unwrap_or_default()));
                    }
                    true
                }
                _ => false,
            },
            _ => false,
        }
    }
}

/// What stands in for a value that can't be missing, so that the rest can be judged.
fn passing(pointer: &str) -> Option<Value> {
    Some(match pointer {
        "/ociVersion" => json!("1.0.0"),
        "/process" => json!({"cwd": "/", "args": ["sh"]}),
        "/process/args" => json!(["sh"]),
        "/process/cwd" => json!("/"),
        "/root" => json!({"path": "rootfs"}),
        "/root/path" => json!("rootfs"),
        // What is asked for needs one.
        "/linux/namespaces" => json!([{"type": "mount"}]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Refuses what is negative, by its pointer, and an object without `must`.
    fn judge(text: &str) -> Result<()> {
        fn walk(value: &Value, at: &str) -> Result<()> {
            match value {
                Value::Number(n) if n.as_i64().is_some_and(|n| n < 0) => {
                    Err(Error::config(at, "is negative"))
                }
                Value::Array(list) => list
                    .iter()
                    .enumerate()
                    .try_for_each(|(n, item)| walk(item, &format!("{at}/{n}"))),
                Value::Object(map) if map.get("must").is_some_and(Value::is_null) => {
                    Err(Error::config(format!("{at}/must"), "must be set"))
                }
                Value::Object(map) => {
                    if at.starts_with("/list/") && !map.contains_key("must") {
                        return Err(Error::config(format!("{at}/must"), "must be set"));
                    }
                    map.iter().try_for_each(|(key, item)| walk(item, &format!("{at}/{key}")))
                }
                _ => Ok(()),
            }
        }
        walk(&serde_json::from_str(text).unwrap(), "")
    }

    fn pointers(value: Value) -> Vec<String> {
        let mut problems = Vec::new();
        every(&value.to_string(), &mut problems, judge);
        problems.into_iter().map(|finding| finding.pointer).collect()
    }

    #[test]
    fn every_problem_is_named_once_and_where_it_was_written() {
        let found = pointers(json!({"a": [1, -1, 2, -2, -3, {"x": -4}], "b": -5}));
        assert_eq!(found, ["/a/1", "/a/3", "/a/4", "/a/5/x", "/b"]);
        let list = json!({"list": [{"must": 1}, {}, {"must": -1}, {"must": 2, "y": -1}]});
        assert_eq!(pointers(list), ["/list/1/must", "/list/2/must", "/list/3/y"]);
        assert_eq!(pointers(json!({"a": [0], "b": {"c": 1}})), [""; 0]);
        // What is left of the list is counted anew: 10 becomes 9, in one digit less.
        let list: Vec<Value> = (0..12).map(|n| json!([n, -(n % 2), [-n]])).collect();
        let found = pointers(json!({"a": list}));
        assert_eq!(found.len(), 6 + 11, "{found:?}");
        assert!(found.contains(&"/a/11/1".to_owned()) && found.contains(&"/a/11/2/0".to_owned()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// Every value of a real config in turn is something else: nothing panics, and what is
        /// found is there, or is what its parent lacks.
        #[test]
        fn whatever_is_wrong_with_a_config_is_found_and_nothing_panics(
            wrong in proptest::collection::vec((any::<proptest::sample::Index>(), 0..6_usize), 1..6),
        ) {
            let mut config: Value = serde_json::from_str(&crate::command::spec::text(false)).unwrap();
            for (at, kind) in wrong {
                let all = places(&config, "");
                let value = [json!(null), json!(-1), json!("/x y"), json!([]), json!({}), json!([{}])];
                *config.pointer_mut(&all[at.index(all.len())]).unwrap() = value[kind].clone();
            }
            let mut problems = Vec::new();
            let text = config.to_string();
            every(&text, &mut problems, |text| {
                let spec = crate::validate::parse(text)?;
                crate::validate::container(spec, "/b").map(drop)
            });
            for finding in &problems {
                let parent = finding.pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
                prop_assert!(config.pointer(parent).is_some(), "{finding} in {text}");
            }
            let mut told: Vec<&str> = problems.iter().map(|f| f.pointer.as_str()).collect();
            told.sort_unstable();
            told.dedup();
            prop_assert_eq!(told.len(), problems.len());
        }
    }

    fn places(value: &Value, at: &str) -> Vec<String> {
        let below: Vec<(String, &Value)> = match value {
            Value::Object(map) => map.iter().map(|(key, v)| (key.clone(), v)).collect(),
            Value::Array(list) => {
                list.iter().enumerate().map(|(n, v)| (n.to_string(), v)).collect()
            }
            _ => Vec::new(),
        };
        let below = below.into_iter().flat_map(|(key, v)| {
            let place = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            std::iter::once(place.clone()).chain(places(v, &place)).collect::<Vec<_>>()
        });
        below.collect()
    }
}
