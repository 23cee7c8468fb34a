//! Tokens → a tree.

use serde_json::Value;

use super::lex::{Piece, Token};

/// Deepest nesting of blocks and parentheses.
const DEEPEST: usize = 60;

/// One part of a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// As it is.
    Text(String),
    /// A pipeline whose value is printed.
    Print(Pipeline),
    /// A variable is set.
    Set(String, Pipeline),
    /// `if` or `with`: condition, body, else.
    Choice(Choice, Pipeline, Vec<Node>, Vec<Node>),
    /// `range`: names of index and value, what is gone through, body, else.
    Range(Vec<String>, Pipeline, Vec<Node>, Vec<Node>),
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The dot stays.
    If,
    /// The dot becomes the value.
    With,
}

/// Commands, each one's value the last argument of the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline(pub Vec<Command>);

/// An operand or a function, and its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Command(pub Vec<Operand>);

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// `.A.B`
    Field(Vec<String>),
    /// `$x.A`
    Variable(String, Vec<String>),
    /// A text, a number, true, false, nil.
    Constant(Value),
    /// A function's name.
    Function(String),
    /// `(…).A`
    Group(Pipeline, Vec<String>),
}

/// Pieces → nodes.
pub fn parse(pieces: Vec<Piece>) -> Result<Vec<Node>, String> {
    let mut pieces = pieces.into_iter();
    let (nodes, end) = block(&mut pieces, 0)?;
    match end {
        Stop::Text => Ok(nodes),
        Stop::End => Err("unexpected {{end}}".into()),
        Stop::Else(_) => Err("unexpected {{else}}".into()),
    }
}

/// What a block ended with.
enum Stop {
    Text,
    End,
    Else(Vec<Token>),
}

type Pieces = std::vec::IntoIter<Piece>;

fn block(pieces: &mut Pieces, depth: usize) -> Result<(Vec<Node>, Stop), String> {
    if depth > DEEPEST {
        return Err("blocks are nested too deep".into());
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let mut tokens = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(tokens) => tokens,
        };
        let word = match tokens.first() {
            Some(Token::Word(word)) => word.clone(),
            _ => String::new(),
        };
        match word.as_str() {
            "end" if tokens.len() == 1 => return Ok((nodes, Stop::End)),
            "else" => return Ok((nodes, Stop::Else(tokens.split_off(1)))),
            "if" | "with" | "range" => nodes.push(control(&word, &tokens[1..], pieces, depth)?),
            "define" | "template" | "block" | "break" | "continue" => {
                return Err(format!("{{{{{word}}}}} is not supported"));
            }
            _ => nodes.push(statement(&tokens)?),
        }
    }
    Ok((nodes, Stop::Text))
}

fn control(word: &str, head: &[Token], pieces: &mut Pieces, depth: usize) -> Result<Node, String> {
    let (names, head) = if word == "range" { loop_names(head)? } else { (Vec::new(), head) };
    let pipeline = pipeline(head)?;
    let (body, end) = block(pieces, depth + 1)?;
    let otherwise = match end {
        Stop::Text => return Err("unexpected EOF: {{end}} is missing".into()),
        Stop::End => Vec::new(),
        Stop::Else(rest) => match rest.split_first() {
            None => match block(pieces, depth + 1)? {
                (nodes, Stop::End) => nodes,
                _ => return Err("{{else}} without {{end}}".into()),
            },
            Some((Token::Word(next), head)) if next == "if" || next == "with" => {
                vec![control(next, head, pieces, depth + 1)?]
            }
            Some(_) => return Err("unexpected words after else".into()),
        },
    };
    Ok(match word {
        "range" => Node::Range(names, pipeline, body, otherwise),
        "with" => Node::Choice(Choice::With, pipeline, body, otherwise),
        _ => Node::Choice(Choice::If, pipeline, body, otherwise),
    })
}

