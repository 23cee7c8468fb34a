//! `dhow-image raw mtree-validate -f MANIFEST -p DIR`: whether a directory is as an mtree(8)
//! manifest says.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use clap::Args;
use dhow_image::bundle::mtree::{self, Manifest, UMOCI};
use dhow_image::layer::RootDir;
use dhow_image::{Error, Result};

use crate::context::Context;

/// Flags of `raw mtree-validate`; go-mtree's where it has them.
#[derive(Args)]
pub struct MtreeValidate {
    /// The manifest
    #[arg(long, short = 'f', visible_alias = "file", value_name = "FILE")]
    manifest: PathBuf,
    /// The directory
    #[arg(long, short, value_name = "DIR")]
    path: PathBuf,
    /// Keywords to compare beside those of the manifest, parted by commas or spaces
    #[arg(long, short = 'K', value_name = "KEYWORDS")]
    add_keywords: Option<String>,
    /// The only keywords to compare
    #[arg(long, short = 'k', value_name = "KEYWORDS")]
    use_keywords: Option<String>,
    /// Compare the keywords that umoci compares
    #[arg(long)]
    umoci_keywords: bool,
    /// Get into what its owner may not read; this is done whenever it is needed
    #[arg(long)]
    rootless: bool,
}

impl MtreeValidate {
    /// Prints a line for each path that differs, and fails if there is one.
    pub fn run(self, cx: &Context) -> Result<()> {
        let _ = self.rootless; // it says what is done anyway
        let file = File::open(&self.manifest).map_err(Error::at("open", &self.manifest))?;
        let what = self.manifest.display().to_string();
        let manifest = Manifest::read(&mut BufReader::with_capacity(256 << 10, file), &what)?;
        let mut keywords = match &self.use_keywords {
            Some(text) => list(text)?,
            None if self.umoci_keywords => UMOCI.to_vec(),
            None => manifest.keywords()?,
        };
        keywords.extend(list(self.add_keywords.as_deref().unwrap_or_default())?);
        // Nothing can be compared without it.
        keywords.push("type");
        keywords.sort_unstable();
        keywords.dedup();
        let lines = mtree::check(&RootDir::open(&self.path)?, &manifest, &keywords)?;
        if cx.json {
            cx.print_json(&lines)?;
        }
        for line in lines.iter().filter(|_| !cx.json) {
            cx.line(line)?;
        }
        match lines.len() {
            0 => Ok(()),
            n => Err(Error::invalid(
                format!("directory {}", self.path.display()),
                format!("{n} differences to {what}"),
            )),
        }
    }
}

fn list(text: &str) -> Result<Vec<&'static str>> {
    text.split([',', ' ']).filter(|word| !word.is_empty()).map(mtree::canonical).collect()
}
