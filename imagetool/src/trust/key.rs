//! Public keys as sigstore has them: a `PUBLIC KEY` in PEM.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256,
    UnparsedPublicKey, VerificationAlgorithm,
};

use super::pem::{self, MAX_KEY, element};
use super::requirement::Keys;
use crate::error::{Error, Result};

/// A key that verifies signatures over SHA-256, as sigstore fixes it.
pub struct PublicKey {
    algorithm: &'static dyn VerificationAlgorithm,
    /// In the form that the algorithm wants: a point, or numbers.
    key: Vec<u8>,
    /// As it was written, without PEM.
    info: Vec<u8>,
}

// SPEC: RFC 5480 and RFC 8410: the algorithm of a SubjectPublicKeyInfo, whole.
const P256: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
const EDWARDS: &[u8] = b"\x06\x03\x2b\x65\x70";

/// What comes before the point of a P-256 key.
const P256_HEAD: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

impl PublicKey {
    /// Reads a key from PEM; `what` names it in errors.
    pub fn parse(text: &[u8], what: &str) -> Result<Self> {
        let bad = |why: &str| Error::invalid(format!("public key {what}"), why);
        let (label, info) = pem::decode(text).ok_or_else(|| bad("it is not in PEM"))?;
        if label != "PUBLIC KEY" {
            return Err(bad(&format!("a PUBLIC KEY is wanted, this is a {label:?}")));
        }
        let (algorithm, key) = split(&info).ok_or_else(|| bad("it is malformed"))?;
        let algorithm: &'static dyn VerificationAlgorithm = match algorithm {
            P256 => &ECDSA_P256_SHA256_ASN1,
            P384 => &ECDSA_P384_SHA256_ASN1,
            RSA => &RSA_PKCS1_2048_8192_SHA256,
            EDWARDS => &ED25519,
            _ => {
                return Err(bad("its kind is not known: use ECDSA (P-256, P-384), RSA or Ed25519"));
            }
        };
        Ok(Self { algorithm, key: key.to_vec(), info: info.clone() })
    }

    /// Whether the key's owner has signed this.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm, &self.key).verify(message, signature).is_ok()
    }

    /// Whether it is an ECDSA key, as transparency logs have.
    pub fn is_ecdsa(&self) -> bool {
        self.info.windows(7).any(|w| w == &P256[2..9])
    }

    /// The key in PEM, as everyone writes it.
    pub fn to_pem(&self) -> String {
        pem::encode("PUBLIC KEY", &self.info)
    }
}

/// A P-256 point as a key in PEM.
pub fn p256_pem(point: &[u8]) -> String {
    pem::encode("PUBLIC KEY", &[P256_HEAD, point].concat())
}

/// Algorithm and key of a SubjectPublicKeyInfo.
fn split(info: &[u8]) -> Option<(&[u8], &[u8])> {
    let (inner, []) = element(0x30, info)? else { return None };
    let (algorithm, rest) = element(0x30, inner)?;
    let (bits, []) = element(0x03, rest)? else { return None };
    // So many unused bits in the last byte: none.
    let (0, key) = bits.split_first()? else { return None };
    Some((algorithm, key))
}

/// What the files hold, or what stands in the policy; with a name for each.
pub fn load(keys: &Keys) -> Result<Vec<(String, Vec<u8>)>> {
    match keys {
        Keys::Files(paths) => {
            paths.iter().map(|p| Ok((p.display().to_string(), read(p)?))).collect()
        }
        Keys::Here(all) => Ok(all
            .iter()
            .enumerate()
            .map(|(i, bytes)| (format!("{} of the policy", i + 1), bytes.clone()))
            .collect()),
    }
}

/// A key's file, bounded.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(Error::at("open", path))?;
    let mut bytes = Vec::new();
    file.take(MAX_KEY + 1).read_to_end(&mut bytes).map_err(Error::at("read", path))?;
    if bytes.len() as u64 > MAX_KEY {
        return Err(Error::invalid(format!("key {}", path.display()), "it is too large"));
    }
    Ok(bytes)
}

