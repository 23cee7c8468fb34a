//! Go's `fmt`: `printf` and `print`.

use std::fmt::Write;

use crate::data::Data;

/// Widest a number in a format may make a text.
const WIDEST: usize = 4096;

/// One `%…` as it was written.
#[derive(Debug, Default, Clone, Copy)]
struct Spec {
    plus: bool,
    minus: bool,
    sharp: bool,
    zero: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
    /// `%+v`: fields by name.
    named: bool,
    /// `%#v`: as Go would write it.
    go: bool,
}

/// `%v`
pub fn plain(value: &Data) -> String {
    match value {
        Data::NoValue => "<no value>".to_owned(),
        other => shown(other, 'v', Spec::default()),
    }
}

/// Go's Sprint (`spaced` false: a space only between two that are no texts) and Sprintln.
pub fn print(args: &[Data], spaced: bool) -> String {
    let mut out = String::new();
    for (i, arg) in args.iter().enumerate() {
        let texts = i > 0 && matches!((arg, &args[i - 1]), (Data::Text(_), _) | (_, Data::Text(_)));
        if i > 0 && (spaced || !texts) {
            out.push(' ');
        }
        out.push_str(&shown(arg, 'v', Spec::default()));
    }
    out
}

/// Arguments as the verbs take them.
struct Args<'a> {
    all: &'a [Data],
    next: usize,
    /// An explicit `[n]` was used.
    reordered: bool,
}

/// Go's Sprintf.
pub fn printf(format: &str, args: &[Data]) -> String {
    let mut out = String::new();
    let mut args = Args { all: args, next: 0, reordered: false };
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = one(&rest[at + 1..], &mut args, &mut out);
    }
    out.push_str(rest);
    if !args.reordered && args.next < args.all.len() {
        let extra = args.all[args.next..].iter().map(|a| match a {
            Data::Nil | Data::NoValue => "<nil>".to_owned(),
            a => format!("{}={}", a.kind(), shown(a, 'v', Spec::default())),
        });
        let _ = write!(out, "%!(EXTRA {})", extra.collect::<Vec<_>>().join(", "));
    }
    out
}

/// What follows a `%`; returns what follows that.
fn one<'a>(text: &'a str, args: &mut Args, out: &mut String) -> &'a str {
    let mut rest = text;
    let mut spec = Spec::default();
    while let Some(flag) = rest.chars().next().filter(|c| "+-# 0".contains(*c)) {
        match flag {
            '+' => spec.plus = true,
            '-' => spec.minus = true,
            '#' => spec.sharp = true,
            '0' => spec.zero = true,
            _ => spec.space = true,
        }
        rest = &rest[1..];
    }
    let mut good = true;
    rest = args.index(rest, &mut good);
    let (width, tail) = args.number(rest, out, "%!(BADWIDTH)");
    rest = tail;
    if let Some(width) = width {
        spec.minus |= width < 0;
        spec.width = Some((width.unsigned_abs() as usize).min(WIDEST));
    }
    if let Some(tail) = rest.strip_prefix('.') {
        let tail = args.index(tail, &mut good);
        let (precision, tail) = args.number(tail, out, "%!(BADPREC)");
        rest = tail;
        spec.precision = Some(precision.map_or(0, |n| (n.max(0) as usize).min(WIDEST)));
    }
    rest = args.index(rest, &mut good);
    let Some(verb) = rest.chars().next() else {
        out.push_str("%!(NOVERB)");
        return rest;
    };
    rest = &rest[verb.len_utf8()..];
    if verb == 'v' {
        // These mean the whole value, and nothing to the numbers in it.
        (spec.named, spec.go) = (spec.plus, spec.sharp);
        (spec.plus, spec.sharp) = (false, false);
    }
    if verb == '%' {
        out.push('%');
    } else if !good {
        let _ = write!(out, "%!{verb}(BADINDEX)");
    } else if let Some(arg) = args.all.get(args.next) {
        args.next += 1;
        out.push_str(&shown(arg, verb, spec));
    } else {
        let _ = write!(out, "%!{verb}(MISSING)");
    }
    rest
}

