//! `dhow-image generate-sigstore-key --output-prefix PREFIX`: a private key and its public one.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use dhow_image::trust::cosign;
use dhow_image::{Error, Result};
use serde_json::json;

use super::passphrase;
use crate::context::Context;

/// Flags of `generate-sigstore-key`.
#[derive(Args)]
pub struct GenerateSigstoreKey {
    /// Write the keys to PREFIX.pub and PREFIX.private
    #[arg(long, value_name = "PREFIX")]
    output_prefix: String,
    /// Read the private key's passphrase from this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl GenerateSigstoreKey {
    /// Makes the keys; files that are there stay as they are.
    pub fn run(self, cx: &Context) -> Result<()> {
        let public = PathBuf::from(format!("{}.pub", self.output_prefix));
        let private = PathBuf::from(format!("{}.private", self.output_prefix));
        for path in [&public, &private] {
            if path.symlink_metadata().is_ok() {
                return Err(refuse(path));
            }
        }
        let passphrase = match &self.passphrase_file {
            Some(file) => passphrase::read(file)?,
            None => passphrase::ask(&private)?,
        };
        let pair = cosign::generate(passphrase.as_bytes())?;
        create(&private, &pair.private, 0o600)?;
        create(&public, &pair.public, 0o644)?;
        if cx.json {
            return cx.print_json(&json!({ "private": private, "public": public }));
        }
        let (private, public) = (private.display(), public.display());
        cx.line(format_args!("Key written to \"{private}\" and \"{public}\""))
    }
}

fn create(path: &Path, text: &str, mode: u32) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => refuse(path),
        _ => Error::io("create", path, e),
    })?;
    file.write_all(text.as_bytes()).map_err(Error::at("write", path))
}

fn refuse(path: &Path) -> Error {
    Error::Conflict(format!("Refusing to overwrite existing \"{}\"", path.display()))
}
