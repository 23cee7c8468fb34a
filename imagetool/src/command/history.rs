//! `dhow-image history IMAGE`: how an image was made, newest step first.

use clap::Args;
use dhow_image::edit::Draft;
use dhow_image::history::{Step, history, of_source};
use dhow_image::source::{Inputs, with};
use dhow_image::transport::Place;
use dhow_image::{Error, Result};
use dhow_template::Template;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::cli::{RegistryFlags, go};
use crate::command::table::{human, table};
use crate::context::{Context, stdin};

/// Flags of `history`.
#[derive(Args)]
pub struct History {
    /// A name of the store, or a place such as docker://REF or oci:DIR:NAME
    #[arg(value_name = "IMAGE")]
    image: String,
    /// A Go template a step: .ID .CreatedAt .CreatedSince .CreatedBy .Size .Comment; or json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Sizes and ages for people (--human=false: bytes and times)
    #[arg(short = 'H', long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          action = clap::ArgAction::Set, default_value = "true", default_missing_value = "true", value_parser = go::switch)]
    human: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Which platform's image of a list
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// Wider commands are cut, as docker cuts them.
const WIDTH: usize = 45;

impl History {
    /// A line a step.
    pub fn run(self, cx: &Context) -> Result<()> {
        let format = self.format.as_deref().filter(|f| !f.is_empty() && *f != "json");
        if let Some(text) = format.filter(|f| f.starts_with("table ")) {
            let why = "columns are not laid out here: leave `table` away, or use --json";
            return Err(Error::usage("--format", text, why));
        }
        let format = format.map(Template::parse).transpose();
        let format = format
            .map_err(|e| Error::usage("--format", self.format.clone().unwrap_or_default(), e))?;
        let steps = self.steps(cx)?;
        if cx.json {
            return cx.print_json(&steps.iter().map(shape).collect::<Vec<Value>>());
        }
        let id = |step: &Step| match &step.id {
            Some(id) if self.no_trunc => id.to_string(),
            Some(id) => id.short().to_owned(),
            None => "<missing>".to_owned(),
        };
        if cx.quiet {
            return steps.iter().try_for_each(|step| cx.line(id(step)));
        }
        let now = Timestamp::now();
        let rows = steps.iter().map(|step| self.row(step, id(step), now));
        if self.format.as_deref() == Some("json") {
            return rows.into_iter().try_for_each(|row| cx.line(Value::Object(row)));
        }
        if let Some(template) = format {
            return rows.into_iter().try_for_each(|row| {
                let bad = |e| Error::usage("--format", self.format.clone().unwrap_or_default(), e);
                cx.line(template.row(&row).map_err(bad)?)
            });
        }
        let when = if self.human { "CREATED" } else { "CREATED AT" };
        let mut lines = vec![["IMAGE", when, "CREATED BY", "SIZE", "COMMENT"].map(str::to_owned)];
        for row in rows {
            let cell = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            lines.push(["ID", "CreatedSince", "CreatedBy", "Size", "Comment"].map(cell));
        }
        table(&lines).iter().try_for_each(|line| cx.line(line))
    }

    fn steps(&self, cx: &Context) -> Result<Vec<Step>> {
        let place: Place = self.image.parse()?;
        let platform = cx.platform(self.platform.as_deref())?;
        let store = cx.store_for([&place])?;
        // What is unpacked has a better size to tell.
        if let (Place::Store(name), None) = (&place, &platform) {
            return history(&store, &store.find(name)?);
        }
        let settings = cx.settings(&self.registry)?;
        with(&place, &Inputs::new(&store, &settings, stdin), |source| {
            let draft = Draft::of(source, platform.as_ref())?;
            of_source(&draft.config, &draft.manifest)
        })
    }

    fn row(&self, step: &Step, id: String, now: Timestamp) -> Map<String, Value> {
        // An image says what it likes: no control character of it reaches the terminal.
        let tame = |text: &str| -> String {
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
        };
        let at = step.created.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
        let stamp = at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default();
        let since = match at {
            Some(at) if self.human => ago(at, now),
            _ => stamp.clone(),
        };
        let mut by = tame(&step.created_by);
        if !self.no_trunc && by.chars().count() > WIDTH {
            by = by.chars().take(WIDTH - 1).chain(['…']).collect();
        }
        let size = if self.human { human(step.size) } else { step.size.to_string() };
        let fields = [
            ("Comment", tame(&step.comment)),
            ("CreatedAt", stamp),
            ("CreatedBy", by),
            ("CreatedSince", since),
            ("ID", id),
            ("Size", size),
        ];
        fields.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
    }
}

fn shape(step: &Step) -> Value {
    json!({
        "id": step.id, "created": step.created, "createdBy": step.created_by,
        "comment": step.comment, "size": step.size,
    })
}

/// As docker says it: `3 days ago`.
fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = (now.as_second() - then.as_second()).max(0);
    let (n, unit) = match seconds {
        s if s < 60 => return "less than a minute ago".to_owned(),
        s if s < 3600 => (s / 60, "minute"),
        s if s < 48 * 3600 => (s / 3600, "hour"),
        s if s < 14 * 86400 => (s / 86400, "day"),
        s if s < 60 * 86400 => (s / (7 * 86400), "week"),
        s if s < 730 * 86400 => (s / (30 * 86400), "month"),
        s => (s / (365 * 86400), "year"),
    };
    format!("{n} {unit}{} ago", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_rough() {
        let at = |s: i64| Timestamp::from_second(s).unwrap();
        for (seconds, text) in
            [(5, "less than a minute ago"), (60, "1 minute ago"), (86400 * 20, "2 weeks ago")]
        {
            assert_eq!(ago(at(0), at(seconds)), text);
        }
    }
}
