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
