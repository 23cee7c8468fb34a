//! `dhow search`.

use clap::Args;
use dhow_image::registry::{Found, search};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::options::filters::Filters;
use crate::output::{Column, Format, Output, ellipsis, listing};

/// Look for images on Docker Hub, or in another registry
#[derive(Debug, Args)]
pub struct Search {
    /// Keep what matches KEY=VALUE: is-official, stars
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// A Go template a row, table TEMPLATE, or json
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// At most so many results, 1 to 100
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        allow_negative_numbers = true
    )]
    pub limit: i64,
    /// Whole descriptions
    #[arg(long)]
    pub no_trunc: bool,
    /// [HOST[:PORT]/]TERM; without a host, on Docker Hub
    #[arg(value_name = "TERM")]
    pub term: String,
}

const COLUMNS: [Column; 4] = [
    ("NAME", "Name"),
    ("DESCRIPTION", "Description"),
    ("STARS", "StarCount"),
    ("OFFICIAL", "IsOfficial"),
];
const USUAL: usize = 25;
const WIDTH: usize = 45;

impl Search {
    /// A row a repository, in the index's order.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.text(host).map(|text| out.text(&text));
        out.end(result)
    }

    fn text(&self, host: &Host) -> Result<String> {
        let format = Format::of(self.format.as_deref(), false)?;
        let filters = Filters::parse(&self.filter, &["is-official", "stars", "is-automated"])?;
        let official = filters.switch("is-official")?;
        let automated = filters.switch("is-automated")?;
        let mut stars = 0;
        for value in filters.values("stars") {
            let wrong = || Error::usage(format!("invalid filter 'stars={value}': write a number"));
            stars = stars.max(value.parse::<i64>().map_err(|_| wrong())?);
        }
        let limit = match self.limit {
            0 => USUAL,
            n @ 1..=100 => n as usize,
            n => {
                let text = format!("limit {n} is outside the range of [1, 100]");
                return Err(Error::usage(text));
            }
        };
        // As docker: nothing is called automated any more, so there are none.
        let found = match automated {
            Some(true) => Vec::new(),
            _ => search(&host.registry()?, &self.term, limit).map_err(of_image)?,
        };
        let json =
            format == Format::Json || self.format.as_deref().is_some_and(|f| f.contains("json ."));
        let keep = |f: &&Found| {
            official.is_none_or(|wanted| wanted == f.is_official) && f.star_count >= stars
        };
        let rows: Vec<_> = found.iter().filter(keep).map(|f| self.row(f, json)).collect();
        listing(&rows, &format, &COLUMNS, &COLUMNS, "Name")
    }

    fn row(&self, found: &Found, json: bool) -> Map<String, Value> {
        // An index says what it likes: no control character of it reaches the terminal.
        let tame = |text: &str| -> String {
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
        };
        let mut description = tame(&found.description);
        if !self.no_trunc {
            description = ellipsis(&description, WIDTH);
        }
        let official = match (found.is_official, json) {
            (yes, true) => yes.to_string(),
            (true, false) => "[OK]".to_owned(),
            (false, false) => String::new(),
        };
        let fields: [(&str, Value); 4] = [
            ("Description", description.into()),
            ("IsOfficial", official.into()),
            ("Name", tame(&found.name).into()),
            ("StarCount", found.star_count.to_string().into()),
        ];
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}
