//! One requirement of a policy, as it is written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::path::PathBuf;

use super::identity::Identity;
use super::json::{Fields, Json};

/// A requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Takes anything.
    Accept,
    /// Takes nothing.
    Reject,
    /// A signature by an OpenPGP key.
    SignedBy {
        /// Whose.
        keys: Keys,
        /// How keys are meant; only `GPGKeys` is implemented anywhere.
        kind: String,
        /// Of which name.
        identity: Identity,
    },
    /// A sigstore signature.
    Sigstore {
        /// By whom.
        by: Signer,
        /// A transparency log that must have seen it.
        rekor: Option<Keys>,
        /// Of which name.
        identity: Identity,
    },
    /// A signed base image: known to the format, implemented nowhere.
    SignedBaseLayer,
}

/// Who may have made a sigstore signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The owner of a key.
    Keys(Keys),
    /// A person that Fulcio has certified.
    Fulcio {
        /// Fulcio's own certificates.
        authority: Keys,
        /// Who vouched for the person.
        issuer: String,
        /// The person.
        email: String,
    },
    /// A holder of a certificate.
    Pki {
        /// The roots.
        roots: Keys,
        /// What may stand between.
        intermediates: Option<Keys>,
        /// The holder's address.
        email: Option<String>,
        /// The holder's host.
        host: Option<String>,
    },
}

/// Keys or certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// In files.
    Files(Vec<PathBuf>),
    /// In the policy itself.
    Here(Vec<Vec<u8>>),
}

impl Requirement {
    /// Reads a requirement.
    pub fn parse(json: Json) -> Result<Self, String> {
        let mut fields = json.fields("a policy requirement")?;
        let kind = fields.need_text("type")?;
        let parsed = match kind.as_str() {
            "insecureAcceptAnything" => Self::Accept,
            "reject" => Self::Reject,
            "signedBy" => signed_by(&mut fields)?,
            "sigstoreSigned" => sigstore(&mut fields)?,
            "signedBaseLayer" => {
                Identity::parse(fields.need("baseLayerIdentity")?)?;
                Self::SignedBaseLayer
            }
            other => return Err(format!("unknown policy requirement type {other:?}")),
        };
        fields.end()?;
        Ok(parsed)
    }
}

fn signed_by(fields: &mut Fields) -> Result<Requirement, String> {
    let kind = fields.need_text("keyType")?;
    let known = ["GPGKeys", "signedByGPGKeys", "X509Certificates", "signedByX509CAs"];
    if !known.contains(&kind.as_str()) {
        return Err(format!("unknown keyType {kind:?}"));
    }
    let keys = one(sources(fields, ["keyPath", "keyPaths", "keyData", ""])?)?
        .ok_or("exactly one of keyPath, keyPaths and keyData must be there")?;
    Ok(Requirement::SignedBy { keys, kind, identity: identity(fields)? })
}

fn sigstore(fields: &mut Fields) -> Result<Requirement, String> {
    let keys = sources(fields, ["keyPath", "keyPaths", "keyData", "keyDatas"])?;
    let mut by: Vec<Signer> = keys.into_iter().map(Signer::Keys).collect();
    let names =
        ["rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas"];
    let rekor = one(sources(fields, names)?)?;
    if let Some(json) = fields.take("fulcio") {
        if rekor.is_none() {
            return Err("fulcio needs one of rekorPublicKeyPath, rekorPublicKeyPaths, rekorPublicKeyData and rekorPublicKeyDatas".into());
        }
        by.push(fulcio(json.fields("fulcio")?)?);
    }
    if let Some(json) = fields.take("pki") {
        if rekor.is_some() {
            return Err("pki and a Rekor key can't be used together".into());
        }
        by.push(pki(json.fields("pki")?)?);
    }
    let (Some(by), true) = (by.pop(), by.is_empty()) else {
        return Err(
            "exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki must be there"
                .into(),
        );
    };
    Ok(Requirement::Sigstore { by, rekor, identity: identity(fields)? })
}

fn fulcio(mut fields: Fields) -> Result<Signer, String> {
    let authority = one(sources(&mut fields, ["caPath", "", "caData", ""])?)?
        .ok_or("exactly one of caPath and caData must be there")?;
    let issuer = filled(fields.need_text("oidcIssuer")?, "oidcIssuer")?;
    let email = filled(fields.need_text("subjectEmail")?, "subjectEmail")?;
    fields.end()?;
    Ok(Signer::Fulcio { authority, issuer, email })
}

fn pki(mut fields: Fields) -> Result<Signer, String> {
    let roots = one(sources(&mut fields, ["caRootsPath", "", "caRootsData", ""])?)?
        .ok_or("exactly one of caRootsPath and caRootsData must be there")?;
    let names = ["caIntermediatesPath", "", "caIntermediatesData", ""];
    let intermediates = one(sources(&mut fields, names)?)?;
    let email = fields.text("subjectEmail")?.filter(|t| !t.is_empty());
    let host = fields.text("subjectHostname")?.filter(|t| !t.is_empty());
    fields.end()?;
    if email.is_none() && host.is_none() {
        return Err("at least one of subjectEmail and subjectHostname must be there".into());
    }
    Ok(Signer::Pki { roots, intermediates, email, host })
}

fn identity(fields: &mut Fields) -> Result<Identity, String> {
    match fields.take("signedIdentity") {
        Some(json) => Identity::parse(json),
        None => Ok(Identity::RepoDigestOrExact),
    }
}

fn filled(text: String, key: &str) -> Result<String, String> {
    if text.is_empty() { Err(format!("{key:?} is empty")) } else { Ok(text) }
}

/// All that is there of `…Path`, `…Paths`, `…Data` and `…Datas`.
fn sources(
    fields: &mut Fields,
    [path, paths, data, datas]: [&str; 4],
) -> Result<Vec<Keys>, String> {
    let decode = |text: String| BASE64.decode(&text).map_err(|e| format!("{data:?}: {e}"));
    let mut found = Vec::new();
    if let Some(text) = fields.text(path)? {
        found.push(Keys::Files(vec![filled(text, path)?.into()]));
    }
    if let Some(texts) = fields.texts(paths)? {
        found.push(Keys::Files(texts.into_iter().map(PathBuf::from).collect()));
    }
    if let Some(text) = fields.text(data)? {
        found.push(Keys::Here(vec![decode(text)?]));
    }
    if let Some(texts) = fields.texts(datas)? {
        found.push(Keys::Here(texts.into_iter().map(decode).collect::<Result<_, _>>()?));
    }
    Ok(found)
}

fn one(mut found: Vec<Keys>) -> Result<Option<Keys>, String> {
    let last = found.pop();
    if found.is_empty() { Ok(last) } else { Err("a key is given in more than one way".into()) }
}
