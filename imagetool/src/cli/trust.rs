//! Verbs about signatures, and the flags of verbs that sign.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use dhow_image::reference::Reference;
use dhow_image::trust::cosign::PrivateKey;
use dhow_image::trust::{Sign, Signing, gpg};
use dhow_image::{Error, Result, yaml};
use serde_json::Value;

use super::verbs::verbs;
use crate::command;
use crate::command::passphrase;

verbs! {
    /// Signatures.
    Trust {
        /// Make a pair of sigstore keys
        #[command(name = "generate-sigstore-key")]
        GenerateSigstoreKey(command::generate_sigstore_key::GenerateSigstoreKey),
        /// Sign a manifest in a file with a GPG key
        #[command(name = "standalone-sign")]
        StandaloneSign(command::standalone::Sign),
        /// Verify a signature in a file
        #[command(name = "standalone-verify")]
        StandaloneVerify(command::standalone::Verify),
        /// Dump the contents of a signature WITHOUT VERIFYING IT
        #[command(name = "untrusted-signature-dump-without-verification", hide = true)]
        Dump(command::standalone::Dump),
    }
}

/// What becomes of signatures, and who signs.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Options for signatures")]
pub struct SignFlags {
    /// Leave signatures behind
    #[arg(long)]
    pub remove_signatures: bool,
    /// Sign with this GPG key
    #[arg(long, value_name = "FINGERPRINT")]
    pub sign_by: Option<String>,
    /// Sign with this key of Sequoia's keystore
    #[arg(long, value_name = "FINGERPRINT", hide = true)]
    pub sign_by_sq_fingerprint: Option<String>,
    /// Sign as this sigstore parameter file says
    #[arg(long, value_name = "FILE")]
    pub sign_by_sigstore: Option<PathBuf>,
    /// Sign with this sigstore private key
    #[arg(long, value_name = "FILE")]
    pub sign_by_sigstore_private_key: Option<PathBuf>,
    /// Read the key's passphrase from this file
    #[arg(long, value_name = "FILE")]
    pub sign_passphrase_file: Option<PathBuf>,
}

impl SignFlags {
    /// What is meant; `identity` is what signatures shall speak of, if not of the destination.
    pub fn signing(&self, identity: Option<&str>) -> Result<Signing> {
        if self.sign_by_sq_fingerprint.is_some() {
            return Err(Error::unsupported(
                "--sign-by-sq-fingerprint",
                "use --sign-by, or a sigstore key",
            ));
        }
        if self.sign_passphrase_file.is_some()
            && self.sign_by.is_some()
            && self.sign_by_sigstore_private_key.is_some()
        {
            return Err(Error::Conflict("Only one of --sign-by, --sign-by-sq-fingerprint and --sign-by-sigstore-private-key can be used with --sign-passphrase-file".into()));
        }
        let given = self.sign_passphrase_file.as_deref().map(passphrase::read).transpose()?;
        let mut signers: Vec<Arc<dyn Sign>> = Vec::new();
        if let Some(file) = &self.sign_by_sigstore {
            signers.push(Arc::new(by_parameters(file)?));
        }
        if let Some(key) = &self.sign_by {
            let passphrase = given.clone().filter(|p| !p.is_empty());
            signers.push(Arc::new(gpg::Signer::new(key, passphrase)?));
        }
        if let Some(file) = &self.sign_by_sigstore_private_key {
            let passphrase = given.map_or_else(|| passphrase::ask(file), Ok)?;
            signers.push(Arc::new(PrivateKey::read(file, passphrase.as_bytes())?));
        }
        let identity = identity.map(full_name).transpose()?;
        Ok(Signing { remove: self.remove_signatures, signers, identity })
    }
}

/// A name as it is signed: in full, with a tag or a digest.
fn full_name(text: &str) -> Result<Reference> {
    let name = Reference::parse_normal(text)?;
    let bad = |why| Err(Error::usage("--sign-identity", text, why));
    match name.to_string() == text {
        false => bad("write it in full, with its host"),
        true if name.tag().is_none() && name.digest().is_none() => {
            bad("Sign identity must be a fully specified reference: it lacks a tag or a digest")
        }
        true => Ok(name),
    }
}

/// SPEC: containers-sigstore-signing-params.yaml(5).
fn by_parameters(file: &std::path::Path) -> Result<PrivateKey> {
    let bad = |why: String| Error::invalid(format!("signing parameters {}", file.display()), why);
    let text = std::fs::read_to_string(file).map_err(Error::at("read", file))?;
    let Value::Object(map) = yaml::parse(&text).map_err(bad)? else {
        return Err(bad("a mapping is wanted".into()));
    };
    let (mut key, mut secret) = (None, None);
    for (name, value) in map {
        let text = || match &value {
            Value::String(text) => Ok(PathBuf::from(text)),
            _ => Err(bad(format!("{name} must be a text"))),
        };
        match name.as_str() {
            "privateKeyFile" => key = Some(text()?),
            "privateKeyPassphraseFile" => secret = Some(text()?),
            "fulcio" | "rekorURL" => {
                return Err(Error::unsupported(
                    format!("signing parameters {}: {name}", file.display()),
                    "only a privateKeyFile signs here, without a transparency log",
                ));
            }
            _ => return Err(bad(format!("unknown key {name:?}"))),
        }
    }
    let key = key.ok_or_else(|| bad("privateKeyFile lacks".into()))?;
    let secret = match secret {
        Some(file) => passphrase::read(&file)?,
        None => passphrase::ask(&key)?,
    };
    PrivateKey::read(&key, secret.as_bytes())
}
