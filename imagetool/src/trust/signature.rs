//! Signatures as they lie beside images, none of them believed yet.
//!
//! Two kinds: "simple signing", an OpenPGP message around a small JSON, and sigstore's, the
//! JSON as it is and the signature of it among annotations. Files (in `dir:` and in lookaside
//! storage) hold the first as it is and the second after a line `\0sigstore-json\n`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// No signature is larger.
pub const MAX_SIGNATURE: u64 = 4 << 20;
/// No image has more.
pub const MAX_SIGNATURES: usize = 128;
/// No image has more bytes of signatures.
pub const MAX_TOTAL: u64 = 16 << 20;

/// The type of a sigstore payload.
pub const SIGSTORE_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation with the signature of the payload, in base64.
pub const SIGSTORE_SIGNATURE: &str = "dev.cosignproject.cosign/signature";

const SIGSTORE_FORMAT: &[u8] = b"sigstore-json";
const SIMPLE_FORMAT: &[u8] = b"simple-signing";

/// A signature, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// An OpenPGP message.
    Simple(Vec<u8>),
    /// A sigstore attachment.
    Sigstore(Attachment),
}

/// What sigstore attaches to an image: mostly signatures, but also other statements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// What the payload is.
    #[serde(rename = "mimeType")]
    pub media_type: String,
    /// What is signed.
    #[serde(with = "base64_bytes")]
    pub payload: Vec<u8>,
    /// The signature, and what else belongs to it.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

impl Signature {
    /// Reads the content of a signature's file.
    pub fn from_file(bytes: &[u8], what: &str) -> Result<Self> {
        let bad = |why: &str| Error::invalid(what, why);
        match bytes {
            [] => Err(bad("it is empty")),
            [0, rest @ ..] => {
                let end = rest.iter().position(|&b| b == b'\n');
                let end = end.ok_or_else(|| bad("its format lacks"))?;
                match (&rest[..end], &rest[end + 1..]) {
                    (SIMPLE_FORMAT, content) => Ok(Self::Simple(content.to_vec())),
                    (SIGSTORE_FORMAT, content) => serde_json::from_slice(content)
                        .map(Self::Sigstore)
                        .map_err(|e| Error::invalid(what, e)),
                    _ => Err(bad("its format is unknown")),
                }
            }
            // OpenPGP packets that begin a signed message: compressed data, one-pass signature,
            // signature; in the old and in the new packet format.
            [0xa0..=0xa3 | 0xc8 | 0x90..=0x92 | 0x3d | 0xc4 | 0x88..=0x8b | 0xc2, ..] => {
                Ok(Self::Simple(bytes.to_vec()))
            }
            _ => Err(bad("it is neither an OpenPGP message nor a sigstore attachment")),
        }
    }

    /// What a signature's file holds.
    pub fn to_file(&self) -> Vec<u8> {
        match self {
            Self::Simple(bytes) => bytes.clone(),
            Self::Sigstore(attachment) => {
                let json = serde_json::to_vec(attachment).unwrap_or_default();
                [&[0], SIGSTORE_FORMAT, b"\n", &json].concat()
            }
        }
    }

    /// Its size, for limits.
    pub fn len(&self) -> u64 {
        let size = match self {
            Self::Simple(bytes) => bytes.len(),
            Self::Sigstore(a) => {
                let text: usize = a.annotations.iter().map(|(k, v)| k.len() + v.len()).sum();
                a.payload.len() + text
            }
        };
        size as u64
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Adds a signature to those of an image, within bounds.
pub fn collect(to: &mut Vec<Signature>, signature: Signature, what: &str) -> Result<()> {
    let total: u64 = to.iter().map(Signature::len).sum();
    if to.len() >= MAX_SIGNATURES {
        return Err(Error::invalid(what, format!("more than {MAX_SIGNATURES} signatures")));
    }
    if signature.len() > MAX_SIGNATURE || total + signature.len() > MAX_TOTAL {
        return Err(Error::invalid(what, "its signatures are too large"));
    }
    to.push(signature);
    Ok(())
}

mod base64_bytes {
    use super::{BASE64, Engine};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&BASE64.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(d)?;
        BASE64.decode(text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_are_read_as_they_are_written() {
        let attachment = Attachment {
            media_type: SIGSTORE_TYPE.into(),
            payload: b"{}".to_vec(),
            annotations: [(SIGSTORE_SIGNATURE.into(), "AAAA".into())].into(),
        };
        for signature in [Signature::Sigstore(attachment), Signature::Simple(vec![0x90, 1, 2])] {
            let file = signature.to_file();
            assert_eq!(Signature::from_file(&file, "x").unwrap(), signature);
        }
        for bad in
            [&b""[..], b"\0", b"\0sigstore-json", b"\0other\n", b"<html>", b"\0sigstore-json\n{}"]
        {
            assert!(Signature::from_file(bad, "x").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn signatures_are_bounded() {
        let mut all = Vec::new();
        for _ in 0..MAX_SIGNATURES {
            collect(&mut all, Signature::Simple(vec![1]), "x").unwrap();
        }
        assert!(collect(&mut all, Signature::Simple(vec![1]), "x").is_err());
        let large = Signature::Simple(vec![0; usize::try_from(MAX_SIGNATURE).unwrap() + 1]);
        assert!(collect(&mut Vec::new(), large, "x").is_err());
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..99)) {
            let _ = Signature::from_file(&bytes, "x");
        }
    }
}
