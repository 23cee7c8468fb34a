//! Words of a Dockerfile: quotes, escapes and variables, as BuildKit's shell lexer reads them.
//!
//! `$x ${x} ${x:-w} ${x-w} ${x:+w} ${x+w} ${x:?w} ${x?w} ${x#p} ${x##p} ${x%p} ${x%%p} ${x/p/r}
//! ${x//p/r}`. Whoever looks names up knows which of them were asked for, and which were missing.

mod pattern;

use std::str::Chars;

/// How a variable is looked up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What goes wrong: one line, without a place.
pub type Result<T, E = String> = std::result::Result<T, E>;

/// One word: quotes and escapes are gone, variables are their values.
///
/// # Errors
///
/// On a quote or brace that isn't closed, an unknown modifier, and what `?` asks for.
pub fn word(text: &str, escape: char, get: Lookup) -> Result<String> {
    Lexer::new(text, escape, get).whole().map(|read| read.0)
}

/// The same, split at blanks that aren't quoted, those of values too.
///
/// # Errors
///
/// As [`word`].
pub fn words(text: &str, escape: char, get: Lookup) -> Result<Vec<String>> {
    Lexer::new(text, escape, get).whole().map(|read| read.1)
}

/// A heredoc's content for a file: variables and escapes (always a backslash), quotes stay.
///
/// # Errors
///
/// As [`word`].
pub fn keeping_quotes(text: &str, get: Lookup) -> Result<String> {
    let mut lexer = Lexer::new(text, '\\', get);
    lexer.skip_quotes = true;
    lexer.whole().map(|read| read.0)
}

/// A RUN's text for people: variables that are known are shown by value, all else stays, quotes too.
pub fn shown(text: &str, escape: char, get: Lookup) -> String {
    let mut lexer = Lexer::new(text, escape, get);
    (lexer.raw_quotes, lexer.keep_unset) = (true, true);
    lexer.whole().map_or_else(|_| text.to_owned(), |read| read.0)
}

/// The words of a line with quotes and escapes as they are: where its heredocs begin.
pub(super) fn raw_words(text: &str) -> Result<Vec<String>> {
    let mut lexer = Lexer::new(text, '\\', &|_| None);
    (lexer.raw_quotes, lexer.raw_escapes, lexer.keep_unset) = (true, true, true);
    lexer.forgets = true;
    lexer.whole().map(|read| read.1)
}

/// The words behind `<<`, with and without their quotes.
pub(super) fn heredoc_words(text: &str) -> Result<(Vec<String>, Vec<String>)> {
    let read = |raw_quotes| {
        let mut lexer = Lexer::new(text, '\\', &|_| None);
        (lexer.raw_quotes, lexer.keep_unset, lexer.forgets) = (raw_quotes, true, true);
        lexer.whole().map(|read| read.1)
    };
    Ok((read(false)?, read(true)?))
}

/// `${a:-${b:-…}}` deeper than this is refused.
/// DIFFERS: BuildKit has no limit but its memory.
const DEEPEST: usize = 100;

struct Lexer<'a> {
    text: &'a str,
    rest: Chars<'a>,
    escape: char,
    get: Lookup<'a>,
    /// Quotes stay.
    raw_quotes: bool,
    /// Escapes stay.
    raw_escapes: bool,
    /// Quotes are nothing special.
    skip_quotes: bool,
    /// A variable that is not set stays as it is written.
    keep_unset: bool,
    /// What stands in a word before a `${x:-y}` is lost, as BuildKit loses it where it looks for
    /// heredocs: so `$((1 << ${N:-2}))` has none.
    forgets: bool,
    forgotten: bool,
    depth: usize,
}

/// Words as they grow. Blanks that come quoted or escaped don't part them.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    now: String,
}

impl Words {
    fn plain(&mut self, c: char) {
        if !c.is_whitespace() {
            self.now.push(c);
        } else if !self.now.is_empty() {
            self.done.push(std::mem::take(&mut self.now));
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.now.is_empty() {
            self.done.push(self.now);
        }
        self.done
    }
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str, escape: char, get: Lookup<'a>) -> Self {
        Self {
            text,
            rest: text.chars(),
            escape,
            get,
            raw_quotes: false,
            raw_escapes: false,
            skip_quotes: false,
            keep_unset: false,
            forgets: false,
            forgotten: false,
            depth: 0,
        }
    }

