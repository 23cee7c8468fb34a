//! The functions: Go's own and docker's.

use std::cmp::Ordering;
use std::fmt::Write;

use crate::data::Data;
use crate::format;

const NAMES: [&str; 26] = [
    "json", "join", "upper", "lower", "title", "println", "print", "printf", "index", "len",
    "slice", "split", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "pad", "truncate",
    "html", "js", "urlquery",
];

/// Widest `pad` may make a text.
const WIDEST: usize = 4096;

/// Whether there is such a function.
pub fn known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// For `and` and `or`: the truth of the argument that decides.
pub fn stops_at(name: &str) -> Option<bool> {
    match name {
        "and" => Some(false),
        "or" => Some(true),
        _ => None,
    }
}

/// Calls it.
pub fn call(name: &str, args: Vec<Data>, headings: bool) -> Result<Data, String> {
    if headings && let Some(same) = of_heading(name, &args) {
        return Ok(same);
    }
    let told = |e: String| format!("error calling {name}: {e}");
    match name {
        "json" | "join" | "upper" | "lower" | "title" | "split" | "pad" | "truncate" => {
            dockers(name, &args)
        }
        "html" | "js" | "urlquery" => Ok(Data::Text(escaped(name, &format::print(&args, false)))),
        "println" => Ok(Data::Text(format::print(&args, true) + "\n")),
        "print" => Ok(Data::Text(format::print(&args, false))),
        "printf" => match args.split_first() {
            Some((Data::Text(text), rest)) => Ok(Data::Text(format::printf(text, rest))),
            Some(_) => Err("expected string as the format of printf".into()),
            None => wrong(name, 0),
        },
        "index" => match args.split_first() {
            Some((value, keys)) => index(value, keys).map_err(told),
            None => wrong(name, 0),
        },
        "slice" => match args.split_first() {
            Some((value, ends)) => slice(value, ends).map_err(told),
            None => wrong(name, 0),
        },
        "len" => match args.as_slice() {
            [value] => length(value).map(|n| Data::Int(n as i64)).map_err(told),
            _ => wrong(name, args.len()),
        },
        "not" => match args.as_slice() {
            [value] => Ok(Data::Bool(!value.truth())),
            _ => wrong(name, args.len()),
        },
        _ => comparison(name, &args).map_err(told),
    }
}

fn wrong<T>(name: &str, got: usize) -> Result<T, String> {
    Err(format!("wrong number of args for {name}: got {got}"))
}

/// docker's functions leave a column's heading as it is.
fn of_heading(name: &str, args: &[Data]) -> Option<Data> {
    match (name, args.first()?) {
        ("json" | "join" | "split" | "upper" | "lower" | "title" | "pad" | "truncate", text) => {
            Some(text.clone())
        }
        _ => None,
    }
}

fn dockers(name: &str, args: &[Data]) -> Result<Data, String> {
    let text = match (name, args) {
        ("json", [v]) => v.json(),
        ("upper", [v]) => word(name, v)?.to_uppercase(),
        ("lower", [v]) => word(name, v)?.to_lowercase(),
        ("title", [v]) => title(word(name, v)?),
        ("join", [Data::List(list, _), by]) => {
            let parts: Result<Vec<&str>, String> = list.iter().map(|v| word(name, v)).collect();
            parts?.join(word(name, by)?)
        }
        ("join", [v, _]) => {
            return Err(format!("wrong type for value; expected []string; got {}", v.kind()));
        }
        ("split", [v, by]) => {
            let (text, by) = (word(name, v)?, word(name, by)?);
            let parts: Vec<Data> = if by.is_empty() {
                text.chars().map(|c| Data::Text(c.to_string())).collect()
            } else {
                text.split(by).map(|part| Data::Text(part.to_owned())).collect()
            };
            return Ok(Data::List(parts, false));
        }
        ("pad", [v, before, after]) => {
            let inner = word(name, v)?;
            let spaces = |v: &Data| " ".repeat(count(v).unwrap_or(0).min(WIDEST));
            if inner.is_empty() { String::new() } else { spaces(before) + inner + &spaces(after) }
        }
        ("truncate", [v, length]) => {
            let text = word(name, v)?;
            let length = count(length).ok_or("truncate takes a text and a length")?;
            // docker counts bytes; a character is never cut in two here.
            let end = (0..=length.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
            text[..end.unwrap_or(0)].to_owned()
        }
        _ => return wrong(name, args.len()),
    };
    Ok(Data::Text(text))
}

/// `.Label "key"` of a row; of headings, the key's last part.
pub fn label(row: &Data, args: &[Data], headings: bool) -> Result<Data, String> {
    let [Data::Text(key)] = args else { return Err("Label takes one text".into()) };
    if headings {
        let last = key.rsplit('.').next().unwrap_or_default();
        return Ok(Data::Text(last.replace(['-', '_'], " ")));
    }
    let found = match row {
        Data::Struct(fields) => fields.iter().find(|f| f.name == "__labels"),
        _ => None,
    };
    match found.map(|f| &f.value) {
        Some(Data::Map(labels, _)) => {
            Ok(labels.get(key).cloned().unwrap_or_else(|| Data::Text(String::new())))
        }
        _ => Err("can't evaluate field Label".into()),
    }
}

fn word<'a>(function: &str, value: &'a Data) -> Result<&'a str, String> {
    match value {
        Data::Text(text) => Ok(text),
        other => {
            Err(format!("{function}: wrong type for value; expected string; got {}", other.kind()))
        }
    }
}

