//! `--filter KEY=VALUE`, as every list and prune reads it: values of one key are alternatives,
//! keys add up.

use std::collections::BTreeMap;

use crate::cli::switch;
use crate::error::{Error, Kind, Result};

/// What was asked for, key by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Parses what was typed; only `known` keys are taken.
    pub fn parse(typed: &[String], known: &[&str]) -> Result<Self> {
        let mut all = Self::default();
        for text in typed.iter().filter(|t| !t.is_empty()) {
            let (key, value) = text.split_once('=').ok_or_else(|| bad_form(text))?;
            let key = key.trim().to_lowercase();
            if !known.contains(&key.as_str()) {
                let near = crate::output::nearest(&key, known.iter().map(ToString::to_string));
                let hint = near.map_or_else(
                    || format!("; use one of {}", known.join(", ")),
                    |near| format!("; did you mean '{near}'?"),
                );
                return Err(Error::usage(format!("invalid filter '{key}'{hint}")));
            }
            let values = all.0.entry(key).or_default();
            let value = value.trim().to_owned();
            if !values.contains(&value) {
                values.push(value);
            }
        }
        Ok(all)
    }

    /// What was typed for `key`; empty when it was not.
    pub fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether `key` was typed.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Nothing was asked for, or one of the values fits.
    pub fn any(&self, key: &str, fits: impl FnMut(&String) -> bool) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().any(fits)
    }

    /// Each value is a label, `KEY` or `KEY=VALUE`, that has to be there. For `label!`, see
    /// [`Filters::lacks_labels`].
    pub fn labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.values(key).iter().all(|wanted| has_label(wanted, labels))
    }

    /// None of the values is a label that is there.
    pub fn lacks_labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        !self.values(key).iter().any(|unwanted| has_label(unwanted, labels))
    }

    /// A key whose values are true or false.
    pub fn switch(&self, key: &str) -> Result<Option<bool>> {
        let mut wanted = None;
        for value in self.values(key) {
            let on = switch(value)
                .map_err(|_| Error::usage(format!("invalid filter '{key}=[{value}]'")))?;
            if wanted.is_some_and(|w| w != on) {
                return Err(Error::usage(format!("invalid filter '{key}=[false true]'")));
            }
            wanted = Some(on);
        }
        Ok(wanted)
    }

    /// Refuses values that are none of `words`; `what` is docker's name for them.
    pub fn only(&self, key: &str, what: &str, words: &[&str]) -> Result<()> {
        for value in self.values(key) {
            if !words.contains(&value.as_str()) {
                return Err(Error::usage(format!(
                    "invalid filter '{key}={value}': invalid value for {what} ({value}): must be one of {}",
                    words.join(", ")
                )));
            }
        }
        Ok(())
    }
}

/// `text` is no filter at all; worded as a bad flag, because it is one.
pub fn bad_form(text: &str) -> Error {
    Error::new(
        Kind::Flag,
        format!(
            "invalid argument \"{text}\" for \"-f, --filter\" flag: bad format of filter (expected name=value)"
        ),
    )
}

fn has_label(wanted: &str, labels: &BTreeMap<String, String>) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
        None => labels.contains_key(wanted),
    }
}

/// A value that docker reads as a regular expression found anywhere in a text.
#[derive(Debug)]
pub enum Pattern {
    /// No character in it means anything but itself.
    Plain(String),
    /// What it says.
    Expression(Box<regex_lite::Regex>),
    /// No expression: it fits nothing.
    Broken,
}

impl Pattern {
    /// Reads `text`.
    pub fn new(text: &str) -> Self {
        if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/ ".contains(&b)) {
            return Self::Plain(text.to_owned());
        }
        match regex_lite::RegexBuilder::new(text).size_limit(1 << 20).build() {
            Ok(expression) => Self::Expression(Box::new(expression)),
            Err(_) => Self::Broken,
        }
    }

    /// Whether it is found in `text`.
    pub fn fits(&self, text: &str) -> bool {
        match self {
            Self::Plain(part) => text.contains(part.as_str()),
            Self::Expression(expression) => expression.is_match(text),
            Self::Broken => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(typed: &[&str]) -> Result<Filters> {
        let typed: Vec<String> = typed.iter().map(ToString::to_string).collect();
        Filters::parse(&typed, &["name", "label", "is-task"])
    }

    #[test]
    fn values_of_a_key_are_alternatives() {
        let filters = parse(&[" NAME = a ", "name=b", "", "label=x", "label=y=2"]).unwrap();
        assert_eq!(filters.values("name"), ["a", "b"]);
        assert!(filters.any("name", |v| v == "b") && !filters.any("name", |v| v == "c"));
        assert!(filters.any("label!", |_| false), "what was not asked for fits");
        let labels = |text: &str| {
            text.split(' ')
                .filter_map(|l| l.split_once('='))
                .map(|(k, v)| (k.into(), v.into()))
                .collect()
        };
        assert!(filters.labels("label", &labels("x= y=2")));
        assert!(!filters.labels("label", &labels("x=")));
    }

    #[test]
    fn mistakes_are_told_as_docker_tells_them() {
        assert_eq!(parse(&["name"]).unwrap_err().kind, Kind::Flag);
        assert!(
            parse(&["nome=x"]).unwrap_err().message.starts_with("invalid filter 'nome'; did you")
        );
        let task = parse(&["is-task=maybe"]).unwrap();
        assert_eq!(task.switch("is-task").unwrap_err().message, "invalid filter 'is-task=[maybe]'");
    }

    #[test]
    fn patterns_are_regular_expressions() {
        for (pattern, text, fits) in [
            ("ade", "made", true),
            ("^(made|ended)$", "ended", true),
            ("^(made|ended)$", "mended", false),
            ("^/lives$", "/lives", true),
            ("(", "(", false),
            ("a.c", "abc", true),
        ] {
            assert_eq!(Pattern::new(pattern).fits(text), fits, "{pattern} {text}");
        }
    }
}