/// `$v :=` or `$i, $v :=`.
fn loop_names(head: &[Token]) -> Result<(Vec<String>, &[Token]), String> {
    let Some(at) = head.iter().position(|t| *t == Token::Assign) else {
        return Ok((Vec::new(), head));
    };
    let mut names = Vec::new();
    for (i, token) in head[..at].iter().enumerate() {
        match token {
            Token::Variable(name, fields)
                if i % 2 == 0 && fields.is_empty() && !name.is_empty() =>
            {
                names.push(name.clone());
            }
            Token::Comma if i == 1 => {}
            _ => return Err("range takes $value or $index, $value".into()),
        }
    }
    if names.is_empty() || names.len() > 2 {
        return Err("range takes $value or $index, $value".into());
    }
    Ok((names, &head[at + 1..]))
}

fn statement(tokens: &[Token]) -> Result<Node, String> {
    match tokens {
        [Token::Variable(name, fields), Token::Assign, rest @ ..]
            if fields.is_empty() && !name.is_empty() =>
        {
            Ok(Node::Set(name.clone(), pipeline(rest)?))
        }
        _ => Ok(Node::Print(pipeline(tokens)?)),
    }
}

fn pipeline(tokens: &[Token]) -> Result<Pipeline, String> {
    let mut rest = tokens;
    let pipeline = commands(&mut rest, 0)?;
    if rest.is_empty() { Ok(pipeline) } else { Err("unexpected \")\"".into()) }
}

/// Up to the end or the closing parenthesis, which stays.
fn commands(rest: &mut &[Token], depth: usize) -> Result<Pipeline, String> {
    if depth > DEEPEST {
        return Err("parentheses are nested too deep".into());
    }
    let mut all = Vec::new();
    let mut words = Vec::new();
    loop {
        match rest.first() {
            None | Some(Token::Close(_)) => {
                all.push(command(words)?);
                return Ok(Pipeline(all));
            }
            Some(Token::Pipe) => {
                all.push(command(std::mem::take(&mut words))?);
                *rest = &rest[1..];
            }
            Some(_) => words.push(operand(rest, depth)?),
        }
    }
}

fn command(words: Vec<Operand>) -> Result<Command, String> {
    match words.first() {
        None => Err("missing value for command".into()),
        Some(Operand::Function(_) | Operand::Field(_)) => Ok(Command(words)),
        Some(_) if words.len() > 1 => Err("can't give argument to non-function".into()),
        Some(_) => Ok(Command(words)),
    }
}

fn operand(rest: &mut &[Token], depth: usize) -> Result<Operand, String> {
    let Some((first, tail)) = rest.split_first() else { return Err("unexpected end".into()) };
    *rest = tail;
    Ok(match first {
        Token::Field(names) => Operand::Field(names.clone()),
        Token::Variable(name, fields) => Operand::Variable(name.clone(), fields.clone()),
        Token::Text(text) => Operand::Constant(Value::String(text.clone())),
        Token::Number(number) => Operand::Constant(Value::Number(number.clone())),
        Token::Word(word) => match word.as_str() {
            "true" => Operand::Constant(Value::Bool(true)),
            "false" => Operand::Constant(Value::Bool(false)),
            "nil" => Operand::Constant(Value::Null),
            name if super::funcs::known(name) => Operand::Function(name.to_owned()),
            name => return Err(format!("function \"{name}\" not defined")),
        },
        Token::Open => {
            let inner = commands(rest, depth + 1)?;
            match rest.split_first() {
                Some((Token::Close(fields), tail)) => {
                    *rest = tail;
                    Operand::Group(inner, fields.clone())
                }
                _ => return Err("unclosed left paren".into()),
            }
        }
        _ => return Err("unexpected mark in command".into()),
    })
}

/// The first field of each printed pipeline.
pub fn fields(nodes: &[Node]) -> Vec<String> {
    let mut names = Vec::new();
    for node in nodes {
        let Node::Print(pipeline) = node else { continue };
        let operands = pipeline.0.iter().flat_map(|c| &c.0);
        let first = operands.into_iter().find_map(|o| match o {
            Operand::Field(fields) => fields.last().cloned(),
            _ => None,
        });
        names.extend(first);
    }
    names
}
