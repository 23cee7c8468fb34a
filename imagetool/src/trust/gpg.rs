//! OpenPGP, by the program `gpg`, as skopeo has it done through gpgme.
//!
//! Why not a crate: the free one of a fitting licence brings a second generation of every
//! cipher and an `rsa` with an open advisory. Where `gpg` is not installed, what needs it fails.
//! Keys of a policy live in a directory of their own, so that the user's never count.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::payload::{self, Payload};
use super::{Sign, Signature};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Reference;

/// A signed JSON is small; an attacker's may unpack to anything.
const MAX_CONTENT: usize = 1 << 20;
const STATUS: &str = "[GNUPG:] ";

/// Keys, and a place where nothing else is.
pub struct Ring {
    /// `None`: the user's own.
    home: Option<TempDir>,
    /// Fingerprints of the primary keys.
    keys: Vec<String>,
}

/// What was signed, and by whom.
#[derive(Debug)]
pub struct Verified {
    /// What was signed.
    pub content: Vec<u8>,
    /// The fingerprint of the signer's primary key.
    pub key: String,
    /// The fingerprint of the key that signed, which may be a subkey.
    pub subkey: String,
}

impl Ring {
    /// Keys out of these files, armored or not, and no others.
    pub fn of(files: &[(String, Vec<u8>)]) -> Result<Self> {
        let home = scratch()?;
        let mut ring = Self { home: Some(home), keys: Vec::new() };
        for (what, bytes) in files {
            let file = ring.file("keys", bytes)?;
            let out = ring.run(["--import", "--"], Some(file.as_ref()))?;
            let found = statuses(&out.stderr)
                .filter(|(word, _)| *word == "IMPORT_OK")
                .filter_map(|(_, rest)| rest.split(' ').nth(1).map(str::to_owned));
            let before = ring.keys.len();
            ring.keys.extend(found.filter(|k| !k.is_empty()));
            if ring.keys.len() == before {
                return Err(Error::invalid(format!("keyring {what}"), "No public keys imported"));
            }
        }
        Ok(ring)
    }

    /// The user's own keys.
    pub fn own() -> Self {
        Self { home: None, keys: Vec::new() }
    }

    /// The fingerprints of the keys that were read.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Whether a primary key is one of them.
    pub fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|k| k.eq_ignore_ascii_case(key))
    }

    /// Verifies a message with one signature.
    pub fn verify(&self, message: &[u8]) -> Result<Verified> {
        let spool = scratch()?;
        let file = put(spool.path(), "message", message)?;
        let out = self.run(["--output", "-", "--verify", "--"], Some(file.as_ref()))?;
        let bad = |why: String| Error::Rejected(format!("Invalid GPG signature: {why}"));
        let mut valid = Vec::new();
        let (mut good, mut texts) = (0, 0);
        for (word, rest) in statuses(&out.stderr) {
            match word {
                "GOODSIG" => good += 1,
                "VALIDSIG" => valid.push(rest.split(' ').map(str::to_owned).collect::<Vec<_>>()),
                "PLAINTEXT" => texts += 1,
                "ERRSIG" if rest.split(' ').nth(5) == Some("9") => {
                    return Err(bad(format!(
                        "Missing key {}",
                        rest.split(' ').next().unwrap_or_default()
                    )));
                }
                "BADSIG" | "ERRSIG" | "EXPSIG" | "EXPKEYSIG" | "REVKEYSIG" | "NODATA"
                | "UNEXPECTED" | "FAILURE" => return Err(bad(format!("{word} {rest}"))),
                _ => {}
            }
        }
        // One signature over one text, or it is not clear which was signed by whom.
        let ([fields], 1, 1, true) = (valid.as_slice(), good, texts, out.status.success()) else {
            return Err(bad("it is not one text with one signature".into()));
        };
        let (Some(subkey), Some(key), Some("00" | "01")) =
            (fields.first(), fields.get(9), fields.get(8).map(String::as_str))
        else {
            return Err(bad("gpg's answer is not understood".into()));
        };
        if out.stdout.len() > MAX_CONTENT {
            return Err(bad(format!("it is over {MAX_CONTENT} bytes")));
        }
        Ok(Verified { content: out.stdout, key: key.clone(), subkey: subkey.clone() })
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Result<std::path::PathBuf> {
        match &self.home {
            Some(home) => put(home.path(), name, bytes),
            None => Err(Error::invalid("keyring", "it is the user's own")),
        }
    }

    fn run<const N: usize>(&self, words: [&str; N], last: Option<&OsStr>) -> Result<Output> {
        let mut gpg = Command::new("gpg");
        if let Some(home) = &self.home {
            gpg.args(["--no-options", "--no-autostart", "--homedir"]).arg(home.path());
        }
        gpg.args(["--batch", "--no-tty", "--quiet", "--logger-file", "/dev/null"]);
        gpg.args(["--status-fd", "2", "--max-output", &MAX_CONTENT.to_string()]);
        gpg.args(words).args(last).stdin(Stdio::null());
        gpg.output().map_err(missing)
    }
}