fn count(value: &Data) -> Option<usize> {
    match value {
        Data::Int(n) => usize::try_from(*n).ok(),
        _ => None,
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if start {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        // Go's strings.Title: letters, digits and underscores go on with a word.
        start = !c.is_alphanumeric() && c != '_' && (c.is_ascii() || c.is_whitespace());
    }
    out
}

fn index(value: &Data, keys: &[Data]) -> Result<Data, String> {
    let mut at = value.clone();
    for key in keys {
        at = match (&at, key) {
            (Data::List(list, _), key) => of_list(list, key)?.clone(),
            (Data::Text(text), key) => {
                let bytes: Vec<Data> = text.bytes().map(|b| Data::Int(b.into())).collect();
                of_list(&bytes, key)?.clone()
            }
            (Data::Map(map, _), Data::Text(key)) => {
                map.get(key).cloned().unwrap_or_else(|| empty(map))
            }
            // What is known to be a struct here may be a map to docker.
            (Data::Struct(_), Data::Text(name)) => at.field(name)?,
            (Data::Nil | Data::NoValue, _) => return Err("index of untyped nil".into()),
            (other, _) => return Err(format!("can't index item of type {}", other.kind())),
        };
    }
    Ok(at)
}

/// What a map gives for a key it hasn't: its values' empty one.
fn empty(map: &std::collections::BTreeMap<String, Data>) -> Data {
    match map.values().next() {
        None | Some(Data::Text(_)) => Data::Text(String::new()),
        Some(Data::List(..)) => Data::List(Vec::new(), true),
        Some(_) => Data::Nil,
    }
}

fn of_list<'a>(list: &'a [Data], key: &Data) -> Result<&'a Data, String> {
    match key {
        Data::Int(n) => {
            let found = usize::try_from(*n).ok().and_then(|n| list.get(n));
            found.ok_or_else(|| format!("index out of range: {n}"))
        }
        Data::Nil => Err("cannot index slice/array with nil".into()),
        other => Err(format!("cannot index slice/array with type {}", other.kind())),
    }
}

fn length(value: &Data) -> Result<usize, String> {
    match value {
        Data::Text(s) => Ok(s.len()),
        Data::List(list, _) => Ok(list.len()),
        Data::Map(map, _) => Ok(map.len()),
        Data::Nil | Data::NoValue => Err("len of nil pointer".into()),
        other => Err(format!("len of type {}", other.kind())),
    }
}

