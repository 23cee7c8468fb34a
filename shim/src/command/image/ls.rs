//! `dhow images`.

use clap::Args;
use dhow_image::reference::Reference;
use dhow_image::store::{Store, Stored};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::options::time::moment;
use crate::output::{Column, Format, Output, human, listing};

/// List images
#[derive(Debug, Args)]
pub struct Ls {
    /// Intermediate ones too (there are none)
    #[arg(short, long)]
    pub all: bool,
    /// Add the DIGEST column
    #[arg(long)]
    pub digests: bool,
    /// Keep what matches KEY=VALUE: dangling, label, reference, before, since, until
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// A Go template a row, table TEMPLATE, or json
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// Whole ids
    #[arg(long)]
    pub no_trunc: bool,
    /// Ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Only this name, NAME[:TAG], with * and ?
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub name: Option<String>,
}

const COLUMNS: [Column; 5] = [
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
];

const MORE: [Column; 2] = [("DIGEST", "Digest"), ("CREATED AT", "CreatedAt")];

/// One line: an image under one of its names.
struct Row<'a> {
    image: &'a Stored,
    name: Option<&'a Reference>,
}

impl Ls {
    /// A row for each name, newest image first.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.text(host).map(|text| out.text(&text));
        out.end(result)
    }

    fn text(&self, host: &Host) -> Result<String> {
        let format = Format::of(self.format.as_deref(), self.quiet)?;
        let store = host.images()?;
        let mut images = store.images().map_err(of_image)?;
        images.sort_by_key(|i| std::cmp::Reverse(created(i)));
        let mut filters = Filters::parse(&self.filter, store)?;
        filters.references.extend(self.name.clone());
        let mut rows = Vec::new();
        for image in &images {
            if !filters.fits(store, image)? {
                continue;
            }
            let names = image.names.iter().filter(|n| filters.named(n));
            rows.extend(names.map(|name| Row { image, name: Some(name) }));
            if image.names.is_empty() && filters.references.is_empty() {
                rows.push(Row { image, name: None });
            }
        }
        let now = Timestamp::now();
        let mut shown: Vec<Map<String, Value>> = rows.iter().map(|r| self.row(r, now)).collect();
        if format == Format::Quiet {
            let mut seen = std::collections::HashSet::new();
            shown.retain(|row| seen.insert(row["ID"].to_string()));
        }
        let mut columns = COLUMNS.to_vec();
        if self.digests {
            columns.insert(2, ("DIGEST", "Digest"));
        }
        listing(&shown, &format, &columns, &[&COLUMNS[..], &MORE[..]].concat(), "ID")
    }

    fn row(&self, row: &Row, now: Timestamp) -> Map<String, Value> {
        const NONE: &str = "<none>";
        let image = row.image;
        let id = image.id();
        let at = created(image);
        let digest =
            image.repo_digests.iter().find(|d| row.name.is_none_or(|n| n.name() == d.name()));
        let digest = digest.and_then(|d| d.digest()).map(ToString::to_string);
        let of_digest = || image.repo_digests.first().map(Reference::familiar_name);
        let repository = row.name.map(Reference::familiar_name).or_else(of_digest);
        let or_none = |text: Option<String>| Value::from(text.unwrap_or_else(|| NONE.to_owned()));
        let fields: [(&str, Value); 11] = [
            ("Containers", "N/A".into()),
            ("CreatedAt", human::stamp(at).into()),
            ("CreatedSince", human::ago(at, now).into()),
            ("Digest", or_none(digest)),
            ("ID", if self.no_trunc { id.to_string() } else { id.hex()[..12].to_owned() }.into()),
            ("Repository", or_none(repository)),
            ("SharedSize", "N/A".into()),
            ("Size", human::short_size(image.size).into()),
            ("Tag", or_none(row.name.and_then(Reference::tag).map(str::to_owned))),
            ("UniqueSize", "N/A".into()),
            ("VirtualSize", human::short_size(image.size).into()),
        ];
        fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }
}

fn created(image: &Stored) -> Timestamp {
    image.created.as_deref().and_then(|text| text.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `--filter`, parsed: every key must fit, references are alternatives.
#[derive(Default)]
struct Filters {
    dangling: Option<bool>,
    labels: Vec<String>,
    references: Vec<String>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
}

impl Filters {
    fn parse(typed: &[String], store: &Store) -> Result<Self> {
        let mut filters = Self::default();
        for text in typed {
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| Error::usage(format!("--filter \"{text}\": write KEY=VALUE")))?;
            let find = || store.find(value).map(|i| created(&i)).map_err(of_image);
            match key {
                "dangling" => {
                    let on = crate::cli::switch(value)
                        .map_err(|e| Error::usage(format!("--filter \"{text}\": {e}")))?;
                    filters.dangling = Some(on);
                }
                "label" => filters.labels.push(value.to_owned()),
                "reference" => filters.references.push(value.to_owned()),
                "before" => filters.before = Some(find()?),
                "since" => filters.since = Some(find()?),
                "until" => {
                    filters.before = Some(moment("--filter until", value, Timestamp::now())?);
                }
                other => {
                    return Err(Error::usage(format!(
                        "invalid filter '{other}'; use dangling, label, reference, before, since or until"
                    )));
                }
            }
        }
        Ok(filters)
    }

    fn fits(&self, store: &Store, image: &Stored) -> Result<bool> {
        let at = created(image);
        if self.dangling.is_some_and(|wanted| wanted != image.names.is_empty())
            || self.before.is_some_and(|before| at >= before)
            || self.since.is_some_and(|since| at <= since)
        {
            return Ok(false);
        }
        if self.labels.is_empty() {
            return Ok(true);
        }
        let labels = image.config(store).map_err(of_image)?.config.labels;
        Ok(self.labels.iter().all(|wanted| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
            None => labels.contains_key(wanted),
        }))
    }

    fn named(&self, name: &Reference) -> bool {
        let fits = |pattern: &String| {
            let tagged = pattern.rsplit('/').next().is_some_and(|last| last.contains(':'));
            let texts = if tagged {
                [name.familiar(), name.to_string()]
            } else {
                [name.familiar_name(), name.name()]
            };
            texts.iter().any(|text| matches(pattern.as_bytes(), text.as_bytes()))
        };
        self.references.is_empty() || self.references.iter().any(fits)
    }
}

/// Shell patterns: `*` and `?` stop at a slash, as Go's path.Match.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len()
            && (pattern[p] == text[t] || pattern[p] == b'?' && text[t] != b'/')
        {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star.filter(|(_, from)| text[*from] != b'/') {
            star = Some((at, from + 1));
            p = at + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stop_at_slashes() {
        for (pattern, text, want) in [
            ("busybox", "busybox", true),
            ("busy*", "busybox", true),
            ("*box", "busybox", true),
            ("b?sybox", "busybox", true),
            ("*", "a/b", false),
            ("*/b", "a/b", true),
            ("*:latest", "busybox:latest", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), want, "{pattern} {text}");
        }
    }
}