/// Public keys; one that can't be read makes all of them void, so that it is noticed.
pub fn public_keys(keys: &Keys) -> Result<Vec<PublicKey>> {
    load(keys)?.iter().map(|(what, bytes)| PublicKey::parse(bytes, what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use proptest::prelude::*;
    use proptest::sample::Index;

    // Keys and signatures of "message", made with openssl.
    #[test]
    fn keys_of_every_kind_verify() {
        for (key, signature) in [
            // P-384, Ed25519, RSA.
            (
                "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE7F38RMPJMQ5OpmwlyeyGUPaid6Cqu6bu97TO/8LyorSbVmRHAMKJpGieGn+XVlBQE9LEo4DEH9tvuMQ+0nvN+ILIyrco4IhpAWxc+uilujVanUIwg7iRtBODWb3C2Yx5",
                "MGUCMQCkoOK2rKoeVArEa44YfY/rOWYmsMz2z+EgBx4zgNYMB23V8kBiZtYxwmWuD7ohwMoCMB7/rwheGlfhLnKH7EnkkA620yH1MMfY6fluT5TjH1SNy2DwPoe88wswBdLezvJ0RA==",
            ),
            (
                "MCowBQYDK2VwAyEASjc5oZGNRCf0hEe+gtFleiOlHmN0tptcHqL6j4WCCt8=",
                "kSTe9p6Ci1p2BZOr53KK0HjCMR0e5XikPXVoatFo67Fx3q2lpijvFb90Aq0vJA01wsd0v2Lo71nTv7MiVRQ5AQ==",
            ),
            (
                "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAxxvamBnFiX5PujQ5EKzSa+v1dIDOCvNu+p7TSjqZshz7ssGx41hFD7ves06aj5uQxR8ZkcR9cFovGVZvaU86nCvUtFjIVfA4GLaMmTJoFQ+hip45jDw7WmlaNNNMRORjrzwoCQTwCWEs42zovT1G5vt50r+Jm0UVPh9CInWtwCH7JRmyhcAAjFId/FgEA0dnucusjPqpY8ZHpbv4WzynbDAIf/IxuQutTaNptBkujtpwgcgCiNwZ/Vh+5atDTPkOw0Hd901ZZ4Y7oaYnP9aGKzQ0rVUktI7oA0djfh3H7TT87knvJDxZNL69183+s7PMqDV68kCxOtALzGbS6OcxfQIDAQAB",
                "Q0WL2Ag0RVNKf85hthIjcMT/pKsl2Osb+xFvMIbwT5/VVbYXJPcvLS2KlRe+5tKmTnG0j9xN0WLYOVrTaMo3fV80iRVv5PLBzBoaX6WR+GmOvHYLnhb1IOZCLJJJhyRi8g6yyoVJE7nOfmLK+FgYd3ZTn3ub+NOsR6R4WXBeYztVax0zte2LD5GFqGWlBaBZyagsIMnhzfCu2unEPvu/wuxZTSBmWUDTrT+LRhWvIo0Yn6svxs3NfLVoxK0WeMkPV3aRx74OK3B0AckKwhsgUz+Jr4usZypxuEpZCMhelwlh5zgZgO0SPXqzHlzT3AXi/9/Qfv5B5XTfsdvsRswMvw==",
            ),
        ] {
            let info = BASE64.decode(key).unwrap();
            let signature = BASE64.decode(signature).unwrap();
            let text = pem::encode("PUBLIC KEY", &info);
            let key = PublicKey::parse(text.as_bytes(), "x").unwrap();
            assert_eq!(key.to_pem(), text);
            assert!(key.verifies(b"message", &signature));
            assert!(!key.verifies(b"other", &signature));
            assert!(!key.verifies(b"message", &signature[1..]));
            assert!(!key.verifies(b"message", b""));
            for label in ["PRIVATE KEY", "CERTIFICATE", "RSA PUBLIC KEY"] {
                let text = pem::encode(label, &info);
                assert!(PublicKey::parse(text.as_bytes(), "x").is_err());
            }
            let longer = pem::encode("PUBLIC KEY", &[&info[..], b"x"].concat());
            assert!(PublicKey::parse(longer.as_bytes(), "x").is_err());
        }
    }

    #[test]
    fn keys_of_no_known_kind_are_refused() {
        // P-521.
        let info = "MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQA9LFu8o+qQO5cZhn2bp552aV9maPN5c8mK292g+DnVxFS+1HU0xwA24TkOw/SR4sYoOd6H8NPGURMe2lq2PnbcyYB0B/wicz/EbeLyOCsH8nnh/zqLLpAJ3Q7hJAN9zTeQ7hsor6tl5NzfLP2hLOUOPF7mZLbPcpSPWfNZNOppPyRjcE=";
        let text = pem::encode("PUBLIC KEY", &BASE64.decode(info).unwrap());
        let why = PublicKey::parse(text.as_bytes(), "x").err().unwrap().to_string();
        assert!(why.contains("not known"), "{why}");
    }

    proptest! {
        #[test]
        fn a_changed_key_is_refused_or_another(at in any::<Index>(), to in any::<u8>(), cut in any::<Index>()) {
            // Ed25519, with its signature of "message".
            let info = "MCowBQYDK2VwAyEASjc5oZGNRCf0hEe+gtFleiOlHmN0tptcHqL6j4WCCt8=";
            let signature = "kSTe9p6Ci1p2BZOr53KK0HjCMR0e5XikPXVoatFo67Fx3q2lpijvFb90Aq0vJA01wsd0v2Lo71nTv7MiVRQ5AQ==";
            let (info, signature) = (BASE64.decode(info).unwrap(), BASE64.decode(signature).unwrap());
            let mut changed = info.clone();
            changed[at.index(info.len())] = to;
            let verifies = |info: &[u8]| {
                let key = PublicKey::parse(pem::encode("PUBLIC KEY", info).as_bytes(), "x");
                key.is_ok_and(|key| key.verifies(b"message", &signature))
            };
            prop_assert_eq!(verifies(&changed), changed == info);
            prop_assert!(!verifies(&info[..cut.index(info.len())]));
        }

        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let key = PublicKey::parse(pem::encode("PUBLIC KEY", &bytes).as_bytes(), "x");
            prop_assert!(!key.is_ok_and(|key| key.verifies(b"message", &bytes)));
        }
    }
}
