//! Tokens → a tree.

use std::collections::BTreeMap;

use crate::data::Data;
use crate::lex::{Piece, Token};

/// Deepest nesting of blocks and parentheses.
const DEEPEST: usize = 60;

/// One part of a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// As it is.
    Text(String),
    /// A pipeline whose value is printed.
    Print(Pipeline),
    /// `$x := …`: a variable is born.
    Declare(String, Pipeline),
    /// `$x = …`: one that is there gets another value.
    Assign(String, Pipeline),
    /// `if` or `with`: a variable for the condition's value, condition, body, else.
    Choice(Choice, Option<String>, Pipeline, Vec<Node>, Vec<Node>),
    /// `range`: names of index and value, what is gone through, body, else.
    Range(Loop, Pipeline, Vec<Node>, Vec<Node>),
    /// `template "name" …`
    Template(String, Option<Pipeline>),
    /// `break`
    Break,
    /// `continue`
    Continue,
}

/// The names a loop gives its index and value, and whether they are new ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loop {
    /// None, the value's, or the index's and the value's.
    pub names: Vec<String>,
    /// `=` instead of `:=`.
    pub assign: bool,
}

/// `define` and `block`.
pub type Defined = BTreeMap<String, Vec<Node>>;

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
    Constant(Data),
    /// A function's name.
    Function(String),
    /// `(…).A`
    Group(Pipeline, Vec<String>),
}

