//! `--check` and `--call`: what is asked of a Dockerfile instead of building it, told as buildx tells it.

use std::fmt::Write;
use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::dockerfile::{Dockerfile, Instruction, MountKind, Stage, Warning};
use super::spec::{Asked, Call};
use crate::error::{Error, Result};

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// For stdout.
    pub text: String,
    /// Whether nothing was found wrong.
    pub well: bool,
}

/// A Dockerfile as it is asked about.
#[derive(Clone, Copy)]
pub struct About<'a> {
    /// What it means.
    pub file: &'a Dockerfile,
    /// Its text.
    pub text: &'a [u8],
    /// Its name.
    pub name: &'a str,
    /// `--target`
    pub target: &'a str,
    /// What the checks have found.
    pub warnings: &'a [Warning],
}

/// Answers.
pub fn ask(call: &Call, about: &About<'_>) -> Result<Answer> {
    let (text, well) = match call.what {
        Asked::Check => (check(call.json, about), about.warnings.is_empty()),
        Asked::Targets => (targets(call.json, about), true),
        Asked::Outline => (outline(call.json, about)?, true),
    };
    Ok(Answer { text, well: well || call.ignore_status })
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn location(lines: &RangeInclusive<usize>) -> Value {
    json!({ "ranges": [{ "start": { "line": lines.start() }, "end": { "line": lines.end() } }] })
}

fn check(as_json: bool, about: &About<'_>) -> String {
    let mut warnings: Vec<&Warning> = about.warnings.iter().collect();
    warnings.sort_by_key(|w| *w.lines.start());
    if as_json {
        let all: Vec<Value> = (warnings.iter())
            .map(|w| {
                json!({
                    "ruleName": w.check, "description": w.description(), "url": w.url(),
                    "detail": w.text, "location": location(&w.lines),
                })
            })
            .collect();
        let source = json!({ "filename": about.name, "language": "Dockerfile" });
        return pretty(&json!({ "warnings": all, "sources": [source] }));
    }
    let mut text = match warnings.len() {
        0 => return "Check complete, no warnings found.\n".into(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        n => format!("Check complete, {n} warnings have been found!\n"),
    };
    for warning in warnings {
        let url = Some(warning.url()).filter(|url| !url.is_empty());
        let url = url.map_or_else(String::new, |url| format!(" - {url}"));
        let _ = writeln!(text, "\nWARNING: {}{url}", warning.check);
        let _ = writeln!(text, "{}", warning.text);
        text += &excerpt(about.text, about.name, &warning.lines);
    }
    text
}

/// The lines that something is about, with some around them, as buildx shows them.
pub fn excerpt(text: &[u8], name: &str, lines: &RangeInclusive<usize>) -> String {
    let text = String::from_utf8_lossy(text);
    let all: Vec<&str> = text.split('\n').collect();
    let (first, last) = (*lines.start(), (*lines.end()).min(all.len()));
    if first < 1 || first > all.len() {
        return String::new();
    }
    let (mut start, mut end) = (first, last.max(first));
    let most = if start == end { 4 } else { 2 };
    let mut shown = 0;
    while shown < most {
        if start > 1 {
            start -= 1;
            shown += 1;
        }
        if end < all.len() {
            end += 1;
            shown += 1;
        }
        shown += 1;
    }
    let mut out = format!("{name}:{first}\n--------------------\n");
    for number in start..=end {
        let mark = if (first..=last).contains(&number) { ">>>" } else { "   " };
        let line: String =
            all[number - 1].chars().filter(|c| !c.is_control() || *c == '\t').collect();
        let _ = writeln!(out, " {number:3} | {mark} {line}");
    }
    out + "--------------------\n"
}

/// The stage that is built, by its name or number.
fn target<'a>(about: &About<'a>) -> Result<usize> {
    let stages: &'a [Stage] = &about.file.stages;
    let wanted = about.target.to_ascii_lowercase();
    let place = match wanted.as_str() {
        "" => stages.len().checked_sub(1),
        name => stages
            .iter()
            .rposition(|stage| stage.name == name)
            .or_else(|| name.parse().ok().filter(|n| *n < stages.len())),
    };
    place.ok_or_else(|| {
        Error::Conflict(format!("target stage \"{}\" could not be found", about.target))
    })
}

fn targets(as_json: bool, about: &About<'_>) -> String {
    let last = about.file.stages.len().saturating_sub(1);
    let stages = || about.file.stages.iter().enumerate();
    if as_json {
        let all: Vec<Value> = stages()
            .map(|(i, stage)| {
                let mut target = json!({ "base": stage.from, "location": location(&stage.lines) });
                let mut say = |key: &str, value: &str| {
                    if !value.is_empty() {
                        target[key] = value.into();
                    }
                };
                say("name", &stage.name);
                say("description", &stage.about);
                say("platform", stage.platform.as_deref().unwrap_or_default());
                if i == last {
                    target["default"] = true.into();
                }
                target
            })
            .collect();
        return pretty(&json!({ "targets": all }));
    }
    let rows = stages().map(|(i, stage)| {
        let name = match (stage.name.as_str(), i == last) {
            ("", true) => "(default)".to_owned(),
            (name, true) => format!("{name} (default)"),
            (name, false) => name.to_owned(),
        };
        vec![name, stage.about.clone()]
    });
    table(std::iter::once(vec!["TARGET".into(), "DESCRIPTION".into()]).chain(rows), 1)
}

/// What a target takes, with all stages it is made of.
fn outline(as_json: bool, about: &About<'_>) -> Result<String> {
    let at = target(about)?;
    let mut taken = Taken::default();
    taken.visit(about.file, at, &mut vec![false; about.file.stages.len()]);
    let stage = &about.file.stages[at];
    let args: Vec<_> = (about.file.args.iter())
        .filter(|arg| {
            taken.args.iter().any(|(name, ..)| *name == arg.name) || used(about, &arg.name)
        })
        .map(|arg| (arg.name.clone(), arg.value.clone().unwrap_or_default(), arg.about.clone()))
        .collect();
    let known: Vec<String> = args.iter().map(|(name, ..)| name.clone()).collect();
    let own = taken.args.into_iter().filter(|(name, ..)| !known.contains(name));
    let args: Vec<(String, String, String)> = args.iter().cloned().chain(own).collect();
    if as_json {
        let args: Vec<Value> = (args.iter())
            .map(|(name, value, about)| json!({ "name": name, "value": value, "description": about }))
            .collect();
        let needs = |all: &[(String, bool)]| -> Vec<Value> {
            all.iter().map(|(name, needed)| json!({ "name": name, "required": needed })).collect()
        };
        return Ok(pretty(&json!({
            "name": stage.name, "description": stage.about, "args": args,
            "secrets": needs(&taken.secrets), "ssh": needs(&taken.agents),
        })));
    }
    let mut text = String::new();
    if !stage.name.is_empty() || !stage.about.is_empty() {
        let name = if stage.name.is_empty() { "(default)" } else { &stage.name };
        let mut rows = vec![vec!["TARGET:".to_owned(), name.to_owned()]];
        if !stage.about.is_empty() {
            rows.push(vec!["DESCRIPTION:".into(), stage.about.clone()]);
        }
        text += &(table(rows, 1) + "\n");
    }
    if !args.is_empty() {
        let head = ["BUILD ARG", "VALUE", "DESCRIPTION"].map(str::to_owned).to_vec();
        let rows = args.into_iter().map(|(name, value, about)| vec![name, value, about]);
        text += &(table(std::iter::once(head).chain(rows), 3) + "\n");
    }
    for (title, all) in [("SECRET", taken.secrets), ("SSH", taken.agents)] {
        if all.is_empty() {
            continue;
        }
        let head = vec![title.to_owned(), "REQUIRED".to_owned()];
        let word = |needed| if needed { "true" } else { "" };
        let rows = all.into_iter().map(|(name, needed)| vec![name, word(needed).to_owned()]);
        text += &(table(std::iter::once(head).chain(rows), 3) + "\n");
    }
    Ok(text)
}

/// Whether an ARG before the first FROM is used by one.
fn used(about: &About<'_>, name: &str) -> bool {
    let names =
        |text: &str| text.contains(&format!("${name}")) || text.contains(&format!("${{{name}"));
    let mut stages = about.file.stages.iter();
    stages.any(|stage| names(&stage.from) || stage.platform.as_deref().is_some_and(names))
}

/// What stages take from outside.
#[derive(Default)]
struct Taken {
    args: Vec<(String, String, String)>,
    secrets: Vec<(String, bool)>,
    agents: Vec<(String, bool)>,
}

impl Taken {
    fn visit(&mut self, file: &Dockerfile, at: usize, seen: &mut Vec<bool>) {
        if std::mem::replace(&mut seen[at], true) {
            return;
        }
        let named = |name: &str| {
            let name = name.to_ascii_lowercase();
            let found = file.stages[..at].iter().rposition(|stage| stage.name == name);
            found.or_else(|| name.parse().ok().filter(|n| *n < at))
        };
        let stage = &file.stages[at];
        // A number is no base's name.
        let base = file.stages[..at]
            .iter()
            .rposition(|s| !s.name.is_empty() && s.name == stage.from.to_ascii_lowercase());
        let mut below: Vec<usize> = base.into_iter().collect();
        for step in &stage.steps {
            match &step.what {
                Instruction::Arg(args) => self.args.extend(args.iter().map(|arg| {
                    (arg.name.clone(), arg.value.clone().unwrap_or_default(), arg.about.clone())
                })),
                Instruction::Copy(copy) => below.extend(copy.from.as_deref().and_then(named)),
                Instruction::Run(run) => {
                    let as_is = |text: &str| Ok(text.to_owned());
                    for mount in run.mounts.iter().filter_map(|m| m.read(&as_is).ok()) {
                        below.extend(mount.from.as_deref().and_then(named));
                        let add = |all: &mut Vec<(String, bool)>, usual: &str| {
                            let name = mount.id.clone().unwrap_or_else(|| usual.to_owned());
                            match all.iter_mut().find(|(known, _)| *known == name) {
                                Some((_, needed)) => *needed |= mount.required,
                                None => all.push((name, mount.required)),
                            }
                        };
                        let file = mount.target.as_deref().unwrap_or_default();
                        match mount.kind {
                            MountKind::Secret => {
                                add(&mut self.secrets, file.rsplit('/').next().unwrap_or_default());
                            }
                            MountKind::Ssh => add(&mut self.agents, "default"),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        for stage in below {
            self.visit(file, stage, seen);
        }
    }
}

/// Columns with so many blanks between them.
fn table(rows: impl IntoIterator<Item = Vec<String>>, gap: usize) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| {
        rows.iter().filter_map(|row| row.get(i)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (i, cell) in row.iter().enumerate() {
            let last = i + 1 == row.len();
            let pad = if last { 0 } else { widths[i] + gap };
            let _ = write!(text, "{cell:<pad$}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::dockerfile;

    const TEXT: &str = "ARG BASE=busybox\n\
        # build makes it\nFROM $BASE AS build\nARG VERSION=1\n\
        RUN --mount=type=secret,id=token,required --mount=type=ssh make\n\
        FROM scratch\nCOPY --from=build /x /x\nCMD echo\n";

    fn answer(typed: &str, target: &str, warnings: &[Warning]) -> Answer {
        let file = dockerfile::parse(TEXT.as_bytes(), "Dockerfile").unwrap();
        let call = Call::new(typed, false).unwrap().unwrap();
        let (text, name) = (TEXT.as_bytes(), "Dockerfile");
        ask(&call, &About { file: &file, text, name, target, warnings }).unwrap()
    }

    #[test]
    fn targets_are_the_stages() {
        let text = answer("targets", "", &[]).text;
        assert_eq!(text, "TARGET    DESCRIPTION\nbuild     makes it\n(default) \n");
        let json: Value =
            serde_json::from_str(&answer("targets,format=json", "", &[]).text).unwrap();
        assert_eq!(json["targets"][1]["default"], true);
        assert_eq!(json["targets"][0]["base"], "$BASE");
    }

    #[test]
    fn an_outline_is_what_a_target_takes() {
        let text = answer("outline", "build", &[]).text;
        assert_eq!(
            text,
            "TARGET:      build\nDESCRIPTION: makes it\n\n\
             BUILD ARG   VALUE     DESCRIPTION\nBASE        busybox   \nVERSION     1         \n\n\
             SECRET   REQUIRED\ntoken    true\n\nSSH       REQUIRED\ndefault   \n\n"
        );
        assert!(answer("outline", "", &[]).text.contains("VERSION"));
    }

    #[test]
    fn a_check_shows_where() {
        let text = "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals";
        let warning = Warning { check: "JSONArgsRecommended", text: text.into(), lines: 8..=8 };
        let found = answer("check", "", &[warning]);
        assert!(!found.well);
        assert_eq!(
            found.text,
            format!(
                "Check complete, 1 warning has been found!\n\n\
                 WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\n\
                 {text}\nDockerfile:8\n--------------------\n   6 |     FROM scratch\n   7 |     COPY --from=build /x /x\n   8 | >>> CMD echo\n   9 |     \n--------------------\n"
            )
        );
        let fine = answer("check", "", &[]);
        assert_eq!((fine.text.as_str(), fine.well), ("Check complete, no warnings found.\n", true));
    }
}