fn slice(value: &Data, ends: &[Data]) -> Result<Data, String> {
    let size = match value {
        Data::Text(_) if ends.len() > 2 => return Err("cannot 3-index slice a string".into()),
        Data::Text(_) | Data::List(..) if ends.len() <= 3 => length(value)?,
        Data::Text(_) | Data::List(..) => {
            return Err(format!("too many slice indexes: {}", ends.len()));
        }
        other => return Err(format!("can't slice item of type {}", other.kind())),
    };
    let end = |at: usize, unset: usize| match ends.get(at) {
        None => Ok(unset),
        Some(Data::Int(n)) => {
            let n = usize::try_from(*n).ok().filter(|n| *n <= size);
            n.ok_or_else(|| format!("index out of range: {}", ends[at].text()))
        }
        Some(other) => Err(format!("cannot index slice/array with type {}", other.kind())),
    };
    let (from, to) = (end(0, 0)?, end(1, size)?);
    end(2, size)?;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match value {
        Data::List(list, _) => Data::List(list[from..to].to_vec(), false),
        Data::Text(s) => Data::Text(String::from_utf8_lossy(&s.as_bytes()[from..to]).into_owned()),
        _ => Data::Nil,
    })
}

fn comparison(name: &str, args: &[Data]) -> Result<Data, String> {
    let yes = match (name, args) {
        ("eq", [_]) => return Err("missing argument for comparison".into()),
        ("eq", [first, rest @ ..]) => {
            let mut any = false;
            for other in rest {
                any = any || same(first, other)?;
            }
            any
        }
        ("ne", [a, b]) => !same(a, b)?,
        ("lt", [a, b]) => order(a, b)?.is_lt(),
        ("le", [a, b]) => order(a, b)?.is_le(),
        ("gt", [a, b]) => order(a, b)?.is_gt(),
        ("ge", [a, b]) => order(a, b)?.is_ge(),
        _ => return wrong(name, args.len()),
    };
    Ok(Data::Bool(yes))
}

const INCOMPATIBLE: &str = "incompatible types for comparison";

fn same(a: &Data, b: &Data) -> Result<bool, String> {
    match (a, b) {
        (Data::Nil | Data::NoValue, b) => Ok(matches!(b, Data::Nil | Data::NoValue)),
        (_, Data::Nil | Data::NoValue) => Ok(false),
        (Data::Bool(a), Data::Bool(b)) => Ok(a == b),
        (Data::Text(a), Data::Text(b)) => Ok(a == b),
        (Data::List(..) | Data::Map(..) | Data::Struct(_), _)
        | (_, Data::List(..) | Data::Map(..) | Data::Struct(_)) => {
            Err(format!("non-comparable type {}: {}", a.text(), a.kind()))
        }
        _ => order(a, b).map(Ordering::is_eq),
    }
}

fn order(a: &Data, b: &Data) -> Result<Ordering, String> {
    match (a, b) {
        (Data::Text(a), Data::Text(b)) => Ok(a.cmp(b)),
        (Data::Int(a) | Data::Duration(a), Data::Int(b) | Data::Duration(b)) => Ok(a.cmp(b)),
        (Data::Big(a), Data::Big(b)) => Ok(a.cmp(b)),
        (Data::Int(_), Data::Big(_)) => Ok(Ordering::Less),
        (Data::Big(_), Data::Int(_)) => Ok(Ordering::Greater),
        (Data::Float(a), Data::Float(b)) => a.partial_cmp(b).ok_or_else(|| INCOMPATIBLE.to_owned()),
        (Data::Bool(_), Data::Bool(_)) => Err("invalid type for comparison".into()),
        _ => Err(INCOMPATIBLE.into()),
    }
}

/// Go's HTMLEscapeString, JSEscapeString and url.QueryEscape.
fn escaped(name: &str, text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let mut bytes = [0; 4];
        match (name, c) {
            ("html", '\'') => out.push_str("&#39;"),
            ("html", '"') => out.push_str("&#34;"),
            ("html", '&') => out.push_str("&amp;"),
            ("html", '<') => out.push_str("&lt;"),
            ("html", '>') => out.push_str("&gt;"),
            ("js", '\\' | '\'' | '"') => {
                out.push('\\');
                out.push(c);
            }
            ("js", '<' | '>' | '&' | '=') => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            ("js", c) if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            ("urlquery", ' ') => out.push('+'),
            ("urlquery", c) if !c.is_ascii_alphanumeric() && !"-_.~".contains(c) => {
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(out, "%{byte:02X}");
                }
            }
            (_, c) => out.push(c),
        }
    }
    out
}
