//! `list`: the containers under `--root`.

use super::World;
use super::state::Document;
use crate::error::{Error, Result};
use crate::log::html_safe;

/// How a list is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            _ => Err("invalid format option: one of table and json".to_owned()),
        }
    }
}

/// Lists them; with `quiet`, by id alone.
pub fn list(format: Format, quiet: bool, world: &World) -> Result<String> {
    let all = world.store.list(&world.log)?;
    // As runc: a root that was chosen is expected to be there.
    if all.is_empty() && world.chosen {
        world.store.check()?;
    }
    let items = all.iter().map(|(dir, record)| Document::of(dir, record));
    let items: Vec<Document<'_>> = items.collect::<Result<_>>()?;
    match (quiet, format) {
        (true, _) => Ok(items.iter().flat_map(|item| [item.id, "\n"]).collect()),
        (false, Format::Table) => Ok(table(&items)),
        // Go's JSON of a list that was never put anything into.
        (false, Format::Json) if items.is_empty() => Ok("null\n".to_owned()),
        (false, Format::Json) => json(&items).map(html_safe),
    }
}

/// A line of JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map(|text| text + "\n").map_err(|e| Error::rule(e.to_string()))
}

/// Columns of at least 12, three apart, as Go's tabwriter sets them for runc.
fn table(items: &[Document<'_>]) -> String {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(items.iter().map(|item| {
        let pid = item.pid.to_string();
        [item.id, &pid, &item.status, item.bundle, item.created, item.owner].map(str::to_owned)
    }));
    let width = |column: usize| {
        let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        (longest + 3).max(12)
    };
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (field, width) in row.iter().zip(&widths) {
            text.push_str(field);
            text.extend(std::iter::repeat_n(' ', width - field.chars().count()));
        }
        text.push_str(&row[5]);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_runcs() {
        let item = Document {
            version: "1.3.0",
            id: "a-rather-long-name",
            pid: 7,
            status: "running".into(),
            bundle: "/b",
            rootfs: "/b/rootfs",
            created: "2026-01-01T00:00:00.5Z",
            annotations: &std::collections::BTreeMap::new(),
            owner: "root",
        };
        assert_eq!(
            table(&[item]),
            "ID                   PID         STATUS      BUNDLE      CREATED                  OWNER\n\
             a-rather-long-name   7           running     /b          2026-01-01T00:00:00.5Z   root\n"
        );
        assert_eq!(
            table(&[]),
            "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
        );
    }
}
