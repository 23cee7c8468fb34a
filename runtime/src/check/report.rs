//! Findings, and how they are shown.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::error::one_line;

/// One thing that would fail, or that may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where in config.json; empty for what isn't in it.
    pub pointer: String,
    /// What is there.
    pub what: String,
    /// What is wrong with it.
    pub why: String,
    /// What to do about it; empty where the reason says it.
    #[serde(rename = "do")]
    pub remedy: String,
}

/// All of them.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What would fail.
    pub problems: Vec<Finding>,
    /// What would not, but isn't what was asked for, or can't be told from here.
    pub warnings: Vec<Finding>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.pointer, &self.what, &self.why, &self.remedy];
        let parts: Vec<&str> =
            parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        f.write_str(&one_line(&parts.join(": ")))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problems.iter().try_for_each(|finding| writeln!(f, "problem: {finding}"))?;
        self.warnings.iter().try_for_each(|finding| writeln!(f, "warning: {finding}"))
    }
}

/// A value in short.
pub fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = match value {
        Value::Null => return "not set".to_owned(),
        other => other.to_string(),
    };
    match text.char_indices().nth(MOST) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line() {
        let finding = Finding {
            pointer: "/mounts/3/source".into(),
            what: shown(&"/nope\n".into()),
            why: "no such file\nor directory".into(),
            remedy: String::new(),
        };
        let line = r#"/mounts/3/source: "/nope\n": no such file\nor directory"#;
        assert_eq!(finding.to_string(), line);
        assert!(shown(&"x".repeat(99).into()).ends_with('…'));
    }
}
