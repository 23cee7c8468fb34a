//! `--name=value` behind an instruction's word.

use super::line::Wrong;
use super::suggest::with_hint;

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, `true` or `false`.
    Switch,
    /// A value, once.
    Text,
    /// A value, as often as wanted.
    List,
}

/// Flags as they are given.
#[derive(Debug, Default)]
pub(super) struct Flags(Vec<(String, String)>);

impl Flags {
    /// Reads what an instruction has, of those that it knows.
    pub(super) fn read(given: &[String], known: &[(&str, Kind)]) -> Result<Self, Wrong> {
        let mut read = Self::default();
        for flag in given {
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag.as_str(), None),
            };
            let name = name.strip_prefix("--").unwrap_or(name);
            let wrong = |why: String| Wrong::near(why, format!("--{name}"));
            let Some(&(_, kind)) = known.iter().find(|(known, _)| *known == name) else {
                let why = format!("unknown flag: --{name}");
                return Err(wrong(with_hint(&why, name, known.iter().map(|k| k.0), "--")));
            };
            if kind != Kind::List && read.text(name).is_some() {
                return Err(wrong(format!("duplicate flag specified: --{name}")));
            }
            let value = match (kind, value) {
                (Kind::Switch, None) => "true".to_owned(),
                (_, None) | (Kind::Switch, Some("")) => {
                    return Err(wrong(format!("missing a value on flag: --{name}")));
                }
                (Kind::Switch, Some(value)) => match value.to_lowercase().as_str() {
                    value @ ("true" | "false") => value.to_owned(),
                    _ => {
                        return Err(wrong(format!(
                            "expecting boolean value for flag --{name}, not: {value}"
                        )));
                    }
                },
                (_, Some(value)) => value.to_owned(),
            };
            read.0.push((name.to_owned(), value));
        }
        Ok(read)
    }

    /// A value, if it was given.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A value that says something.
    pub(super) fn filled(&self, name: &str) -> Option<String> {
        self.text(name).filter(|value| !value.is_empty()).map(Into::into)
    }

    /// A switch, if it was given.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.text(name).map(|value| value == "true")
    }

    /// All values.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone()).collect()
    }
}

/// Go's booleans.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [(&str, Kind); 3] =
        [("link", Kind::Switch), ("from", Kind::Text), ("exclude", Kind::List)];

    fn read(given: &[&str]) -> Result<Flags, String> {
        let given: Vec<String> = given.iter().map(ToString::to_string).collect();
        Flags::read(&given, &KNOWN).map_err(|wrong| wrong.why)
    }

    #[test]
    fn each_kind() {
        let flags = read(&["--link", "--exclude=a", "--from=b=c", "--exclude="]).unwrap();
        assert_eq!((flags.switch("link"), flags.text("from")), (Some(true), Some("b=c")));
        assert_eq!(flags.list("exclude"), ["a", ""]);
        assert_eq!(read(&["--link=FALSE"]).unwrap().switch("link"), Some(false));
        assert_eq!(read(&["--from="]).unwrap().filled("from"), None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (given, why) in [
            (&["--links"][..], "unknown flag: --links (did you mean --link?)"),
            (&["--zzzzzzz=1"], "unknown flag: --zzzzzzz"),
            (&["--link="], "missing a value on flag: --link"),
            (&["--link=yes"], "expecting boolean value for flag --link, not: yes"),
            (&["--from"], "missing a value on flag: --from"),
            (&["--from=a", "--from=b"], "duplicate flag specified: --from"),
        ] {
            assert_eq!(read(given).unwrap_err(), why);
        }
    }
}
