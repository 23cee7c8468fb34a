//! `dhow-image referrers docker://REF`: what refers to an image in its registry. With --quiet digests
//! alone.

use clap::Args;
use dhow_image::manifest::Descriptor;
use dhow_image::reference::Reference;
use dhow_image::registry::{Client, first_of, kind_of};
use dhow_image::{Error, Result};
use serde_json::{Value, json};

use super::table::table;
use crate::cli::RegistryFlags;
use crate::context::Context;

/// Flags of `referrers`.
#[derive(Args)]
pub struct Referrers {
    /// docker://REF
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Only of this type, as application/spdx+json
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Referrers {
    /// Lists.
    pub fn run(self, cx: &Context) -> Result<()> {
        let Some(name) = self.image.strip_prefix("docker://") else {
            return Err(Error::usage("place", self.image, "write docker://NAME"));
        };
        let reference = Reference::parse_normal(name)?.tagged();
        let places = Client::sources(&cx.settings(&self.registry)?, &reference)?;
        let kind = self.artifact_type.as_deref();
        let (_, found) = first_of(&places, |client| {
            let subject = match reference.digest() {
                Some(digest) => digest.clone(),
                None => client.manifest(&reference)?.1.digest,
            };
            client.referrers(&subject, kind)
        })?;
        if cx.json {
            let shape = |d: &Descriptor| {
                json!({ "digest": d.digest, "mediaType": d.media_type, "artifactType": kind_of(d),
                        "size": d.size, "annotations": d.annotations })
            };
            return cx.print_json(&found.iter().map(shape).collect::<Vec<Value>>());
        }
        if cx.quiet {
            return found.iter().try_for_each(|d| cx.line(&d.digest));
        }
        let mut rows = vec![["DIGEST", "TYPE", "SIZE"].map(str::to_owned)];
        let tame = |text: &str| text.replace(char::is_control, " ");
        let row = |d: &Descriptor| [d.digest.to_string(), tame(kind_of(d)), d.size.to_string()];
        rows.extend(found.iter().map(row));
        table(&rows).iter().try_for_each(|line| cx.line(line))
    }
}
