//! A transparency log's word that it has seen a signature: the annotation `bundle`.
//!
//! SPEC: sigstore's SignedEntryTimestamp: the log signs the canonical JSON (RFC 8785) of its
//! entry; with these four fields, sorted, that is what `serde_json` writes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::json::Json;
use super::key::PublicKey;
use super::pem;
use super::signature::Attachment;
use crate::digest::Digest;

/// The annotation that carries it.
const BUNDLE: &str = "dev.sigstore.cosign/bundle";

/// That one of the log's keys vouches for this signature, by this key, of this payload.
pub fn check(
    attached: &Attachment,
    signature: &str,
    key: &PublicKey,
    log: &[PublicKey],
) -> Result<(), String> {
    let bundle = attached.annotations.get(BUNDLE);
    let bundle = bundle.ok_or_else(|| format!("missing {BUNDLE} annotation"))?;
    let mut fields = Json::parse(bundle.as_bytes())?.fields("a Rekor SET")?;
    let timestamp = decode(&fields.need_text("SignedEntryTimestamp")?)?;
    let mut entry = fields.need("Payload")?.fields("a Rekor SET's payload")?;
    fields.end()?;
    let body = entry.need_text("body")?;
    let id = entry.need_text("logID")?;
    let mut number = |key: &str| match entry.need(key)? {
        Json::Integer(n) if n.unsigned_abs() < 1 << 53 => Ok(n),
        _ => Err(format!("{key:?} is no whole number")),
    };
    let (time, index) = (number("integratedTime")?, number("logIndex")?);
    entry.end()?;
    if !body.is_ascii() || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("a Rekor SET's payload is malformed".into());
    }
    let body_text = serde_json::to_string(&body).map_err(|e| e.to_string())?;
    let canonical = format!(
        r#"{{"body":{body_text},"integratedTime":{time},"logID":"{id}","logIndex":{index}}}"#
    );
    if !log.iter().any(|k| k.is_ecdsa() && k.verifies(canonical.as_bytes(), &timestamp)) {
        return Err("cryptographic signature verification of Rekor SET failed".into());
    }
    matches(&decode(&body)?, attached, signature, key)
}

/// That the log's entry is about this signature.
fn matches(
    body: &[u8],
    attached: &Attachment,
    signature: &str,
    key: &PublicKey,
) -> Result<(), String> {
    let mut body = Json::parse(body)?.fields("a Rekor entry")?;
    let (kind, version) = (body.need_text("kind")?, body.need_text("apiVersion")?);
    if (kind.as_str(), version.as_str()) != ("hashedrekord", "0.0.1") {
        return Err(format!("a Rekor entry of kind {kind:?} {version:?} is not known"));
    }
    let mut spec = body.need("spec")?.fields("\"spec\"")?;
    let mut signed = spec.need("signature")?.fields("\"signature\"")?;
    let mut public = signed.need("publicKey")?.fields("\"publicKey\"")?;
    let logged = pem::decode(&decode(&public.need_text("content")?)?);
    let ours = pem::decode(key.to_pem().as_bytes());
    if logged.map(|(_, bytes)| bytes) != ours.map(|(_, bytes)| bytes) {
        return Err("publicKey in Rekor SET does not match".into());
    }
    if decode(&signed.need_text("content")?)? != decode(signature)? {
        return Err("signature in Rekor SET does not match".into());
    }
    let mut data = spec.need("data")?.fields("\"data\"")?;
    let mut hash = data.need("hash")?.fields("\"hash\"")?;
    let algorithm = hash.need_text("algorithm")?;
    let value = hash.need_text("value")?;
    if algorithm != "sha256" || value != Digest::of(&attached.payload).hex() {
        return Err("payload in Rekor SET does not match".into());
    }
    Ok(())
}

