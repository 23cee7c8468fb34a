//! `dhow-image manifest-digest FILE`: what a registry calls this manifest.

use std::io::Read;

use clap::Args;
use dhow_image::manifest::MAX_MANIFEST;
use dhow_image::source::schema1;
use dhow_image::transport::File;
use dhow_image::{Error, Result};
use serde_json::json;

use crate::context::{Context, stdin};

/// Flags of `manifest-digest`.
#[derive(Args)]
pub struct ManifestDigest {
    /// A manifest; `-` is stdin
    file: String,
}

impl ManifestDigest {
    /// Prints the digest.
    pub fn run(self, cx: &Context) -> Result<()> {
        let from: Box<dyn Read> = match File::new(&self.file) {
            File::Std => stdin(),
            File::Path(path) => {
                Box::new(std::fs::File::open(&path).map_err(Error::at("open", &path))?)
            }
        };
        let mut bytes = Vec::new();
        let read = from.take(MAX_MANIFEST + 1).read_to_end(&mut bytes);
        read.map_err(Error::at("read", &self.file))?;
        if bytes.len() as u64 > MAX_MANIFEST {
            return Err(Error::invalid(self.file, format!("it is over {MAX_MANIFEST} bytes")));
        }
        let digest = schema1::digest(&bytes);
        if cx.json { cx.print_json(&json!({ "digest": digest })) } else { cx.line(digest) }
    }
}
