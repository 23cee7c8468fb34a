//! One pattern of a .dockerignore: Go's `filepath.Match` with `**`.

use crate::build::glob::{self, Class, Part};

/// A pattern, ready to be matched.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// `!`: what it matches is not ignored after all.
    pub exception: bool,
    text: Vec<u8>,
    how: How,
}

#[derive(Clone, Debug)]
enum How {
    /// The path is the text.
    Exact,
    /// `dir/**`: it begins with it.
    Prefix,
    /// `**/name`: it ends in it.
    Suffix,
    /// All else.
    Parts(Parts),
}

#[derive(Clone, Debug)]
struct Parts {
    list: Vec<Token>,
    /// What every match begins with.
    begin: Vec<u8>,
    /// What every match ends in.
    end: Vec<u8>,
    /// More than one part may be of any length.
    branches: bool,
}

#[derive(Clone, Debug)]
enum Token {
    One(Part),
    /// `**/`: nothing, or anything that ends in a slash.
    Tree,
    /// `**` at the end: anything.
    All,
}

impl Pattern {
    /// Of a clean text; `None` if Go would call it bad.
    pub fn new(text: &[u8], exception: bool) -> Option<Self> {
        if !glob::is_valid(text) {
            return None;
        }
        Some(Self { exception, text: text.to_vec(), how: how(text)? })
    }

    /// Its text, without the `!`.
    #[cfg(test)]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether it fits the path itself; its parents are the caller's to ask for.
    pub fn fits(&self, path: &[u8]) -> bool {
        match &self.how {
            How::Exact => path == self.text,
            How::Prefix => path.starts_with(&self.text[..self.text.len() - 2]),
            How::Suffix => {
                let end = &self.text[2..];
                path.ends_with(end) || end.strip_prefix(b"/") == Some(path)
            }
            How::Parts(parts) => parts.fit(path),
        }
    }

    /// Whether it may fit something below a directory.
    pub fn reaches_below(&self, dir: &[u8]) -> bool {
        let begin = match &self.how {
            How::Exact => &self.text,
            How::Prefix => &self.text[..self.text.len() - 2],
            How::Suffix => return true,
            How::Parts(parts) => &parts.begin,
        };
        let n = begin.len().min(dir.len());
        begin[..n] == dir[..n] && begin.get(dir.len()).is_none_or(|&b| b == b'/')
    }
}

/// How it is matched. The cases, odd as they are, are those of moby's matcher: a `**` at the
/// beginning with only plain text behind matches by the end of the path.
fn how(text: &[u8]) -> Option<How> {
    let mut list = Vec::new();
    let mut how = How::Exact;
    let many = || How::Parts(Parts { list: vec![], begin: vec![], end: vec![], branches: false });
    let mut rest = text;
    let mut first = true;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b'*' if rest.first() == Some(&b'*') => {
                rest = &rest[1..];
                rest = rest.strip_prefix(b"/").unwrap_or(rest);
                if !rest.is_empty() {
                    list.push(Token::Tree);
                    how = many();
                } else if matches!(how, How::Exact) {
                    list.push(Token::All);
                    how = How::Prefix;
                } else {
                    list.push(Token::All);
                    how = many();
                }
                if first {
                    how = How::Suffix;
                }
            }
            b'*' | b'?' => {
                list.push(Token::One(if *byte == b'*' { Part::Star } else { Part::Any }));
                how = many();
            }
            b'[' => {
                let class: Class = glob::class(&mut rest)?;
                list.push(Token::One(Part::Class(class)));
                how = many();
            }
            b'\\' => {
                let (escaped, tail) = rest.split_first()?;
                rest = tail;
                list.push(Token::One(Part::Byte(*escaped)));
                how = many();
            }
            plain => list.push(Token::One(Part::Byte(*plain))),
        }
        first = false;
    }
    Some(match how {
        How::Parts(_) => How::Parts(Parts::new(list)),
        simple => simple,
    })
}

impl Parts {
    fn new(list: Vec<Token>) -> Self {
        let byte = |token: &Token| match token {
            Token::One(Part::Byte(b)) => Some(*b),
            _ => None,
        };
        let begin = list.iter().map_while(byte).collect();
        let mut end: Vec<u8> = list.iter().rev().map_while(byte).collect();
        end.reverse();
        let open =
            |token: &&Token| matches!(token, Token::One(Part::Star) | Token::Tree | Token::All);
        let branches = list.iter().filter(open).count() > 1;
        Self { list, begin, end, branches }
    }

    fn fit(&self, path: &[u8]) -> bool {
        if !path.starts_with(&self.begin) || !path.ends_with(&self.end) {
            return false;
        }
        // What has failed once is not tried again, or time would grow with no bound.
        let width = path.len() + 1;
        let mut dead = vec![false; if self.branches { self.list.len() * width } else { 0 }];
        self.from(self.begin.len(), path, self.begin.len(), &mut dead)
    }

    fn from(&self, mut token: usize, path: &[u8], mut at: usize, dead: &mut [bool]) -> bool {
        let width = path.len() + 1;
        loop {
            let next = match self.list.get(token) {
                None => return at == path.len(),
                Some(Token::All) => return true,
                Some(Token::One(Part::Star)) => {
                    let run = path[at..].iter().take_while(|&&b| b != b'/').count();
                    at..=at + run
                }
                Some(Token::Tree) => at..=path.len(),
                Some(Token::One(one)) => match one.step(&path[at..]) {
                    Some(n) => {
                        (token, at) = (token + 1, at + n);
                        continue;
                    }
                    None => return false,
                },
            };
            let mark = token * width + at;
            if dead.get(mark) == Some(&true) {
                return false;
            }
            let tree = matches!(self.list[token], Token::Tree);
            let found = next
                .filter(|&to| !tree || to == at || path[to - 1] == b'/')
                .any(|to| self.from(token + 1, path, to, dead));
            if let Some(mark) = dead.get_mut(mark) {
                *mark = !found;
            }
            return found;
        }
    }
}