impl Args<'_> {
    /// `[n]`, if it stands there.
    fn index<'a>(&mut self, text: &'a str, good: &mut bool) -> &'a str {
        let Some(inner) = text.strip_prefix('[') else { return text };
        self.reordered = true;
        let Some((number, rest)) = inner.split_once(']') else {
            *good = false;
            return inner;
        };
        match number.parse::<usize>() {
            Ok(n) if n >= 1 && n <= self.all.len() => self.next = n - 1,
            _ => *good = false,
        }
        rest
    }

    /// Digits, or `*` and an argument.
    fn number<'a>(&mut self, text: &'a str, out: &mut String, bad: &str) -> (Option<i64>, &'a str) {
        if let Some(rest) = text.strip_prefix('*') {
            let value = self.all.get(self.next);
            self.next += 1;
            let Some(Data::Int(n)) = value else {
                out.push_str(bad);
                return (None, rest);
            };
            return (Some(*n), rest);
        }
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, rest) = text.split_at(end);
        (if end == 0 { None } else { Some(digits.parse().unwrap_or(WIDEST as i64)) }, rest)
    }
}

fn shown(value: &Data, verb: char, spec: Spec) -> String {
    if verb == 'T' {
        return pad(value.kind().to_owned(), Spec { zero: false, ..spec });
    }
    let text = match value {
        Data::NoValue | Data::Nil if verb == 'v' => Some("<nil>".to_owned()),
        Data::NoValue | Data::Nil => return format!("%!{verb}(<nil>)"),
        Data::Bool(b) if matches!(verb, 't' | 'v') => Some(b.to_string()),
        Data::Bool(_) => None,
        Data::Duration(n) if matches!(verb, 'v' | 's') => Some(duration(*n)),
        Data::Int(n) | Data::Duration(n) => {
            return number(verb, *n < 0, n.unsigned_abs(), spec, value);
        }
        Data::Big(n) => return number(verb, false, *n, spec, value),
        Data::Float(n) => float(verb, *n, spec),
        Data::Text(s) => words(verb, s, spec),
        Data::List(..) | Data::Map(..) | Data::Struct(_) => return nested(value, verb, spec),
    };
    match text {
        Some(text) => pad(text, spec),
        None => unfit(verb, value),
    }
}

/// `%!d(string=hi)`
fn unfit(verb: char, value: &Data) -> String {
    format!("%!{verb}({}={})", value.kind(), shown(value, 'v', Spec::default()))
}

fn pad(text: String, spec: Spec) -> String {
    let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
    let fill = " ".repeat(missing);
    if spec.minus {
        return text + &fill;
    }
    if spec.zero {
        let sign = usize::from(text.starts_with(['-', '+']));
        return format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..]);
    }
    fill + &text
}

fn nested(value: &Data, verb: char, spec: Spec) -> String {
    let inner = |v: &Data| shown(v, verb, spec);
    let go = spec.go;
    let comma = if go { ", " } else { " " };
    match value {
        Data::List(list, _) => {
            let parts: Vec<String> = list.iter().map(inner).collect();
            if go {
                format!("{}{{{}}}", value.kind(), parts.join(comma))
            } else {
                format!("[{}]", parts.join(comma))
            }
        }
        Data::Map(map, _) => {
            let part = |(k, v): (&String, &Data)| {
                format!("{}:{}", shown(&Data::Text(k.clone()), verb, spec), inner(v))
            };
            let parts: Vec<String> = map.iter().map(part).collect();
            if go {
                format!("{}{{{}}}", value.kind(), parts.join(comma))
            } else {
                format!("map[{}]", parts.join(comma))
            }
        }
        Data::Struct(fields) => {
            let named = spec.named || go;
            let shown = fields.iter().filter(|f| !f.name.starts_with("__"));
            let part = |f: &crate::data::Field| {
                if named { format!("{}:{}", f.name, inner(&f.value)) } else { inner(&f.value) }
            };
            format!("{{{}}}", shown.map(part).collect::<Vec<_>>().join(comma))
        }
        _ => String::new(),
    }
}