    fn whole(mut self) -> Result<(String, Vec<String>)> {
        self.until(None, self.raw_escapes)
            .map_err(|why| format!("failed to process {:?}: {why}", self.text))
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    /// Up to the end or to `stop`, which is eaten.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<(String, Vec<String>)> {
        if self.depth == DEEPEST {
            return Err("syntax error: substitutions are nested too deeply".into());
        }
        let before = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        self.depth += 1;
        let read = self.read_until(stop);
        self.depth -= 1;
        self.raw_escapes = before;
        self.forgotten = self.depth > 0;
        read
    }

    fn read_until(&mut self, stop: Option<char>) -> Result<(String, Vec<String>)> {
        let mut all = String::new();
        let mut words = Words::default();
        while let Some(c) = self.peek() {
            match c {
                c if Some(c) == stop => {
                    self.rest.next();
                    return Ok((all, words.finish()));
                }
                '$' => {
                    let value = self.dollar()?;
                    self.forget(&mut words);
                    value.chars().for_each(|c| words.plain(c));
                    all += &value;
                }
                '<' | '\'' | '"' if c == '<' || !self.skip_quotes => {
                    let piece = match c {
                        '<' => self.less(),
                        '"' => self.double_quoted()?,
                        _ => self.single_quoted()?,
                    };
                    self.forget(&mut words);
                    words.now += &piece;
                    all += &piece;
                }
                c if c == self.escape => {
                    self.rest.next();
                    let kept = self.raw_escapes.then_some(c);
                    let Some(next) = self.rest.next() else {
                        all.extend(kept);
                        words.now.extend(kept);
                        break;
                    };
                    all.extend(kept.into_iter().chain([next]));
                    words.now.extend(kept.into_iter().chain([next]));
                }
                c => {
                    self.rest.next();
                    words.plain(c);
                    all.push(c);
                }
            }
        }
        match stop {
            Some(stop) => {
                Err(format!("unexpected end of statement while looking for matching {stop}"))
            }
            None => Ok((all, words.finish())),
        }
    }

    fn forget(&mut self, words: &mut Words) {
        if std::mem::take(&mut self.forgotten) && self.forgets {
            words.now.clear();
        }
    }

