//! The functions: Go's own and docker's.

use std::cmp::Ordering;
use std::fmt::Write;

use serde_json::Value;

const NAMES: [&str; 23] = [
    "json", "join", "upper", "lower", "title", "println", "print", "printf", "index", "len",
    "slice", "split", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "pad", "truncate",
];

/// Widest a number in a format or `pad` may make a text.
const WIDEST: usize = 4096;

/// Whether there is such a function.
pub fn known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls it.
pub fn call(name: &str, args: Vec<Value>) -> Result<Value, String> {
    let wrong = || Err(format!("wrong number of args for {name}: got {}", args.len()));
    match (name, args.as_slice()) {
        ("json", [v]) => Ok(Value::String(visible(v).to_string())),
        ("upper", [v]) => Ok(Value::String(word(name, v)?.to_uppercase())),
        ("lower", [v]) => Ok(Value::String(word(name, v)?.to_lowercase())),
        ("title", [v]) => Ok(Value::String(title(word(name, v)?))),
        ("join", [Value::Array(list), by]) => {
            let parts: Vec<String> = list.iter().map(text).collect();
            Ok(Value::String(parts.join(word(name, by)?)))
        }
        ("join", [Value::Null, _]) => Ok(Value::String(String::new())),
        ("join", [_, _]) => Err("join takes a list and a text".into()),
        ("split", [v, by]) => {
            let parts = word(name, v)?.split(word(name, by)?);
            Ok(Value::Array(parts.map(Value::from).collect()))
        }
        ("println", _) => Ok(Value::String(print(&args, true) + "\n")),
        ("print", _) => Ok(Value::String(print(&args, false))),
        ("printf", [format, rest @ ..]) => printf(word(name, format)?, rest).map(Value::String),
        ("index", [value, keys @ ..]) => index(value, keys),
        ("len", [v]) => length(v).map(Value::from),
        ("slice", [v, ends @ ..]) if ends.len() <= 2 => slice(v, ends),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => {
            Ok(Value::Bool(rest.iter().any(|v| same(first, v))))
        }
        ("ne", [a, b]) => Ok(Value::Bool(!same(a, b))),
        ("lt", [a, b]) => compare(a, b).map(|o| Value::Bool(o == Ordering::Less)),
        ("le", [a, b]) => compare(a, b).map(|o| Value::Bool(o != Ordering::Greater)),
        ("gt", [a, b]) => compare(a, b).map(|o| Value::Bool(o == Ordering::Greater)),
        ("ge", [a, b]) => compare(a, b).map(|o| Value::Bool(o != Ordering::Less)),
        ("not", [v]) => Ok(Value::Bool(!truth(v))),
        ("and", [_, ..]) => Ok(pick(args, |v| !truth(v))),
        ("or", [_, ..]) => Ok(pick(args, truth)),
        ("pad", [v, before, after]) => {
            let spaces = |v: &Value| " ".repeat(number(v).unwrap_or(0).min(WIDEST));
            let inner = word(name, v)?;
            if inner.is_empty() {
                return Ok(Value::String(String::new()));
            }
            Ok(Value::String(spaces(before) + inner + &spaces(after)))
        }
        ("truncate", [v, length]) => {
            let length = number(length).ok_or("truncate takes a text and a length")?;
            Ok(Value::String(word(name, v)?.chars().take(length).collect()))
        }
        _ => wrong(),
    }
}

/// The first that fits, else the last.
fn pick(args: Vec<Value>, fits: impl Fn(&Value) -> bool) -> Value {
    let at = args.iter().position(fits).unwrap_or(args.len() - 1);
    args.into_iter().nth(at).unwrap_or_default()
}

/// `.Label "key"` of a row.
pub fn label(row: &Value, args: &[Value]) -> Result<Value, String> {
    match args {
        [Value::String(key)] => Ok(row["__labels"].get(key).cloned().unwrap_or_else(|| "".into())),
        _ => Err("Label takes one text".into()),
    }
}

/// Without what rows keep for themselves.
fn visible(value: &Value) -> Value {
    match value {
        Value::Object(map) if map.keys().any(|k| k.starts_with("__")) => {
            let shown = map.iter().filter(|(k, _)| !k.starts_with("__"));
            Value::Object(shown.map(|(k, v)| (k.clone(), v.clone())).collect())
        }
        other => other.clone(),
    }
}

/// Go's `%v`.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => s.clone(),
        Value::Array(list) => {
            let parts: Vec<String> = list.iter().map(text).collect();
            format!("[{}]", parts.join(" "))
        }
        Value::Object(map) => {
            let shown = map.iter().filter(|(k, _)| !k.starts_with("__"));
            let parts: Vec<String> = shown.map(|(k, v)| format!("{k}:{}", text(v))).collect();
            format!("map[{}]", parts.join(" "))
        }
    }
}

