//! A policy's requirements against an image: all of them must be met, each by one signature.

use super::identity::Identity;
use super::key::{self, PublicKey};
use super::origin::Origin;
use super::payload::{self, Payload};
use super::requirement::{Requirement, Signer};
use super::signature::{Attachment, SIGSTORE_SIGNATURE, SIGSTORE_TYPE, Signature};
use super::{gpg, rekor};
use crate::error::{Error, Result};
use crate::source::Document;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// How signatures are got, if they matter.
pub type Signatures<'a> = &'a dyn Fn() -> Result<Vec<Signature>>;

/// Whether the requirements take an image. With `signed`, one of them must be a signature's.
pub fn judge(
    requirements: &[Requirement],
    signed: bool,
    origin: &Origin,
    document: &Document,
    signatures: Signatures<'_>,
) -> Result<()> {
    if requirements.is_empty() {
        return refuse("List of verification policy requirements must not be empty".into());
    }
    let case = Case { origin, document };
    requirements.iter().try_for_each(|r| case.meets(r, signatures))?;
    let proves =
        |r: &Requirement| matches!(r, Requirement::SignedBy { .. } | Requirement::Sigstore { .. });
    if signed && !requirements.iter().any(proves) {
        let shown = &origin.shown;
        return refuse(format!("No signature verification policy found for image {shown}"));
    }
    Ok(())
}

fn refuse<T>(why: String) -> Result<T> {
    Err(Error::Rejected(why))
}

/// An image under judgement.
struct Case<'a> {
    origin: &'a Origin,
    document: &'a Document,
}

impl Case<'_> {
    fn meets(&self, requirement: &Requirement, signatures: Signatures<'_>) -> Result<()> {
        match requirement {
            Requirement::Accept => Ok(()),
            Requirement::Reject => {
                refuse(format!("Running image {} is rejected by policy.", self.origin.shown))
            }
            Requirement::SignedBaseLayer => {
                refuse("signedBaseLayer, which the policy asks for, is not implemented".into())
            }
            Requirement::SignedBy { keys, kind, identity } => {
                if kind != "GPGKeys" {
                    return refuse(format!(
                        "keyType {kind:?}, which the policy asks for, is not implemented"
                    ));
                }
                let simple = signatures()?.into_iter().filter_map(|s| match s {
                    Signature::Simple(message) => Some(message),
                    Signature::Sigstore(_) => None,
                });
                let mut simple = simple.peekable();
                if simple.peek().is_none() {
                    return any(Vec::new());
                }
                let ring = gpg::Ring::of(&key::load(keys)?)?;
                any(simple.map(|message| self.simple(&message, &ring, identity)))
            }
            Requirement::Sigstore { by, rekor, identity } => {
                let keys = sigstore_keys(by)?;
                let log = rekor.as_ref().map(key::public_keys).transpose()?;
                let attached = signatures()?.into_iter().filter_map(|s| match s {
                    Signature::Sigstore(a) if a.media_type == SIGSTORE_TYPE => Some(a),
                    _ => None,
                });
                any(attached.map(|a| self.sigstore(&a, &keys, log.as_deref(), identity)))
            }
        }
    }

    /// That an OpenPGP message says what it should.
    fn simple(&self, message: &[u8], ring: &gpg::Ring, identity: &Identity) -> Result<(), String> {
        let verified = ring.verify(message).map_err(|e| match e {
            Error::Rejected(why) => why,
            other => other.to_string(),
        })?;
        if !ring.has(&verified.key) {
            return Err(format!("signature by key {} is not accepted", verified.key));
        }
        self.claim(&verified.content, payload::SIMPLE, identity)
    }

    /// That a sigstore attachment says what it should, by one of the keys.
    fn sigstore(
        &self,
        attached: &Attachment,
        keys: &[PublicKey],
        log: Option<&[PublicKey]>,
        identity: &Identity,
    ) -> Result<(), String> {
        let text = attached.annotations.get(SIGSTORE_SIGNATURE);
        let text = text.ok_or_else(|| format!("missing {SIGSTORE_SIGNATURE} annotation"))?;
        // Some writers break the line.
        let signature = BASE64
            .decode(text.replace(['\r', '\n'], ""))
            .map_err(|e| format!("its base64: {e}"))?;
        let good = keys.iter().filter(|k| k.verifies(&attached.payload, &signature));
        let mut good = good.peekable();
        if good.peek().is_none() {
            return Err("cryptographic signature verification failed: invalid signature when validating ASN.1 encoded signature".into());
        }
        if let Some(log) = log {
            let seen = good.map(|key| rekor::check(attached, text, key, log));
            // The log's entry is of one key.
            seen.reduce(Result::or).unwrap_or_else(|| Err("no key".into()))?;
        }
        self.claim(&attached.payload, payload::SIGSTORE, identity)
    }

    /// That what is signed is this image, by a name that fits.
    fn claim(&self, bytes: &[u8], kind: &str, identity: &Identity) -> Result<(), String> {
        let payload = Payload::parse(bytes, kind)?;
        if !payload.manifest.is_of(&self.document.bytes) {
            return Err(format!("Signature for digest {} does not match", payload.manifest));
        }
        if !identity.accepts(self.origin, &payload.name) {
            return Err(format!("Signature for identity {:?} is not accepted", payload.name));
        }
        Ok(())
    }
}

