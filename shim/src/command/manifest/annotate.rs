//! `dhow manifest annotate`.

use clap::Args;

use super::{lists, named};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::output::Output;

/// Say more about an image of a local manifest list
#[derive(Debug, Args)]
pub struct Annotate {
    /// Architecture
    #[arg(long)]
    pub arch: Option<String>,
    /// Operating system
    #[arg(long)]
    pub os: Option<String>,
    /// Operating system feature
    #[arg(long, value_delimiter = ',')]
    pub os_features: Vec<String>,
    /// Operating system version
    #[arg(long)]
    pub os_version: Option<String>,
    /// Architecture variant
    #[arg(long)]
    pub variant: Option<String>,
    /// The list
    #[arg(value_name = "MANIFEST_LIST")]
    pub list: String,
    /// The image in it
    #[arg(value_name = "MANIFEST")]
    pub image: String,
}

impl Annotate {
    /// Prints nothing.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host);
        out.end(result)
    }

    fn perform(&self, host: &Host) -> Result<()> {
        let (name, image) = (named(&self.list)?, named(&self.image)?);
        let (list, typed) = (&self.list, &self.image);
        let absent = format!("manifest for image {typed} does not exist in {list}");
        let lists = lists(host)?;
        if lists.get(&name).map_err(of_image)?.is_none() {
            return Err(Error::not_found(absent));
        }
        let mut refused = None;
        let changed = lists.change(&name, |list| {
            let mut list = list.ok_or_else(|| dhow_image::lists::missing(&name))?;
            let Some(entry) = list.entries.iter_mut().find(|e| e.reference == image) else {
                refused = Some(Error::not_found(absent.clone()));
                return Ok(list);
            };
            let mut platform = entry.platform.clone().unwrap_or_default();
            let set = |to: &mut String, typed: &Option<String>| {
                to.clone_from(typed.as_ref().filter(|t| !t.is_empty()).unwrap_or(&to.clone()));
            };
            set(&mut platform.os, &self.os);
            set(&mut platform.architecture, &self.arch);
            set(&mut platform.variant, &self.variant);
            set(&mut platform.os_version, &self.os_version);
            for feature in &self.os_features {
                if !platform.os_features.contains(feature) {
                    platform.os_features.push(feature.clone());
                }
            }
            if platform.is_known() {
                entry.platform = Some(platform);
            } else {
                refused = Some(Error::usage(format!(
                    "manifest entry for image has unsupported os/arch combination: {}/{}",
                    platform.os, platform.architecture
                )));
            }
            Ok(list)
        });
        changed.map_err(of_image)?;
        refused.map_or(Ok(()), Err)
    }
}
