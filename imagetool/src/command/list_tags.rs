//! `dhow-image list-tags docker://REPOSITORY`, or `docker-archive:FILE`: JSON, as skopeo prints it.

use clap::Args;
use dhow_image::pull::tags;
use dhow_image::reference::Reference;
use dhow_image::source::archive_tags;
use dhow_image::transport::Place;
use dhow_image::{Error, Result};
use serde::Serialize;

use crate::cli::RegistryFlags;
use crate::context::{Context, stdin};

/// Flags of `list-tags`.
#[derive(Args)]
pub struct ListTags {
    /// docker://REPOSITORY without a tag, or docker-archive:FILE
    #[arg(value_name = "SOURCE")]
    source: String,
    #[command(flatten)]
    registry: RegistryFlags,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    #[serde(skip_serializing_if = "String::is_empty")]
    repository: String,
    tags: Vec<String>,
}

impl ListTags {
    /// Lists.
    pub fn run(self, cx: &Context) -> Result<()> {
        let listing = match self.source.strip_prefix("docker://") {
            Some(name) => {
                let repository = Reference::parse_normal(name)?;
                if repository.tag().is_some() || repository.digest().is_some() {
                    let text = "No tag or digest allowed in reference";
                    return Err(Error::Conflict(text.into()));
                }
                let tags = tags(&repository, &cx.settings(&self.registry)?)?;
                // Some registries list what signatures are kept under, which are no tags.
                let tags = tags.into_iter().filter(|t| !t.contains(':')).collect::<Vec<_>>();
                if let Some(bad) = tags.iter().find(|t| repository.with_tag(t).is_err()) {
                    let what = format!("tags of {}", repository.name());
                    return Err(Error::invalid(what, format!("{bad:?} is no tag")));
                }
                Listing { repository: repository.name(), tags }
            }
            None => Listing { repository: String::new(), tags: self.in_archive()? },
        };
        let mut text = Vec::new();
        let form = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut to = serde_json::Serializer::with_formatter(&mut text, form);
        listing.serialize(&mut to).map_err(|e| Error::invalid("output", e))?;
        cx.line(String::from_utf8_lossy(&text))
    }

    fn in_archive(&self) -> Result<Vec<String>> {
        let known = self.source.split(':').next().unwrap_or_default();
        match self.source.parse()? {
            Place::DockerArchive(file, _) => {
                let spool =
                    tempfile::tempdir().map_err(Error::at("create", "a temporary directory"))?;
                archive_tags(&file, stdin, spool.path())
            }
            Place::Store(name) => {
                let text = format!("Invalid {name:?}: does not specify a transport");
                Err(Error::Conflict(text))
            }
            _ => Err(Error::Conflict(format!(
                "Unsupported transport '{known}' for tag listing. Only supported: docker, docker-archive"
            ))),
        }
    }
}
