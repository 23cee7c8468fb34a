//! `# syntax=`, `# escape=`, `# check=`: comments at the very top that are none.

use super::Check;

/// What the lines at the top say.
#[derive(Debug, Default)]
pub(super) struct Directives {
    seen: Vec<String>,
    begun: bool,
    /// The first line is for a kernel: escape has no effect then.
    shebang: bool,
    done: bool,
}

/// A directive: its name in lower case, its value.
type Directive = (String, String);

impl Directives {
    /// Reads a line, if the directives haven't ended yet. The first one that is none ends them.
    pub(super) fn line(&mut self, line: &str) -> Result<Option<Directive>, String> {
        if self.done {
            return Ok(None);
        }
        if !std::mem::replace(&mut self.begun, true) && line.starts_with("#!") {
            self.shebang = true;
            return Ok(None);
        }
        let read = line.strip_prefix('#').and_then(|rest| directive(rest.trim_start()));
        let Some((name, value)) = read else {
            self.done = true;
            return Ok(None);
        };
        if self.seen.contains(&name) {
            return Err(format!("only one {name} parser directive can be used"));
        }
        self.seen.push(name.clone());
        Ok(Some((name, value)).filter(|(name, _)| !(self.shebang && name == "escape")))
    }
}

/// `name = value` of a name that is known.
pub(super) fn directive(text: &str) -> Option<Directive> {
    const BLANK: [char; 5] = ['\t', '\n', '\u{c}', '\r', ' '];
    let (name, value) = text.split_once('=')?;
    let name = name.trim_end_matches(BLANK).to_ascii_lowercase();
    let value = value.trim_matches(BLANK);
    let known = matches!(name.as_str(), "syntax" | "escape" | "check");
    (known && !value.is_empty()).then(|| (name, value.to_owned()))
}

/// The escape character.
pub(super) fn escape(value: &str) -> Result<char, String> {
    match value {
        "\\" => Ok('\\'),
        "`" => Ok('`'),
        other => Err(format!("invalid escape token '{other}' does not match ` or \\")),
    }
}

/// `skip=A,B;error=true;experimental=all`, up to the first blank.
pub(super) fn check(value: &str) -> Result<Check, String> {
    let mut check = Check::default();
    let value = value.split(' ').next().unwrap_or_default().trim();
    if value.is_empty() {
        return Ok(check);
    }
    let list = |value: &str| value.split(',').map(|name| name.trim().to_owned()).collect();
    for part in value.splitn(3, ';') {
        let (name, value) =
            part.split_once('=').ok_or_else(|| format!("invalid check option {part:?}"))?;
        match name.trim() {
            "skip" => check.skip = list(value.trim()),
            "experimental" => check.experimental = list(value.trim()),
            "error" => {
                check.error = super::flags::boolean(value.trim())
                    .ok_or_else(|| format!("invalid check option {part:?}: write true or false"))?;
            }
            other => return Err(format!("invalid check option {other:?}")),
        }
    }
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_end_with_the_first_line_that_is_none() {
        let mut d = Directives::default();
        let mut line = |text| d.line(text);
        assert_eq!(line("#syntax=a b"), Ok(Some(("syntax".into(), "a b".into()))));
        assert_eq!(line("#  Escape = `  "), Ok(Some(("escape".into(), "`".into()))));
        assert!(line("# escape=`").is_err());
        assert_eq!(line("# nope=x"), Ok(None));
        assert_eq!(line("# check=skip=all"), Ok(None));
    }

    #[test]
    fn checks_options() {
        let c = check("skip=A,B;error=true and more").unwrap();
        assert_eq!((c.skip, c.error), (vec!["A".to_owned(), "B".to_owned()], true));
        assert_eq!(check("experimental=all").unwrap().experimental, ["all"]);
        for bad in ["skip", "error=perhaps", "what=ever", "skip=A;;"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(escape("x").is_err());
    }
}
