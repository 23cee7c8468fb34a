//! OpenPGP, by the program `gpg`, as skopeo has it done through gpgme.
//!
//! Why not a crate: the free one of a fitting licence brings a second generation of every
//! cipher and an `rsa` with an open advisory. Where `gpg` is not installed, what needs it fails.
//! Keys of a policy live in a directory of their own, so that the user's never count.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::Sign;
use super::payload::{self, Payload};
use super::signature::Signature as Made;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Reference;

/// A signed JSON is small; an attacker's may unpack to anything.
const MAX_CONTENT: usize = 1 << 20;
/// And may take any time to do so.
const TIME: Duration = Duration::from_secs(30);
const STATUS: &str = "[GNUPG:] ";

/// Keys, and a place where nothing else is.
pub struct Ring {
    /// `None`: the user's own.
    home: Option<TempDir>,
    /// Fingerprints of the primary keys.
    keys: Vec<String>,
    /// All that is asked of gpg ends by then.
    until: Instant,
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
        let mut ring = Self { home: Some(home), ..Self::own() };
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
        Self { home: None, keys: Vec::new(), until: Instant::now() + TIME }
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
        if out.stdout.len() > MAX_CONTENT {
            return Err(bad(format!("it is over {MAX_CONTENT} bytes")));
        }
        if Instant::now() >= self.until {
            return Err(bad(format!("reading it takes more than {} seconds", TIME.as_secs())));
        }
        let (key, subkey) = signer(&out.stderr, out.status.success()).map_err(bad)?;
        Ok(Verified { content: out.stdout, key, subkey })
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
        gpg.args(["--status-fd", "2"]).args(words).args(last);
        bounded(gpg.stdin(Stdio::null()), self.until)
    }
}

/// A program's output; one that says too much, or takes too long, is killed.
fn bounded(program: &mut Command, until: Instant) -> Result<Output> {
    let mut child =
        program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(missing)?;
    let (mut from_out, mut from_err) = (child.stdout.take(), child.stderr.take());
    // It is waited for at the end only, so that the number stays its own.
    let pid = Pid::from_raw(child.id().cast_signed());
    let stop = || kill(pid, Signal::SIGKILL);
    let (done, ended) = mpsc::channel::<()>();
    let (stdout, stderr) = thread::scope(|scope| {
        let said = scope.spawn(move || limited(from_err.as_mut()));
        scope.spawn(move || {
            let left = until.saturating_duration_since(Instant::now());
            if ended.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = stop();
            }
        });
        let written = limited(from_out.as_mut());
        if written.as_ref().is_none_or(|w| w.len() > MAX_CONTENT) {
            let _ = stop();
        }
        // What it would still write has no reader.
        drop(from_out);
        let said = said.join().ok().flatten();
        drop(done);
        (written, said)
    });
    let status = child.wait().map_err(missing)?;
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
        return Err(Error::invalid("gpg's answer", "it can't be read"));
    };
    Ok(Output { status, stdout, stderr })
}

