//! Text → plain text and the tokens of actions.

use crate::data::Data;

/// Plain text, or what stood between `{{` and `}}`.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// An action's tokens.
    Action(Vec<Token>),
}

/// One word of an action.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// `.A.B`, or `.` with no parts.
    Field(Vec<String>),
    /// `$`, `$x`, `$x.A`: the name without `$`, and the fields.
    Variable(String, Vec<String>),
    /// A keyword or a function.
    Word(String),
    /// A quoted string.
    Text(String),
    /// A number, or a character as Go counts it.
    Number(Data),
    /// `(`
    Open,
    /// `)`, with the fields that follow it at once.
    Close(Vec<String>),
    /// `|`
    Pipe,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// `,`
    Comma,
}

/// Splits a template.
pub fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim = false;
    loop {
        let at = rest.find("{{");
        let mut plain = &rest[..at.unwrap_or(rest.len())];
        if trim {
            plain = plain.trim_start();
        }
        let Some(at) = at else {
            push_text(&mut pieces, plain);
            return Ok(pieces);
        };
        let mut inner = &rest[at + 2..];
        if let Some(tail) = inner.strip_prefix('-').filter(|t| t.starts_with(char::is_whitespace)) {
            inner = tail;
            plain = plain.trim_end();
        }
        push_text(&mut pieces, plain);
        let (action, after) = action(inner)?;
        trim = action.1;
        if let Some(tokens) = action.0 {
            pieces.push(Piece::Action(tokens));
        }
        rest = after;
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// Tokens (nothing for a comment), and whether what follows is trimmed.
type Action = (Option<Vec<Token>>, bool);

fn action(text: &str) -> Result<(Action, &str), String> {
    let body = text.trim_start();
    if let Some(comment) = body.strip_prefix("/*") {
        let end = comment.find("*/").ok_or("unclosed comment")?;
        let after = comment[end + 2..].trim_start();
        let (after, trim) = after.strip_prefix('-').map_or((after, false), |a| (a, true));
        let after = after.strip_prefix("}}").ok_or("comment ends before closing delimiter")?;
        return Ok(((None, trim), after));
    }
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        let blank = rest.len() - rest.trim_start().len();
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("}}") {
            return Ok(((Some(tokens), false), after));
        }
        if blank > 0
            && let Some(after) = rest.strip_prefix("-}}")
        {
            return Ok(((Some(tokens), true), after));
        }
        if rest.is_empty() {
            return Err("unclosed action".into());
        }
        let (token, after) = token(rest)?;
        tokens.push(token);
        rest = after;
    }
}

fn token(text: &str) -> Result<(Token, &str), String> {
    let first = text.chars().next().unwrap_or_default();
    match first {
        '(' => Ok((Token::Open, &text[1..])),
        ')' => {
            let (fields, rest) = fields(&text[1..]);
            Ok((Token::Close(fields), rest))
        }
        '|' => Ok((Token::Pipe, &text[1..])),
        ',' => Ok((Token::Comma, &text[1..])),
        ':' if text.starts_with(":=") => Ok((Token::Declare, &text[2..])),
        '=' => Ok((Token::Assign, &text[1..])),
        '"' => {
            let (text, rest) = quoted(text, '"')?;
            Ok((Token::Text(text), rest))
        }
        '\'' => {
            let (text, rest) = quoted(text, '\'')?;
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(c), None) => Ok((Token::Number(Data::Int((c as u32).into())), rest)),
                _ => Err(format!("malformed character constant: '{text}'")),
            }
        }
        '`' => {
            let end = text[1..].find('`').ok_or("unterminated raw quoted string")?;
            Ok((Token::Text(text[1..=end].to_owned()), &text[end + 2..]))
        }
        '.' if !text[1..].starts_with(|c: char| c.is_ascii_digit()) => {
            let (fields, rest) = fields(text);
            let rest = if fields.is_empty() { &text[1..] } else { rest };
            Ok((Token::Field(fields), rest))
        }
        '$' => {
            let (name, rest) = word(&text[1..]);
            let (fields, rest) = fields(rest);
            Ok((Token::Variable(name.to_owned(), fields), rest))
        }
        c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => number(text),
        c if c.is_alphabetic() || c == '_' => {
            let (name, rest) = word(text);
            Ok((Token::Word(name.to_owned()), rest))
        }
        other => Err(format!("unexpected \"{other}\" in command")),
    }
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

