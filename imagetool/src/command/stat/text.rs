//! What `stat` prints for people: umoci's text, line for line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dhow_image::config::{ImageConfig, RunConfig};
use dhow_image::manifest::Descriptor;
use dhow_image::platform::Platform;
use dhow_image::words::size;

use super::{Step, Told};

/// So much of a descriptor's own data is shown.
const SHOWN: usize = 256;

impl Told {
    /// The whole text.
    pub(super) fn text(&self) -> String {
        let mut out = Text::default();
        out.line(0, "== MANIFEST ==");
        let (manifest, extra) = (&self.manifest.read, &self.manifest.descriptor.extra);
        out.value(0, "Schema Version", &[manifest.schema_version.to_string()]);
        out.value(0, "Media Type", &[&manifest.media_type]);
        let whole: serde_json::Value =
            serde_json::from_str(self.manifest.blob.get()).unwrap_or_default();
        let kind = whole["artifactType"].as_str().or_else(|| extra.get("artifactType")?.as_str());
        if let Some(kind) = kind.filter(|k| !k.is_empty()) {
            out.value(0, "Artifact Type", &[kind]);
        }
        out.line(0, "Config:");
        out.descriptor(1, &manifest.config);
        if !manifest.layers.is_empty() {
            out.line(0, "Layers:");
            manifest.layers.iter().for_each(|layer| out.descriptor(1, layer));
        }
        if let Ok(subject) = serde_json::from_value::<Descriptor>(whole["subject"].clone()) {
            out.line(0, "Subject:");
            out.descriptor(1, &subject);
        }
        out.map(0, "Annotations", &manifest.annotations);
        out.descriptor(0, &self.manifest.descriptor);
        if let Some(config) = &self.config {
            out.line(0, "\n== CONFIG ==");
            config.read.iter().for_each(|image| out.image(image));
            out.descriptor(0, &config.descriptor);
        }
        if let Some(history) = &self.history {
            out.line(0, "\n== HISTORY ==");
            out.history(history);
        }
        out.0
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, depth: usize, text: &str) {
        self.0.extend(std::iter::repeat_n('\t', depth));
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn value(&mut self, depth: usize, key: &str, values: &[impl AsRef<str>]) {
        let quoted: Vec<String> = values
            .iter()
            .map(AsRef::as_ref)
            .map(|v| if v.contains(',') { quote(v) } else { shown(v, true) })
            .collect();
        self.line(depth, &format!("{key}: {}", quoted.join(", ")));
    }

    fn list(&mut self, depth: usize, key: &str, words: &[String]) {
        if words.is_empty() {
            return self.line(depth, &format!("{key}: (empty)"));
        }
        self.line(depth, &format!("{key}:"));
        for word in words {
            self.line(depth + 1, &shown(word, true));
        }
    }

    fn map(&mut self, depth: usize, key: &str, map: &BTreeMap<String, String>) {
        if map.is_empty() {
            return;
        }
        self.line(depth, &format!("{key}:"));
        for (key, value) in map {
            self.value(depth + 1, &shown(key, true), &[value]);
        }
    }

    fn descriptor(&mut self, depth: usize, d: &Descriptor) {
        self.line(depth, "Descriptor:");
        let depth = depth + 1;
        self.value(depth, "Media Type", &[&d.media_type]);
        if let Some(kind) = d.extra.get("artifactType").and_then(|k| k.as_str()) {
            self.value(depth, "Artifact Type", &[kind]);
        }
        self.value(depth, "Digest", &[d.digest.to_string()]);
        self.value(depth, "Size", &[size(d.size, 4)]);
        d.platform.iter().for_each(|p| self.platform(depth, p));
        if !d.urls.is_empty() {
            self.list(depth, "URLs", &d.urls);
        }
        self.map(depth, "Annotations", &d.annotations);
        if let Ok(Some(data)) = d.embedded("data") {
            self.data(depth, &data);
        }
    }

    fn data(&mut self, depth: usize, data: &[u8]) {
        if data.is_empty() {
            return self.line(depth, "Data: (empty)");
        }
        self.line(depth, &format!("Data: ({} bytes)", data.len()));
        let first = &data[..data.len().min(SHOWN)];
        for (row, bytes) in first.chunks(16).enumerate() {
            let mut line = format!("{:04x}: ", row * 16);
            for at in 0..16 {
                if at != 0 && at % 2 == 0 {
                    line.push(' ');
                }
                match bytes.get(at) {
                    Some(byte) => {
                        let _ = write!(line, "{byte:02x}");
                    }
                    None => line.push_str("  "),
                }
            }
            line.push_str("  ");
            line.extend(
                bytes.iter().map(|&b| if (0x20..0x7f).contains(&b) { b as char } else { '.' }),
            );
            self.line(depth + 1, &line);
        }
        if data.len() > SHOWN {
            let more = data.len() - SHOWN;
            self.line(depth + 1, &format!("....  (extra {more} bytes omitted)"));
        }
    }

    fn platform(&mut self, depth: usize, p: &Platform) {
        self.line(depth, "Platform:");
        self.value(depth + 1, "OS", &[&p.os]);
        if !p.os_version.is_empty() {
            self.value(depth + 1, "OS Version", &[&p.os_version]);
        }
        if !p.os_features.is_empty() {
            self.value(depth + 1, "OS Features", &p.os_features);
        }
        let variant = match p.variant.as_str() {
            "" => String::new(),
            variant => format!(" ({})", shown(variant, false)),
        };
        self.line(depth + 1, &format!("Architecture: {}{variant}", shown(&p.architecture, true)));
    }

    fn image(&mut self, image: &ImageConfig) {
        if let Some(created) = &image.created {
            self.value(0, "Created", &[created]);
        }
        self.value(0, "Author", &[&image.author]);
        self.platform(0, &image.platform());
        self.run(&image.config);
    }

    fn run(&mut self, run: &RunConfig) {
        let escaped = if run.args_escaped { " (escaped)" } else { "" };
        self.line(0, "Image Config:");
        self.value(1, "User", &[&run.user]);
        if let Some(entrypoint) = run.entrypoint.as_ref().filter(|e| !e.is_empty()) {
            self.list(1, &format!("Entrypoint{escaped}"), entrypoint);
        }
        self.list(1, &format!("Command{escaped}"), run.cmd.as_deref().unwrap_or_default());
        if !run.working_dir.is_empty() {
            self.value(1, "Working Directory", &[&run.working_dir]);
        }
        if !run.env.is_empty() {
            self.list(1, "Environment", &run.env);
        }
        if !run.stop_signal.is_empty() {
            self.value(1, "Stop Signal", &[&run.stop_signal]);
        }
        for (key, set) in [("Exposed Ports", &run.exposed_ports), ("Volumes", &run.volumes)] {
            if !set.is_empty() {
                self.value(1, key, &set.iter().collect::<Vec<_>>());
            }
        }
        self.map(1, "Labels", &run.labels);
    }

    fn history(&mut self, steps: &[Step]) {
        let mut rows =
            vec![["LAYER", "CREATED", "CREATED BY", "SIZE", "COMMENT"].map(str::to_owned)];
        for Step { layer, history, .. } in steps {
            let none = || "<none>".to_owned();
            rows.push([
                layer.as_ref().map_or_else(none, |l| l.digest.to_string()),
                shown(history.created.as_deref().unwrap_or("<none>"), false),
                shown(&history.created_by, false),
                layer.as_ref().map_or_else(none, |l| size(l.size, 4)),
                shown(&history.comment, false),
            ]);
        }
        let width = |c: usize| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0).max(3);
        let widths: [usize; 4] = std::array::from_fn(width);
        for row in &rows {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$} "));
            let line = cells.collect::<String>() + &row[4];
            self.line(0, &line);
        }
    }
}

/// Go's quotes where they are needed; with `precise` also around blanks and nothing.
fn shown(text: &str, precise: bool) -> String {
    let quoted = quote(text);
    let plain = quoted.len() == text.len() + 2 && quoted[1..].starts_with(text);
    if !plain || precise && (text.is_empty() || text.contains(char::is_whitespace)) {
        quoted
    } else {
        text.to_owned()
    }
}

/// A string literal of Go's.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            '\0'..='\x1f' | '\x7f' => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if hidden(c) && u32::from(c) < 0x10000 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c if hidden(c) => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What a terminal shows as nothing, or obeys.
fn hidden(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_where_it_must_be() {
        assert_eq!(shown("a b", false), "a b");
        assert_eq!(shown("a b", true), "\"a b\"");
        assert_eq!(shown("", false), "");
        assert_eq!(shown("a\tb\u{b}", false), "\"a\\tb\\v\"");
        assert_eq!(shown("ü\u{202e}\u{1b}[1m", false), "\"ü\\u202e\\x1b[1m\"");
    }
}