    /// Nothing is special in single quotes.
    fn single_quoted(&mut self) -> Result<String> {
        let mut out: String = self.rest.next().filter(|_| self.raw_quotes).into_iter().collect();
        loop {
            match self.rest.next() {
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching single-quote"
                            .into(),
                    );
                }
                Some('\'') => {
                    out.extend(self.raw_quotes.then_some('\''));
                    return Ok(out);
                }
                Some(c) => out.push(c),
            }
        }
    }

    /// Variables are, and escapes of `"`, `$` and the escape itself.
    fn double_quoted(&mut self) -> Result<String> {
        let mut out: String = self.rest.next().filter(|_| self.raw_quotes).into_iter().collect();
        loop {
            match self.peek() {
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching double-quote"
                            .into(),
                    );
                }
                Some('"') => {
                    self.rest.next();
                    out.extend(self.raw_quotes.then_some('"'));
                    return Ok(out);
                }
                Some('$') => out += &self.dollar()?,
                Some(c) => {
                    self.rest.next();
                    let mut c = c;
                    if c == self.escape {
                        out.extend(self.raw_escapes.then_some(c));
                        match self.peek() {
                            None => continue,
                            Some(next) if next == '"' || next == '$' || next == self.escape => {
                                self.rest.next();
                                c = next;
                            }
                            Some(_) => {}
                        }
                    }
                    out.push(c);
                }
            }
        }
    }

    /// `<<` and the blanks behind it belong to the word of a heredoc.
    fn less(&mut self) -> String {
        self.rest.next();
        if self.peek() != Some('<') {
            return "<".into();
        }
        self.rest.next();
        let mut out = "<<".to_owned();
        while let Some(blank @ ('\t' | '\r' | ' ')) = self.peek() {
            self.rest.next();
            out.push(blank);
        }
        out
    }

    fn dollar(&mut self) -> Result<String> {
        self.rest.next();
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".into());
            }
            return Ok(match (self.get)(&name) {
                None if self.keep_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        self.rest.next();
        match self.peek() {
            None => return Err(MISSING_BRACE.into()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".into()),
            Some(_) => {}
        }
        let name = self.name();
        match self.rest.next() {
            Some('}') => Ok(match (self.get)(&name) {
                None if self.keep_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            Some(':') => {
                let modifier = self.rest.next();
                self.modified(&name, modifier, true)
            }
            modifier @ Some('+' | '-' | '?' | '#' | '%') => self.modified(&name, modifier, false),
            Some('/') => self.replaced(&name),
            other => Err(unsupported(&other.map_or_else(String::new, String::from))),
        }
    }

    /// All modifiers but `/`. `colon`: what is empty counts as not set.
    fn modified(&mut self, name: &str, modifier: Option<char>, colon: bool) -> Result<String> {
        let written: String = colon.then_some(':').into_iter().chain(modifier).collect();
        let cuts = matches!(modifier, Some('#' | '%'));
        if cuts && colon {
            return Err(unsupported(&written));
        }
        let word = self.part('}', cuts, MISSING_BRACE)?;
        let value = (self.get)(name);
        if self.keep_unset && value.is_none() {
            return Ok(format!("${{{name}{written}{word}}}"));
        }
        let there = value.as_ref().filter(|value| !(colon && value.is_empty()));
        match (modifier, there) {
            (Some('-'), None) => Ok(word),
            (Some('-' | '?'), Some(value)) => Ok(value.clone()),
            (Some('+'), there) => Ok(there.map_or_else(String::new, |_| word)),
            (Some('?'), None) if !word.is_empty() => Err(format!("{name}: {word}")),
            (Some('?'), None) if value.is_some() => {
                Err(format!("{name}: is not allowed to be empty"))
            }
            (Some('?'), None) => Err(format!("{name}: is not allowed to be unset")),
            (Some(side @ ('#' | '%')), there) => {
                let (pattern, longest) = match word.strip_prefix(side) {
                    Some(rest) => (rest, true),
                    None => (word.as_str(), false),
                };
                let value = there.map_or("", String::as_str);
                if side == '#' {
                    pattern::without_prefix(pattern, value, longest)
                } else {
                    pattern::without_suffix(pattern, value, longest)
                }
            }
            _ => Err(unsupported(&written)),
        }
    }

    /// `${name/pattern/new}`, `${name//pattern/new}`
    fn replaced(&mut self, name: &str) -> Result<String> {
        let all = self.peek() == Some('/');
        if all {
            self.rest.next();
        }
        let pattern = self.part('/', true, "syntax error: missing '/' in ${}")?;
        let new = self.part('}', true, MISSING_BRACE)?;
        match (self.get)(name) {
            None if self.keep_unset => {
                let slashes = if all { "//" } else { "/" };
                Ok(format!("${{{name}{slashes}{pattern}/{new}}}"))
            }
            value => pattern::replaced(&pattern, &value.unwrap_or_default(), &new, all),
        }
    }

    fn part(&mut self, stop: char, raw_escapes: bool, ended: &str) -> Result<String> {
        match self.until(Some(stop), raw_escapes) {
            Ok((text, _)) => Ok(text),
            Err(_) if self.peek().is_none() => Err(ended.into()),
            Err(why) => Err(why),
        }
    }

    /// Letters, digits and `_`; or digits alone; or one of sh's special parameters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if name.is_empty() && c.is_numeric() {
                while let Some(digit) = self.peek().filter(|c| c.is_numeric()) {
                    self.rest.next();
                    name.push(digit);
                }
                return name;
            }
            if name.is_empty() && matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
                self.rest.next();
                return c.into();
            }
            if !c.is_alphanumeric() && c != '_' {
                break;
            }
            self.rest.next();
            name.push(c);
        }
        name
    }
}

const MISSING_BRACE: &str = "syntax error: missing '}'";

fn unsupported(modifier: &str) -> String {
    format!("unsupported modifier ({modifier}) in substitution")
}

#[cfg(test)]
mod tests;
