//! Text → plain text and the tokens of actions.

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
    /// A number.
    Number(serde_json::Number),
    /// `(`
    Open,
    /// `)`, with the fields that follow it at once.
    Close(Vec<String>),
    /// `|`
    Pipe,
    /// `:=` or `=`
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
        ':' if text.starts_with(":=") => Ok((Token::Assign, &text[2..])),
        '=' => Ok((Token::Assign, &text[1..])),
        '"' => quoted(text),
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
    let end = text
        .char_indices()
        .skip(1)
        .find(|(_, c)| !c.is_ascii_alphanumeric() && *c != '.' && *c != '_')
        .map_or(text.len(), |(at, _)| at);
    let (digits, rest) = text.split_at(end);
    let bad = || format!("bad number syntax: \"{digits}\"");
    let plain = digits.strip_prefix('+').unwrap_or(digits);
    let number = match plain.parse::<i64>() {
        Ok(n) => n.into(),
        Err(_) => plain
            .parse::<f64>()
            .ok()
            .filter(|_| plain.contains(|c: char| c.is_ascii_digit()))
            .and_then(serde_json::Number::from_f64)
            .ok_or_else(bad)?,
    };
    Ok((Token::Number(number), rest))
}

fn quoted(text: &str) -> Result<(Token, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(value), &text[at + 1..])),
            '\n' => break,
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some('r') => value.push('\r'),
                Some(c @ ('"' | '\\' | '\'')) => value.push(c),
                _ => return Err("bad escape in a quoted string".into()),
            },
            other => value.push(other),
        }
    }
    Err("unterminated quoted string".into())
}