/// `.A.B` at once, as far as it goes.
fn fields(text: &str) -> (Vec<String>, &str) {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(after) = rest.strip_prefix('.') {
        let (name, tail) = word(after);
        if name.is_empty() {
            break;
        }
        names.push(name.to_owned());
        rest = tail;
    }
    (names, rest)
}

fn number(text: &str) -> Result<(Token, &str), String> {
    let mut end = text.len();
    let mut last = ' ';
    for (at, c) in text.char_indices() {
        let sign = matches!(c, '+' | '-') && (at == 0 || matches!(last, 'e' | 'E'));
        if !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_') && !sign {
            end = at;
            break;
        }
        last = c;
    }
    let (digits, rest) = text.split_at(end);
    let value = value(digits).ok_or_else(|| format!("bad number syntax: \"{digits}\""))?;
    Ok((Token::Number(value), rest))
}

/// Go's numbers: `42`, `0x2a`, `0b1`, `0o7`, `1_000`, `1.5e3`.
fn value(typed: &str) -> Option<Data> {
    let (sign, digits) = match typed.as_bytes().first() {
        Some(b'-') => ("-", &typed[1..]),
        Some(b'+') => ("", &typed[1..]),
        _ => ("", typed),
    };
    if !digits.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "");
    let lower = digits.to_ascii_lowercase();
    for (prefix, radix) in [("0x", 16), ("0b", 2), ("0o", 8)] {
        if let Some(rest) = lower.strip_prefix(prefix) {
            return i64::from_str_radix(&format!("{sign}{rest}"), radix).ok().map(Data::Int);
        }
    }
    let signed = format!("{sign}{digits}");
    if let Ok(n) = signed.parse::<i64>() {
        return Some(Data::Int(n));
    }
    // "inf" and "nan" are words, not numbers.
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
    signed.parse::<f64>().ok().filter(|n| plain && n.is_finite()).map(Data::Float)
}

/// A text in quotes, without them, and what follows.
fn quoted(text: &str, mark: char) -> Result<(String, &str), String> {
    const UNTERMINATED: &str = "unterminated quoted string";
    let mut value = String::new();
    let mut rest = &text[1..];
    loop {
        let c = rest.chars().next().ok_or(UNTERMINATED)?;
        rest = &rest[c.len_utf8()..];
        match c {
            c if c == mark => return Ok((value, rest)),
            '\n' => return Err(UNTERMINATED.into()),
            '\\' => {
                let (c, tail) = escaped(rest).ok_or("bad escape in a quoted string")?;
                value.push(c);
                rest = tail;
            }
            c => value.push(c),
        }
    }
}

/// What a backslash stands before.
fn escaped(text: &str) -> Option<(char, &str)> {
    let c = text.chars().next()?;
    let tail = &text[c.len_utf8()..];
    let digits = |count: usize, radix: u32| {
        let digits = tail.get(..count)?;
        let c = char::from_u32(u32::from_str_radix(digits, radix).ok()?)?;
        Some((c, &tail[count..]))
    };
    Some(match c {
        'n' => ('\n', tail),
        't' => ('\t', tail),
        'r' => ('\r', tail),
        'a' => ('\x07', tail),
        'b' => ('\x08', tail),
        'f' => ('\x0c', tail),
        'v' => ('\x0b', tail),
        '\\' | '"' | '\'' => (c, tail),
        'x' => return digits(2, 16),
        'u' => return digits(4, 16),
        'U' => return digits(8, 16),
        _ => return None,
    })
}