fn decode(text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text).map_err(|e| format!("base64 in a Rekor SET: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::cosign::{self, PrivateKey};
    use crate::trust::signature::{SIGSTORE_SIGNATURE, SIGSTORE_TYPE};
    use proptest::prelude::*;
    use proptest::sample::Index;
    use serde_json::{Value, json};
    use std::sync::OnceLock;

    fn key() -> (PublicKey, PrivateKey) {
        let pair = cosign::generate(b"").unwrap();
        let private = PrivateKey::open(pair.private.as_bytes(), b"", "x").unwrap();
        (PublicKey::parse(pair.public.as_bytes(), "x").unwrap(), private)
    }

    /// A signature with what a log says of it, after `change` has changed the log's entry.
    fn logged(
        signer: &(PublicKey, PrivateKey),
        log: &PrivateKey,
        change: impl Fn(&mut Value),
    ) -> (Attachment, String) {
        let payload = b"payload".to_vec();
        let signature = BASE64.encode(signer.1.sign_bytes(&payload).unwrap());
        let mut body = json!({ "apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
            "data": { "hash": { "algorithm": "sha256", "value": Digest::of(&payload).hex() } },
            "signature": {
                "content": signature, "publicKey": { "content": BASE64.encode(signer.0.to_pem()) },
            },
        } });
        change(&mut body);
        let body = BASE64.encode(body.to_string());
        let entry = json!({ "body": body, "integratedTime": 1, "logID": "ab", "logIndex": 2 });
        let stamp = BASE64.encode(log.sign_bytes(entry.to_string().as_bytes()).unwrap());
        let bundle = json!({ "SignedEntryTimestamp": stamp, "Payload": entry }).to_string();
        let annotations = [(SIGSTORE_SIGNATURE, signature.clone()), (BUNDLE, bundle)];
        let annotations = annotations.map(|(k, v)| (k.to_owned(), v)).into();
        let media_type = SIGSTORE_TYPE.to_owned();
        (Attachment { media_type, payload, annotations }, signature)
    }

    #[test]
    fn the_log_must_have_seen_this_signature_of_this_payload_by_this_key() {
        let (signer, other, log) = (key(), key(), key());
        let (good, signature) = logged(&signer, &log.1, |_| {});
        let logs = [log.0];
        check(&good, &signature, &signer.0, &logs).unwrap();
        let why = |attached, key| check(attached, &signature, key, &logs).unwrap_err();
        assert!(why(&good, &other.0).contains("publicKey"));
        let moved = Attachment { payload: b"other".to_vec(), ..good.clone() };
        assert!(why(&moved, &signer.0).contains("payload"));
        let mut bare = good.clone();
        bare.annotations.remove(BUNDLE);
        assert!(why(&bare, &signer.0).contains("missing"));
        let mut later = good.clone();
        let text = later.annotations.get_mut(BUNDLE).unwrap();
        *text = text.replace("\"integratedTime\":1", "\"integratedTime\":3");
        assert!(why(&later, &signer.0).contains("cryptographic"));
        let forged = logged(&signer, &other.1, |_| {}).0;
        assert!(why(&forged, &signer.0).contains("cryptographic"));
        for change in [
            |b: &mut Value| b["kind"] = json!("intoto"),
            |b: &mut Value| b["apiVersion"] = json!("0.0.2"),
            |b: &mut Value| b["spec"]["data"]["hash"]["algorithm"] = json!("sha1"),
            |b: &mut Value| b["spec"]["signature"]["content"] = json!("AAAA"),
            |b: &mut Value| b["spec"] = json!([]),
        ] {
            let (changed, signature) = logged(&signer, &log.1, change);
            assert!(check(&changed, &signature, &signer.0, &logs).is_err());
        }
    }

    /// A signature in the log; making keys takes long.
    fn known() -> &'static (Attachment, String, PublicKey, [PublicKey; 1]) {
        static KNOWN: OnceLock<(Attachment, String, PublicKey, [PublicKey; 1])> = OnceLock::new();
        KNOWN.get_or_init(|| {
            let (signer, log) = (key(), key());
            let (good, signature) = logged(&signer, &log.1, |_| {});
            (good, signature, signer.0, [log.0])
        })
    }

    proptest! {
        #[test]
        fn one_letter_else_and_it_is_not_believed(at in any::<Index>(), to in 0u8..128) {
            let (good, signature, signer, logs) = known();
            let mut text = good.annotations[BUNDLE].clone().into_bytes();
            let at = at.index(text.len());
            prop_assume!(text[at] != to);
            text[at] = to;
            let mut changed = good.clone();
            changed.annotations.insert(BUNDLE.to_owned(), String::from_utf8(text).unwrap());
            prop_assert!(check(&changed, signature, signer, logs).is_err());
        }

        #[test]
        fn reading_never_panics(bundle in "\\PC{0,80}", body in "\\PC{0,80}", n in any::<i64>()) {
            let (good, signature, signer, logs) = known();
            let entry = json!({ "body": body, "integratedTime": n, "logID": "ab", "logIndex": n });
            let whole = json!({ "SignedEntryTimestamp": "AA==", "Payload": entry }).to_string();
            for text in [bundle, whole] {
                let mut changed = good.clone();
                changed.annotations.insert(BUNDLE.to_owned(), text);
                prop_assert!(check(&changed, signature, signer, logs).is_err());
            }
            let _ = matches(body.as_bytes(), good, signature, signer);
        }
    }
}
