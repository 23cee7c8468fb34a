//! `dhow-image standalone-sign`, `standalone-verify` and
//! `untrusted-signature-dump-without-verification`: signatures in files.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use dhow_image::digest::Digest;
use dhow_image::reference::Reference;
use dhow_image::trust::gpg::{self, Ring};
use dhow_image::trust::payload::{self, Payload};
use dhow_image::{Error, Result};
use serde::Serialize;
use serde_json::json;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::passphrase;
use crate::context::Context;

/// Flags of `standalone-sign`.
#[derive(Args)]
pub struct Sign {
    /// The file of the manifest
    manifest: PathBuf,
    /// What the manifest is called
    #[arg(value_name = "DOCKER-REFERENCE")]
    name: String,
    /// Whose signature it shall be
    #[arg(value_name = "KEY-FINGERPRINT")]
    key: String,
    /// Write the signature to this file
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Read the key's passphrase from this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Sign {
    /// Signs.
    pub fn run(self, _: &Context) -> Result<()> {
        let manifest = fs::read(&self.manifest).map_err(Error::at("read", &self.manifest))?;
        let passphrase = self.passphrase_file.as_deref().map(passphrase::read).transpose()?;
        let passphrase = passphrase.filter(|p| !p.is_empty());
        let signer = gpg::Signer::new(&self.key, passphrase)?;
        let signature =
            signer.message(&Payload::write(payload::SIMPLE, &Digest::of(&manifest), &self.name))?;
        fs::write(&self.output, signature).map_err(Error::at("write", &self.output))
    }
}

/// Flags of `standalone-verify`.
#[derive(Args)]
pub struct Verify {
    /// The file of the manifest
    manifest: PathBuf,
    /// What the manifest should be called
    #[arg(value_name = "DOCKER-REFERENCE")]
    name: String,
    /// Whose signatures are taken, separated by commas; `any`: of all keys in --public-key-file
    #[arg(value_name = "KEY-FINGERPRINTS")]
    keys: String,
    /// The file of the signature
    signature: PathBuf,
    /// The public keys, in place of the user's keyring
    #[arg(long, value_name = "FILE")]
    public_key_file: Option<PathBuf>,
}

impl Verify {
    /// Verifies; prints by whose key.
    pub fn run(self, cx: &Context) -> Result<()> {
        let read = |path: &Path| fs::read(path).map_err(Error::at("read", path));
        let any = self.keys == "any";
        if any && self.public_key_file.is_none() {
            return Err(Error::Conflict(
                "Cannot use any fingerprint without a public key file".into(),
            ));
        }
        let (manifest, signature) = (read(&self.manifest)?, read(&self.signature)?);
        let ring = match &self.public_key_file {
            Some(file) => Ring::of(&[(file.display().to_string(), read(file)?)])?,
            None => Ring::own(),
        };
        let typed: Vec<String> = self.keys.split(',').map(str::to_owned).collect();
        let keys = if any { ring.keys() } else { &typed };
        let verified = ring.verify(&signature).map_err(failed)?;
        let wanted = |key: &&String| keys.iter().any(|k| k.eq_ignore_ascii_case(key));
        let Some(key) = [&verified.subkey, &verified.key].into_iter().find(wanted) else {
            return Err(failed(format!("signature by key {} is not accepted", verified.key)));
        };
        let claim = Payload::parse(&verified.content, payload::SIMPLE).map_err(failed)?;
        if !claim.manifest.is_of(&manifest) {
            let digest = claim.manifest;
            return Err(failed(format!("Signature for docker digest {digest:?} does not match")));
        }
        let signed = Reference::parse_normal(&claim.name)?;
        if signed != Reference::parse_normal(&self.name)? {
            let (has, want) = (claim.name, self.name);
            return Err(failed(format!("Docker reference {has:?} does not match {want:?}")));
        }
        if cx.json {
            return cx.print_json(&json!({ "fingerprint": key, "digest": claim.manifest }));
        }
        let digest = claim.manifest;
        cx.line(format_args!("Signature verified using fingerprint {key}, digest {digest}"))
    }
}

fn failed(why: impl std::fmt::Display) -> Error {
    let why = why.to_string();
    // A refusal here is not one of a policy.
    let why = why.strip_prefix("Source image rejected: ").unwrap_or(&why);
    Error::Conflict(format!("Error verifying signature: {why}"))
}

/// Flags of `untrusted-signature-dump-without-verification`.
#[derive(Args)]
pub struct Dump {
    /// The file of the signature
    signature: PathBuf,
}

impl Dump {
    /// Prints what the signature says, true or not.
    pub fn run(self, cx: &Context) -> Result<()> {
        let bytes = fs::read(&self.signature).map_err(Error::at("read", &self.signature))?;
        let bad = |why: String| Error::invalid(self.signature.display().to_string(), why);
        let (content, key) = gpg::untrusted(&bytes)?;
        let claim = Payload::parse(&content, payload::SIMPLE).map_err(bad)?;
        let time = claim.time.map(local_time).transpose()?;
        let shown = Shown {
            digest: claim.manifest,
            reference: claim.name,
            creator: claim.creator,
            time,
            key,
        };
        let mut text = Vec::new();
        let indented = PrettyFormatter::with_indent(b"    ");
        let mut json = Serializer::with_formatter(&mut text, indented);
        shown.serialize(&mut json).map_err(|e| Error::invalid("output", e))?;
        cx.line(String::from_utf8_lossy(&text))
    }
}

/// As skopeo prints it.
#[derive(Serialize)]
struct Shown {
    #[serde(rename = "UntrustedDockerManifestDigest")]
    digest: Digest,
    #[serde(rename = "UntrustedDockerReference")]
    reference: String,
    #[serde(rename = "UntrustedCreatorID")]
    creator: Option<String>,
    #[serde(rename = "UntrustedTimestamp")]
    time: Option<String>,
    #[serde(rename = "UntrustedShortKeyIdentifier")]
    key: String,
}

/// As Go writes a time: in this machine's zone.
fn local_time(seconds: i64) -> Result<String> {
    let bad = |e| Error::invalid("timestamp", e);
    let time = jiff::Timestamp::from_second(seconds).map_err(bad)?;
    let time = time.to_zoned(jiff::tz::TimeZone::system());
    Ok(time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z"))
}
