//! Takes out of an answer what its run alone decides: ids, times, paths, the machine's
//! processors, and docker's way of saying who speaks.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Cmd, fixtures};

/// What is known beforehand.
pub struct Normal {
    /// Text → what stands for it, the longest first.
    names: Vec<(String, String)>,
    /// Digests that are the same everywhere.
    fixed: Vec<String>,
}

impl Normal {
    /// Of a run in `dir` that keeps its data in `roots`.
    pub fn new(dir: &Path, roots: &[PathBuf]) -> Self {
        let mut names = vec![
            (dir.display().to_string(), "<dir>".to_owned()),
            (fixtures::archives().display().to_string(), "<images>".to_owned()),
        ];
        names.extend(roots.iter().map(|r| (r.display().to_string(), "<root>".to_owned())));
        names.extend(machine());
        // busybox is another one from machine to machine.
        for (i, digest) in digests("busybox.tar").into_iter().enumerate() {
            let name = format!("busybox-{i}-");
            names.push((digest.clone(), format!("{name:.<64}")));
            names.push((digest[..12].to_owned(), format!("{name:.<12}")));
        }
        Self { names, fixed: digests("rich.tar") }
    }

    /// stdout and stderr of one run.
    pub fn both(&self, stdout: &str, stderr: &str) -> (String, String) {
        let mut seen = Vec::new();
        let (stdout, stderr) = (self.text(stdout, &mut seen), self.text(stderr, &mut seen));
        (stdout, stderr.lines().filter_map(spoken).map(|l| l + "\n").collect())
    }

    fn text(&self, text: &str, seen: &mut Vec<String>) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.names {
            text = text.replace(from, to);
        }
        let text = self.ids(&text, seen);
        let text = devices(&times(&text));
        let aged = ages(&text);
        if aged == text { aged } else { squeezed(&aged) }
    }

    /// Hex words of 64 and of 12 digits: numbered as they come, in their own width.
    fn ids(&self, text: &str, seen: &mut Vec<String>) -> String {
        let mut out = String::new();
        for word in split(text, |c| c.is_ascii_alphanumeric()) {
            let hex = word.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            let known = self.fixed.iter().any(|f| f.starts_with(word));
            if !hex || known || !matches!(word.len(), 12 | 64) {
                out.push_str(word);
                continue;
            }
            let at = seen.iter().position(|s| s.starts_with(word) || word.starts_with(s.as_str()));
            let number = at.unwrap_or(seen.len());
            match at {
                Some(at) if word.len() > seen[at].len() => word.clone_into(&mut seen[at]),
                Some(_) => {}
                None => seen.push(word.to_owned()),
            }
            let name = format!("id-{number}");
            let _ = write!(out, "{name:.<width$}", width = word.len());
        }
        out
    }
}

/// What is told of the machine's processors.
fn machine() -> [(String, String); 2] {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap();
    // Those that this process may run on, as for docker's.
    let cpus = Cmd::new("nproc").run().ok().out();
    let only = |cpus: &str| format!("to {cpus}.00, as there are only {cpus} CPUs");
    [
        (only(&cpus), only("<cpus>")),
        (format!(", available: {online}"), ", available: <cpus>\n".to_owned()),
    ]
}

/// What networks make up: Ethernet addresses, prefixes of unique local ones, and the name of the
/// default network's bridge, which follows from the world.
fn devices(text: &str) -> String {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut out = String::new();
    for word in split(text, |c| c.is_ascii_alphanumeric() || c == ':' || c == '-') {
        let parts: Vec<&str> = word.split(':').collect();
        let is_hex = |part: &str, most: usize| part.len() <= most && part.chars().all(hex);
        if parts.len() == 6 && parts.iter().all(|p| p.len() == 2 && is_hex(p, 2)) {
            out.push_str("<mac>");
        } else if parts.len() > 3
            && parts[0].len() == 4
            && parts[0].starts_with("fd")
            && parts[..3].iter().all(|p| !p.is_empty() && is_hex(p, 4))
        {
            let _ = write!(out, "<local>:{}", parts[3..].join(":"));
        } else if word.strip_prefix("dh-").is_some_and(|w| w.len() == 8 && w.chars().all(hex)) {
            out.push_str("docker0");
        } else {
            out.push_str(word);
        }
    }
    out
}

