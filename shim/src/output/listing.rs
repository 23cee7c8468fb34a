//! Lists: a table, ids only, a template a row, or JSON a line.

use serde_json::{Map, Value};

use crate::error::Result;
use crate::output::{Data, Template, table, text};

/// A column: its heading, and the field of a row it shows.
pub type Column = (&'static str, &'static str);

/// How a list is shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// docker's own columns.
    Table,
    /// Ids only.
    Quiet,
    /// `json`: an object a line.
    Json,
    /// A template a row.
    Rows(Template),
    /// `table TEMPLATE`: a template a row, in columns with headings.
    Columns(Template),
}

impl Format {
    /// `--format` and `-q`; a template wins over `-q`.
    pub fn of(typed: Option<&str>, quiet: bool) -> Result<Self> {
        match typed {
            None | Some("" | "table") if quiet => Ok(Self::Quiet),
            None | Some("" | "table") => Ok(Self::Table),
            Some("json") => Ok(Self::Json),
            Some(other) => match other.strip_prefix("table") {
                Some(columns) => Ok(Self::Columns(Template::parse(&unescape(columns.trim()))?)),
                None => Ok(Self::Rows(Template::parse(&unescape(other))?)),
            },
        }
    }

    /// Whether the template can be filled in at all, though there be no row; `all` as in [`listing`].
    pub fn check(&self, all: &[Column]) -> Result<()> {
        let (Self::Rows(template) | Self::Columns(template)) = self else { return Ok(()) };
        let mut row: Map<String, Value> =
            all.iter().map(|(_, field)| ((*field).to_owned(), "".into())).collect();
        row.insert("__labels".to_owned(), Map::new().into());
        template.row(&row)?;
        Ok(())
    }

    /// [`Format::of`] where docker also knows `raw`: `whole` is its template, `id` the one with `-q`.
    pub fn with_raw(typed: Option<&str>, quiet: bool, whole: &str, id: &str) -> Result<Self> {
        match typed {
            Some("raw") => Ok(Self::Rows(Template::parse(if quiet { id } else { whole })?)),
            typed => Self::of(typed, quiet),
        }
    }
}

/// `\t` and `\n` typed in a shell's plain quotes.
fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

/// Rows of named fields → text. `all` are the headings of every field a template may name;
/// `columns` are those of the plain table; `id` is what `-q` shows.
pub fn listing(
    rows: &[Map<String, Value>],
    format: &Format,
    columns: &[Column],
    all: &[Column],
    id: &str,
) -> Result<String> {
    let cell = |row: &Map<String, Value>, field: &str| row.get(field).map(text).unwrap_or_default();
    let mut out = String::new();
    match format {
        Format::Quiet => {
            for row in rows {
                out.push_str(&cell(row, id));
                out.push('\n');
            }
        }
        Format::Json => {
            for row in rows {
                out.push_str(&Data::row(row).json());
                out.push('\n');
            }
        }
        Format::Table => {
            let mut lines = columns.iter().map(|c| c.0).collect::<Vec<_>>().join("\t") + "\n";
            for row in rows {
                let cells: Vec<String> = columns.iter().map(|c| cell(row, c.1)).collect();
                lines.push_str(&(cells.join("\t") + "\n"));
            }
            out = table::tabbed(&lines);
        }
        Format::Rows(template) => {
            for row in rows {
                out.push_str(&template.row(row)?);
                out.push('\n');
            }
        }
        Format::Columns(template) => {
            let mut lines = String::new();
            for row in rows {
                lines.push_str(&(template.row(row)? + "\n"));
            }
            let known = all.iter().map(|(heading, field)| ((*field).into(), (*heading).into()));
            let headings = template.headings(known)?;
            out = table::tabbed(&format!("{headings}\n{lines}"));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_format() {
        let row = json!({"ID": "1", "Names": "web", "__labels": {}});
        let rows = [row.as_object().unwrap().clone()];
        let show = |typed: Option<&str>, quiet| {
            let format = Format::of(typed, quiet).unwrap();
            let columns = [("CONTAINER ID", "ID"), ("NAMES", "Names")];
            listing(&rows, &format, &columns, &columns, "ID").unwrap()
        };
        assert_eq!(show(None, true), "1\n");
        assert_eq!(show(None, false), "CONTAINER ID   NAMES\n1              web\n");
        assert_eq!(show(Some("json"), false), "{\"ID\":\"1\",\"Names\":\"web\"}\n");
        assert_eq!(show(Some("{{.Names}}\\t{{.ID}}"), false), "web\t1\n");
        assert_eq!(
            show(Some("table {{.Names}}\\t{{.ID}}"), false),
            "NAMES     CONTAINER ID\nweb       1\n"
        );
    }
}
