//! `dhow history`.

use clap::Args;
use dhow_image::history::{Step, history};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::cli::switch;
use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{local, of_image, platform};
use crate::output::{Column, Format, Output, ellipsis, human, listing};

/// Show how an image was made
#[derive(Debug, Args)]
pub struct History {
    /// A Go template a row, table TEMPLATE, or json
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// Sizes and ages for people (--human=false: bytes and times)
    #[arg(short = 'H', long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value = "true", default_missing_value = "true", value_parser = switch)]
    pub human: bool,
    /// Whole ids and commands
    #[arg(long)]
    pub no_trunc: bool,
    /// os/arch[/variant]
    #[arg(long)]
    pub platform: Option<String>,
    /// Ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Name or id
    #[arg(value_name = "IMAGE")]
    pub image: String,
}

const COLUMNS: [Column; 6] = [
    ("IMAGE", "ID"),
    ("CREATED", "CreatedSince"),
    ("CREATED BY", "CreatedBy"),
    ("SIZE", "Size"),
    ("COMMENT", "Comment"),
    ("CREATED AT", "CreatedAt"),
];
const WIDTH: usize = 45;
/// 2000-01-01: what claims to be older has no age, as in docker.
const EPOCH: i64 = 946_684_800;

impl History {
    /// A row a step, the newest first.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.text(host).map(|text| out.text(&text));
        out.end(result)
    }

    fn text(&self, host: &Host) -> Result<String> {
        let format = Format::of(self.format.as_deref(), self.quiet)?;
        let wanted = platform::parse(self.platform.as_deref())?;
        let store = host.images()?;
        let image = local(store, &self.image)?;
        platform::check(&image, &self.image, wanted.as_ref())?;
        let now = Timestamp::now();
        let steps = history(store, &image).map_err(of_image)?;
        let rows: Vec<_> = steps.iter().map(|step| self.row(step, now)).collect();
        let mut columns = COLUMNS[..5].to_vec();
        if !self.human {
            columns[1] = COLUMNS[5];
        }
        listing(&rows, &format, &columns, &COLUMNS, "ID")
    }

    fn row(&self, step: &Step, now: Timestamp) -> Map<String, Value> {
        // An image says what it likes: no control character of it reaches the terminal.
        let tame = |text: &str| -> String {
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
        };
        let at = step.created.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
        let at = at.unwrap_or(Timestamp::UNIX_EPOCH);
        let stamp = human::rfc3339(at);
        let since = match (self.human, at.as_second() <= EPOCH) {
            (false, _) => stamp.clone(),
            (true, true) => String::new(),
            (true, false) => human::ago(at, now),
        };
        let id = step.id.as_ref().map_or_else(
            || "<missing>".to_owned(),
            |id| if self.no_trunc { id.to_string() } else { id.short().to_owned() },
        );
        let by = tame(&step.created_by);
        let by = if self.no_trunc { by } else { ellipsis(&by, WIDTH) };
        let size = if self.human { human::short_size(step.size) } else { step.size.to_string() };
        let fields: [(&str, Value); 6] = [
            ("Comment", tame(&step.comment).into()),
            ("CreatedAt", stamp.into()),
            ("CreatedBy", by.into()),
            ("CreatedSince", since.into()),
            ("ID", id.into()),
            ("Size", size.into()),
        ];
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}
