//! JSON's keys and types, without its values.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;

/// In what the shapes differ, but for the paths that may: empty if in nothing.
pub fn unlike(theirs: &str, ours: &str, lacks: &[String], adds: &[String]) -> String {
    let (theirs, ours) = (paths(theirs), paths(ours));
    let mut text = String::new();
    let mut tell = |from: &BTreeSet<String>, to: &BTreeSet<String>, known: &[String], who: &str| {
        let missing: Vec<&String> = from.difference(to).collect();
        for path in missing.iter().filter(|p| !known.iter().any(|k| covers(k, p))) {
            let _ = writeln!(text, "only {who}: {path}");
        }
        for k in known.iter().filter(|k| !missing.iter().any(|p| covers(k, p))) {
            let _ = writeln!(text, "no longer so: only {who}: {k}");
        }
    };
    tell(&theirs, &ours, lacks, "docker");
    tell(&ours, &theirs, adds, "dhow");
    text
}

/// A path stands for all below it.
fn covers(known: &str, path: &str) -> bool {
    path.strip_prefix(known)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', ':']))
}

fn paths(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        match value {
            Ok(value) => walk(&value, "", &mut found),
            Err(e) => {
                found.insert(format!("no JSON: {e}"));
            }
        }
    }
    found
}

fn walk(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    found.insert(format!("{at}: {kind}"));
    match value {
        Value::Array(all) => all.iter().for_each(|v| walk(v, &format!("{at}[]"), found)),
        Value::Object(all) => all.iter().for_each(|(k, v)| walk(v, &format!("{at}.{k}"), found)),
        _ => {}
    }
}
