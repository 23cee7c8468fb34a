//! `dhow images`.

use clap::Args;
use dhow_image::reference::Reference;
use dhow_image::store::{Store, Stored};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{local, of_image};
use crate::options::filters::Filters;
use crate::options::time::moment;
use crate::output::{Column, Format, Output, glob, human, listing};

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

const MORE: [Column; 6] = [
    ("DIGEST", "Digest"),
    ("CREATED AT", "CreatedAt"),
    ("CONTAINERS", "Containers"),
    ("SHARED SIZE", "SharedSize"),
    ("UNIQUE SIZE", "UniqueSize"),
    ("SIZE", "VirtualSize"),
];

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
        let chosen = self.chosen(host)?;
        let format = Format::of(chosen.as_deref(), self.quiet)?;
        let store = host.images()?;
        let mut images = store.images().map_err(of_image)?;
        images.sort_by_cached_key(|i| std::cmp::Reverse(created(i)));
        let wanted = Wanted::parse(&self.filter, self.name.as_deref(), store)?;
        let mut rows = Vec::new();
        for image in &images {
            if !wanted.fits(store, image)? {
                continue;
            }
            let mut names: Vec<&Reference> = Vec::new();
            for name in &image.names {
                if wanted.named(name)? {
                    names.push(name);
                }
            }
            names.sort();
            rows.extend(names.into_iter().map(|name| Row { image, name: Some(name) }));
            if image.names.is_empty() && wanted.references.is_empty() {
                rows.push(Row { image, name: None });
            }
        }
        let now = Timestamp::now();
        let digests = self.digests || chosen.is_some_and(|f| f.contains(".Digest"));
        // The plain table shows no time: a thousand times of the machine's zone are not for nothing.
        let plain = matches!(format, Format::Table | Format::Quiet);
        let shown: Vec<Map<String, Value>> =
            rows.iter().map(|r| self.row(r, now, (digests, plain))).collect();
        let mut columns = COLUMNS.to_vec();
        if self.digests {
            columns.insert(2, ("DIGEST", "Digest"));
        }
        let text = listing(&shown, &format, &columns, &[&COLUMNS[..], &MORE[..]].concat(), "ID");
        // The program is about to end: that frees them all at once.
        std::mem::forget((shown, rows));
        std::mem::forget(images);
        text
    }

    /// The format that counts: typed, or config.json's where a table would be printed.
    fn chosen(&self, host: &Host) -> Result<Option<String>> {
        let digest = if self.digests { "digest: {{.Digest}}\n" } else { "" };
        let raw = format!(
            "repository: {{{{.Repository}}}}\ntag: {{{{.Tag}}}}\n{digest}image_id: {{{{.ID}}}}\n\
             created_at: {{{{.CreatedAt}}}}\nvirtual_size: {{{{.Size}}}}\n"
        );
        Ok(match self.format.as_deref() {
            Some("raw") if self.quiet => Some("image_id: {{.ID}}".to_owned()),
            Some("raw") => Some(raw),
            Some(table) if self.digests && table.starts_with("table ") => {
                let whole = if table.contains(".Digest") { "" } else { "\t{{.Digest}}" };
                Some(format!("{table}{whole}"))
            }
            Some(typed) if !typed.is_empty() => Some(typed.to_owned()),
            _ if self.quiet => None,
            _ => host.settings.client()?.images_format.clone().filter(|f| !f.is_empty()),
        })
    }

    fn row(&self, row: &Row, now: Timestamp, (digests, plain): (bool, bool)) -> Map<String, Value> {
        const NONE: &str = "<none>";
        let image = row.image;
        let id = image.id();
        let at = created(image);
        let digest =
            image.repo_digests.iter().find(|d| row.name.is_none_or(|n| n.name() == d.name()));
        // As docker: a tag's digest is told only where it is asked for.
        let digest = digest.filter(|_| digests || row.name.is_none());
        let digest = digest.and_then(|d| d.digest()).map(ToString::to_string);
        let of_digest = || image.repo_digests.first().map(Reference::familiar_name);
        let repository = row.name.map(Reference::familiar_name).or_else(of_digest);
        let or_none = |text: Option<String>| Value::from(text.unwrap_or_else(|| NONE.to_owned()));
        let fields: [(&str, Value); 11] = [
            ("Containers", "N/A".into()),
            ("CreatedAt", if plain { "".into() } else { human::stamp(at).into() }),
            ("CreatedSince", human::ago(at, now).into()),
            ("Digest", or_none(digest)),
            ("ID", if self.no_trunc { id.to_string() } else { id.hex()[..12].to_owned() }.into()),
            ("Repository", or_none(repository)),
            ("SharedSize", "N/A".into()),
            ("Size", human::short_size(image.size).into()),
            ("Tag", or_none(row.name.and_then(Reference::tag).map(str::to_owned))),
            ("UniqueSize", "N/A".into()),
            ("VirtualSize", human::size(image.size).into()),
        ];
        fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }
}

fn created(image: &Stored) -> Timestamp {
    image.created.as_deref().and_then(|text| text.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `--filter`, with the images it names found: every key must fit, references are alternatives.
struct Wanted {
    filters: Filters,
    dangling: Option<bool>,
    references: Vec<String>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
}

impl Wanted {
    fn parse(typed: &[String], name: Option<&str>, store: &Store) -> Result<Self> {
        let known = ["dangling", "label", "reference", "before", "since", "until"];
        let filters = Filters::parse(typed, &known)?;
        let time = |needle: &String| local(store, needle).map(|i| created(&i));
        let times = |key| filters.values(key).iter().map(time).collect::<Result<Vec<_>>>();
        let (mut before, since) = (times("before")?, times("since")?);
        for text in filters.values("until") {
            before.push(moment("--filter until", text, Timestamp::now())?);
        }
        let mut references = filters.values("reference").to_vec();
        references.extend(name.map(str::to_owned));
        let (before, since) = (before.into_iter().min(), since.into_iter().max());
        Ok(Self { dangling: filters.switch("dangling")?, filters, references, before, since })
    }

    fn fits(&self, store: &Store, image: &Stored) -> Result<bool> {
        let at = created(image);
        let nameless = image.names.is_empty();
        // As docker: what is known by its digest alone is neither dangling nor not.
        let hidden = match self.dangling {
            Some(true) => !nameless,
            Some(false) => nameless && image.repo_digests.is_empty(),
            None => false,
        };
        if hidden
            || self.before.is_some_and(|before| at >= before)
            || self.since.is_some_and(|since| at <= since)
        {
            return Ok(false);
        }
        if !self.filters.has("label") {
            return Ok(true);
        }
        let labels = image.config(store).map_err(of_image)?.config.labels;
        Ok(self.filters.labels("label", &labels))
    }

    fn named(&self, name: &Reference) -> Result<bool> {
        let mut fits = self.references.is_empty();
        for pattern in &self.references {
            // DIFFERS: one that begins so is compared with the full name: docker.io/library/busybox.
            let texts = if pattern.starts_with("docker.io/") {
                [name.to_string(), name.name()]
            } else {
                [name.familiar(), name.familiar_name()]
            };
            for text in texts {
                fits |= glob::matches(pattern, &text).map_err(|glob::Malformed| {
                    Error::usage(format!("syntax error in pattern \"{pattern}\""))
                })?;
            }
        }
        Ok(fits)
    }
}
