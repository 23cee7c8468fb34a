//! What an OCI runtime logs, as `--log-format json` has it.

use std::fs;
use std::path::Path;

/// The last error of a runtime's log.
pub fn last_error(log: &Path) -> Option<String> {
    let text = fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().rev().find_map(error_of_line)
}

fn error_of_line(line: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let level = value.get("level")?.as_str()?;
    let grave = matches!(level, "error" | "fatal" | "panic");
    let message = value.get("msg")?.as_str()?.trim_end();
    grave.then(|| beyond_verb(message).replace('\n', ": "))
}

/// Without `runc create failed: ` and the like: who reports it says that himself.
fn beyond_verb(message: &str) -> &str {
    let Some((verb, rest)) = message.split_once(" failed: ") else { return message };
    let name = verb.strip_suffix(" create").or_else(|| verb.strip_suffix(" run"));
    let runtime = |name: &str| {
        !name.contains(' ') && ["runc", "crun", "runtime"].iter().any(|end| name.ends_with(end))
    };
    let said = verb == "exec" || name.is_some_and(runtime);
    if said { rest } else { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_a_log_is_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let lines = [
            r#"{"level":"error","msg":"first","time":"x"}"#,
            r#"{"level":"error","msg":"second\nline\n","time":"x"}"#,
            r#"{"level":"warning","msg":"third","time":"x"}"#,
            "not json",
        ];
        fs::write(&path, lines.join("\n")).unwrap();
        assert_eq!(last_error(&path).as_deref(), Some("second: line"));
        fs::write(&path, lines[2..].join("\n")).unwrap();
        assert_eq!(last_error(&path), None);
        assert_eq!(last_error(&dir.path().join("none")), None);
    }

    #[test]
    fn whose_command_failed_is_told_once() {
        assert_eq!(beyond_verb("runc create failed: no /x"), "no /x");
        assert_eq!(beyond_verb("dhow-runtime run failed: a failed: b"), "a failed: b");
        assert_eq!(beyond_verb("exec failed: no /x"), "no /x");
        for other in ["chdir to /x failed: b", "to run failed: b", "no /x", " run failed: b"] {
            assert_eq!(beyond_verb(other), other);
        }
    }
}