/// Pieces → nodes, and the templates that they define.
pub fn parse(pieces: Vec<Piece>) -> Result<(Vec<Node>, Defined), String> {
    let mut parser = Parser { pieces: pieces.into_iter(), defined: Defined::new(), loops: 0 };
    let (nodes, end) = parser.block(0)?;
    match end {
        Stop::Text => Ok((nodes, parser.defined)),
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

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    defined: Defined,
    /// How many loops are open.
    loops: usize,
}

impl Parser {
    fn block(&mut self, depth: usize) -> Result<(Vec<Node>, Stop), String> {
        if depth > DEEPEST {
            return Err("blocks are nested too deep".into());
        }
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
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
            match (word.as_str(), tokens.len()) {
                ("end", 1) => return Ok((nodes, Stop::End)),
                ("else", _) => return Ok((nodes, Stop::Else(tokens.split_off(1)))),
                ("if" | "with" | "range", _) => {
                    nodes.push(self.control(&word, &tokens[1..], depth)?);
                }
                ("define" | "block", _) => nodes.extend(self.define(&word, &tokens[1..], depth)?),
                ("template", _) => nodes.push(call(&tokens[1..])?),
                ("break" | "continue", 1) if self.loops == 0 => {
                    return Err(format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                ("break", 1) => nodes.push(Node::Break),
                ("continue", 1) => nodes.push(Node::Continue),
                _ => nodes.push(statement(&tokens)?),
            }
        }
        Ok((nodes, Stop::Text))
    }

    /// A block that is closed by its end alone.
    fn closed(&mut self, depth: usize) -> Result<Vec<Node>, String> {
        match self.block(depth)? {
            (nodes, Stop::End) => Ok(nodes),
            (_, Stop::Text) => Err("unexpected EOF".into()),
            (_, Stop::Else(_)) => Err("unexpected {{else}}".into()),
        }
    }

    fn define(&mut self, word: &str, head: &[Token], depth: usize) -> Result<Option<Node>, String> {
        let Some((Token::Text(name), rest)) = head.split_first() else {
            return Err(format!("unexpected words in {word} clause"));
        };
        if word == "define" && (depth > 0 || !rest.is_empty()) {
            return Err("unexpected {{define}}".into());
        }
        // A loop around a definition is none inside of it.
        let loops = std::mem::take(&mut self.loops);
        let body = self.closed(depth + 1);
        self.loops = loops;
        self.defined.insert(name.clone(), body?);
        if word == "define" {
            return Ok(None);
        }
        Ok(Some(Node::Template(name.clone(), Some(pipeline(rest)?))))
    }

    fn control(&mut self, word: &str, head: &[Token], depth: usize) -> Result<Node, String> {
        let (names, head) =
            if word == "range" { loop_names(head)? } else { (Loop::default(), head) };
        let (scoped, head) = match head {
            // `if $x := …`: the variable lives as long as the block.
            [Token::Variable(name, fields), Token::Declare, rest @ ..]
                if word != "range" && fields.is_empty() && !name.is_empty() =>
            {
                (Some(name.clone()), rest)
            }
            _ => (None, head),
        };
        let pipeline = pipeline(head).map_err(|e| match e.as_str() {
            MISSING => format!("missing value for {word}"),
            _ => e,
        })?;
        self.loops += usize::from(word == "range");
        let body = self.block(depth + 1);
        self.loops -= usize::from(word == "range");
        let (body, end) = body?;
        let otherwise = match end {
            Stop::Text => return Err("unexpected EOF".into()),
            Stop::End => Vec::new(),
            Stop::Else(rest) => match rest.split_first() {
                None => self.closed(depth + 1)?,
                Some((Token::Word(next), head)) if next == word && word != "range" => {
                    vec![self.control(next, head, depth + 1)?]
                }
                Some(_) => return Err("unexpected words after else".into()),
            },
        };
        Ok(match word {
            "range" => Node::Range(names, pipeline, body, otherwise),
            "with" => Node::Choice(Choice::With, scoped, pipeline, body, otherwise),
            _ => Node::Choice(Choice::If, scoped, pipeline, body, otherwise),
        })
    }
}

/// `template "name"` and what it is given.
fn call(head: &[Token]) -> Result<Node, String> {
    match head.split_first() {
        Some((Token::Text(name), [])) => Ok(Node::Template(name.clone(), None)),
        Some((Token::Text(name), rest)) => Ok(Node::Template(name.clone(), Some(pipeline(rest)?))),
        _ => Err("unexpected words in template clause".into()),
    }
}

/// `$v :=` or `$i, $v :=`.
fn loop_names(head: &[Token]) -> Result<(Loop, &[Token]), String> {
    const WRONG: &str = "range takes $value or $index, $value";
    let Some(at) = head.iter().position(|t| matches!(t, Token::Declare | Token::Assign)) else {
        return Ok((Loop::default(), head));
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
            _ => return Err(WRONG.into()),
        }
    }
    if names.is_empty() || names.len() > 2 {
        return Err(WRONG.into());
    }
    Ok((Loop { names, assign: head[at] == Token::Assign }, &head[at + 1..]))
}

fn statement(tokens: &[Token]) -> Result<Node, String> {
    match tokens {
        [Token::Variable(name, fields), how @ (Token::Declare | Token::Assign), rest @ ..]
            if fields.is_empty() && !name.is_empty() =>
        {
            let value = pipeline(rest)?;
            let name = name.clone();
            Ok(if *how == Token::Declare {
                Node::Declare(name, value)
            } else {
                Node::Assign(name, value)
            })
        }
        _ => Ok(Node::Print(pipeline(tokens)?)),
    }
}

/// A pipeline that is not there.
const MISSING: &str = "missing value for command";

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
                // Go minds a `|` with nothing before it, and not one with nothing after it.
                if !words.is_empty() || all.is_empty() {
                    all.push(command(words)?);
                }
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
        None => Err(MISSING.into()),
        Some(_) => Ok(Command(words)),
    }
}

fn operand(rest: &mut &[Token], depth: usize) -> Result<Operand, String> {
    let Some((first, tail)) = rest.split_first() else { return Err("unexpected end".into()) };
    *rest = tail;
    Ok(match first {
        Token::Field(names) => Operand::Field(names.clone()),
        Token::Variable(name, fields) => Operand::Variable(name.clone(), fields.clone()),
        Token::Text(text) => Operand::Constant(Data::Text(text.clone())),
        Token::Number(number) => Operand::Constant(number.clone()),
        Token::Word(word) => match word.as_str() {
            "true" => Operand::Constant(Data::Bool(true)),
            "false" => Operand::Constant(Data::Bool(false)),
            "nil" => Operand::Constant(Data::Nil),
            name if crate::funcs::known(name) => Operand::Function(name.to_owned()),
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