/// The digests of a fixture: of its configuration, and of its layers.
fn digests(archive: &str) -> Vec<String> {
    let mut tar =
        tar::Archive::new(std::fs::File::open(fixtures::archives().join(archive)).unwrap());
    for entry in tar.entries().unwrap() {
        let entry = entry.unwrap();
        if entry.path().unwrap() == Path::new("manifest.json") {
            let manifest: Value = serde_json::from_reader(entry).unwrap();
            let layers = manifest[0]["Layers"].as_array().unwrap().iter();
            let all = std::iter::once(&manifest[0]["Config"]).chain(layers);
            return all.map(|v| v.as_str().unwrap()[..64].to_owned()).collect();
        }
    }
    panic!("{archive} has no manifest");
}

/// Runs of characters that are in, and those that are not.
fn split(text: &str, is_in: impl Fn(char) -> bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let inside = is_in(first);
        let end = rest.find(|c| is_in(c) != inside).unwrap_or(rest.len());
        parts.push(&rest[..end]);
        rest = &rest[end..];
    }
    parts
}

/// `2026-01-02T03:04:05.678Z` and `2026-01-02 03:04:05 +0000 UTC`, unless they are of old.
fn times(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("20") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let pattern = "dddd-dd-dd_dd:dd:dd";
        let fits = from.len() >= pattern.len()
            && from.bytes().zip(pattern.bytes()).all(|(b, p)| match p {
                b'd' => b.is_ascii_digit(),
                b'_' => b == b'T' || b == b' ',
                _ => b == p,
            });
        if !fits || from.starts_with("2001-") {
            out.push_str("20");
            rest = &from[2..];
            continue;
        }
        let tail = &from[pattern.len()..];
        let fraction = tail.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(tail.len());
        out.push_str(if from.as_bytes()[10] == b'T' { "<time>" } else { "<stamp>" });
        if fraction > 0 {
            out.push_str(".n");
        }
        rest = &tail[fraction..];
    }
    out + rest
}

/// `3 seconds`, `About a minute`, `Less than a second`.
fn ages(text: &str) -> String {
    let units = ["second", "minute", "hour", "day", "week", "month", "year"];
    let mut out =
        text.replace("Less than a second", "<ago>").replace("Less than 1 second", "<ago>");
    for unit in ["minute", "hour"] {
        for word in ["About a ", "About an "] {
            out = out.replace(&format!("{word}{unit}"), "<ago>");
        }
    }
    for unit in units {
        let mut done = String::new();
        let mut rest = out.as_str();
        while let Some(at) = rest.find(&format!(" {unit}")) {
            let number = rest[..at].rfind(|c: char| !c.is_ascii_digit()).map_or(0, |i| i + 1);
            let mut end = at + 1 + unit.len();
            if rest[end..].starts_with('s') {
                end += 1;
            }
            if number == at {
                done.push_str(&rest[..end]);
            } else {
                done.push_str(&rest[..number]);
                done.push_str("<ago>");
            }
            rest = &rest[end..];
        }
        done.push_str(rest);
        out = done;
    }
    out
}

/// Columns three spaces apart: their widths hang on the ages in them.
fn squeezed(text: &str) -> String {
    let mut out = String::new();
    for part in split(text, |c| c == ' ') {
        out.push_str(if part.starts_with("   ") { "   " } else { part });
    }
    out
}

/// A line of stderr without its speaker; none for docker's hint at its own help.
fn spoken(line: &str) -> Option<String> {
    let mut line = line.trim_end();
    for speaker in ["docker: ", "dhow: ", "Error response from daemon: ", "Error: ", "error: "] {
        line = line.strip_prefix(speaker).unwrap_or(line);
    }
    let hint = ["See 'docker", "Run 'docker", "SRun 'docker", "Usage:  docker"]
        .iter()
        .any(|h| line.starts_with(h));
    // Each calls itself by its own name.
    let line = line.replace("'docker ", "'dhow ").replace("\"docker ", "\"dhow ");
    (!line.is_empty() && !hint).then_some(line)
}