/// What a message says, and the id of the key that claims to have signed it. NOTHING of it is
/// verified.
pub fn untrusted(message: &[u8]) -> Result<(Vec<u8>, String)> {
    let ring = Ring { home: Some(scratch()?), keys: Vec::new() };
    let file = ring.file("message", message)?;
    let out = ring.run(["--output", "-", "--decrypt", "--"], Some(file.as_ref()))?;
    let mut signers = statuses(&out.stderr).filter(|(word, _)| *word == "ERRSIG");
    let key = signers.next().and_then(|(_, rest)| rest.split(' ').next().map(str::to_owned));
    let key = key.ok_or_else(|| Error::invalid("signature", "The input is not a signature"))?;
    Ok((out.stdout, key))
}

/// Signs with a key of the user's.
#[derive(Debug)]
pub struct Signer {
    key: String,
    passphrase: Option<String>,
}

impl Signer {
    /// By this key, named in any way that gpg knows; without a passphrase its agent asks.
    pub fn new(key: &str, passphrase: Option<String>) -> Result<Self> {
        if passphrase.as_ref().is_some_and(|p| p.contains('\n')) {
            let why = "invalid passphrase: must not contain a line break";
            return Err(Error::usage("passphrase", "…", why));
        }
        Ok(Self { key: key.to_owned(), passphrase })
    }

    /// A message of this content, signed.
    pub fn message(&self, content: &[u8]) -> Result<Vec<u8>> {
        let spool = scratch()?;
        let file = put(spool.path(), "content", content)?;
        let mut gpg = Command::new("gpg");
        gpg.args(["--output", "-", "--local-user", &self.key]);
        if self.passphrase.is_some() {
            gpg.args([
                "--batch",
                "--no-tty",
                "--pinentry-mode",
                "loopback",
                "--passphrase-fd",
                "0",
            ]);
        }
        gpg.args(["--sign", "--"]).arg(file);
        gpg.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = gpg.spawn().map_err(missing)?;
        if let (Some(mut stdin), Some(passphrase)) = (child.stdin.take(), &self.passphrase) {
            // gpg may end before it has read it; then it says why.
            let _ = writeln!(stdin, "{passphrase}");
        }
        let out = child.wait_with_output().map_err(missing)?;
        if out.status.success() && !out.stdout.is_empty() {
            return Ok(out.stdout);
        }
        let said = String::from_utf8_lossy(&out.stderr);
        let last = said.lines().last().unwrap_or("gpg says nothing").to_owned();
        Err(Error::invalid(format!("signature by {}", self.key), last))
    }
}

impl Sign for Signer {
    fn sign(&self, manifest: &Digest, name: &Reference) -> Result<Signature> {
        let content = Payload::write(payload::SIMPLE, manifest, &name.to_string());
        self.message(&content).map(Signature::Simple)
    }
}

/// gpg's answers for programs: a word, and what belongs to it.
fn statuses(said: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let lines = said.split(|&b| b == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines.filter_map(|l| l.strip_prefix(STATUS)).map(|l| l.split_once(' ').unwrap_or((l, "")))
}

fn scratch() -> Result<TempDir> {
    let dir = tempfile::Builder::new().prefix("dhow-gpg-").tempdir_in("/tmp");
    dir.map_err(Error::at("create a directory in", "/tmp"))
}

fn put(dir: &Path, name: &str, bytes: &[u8]) -> Result<std::path::PathBuf> {
    let path = dir.join(name);
    fs::write(&path, bytes).map_err(Error::at("write", &path))?;
    Ok(path)
}

fn missing(e: std::io::Error) -> Error {
    match e.kind() {
        std::io::ErrorKind::NotFound => Error::unsupported(
            "an OpenPGP signature without the program gpg",
            "install gnupg, or use sigstore keys",
        ),
        _ => Error::io("run", "gpg", e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_status_lines_count() {
        let said = b"gpg: [GNUPG:] GOODSIG x\n[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG A B c\n\xff\n";
        let seen: Vec<_> = statuses(said).collect();
        assert_eq!(seen, [("NEWSIG", ""), ("GOODSIG", "A B c")]);
    }
}