fn number(verb: char, negative: bool, n: u64, spec: Spec, value: &Data) -> String {
    let alone = |text: String| pad(text, Spec { zero: false, ..spec });
    let (digits, prefix) = match verb {
        'd' | 'v' => (n.to_string(), ""),
        'b' => (format!("{n:b}"), if spec.sharp { "0b" } else { "" }),
        'o' => (format!("{n:o}"), if spec.sharp { "0" } else { "" }),
        'O' => (format!("{n:o}"), "0o"),
        'x' => (format!("{n:x}"), if spec.sharp { "0x" } else { "" }),
        'X' => (format!("{n:X}"), if spec.sharp { "0X" } else { "" }),
        'c' | 'q' => {
            let c = u32::try_from(n).ok().filter(|_| !negative).and_then(char::from_u32);
            let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
            return alone(if verb == 'c' { c.to_string() } else { quoted(&c.to_string(), '\'') });
        }
        'U' => return alone(format!("U+{n:04X}")),
        _ => return unfit(verb, value),
    };
    let sign = match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    let least = match (spec.precision, spec.width) {
        (Some(precision), _) => precision,
        (None, Some(width)) if spec.zero && !spec.minus => {
            width.saturating_sub(sign.len() + if prefix == "0" { 0 } else { prefix.len() })
        }
        _ => 0,
    };
    let zeros = "0".repeat(least.saturating_sub(digits.len()));
    alone(format!("{sign}{prefix}{zeros}{digits}"))
}

fn float(verb: char, n: f64, spec: Spec) -> Option<String> {
    let sign = match (n.is_sign_negative(), spec.plus, spec.space) {
        (false, true, _) => "+",
        (false, _, true) => " ",
        _ => "",
    };
    let text = match verb {
        'f' | 'F' => format!("{n:.*}", spec.precision.unwrap_or(6)),
        'e' => exponent(&format!("{n:.*e}", spec.precision.unwrap_or(6))),
        'E' => exponent(&format!("{n:.*e}", spec.precision.unwrap_or(6))).to_uppercase(),
        'g' | 'G' | 'v' => general(verb, n, spec.precision),
        _ => return None,
    };
    Some(format!("{sign}{text}"))
}

/// `%g`: the shortest, or so many digits; very large and small ones with an exponent.
fn general(verb: char, n: f64, precision: Option<usize>) -> String {
    let scientific = match precision {
        Some(digits) => format!("{n:.*e}", digits.max(1) - 1),
        None => format!("{n:e}"),
    };
    let (digits, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    // Go's limit is the precision; 21 for the shortest.
    let limit = precision.map_or(21, |p| p.max(1) as i32);
    let text = if power < -4 || power >= limit {
        let trimmed = if digits.contains('.') {
            digits.trim_end_matches('0').trim_end_matches('.')
        } else {
            digits
        };
        exponent(&format!("{trimmed}e{power}"))
    } else {
        let decimals = precision.map(|p| (p.max(1) as i32 - 1 - power).max(0) as usize);
        let text = decimals.map_or_else(|| format!("{n}"), |d| format!("{n:.d$}"));
        if precision.is_some() && text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        }
    };
    if verb == 'G' { text.to_uppercase() } else { text }
}

/// Rust's `1e3` as Go's `1e+03`.
fn exponent(text: &str) -> String {
    let Some((digits, power)) = text.split_once('e') else { return text.to_owned() };
    let (sign, power) = power.strip_prefix('-').map_or(("+", power), |p| ("-", p));
    format!("{digits}e{sign}{power:0>2}")
}

fn words(verb: char, text: &str, spec: Spec) -> Option<String> {
    let cut = |text: &str| match spec.precision {
        Some(n) => text.chars().take(n).collect(),
        None => text.to_owned(),
    };
    Some(match verb {
        'v' if spec.go => quoted(text, '"'),
        's' | 'v' => cut(text),
        'q' if spec.sharp && !text.contains('`') => format!("`{}`", cut(text)),
        'q' if spec.plus => ascii(&quoted(&cut(text), '"')),
        'q' => quoted(&cut(text), '"'),
        'x' | 'X' => {
            let bytes = &text.as_bytes()[..spec.precision.unwrap_or(text.len()).min(text.len())];
            let hex = bytes
                .iter()
                .map(|b| if verb == 'x' { format!("{b:02x}") } else { format!("{b:02X}") });
            let prefix = match (spec.sharp, verb) {
                (true, 'x') => "0x",
                (true, _) => "0X",
                _ => "",
            };
            let hex: Vec<String> = hex.collect();
            match (spec.space, hex.is_empty()) {
                (_, true) => String::new(),
                (true, _) => format!("{prefix}{}", hex.join(&format!(" {prefix}"))),
                _ => format!("{prefix}{}", hex.concat()),
            }
        }
        _ => return None,
    })
}