/// Go's truth: not empty, not zero.
pub fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

fn word<'a>(function: &str, value: &'a Value) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| format!("{function} takes a text, not {}", text(value)))
}

fn number(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|n| usize::try_from(n).ok())
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
        start = c.is_whitespace();
    }
    out
}

fn print(args: &[Value], spaced: bool) -> String {
    let mut out = String::new();
    for (i, arg) in args.iter().enumerate() {
        let words = i > 0 && (arg.is_string() || args[i - 1].is_string());
        if i > 0 && (spaced || !words) {
            out.push(' ');
        }
        out.push_str(&text(arg));
    }
    out
}

fn index(value: &Value, keys: &[Value]) -> Result<Value, String> {
    let mut at = value;
    for key in keys {
        at = match (at, key) {
            (Value::Array(list), key) => number(key)
                .and_then(|i| list.get(i))
                .ok_or_else(|| format!("index out of range: {}", text(key)))?,
            (Value::Object(map), Value::String(key)) => map.get(key).unwrap_or(&Value::Null),
            _ => return Err(format!("can't index {} with {}", text(at), text(key))),
        };
    }
    Ok(at.clone())
}

fn length(value: &Value) -> Result<usize, String> {
    match value {
        Value::String(s) => Ok(s.len()),
        Value::Array(list) => Ok(list.len()),
        Value::Object(map) => Ok(map.len()),
        Value::Null => Ok(0),
        other => Err(format!("len of {}", text(other))),
    }
}

fn slice(value: &Value, ends: &[Value]) -> Result<Value, String> {
    let size = length(value)?;
    let from = ends.first().map_or(Some(0), number);
    let to = ends.get(1).map_or(Some(size), number);
    let (Some(from), Some(to)) = (from, to) else { return Err("slice takes numbers".into()) };
    if from > to || to > size {
        return Err(format!("slice {from}:{to} is out of range of {size}"));
    }
    match value {
        Value::String(s) => {
            s.get(from..to).map(Value::from).ok_or_else(|| "slice cuts a character".to_owned())
        }
        Value::Array(list) => Ok(Value::Array(list[from..to].to_vec())),
        other => Err(format!("can't slice {}", text(other))),
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn compare(a: &Value, b: &Value) -> Result<Ordering, String> {
    let order = match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b))
        }
        _ => None,
    };
    order.ok_or_else(|| format!("incompatible types for comparison: {} and {}", text(a), text(b)))
}

/// `%s %v %d %q %t %x %f %%` with `-`, `0`, width and precision.
fn printf(format: &str, args: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    let mut args = args.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut flags = String::new();
        while let Some(f) = chars.next_if(|c| "-+# 0".contains(*c)) {
            flags.push(f);
        }
        let mut digits = || {
            let mut text = String::new();
            while let Some(d) = chars.next_if(char::is_ascii_digit) {
                text.push(d);
            }
            text
        };
        let width = digits();
        let precision = if chars.next_if_eq(&'.').is_some() {
            let mut text = String::new();
            while let Some(d) = chars.next_if(char::is_ascii_digit) {
                text.push(d);
            }
            Some(text.parse::<usize>().unwrap_or(0).min(WIDEST))
        } else {
            None
        };
        let width = width.parse::<usize>().unwrap_or(0).min(WIDEST);
        let Some(verb) = chars.next() else { return Ok(out + "%!(NOVERB)") };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(arg) = args.next() else {
            let _ = write!(out, "%!{verb}(MISSING)");
            continue;
        };
        let text = formatted(verb, precision, arg)?;
        let _ = if flags.contains('-') {
            write!(out, "{text:<width$}")
        } else if flags.contains('0') && arg.is_number() {
            write!(out, "{text:0>width$}")
        } else {
            write!(out, "{text:>width$}")
        };
    }
    Ok(out)
}

fn formatted(verb: char, precision: Option<usize>, arg: &Value) -> Result<String, String> {
    Ok(match verb {
        's' | 'v' => match precision {
            Some(n) if verb == 's' => text(arg).chars().take(n).collect(),
            _ => text(arg),
        },
        'q' => Value::String(text(arg)).to_string(),
        'd' | 't' => text(arg),
        'f' => {
            let number = arg.as_f64().ok_or_else(|| format!("%f of {}", text(arg)))?;
            format!("{number:.*}", precision.unwrap_or(6))
        }
        'x' => match arg {
            Value::String(s) => s.bytes().fold(String::new(), |mut hex, b| {
                let _ = write!(hex, "{b:02x}");
                hex
            }),
            other => format!("{:x}", other.as_i64().unwrap_or_default()),
        },
        other => return Err(format!("printf: %{other} is not supported")),
    })
}