/// At most one byte more than there may be.
fn limited(from: Option<&mut impl Read>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    from?.take(MAX_CONTENT as u64 + 1).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// What a message says, and the id of the key that claims to have signed it. NOTHING of it is
/// verified.
pub fn untrusted(message: &[u8]) -> Result<(Vec<u8>, String)> {
    let ring = Ring { home: Some(scratch()?), ..Ring::own() };
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
    fn sign(&self, manifest: &Digest, name: &Reference) -> Result<Made> {
        let content = Payload::write(payload::SIMPLE, manifest, &name.to_string());
        self.message(&content).map(Made::Simple)
    }
}

/// Whose the one signature of the one text is: the primary key, and the one that signed.
fn signer(said: &[u8], success: bool) -> std::result::Result<(String, String), String> {
    let mut valid = Vec::new();
    let (mut good, mut texts) = (0, 0);
    for (word, rest) in statuses(said) {
        let mut words = rest.split(' ');
        match word {
            "GOODSIG" => good += 1,
            "VALIDSIG" => valid.push(words.collect::<Vec<_>>()),
            "PLAINTEXT" => texts += 1,
            "ERRSIG" if words.clone().nth(5) == Some("9") => {
                return Err(format!("Missing key {}", words.next().unwrap_or_default()));
            }
            "BADSIG" | "ERRSIG" | "EXPSIG" | "EXPKEYSIG" | "REVKEYSIG" | "NODATA"
            | "UNEXPECTED" | "FAILURE" => return Err(format!("{word} {rest}")),
            _ => {}
        }
    }
    // One signature over one text, or it is not clear which was signed by whom.
    let ([fields], 1, 1, true) = (valid.as_slice(), good, texts, success) else {
        return Err("it is not one text with one signature".into());
    };
    let (Some(subkey), Some(key), Some(&("00" | "01"))) =
        (fields.first(), fields.get(9), fields.get(8))
    else {
        return Err("gpg's answer is not understood".into());
    };
    Ok(((*key).to_owned(), (*subkey).to_owned()))
}

/// gpg's answers for programs: a word, and what belongs to it.
fn statuses(said: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let lines = said.split(|&b| b == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines.filter_map(|l| l.strip_prefix(STATUS)).map(|l| l.split_once(' ').unwrap_or((l, "")))
}

fn scratch() -> Result<TempDir> {
    crate::leftovers::dir_in(Path::new("/tmp"), "dhow-gpg-")
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
    use proptest::prelude::*;

    #[test]
    fn only_status_lines_count() {
        let said = b"gpg: [GNUPG:] GOODSIG x\n[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG A B c\n\xff\n";
        let seen: Vec<_> = statuses(said).collect();
        assert_eq!(seen, [("NEWSIG", ""), ("GOODSIG", "A B c")]);
    }

    #[test]
    fn what_says_too_much_or_takes_too_long_is_killed() {
        let soon = || Instant::now() + Duration::from_millis(200);
        let run =
            |text: &str, until| bounded(Command::new("sh").args(["-c", text]), until).unwrap();
        let begun = Instant::now();
        let out = run("echo out; echo err >&2; exit 3", begun + TIME);
        assert_eq!(
            (out.status.code(), &out.stdout[..], &out.stderr[..]),
            (Some(3), &b"out\n"[..], &b"err\n"[..])
        );
        assert!(!run("exec cat /dev/zero", begun + TIME).status.success());
        assert!(!run("exec sleep 60", soon()).status.success());
        assert!(begun.elapsed() < TIME);
    }

    #[test]
    fn one_signature_of_one_text_has_a_signer() {
        let valid = "VALIDSIG SUB 2026-01-01 1 0 4 0 1 10 00 KEY";
        let said = |lines: &[&str]| {
            let lines =
                lines.iter().map(|line| format!("{STATUS}{line}")).collect::<Vec<_>>().join("\n");
            signer(lines.as_bytes(), true)
        };
        let whole = ["PLAINTEXT 62 0 x", "GOODSIG SUB me", valid];
        assert_eq!(said(&whole), Ok(("KEY".into(), "SUB".into())));
        let more = |line| said(&[&whole[..], &[line]].concat());
        for line in ["PLAINTEXT 62", "GOODSIG SUB me", valid, "BADSIG SUB me", "UNEXPECTED 0"] {
            assert!(more(line).is_err(), "{line}");
        }
        assert_eq!(more("ERRSIG OTHER 1 10 00 1 9"), Err("Missing key OTHER".into()));
        for left in 0..3 {
            let rest: Vec<&str> = (0..3).filter(|at| *at != left).map(|at| whole[at]).collect();
            assert!(said(&rest).is_err(), "{rest:?}");
        }
        assert!(said(&[whole[0], whole[1], &valid.replace(" 00 ", " 1f ")]).is_err());
    }

    proptest! {
        #[test]
        fn any_answer_is_read(
            lines in proptest::collection::vec("(\\[GNUPG:\\] )?(VALIDSIG|GOODSIG|PLAINTEXT|ERRSIG|x)( [a-z0-9]{0,3}){0,10}", 0..5),
        ) {
            let said = lines.join("\n");
            let count = |word: &str| said.matches(&format!("{STATUS}{word}")).count();
            if signer(said.as_bytes(), true).is_ok() {
                let counts = ["VALIDSIG", "GOODSIG", "PLAINTEXT", "ERRSIG"].map(count);
                prop_assert_eq!(counts, [1, 1, 1, 0]);
            }
            prop_assert!(signer(said.as_bytes(), false).is_err());
        }
    }
}