/// Go's time.Duration, of nanoseconds: `1h0m5s`, `1.5s`, `20ms`.
pub fn duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let n = nanoseconds.unsigned_abs();
    let decimals = |n: u64, unit: u64, name: &str| {
        let fraction = format!("{:0width$}", n % unit, width = unit.ilog10() as usize);
        let fraction = fraction.trim_end_matches('0');
        let dot = if fraction.is_empty() { "" } else { "." };
        format!("{}{dot}{fraction}{name}", n / unit)
    };
    let text = match n {
        0 => "0s".to_owned(),
        1..1_000 => format!("{n}ns"),
        1_000..1_000_000 => decimals(n, 1_000, "µs"),
        1_000_000..1_000_000_000 => decimals(n, 1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (n / 60_000_000_000, n % 60_000_000_000);
            let seconds = decimals(rest, 1_000_000_000, "s");
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    sign.to_owned() + &text
}

/// `%+q`: nothing but ASCII.
fn ascii(text: &str) -> String {
    let escape = |c: char| match c as u32 {
        n if n < 0x80 => c.to_string(),
        n if n < 0x1_0000 => format!("\\u{n:04x}"),
        n => format!("\\U{n:08x}"),
    };
    text.chars().map(escape).collect()
}

/// Go's strconv.Quote.
pub fn quoted(text: &str, mark: char) -> String {
    let mut out = String::from(mark);
    for c in text.chars() {
        match c {
            c if c == mark || c == '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\x0b' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\x7f' => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{a0}' | '\u{ad}' | '\u{feff}') =>
            {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push(mark);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Data {
        Data::Text(s.to_owned())
    }

    #[test]
    fn durations_as_go_prints_them() {
        for (n, want) in [
            (0, "0s"),
            (1_500, "1.5µs"),
            (20_000_000, "20ms"),
            (1_500_000_000, "1.5s"),
            (30_000_000_000, "30s"),
            (3_605_000_000_000, "1h0m5s"),
            (-60_000_000_000, "-1m0s"),
        ] {
            assert_eq!(plain(&Data::Duration(n)), want);
        }
    }

    /// Each as Go 1.24 printed it.
    #[test]
    fn as_go_prints() {
        let list = Data::List(vec![text("a"), text("b c")], false);
        for (format, args, want) in [
            ("%s|%5s|%-5s|%.2s|", vec![text("abc"); 4], "abc|  abc|abc  |ab|"),
            ("%q %x %X % x %#q", vec![text("a\"b"); 5], "\"a\\\"b\" 612262 612262 61 22 62 `a\"b`"),
            (
                "%d|%5d|%-5d|%05d|%+d|%x|%X|%o|%b|%c|%U|%#x",
                vec![Data::Int(65); 12],
                "65|   65|65   |00065|+65|41|41|101|1000001|A|U+0041|0x41",
            ),
            (
                "%v %f %.2f %e %g %6.1f|",
                vec![Data::Float(1234.5); 6],
                "1234.5 1234.500000 1234.50 1.234500e+03 1234.5 1234.5|",
            ),
            ("%v %v", vec![Data::Float(1e21), Data::Float(1e-7)], "1e+21 1e-07"),
            ("%t %v %5t", vec![Data::Bool(true); 3], "true true  true"),
            (
                "%d %s %t %z",
                vec![text("x"), Data::Int(1), text("y"), Data::Int(2)],
                "%!d(string=x) %!s(int=1) %!t(string=y) %!z(int=2)",
            ),
            ("%s", vec![], "%!s(MISSING)"),
            ("%s", vec![text("a"), Data::Int(1), text("b")], "a%!(EXTRA int=1, string=b)"),
            ("%[2]s %[1]s", vec![text("a"), text("b")], "b a"),
            ("%[3]s", vec![text("a")], "%!s(BADINDEX)"),
            (
                "%*d|%-*d|%.*f",
                vec![
                    Data::Int(4),
                    Data::Int(1),
                    Data::Int(3),
                    Data::Int(2),
                    Data::Int(1),
                    Data::Float(2.25),
                ],
                "   1|2  |2.2",
            ),
            ("100%% %", vec![], "100% %!(NOVERB)"),
            (
                "%v %s %q %d",
                vec![list.clone(), list.clone(), list.clone(), list],
                "[a b c] [a b c] [\"a\" \"b c\"] [%!d(string=a) %!d(string=b c)]",
            ),
            ("%T %T %T", vec![text("a"), Data::Int(1), Data::Bool(true)], "string int bool"),
            ("%v %s", vec![Data::Nil, Data::Nil], "<nil> %!s(<nil>)"),
        ] {
            assert_eq!(printf(format, &args), want, "{format}");
        }
    }
}