/// One good signature is enough.
fn any(results: impl IntoIterator<Item = Result<(), String>>) -> Result<()> {
    let mut reasons = Vec::new();
    for result in results {
        match result {
            Ok(()) => return Ok(()),
            Err(why) => reasons.push(why),
        }
    }
    refuse(match reasons.as_slice() {
        [] => "A signature was required, but no signature exists".into(),
        [one] => one.clone(),
        many => {
            let shown = many[..many.len().min(5)].join("; ");
            format!("None of the signatures were accepted, reasons: {shown}")
        }
    })
}

fn sigstore_keys(by: &Signer) -> Result<Vec<PublicKey>> {
    let unable = |what: &str| {
        refuse(format!(
            "the policy asks for a signature by {what}, which this program can't verify: name keys (keyPath, keyData) instead"
        ))
    };
    match by {
        Signer::Keys(keys) => key::public_keys(keys),
        Signer::Fulcio { .. } => unable("a certificate of Fulcio"),
        Signer::Pki { .. } => unable("a certificate (pki)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::manifest::Descriptor;
    use crate::trust::Sign;
    use crate::trust::cosign::{self, PrivateKey};
    use crate::trust::requirement::Keys;
    use proptest::prelude::*;
    use std::sync::OnceLock;

    struct Made {
        public: String,
        other: String,
        signature: Attachment,
    }

    /// Scrypt is slow on purpose: one key for all tests.
    fn made() -> &'static Made {
        static ONE: OnceLock<Made> = OnceLock::new();
        ONE.get_or_init(|| {
            let pair = cosign::generate(b"").unwrap();
            let key = PrivateKey::open(pair.private.as_bytes(), b"", "x").unwrap();
            let name = "a.io/b:1".parse().unwrap();
            let Signature::Sigstore(signature) = key.sign(&Digest::of(b"manifest"), &name).unwrap()
            else {
                panic!("no sigstore signature")
            };
            let other = cosign::generate(b"").unwrap().public;
            Made { public: pair.public, other, signature }
        })
    }

    fn by(key: &str) -> Requirement {
        let keys = Keys::Here(vec![key.as_bytes().to_vec()]);
        let identity = Identity::RepoDigestOrExact;
        Requirement::Sigstore { by: Signer::Keys(keys), rekor: None, identity }
    }

    fn check(rules: &[Requirement], name: &str, manifest: &[u8], all: &[Signature]) -> Result<()> {
        let at = Descriptor::new("", Digest::of(manifest), manifest.len() as u64);
        let document = Document { bytes: manifest.to_vec(), at };
        let origin = Origin::registry(&name.parse().unwrap());
        judge(rules, false, &origin, &document, &|| Ok(all.to_vec()))
    }

    fn why(result: Result<()>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn one_good_signature_is_enough_and_needed() {
        let Made { public, other, signature } = made();
        let good = Signature::Sigstore(signature.clone());
        let rules = [by(public)];
        let junk = Signature::Sigstore(Attachment { payload: b"{}".to_vec(), ..signature.clone() });
        let statement = Signature::Sigstore(Attachment {
            media_type: "application/x".into(),
            ..signature.clone()
        });
        check(&rules, "a.io/b:1", b"manifest", &[junk.clone(), good.clone()]).unwrap();
        let refused = |name, manifest, all: &[Signature]| why(check(&rules, name, manifest, all));
        assert!(refused("a.io/b:1", b"manifest", &[]).contains("no signature exists"));
        assert!(refused("a.io/b:1", b"manifest", &[statement]).contains("no signature exists"));
        assert!(refused("a.io/b:1", b"manifest", &[junk]).contains("cryptographic"));
        assert!(
            refused("a.io/b:1", b"other", std::slice::from_ref(&good))
                .contains("Signature for digest")
        );
        assert!(refused("a.io/b:2", b"manifest", std::slice::from_ref(&good)).contains("identity"));
        // Every requirement must be met.
        let both = [by(public), by(other)];
        assert!(
            why(check(&both, "a.io/b:1", b"manifest", std::slice::from_ref(&good)))
                .contains("crypto")
        );
        let two = Keys::Here(vec![other.clone().into_bytes(), public.clone().into_bytes()]);
        let either = Requirement::Sigstore {
            by: Signer::Keys(two),
            rekor: None,
            identity: Identity::RepoDigestOrExact,
        };
        check(&[either], "a.io/b:1", b"manifest", std::slice::from_ref(&good)).unwrap();
        let none = check(&[], "a.io/b:1", b"manifest", &[good]);
        assert!(why(none).contains("must not be empty"));
    }

    #[test]
    fn what_cant_be_verified_is_refused() {
        let good = [Signature::Sigstore(made().signature.clone())];
        let text = made().public.clone().into_bytes();
        let sigstore =
            |by, rekor| Requirement::Sigstore { by, rekor, identity: Identity::RepoDigestOrExact };
        let keys = Keys::Here(vec![text]);
        let missing = Keys::Files(vec!["/nowhere/key".into()]);
        let (email, roots) = (Some("e".to_owned()), keys.clone());
        for rule in [
            Requirement::SignedBaseLayer,
            sigstore(Signer::Keys(missing.clone()), None),
            sigstore(Signer::Keys(keys.clone()), Some(keys.clone())),
            sigstore(Signer::Keys(keys.clone()), Some(missing)),
            sigstore(Signer::Pki { roots, intermediates: None, email, host: None }, None),
            Requirement::SignedBy {
                keys: keys.clone(),
                kind: "X509Certificates".into(),
                identity: Identity::Exact,
            },
            Requirement::SignedBy { keys, kind: "GPGKeys".into(), identity: Identity::Exact },
            by("no key"),
        ] {
            assert!(
                check(std::slice::from_ref(&rule), "a.io/b:1", b"manifest", &good).is_err(),
                "{rule:?}"
            );
        }
    }

    #[test]
    fn with_signed_only_an_accepting_policy_is_not_enough() {
        let origin = Origin::registry(&"a.io/b:1".parse().unwrap());
        let document = Document { bytes: Vec::new(), at: Descriptor::new("", Digest::of(b""), 0) };
        let none = || Ok(Vec::new());
        judge(&[Requirement::Accept], false, &origin, &document, &none).unwrap();
        assert!(judge(&[Requirement::Accept], true, &origin, &document, &none).is_err());
    }

    proptest! {
        #[test]
        fn a_changed_signature_is_refused(at in 0usize..400, byte: u8) {
            let Made { public, signature, .. } = made();
            let mut changed = signature.clone();
            let at = at % changed.payload.len();
            prop_assume!(changed.payload[at] != byte);
            changed.payload[at] = byte;
            let all = [Signature::Sigstore(changed)];
            prop_assert!(check(&[by(public)], "a.io/b:1", b"manifest", &all).is_err());
        }
    }
}
