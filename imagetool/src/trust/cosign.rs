//! Sigstore signatures with a key of one's own: cosign's encrypted private keys, made, read
//! and signed with.
//!
//! A key's file is PEM around a small JSON: scrypt turns the passphrase into a key, and NaCl's
//! secretbox (XSalsa20 and Poly1305) holds a PKCS #8 document.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit as _;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use serde::{Deserialize, Serialize};

use super::payload::{self, Payload};
use super::signature::{Attachment, SIGSTORE_SIGNATURE, SIGSTORE_TYPE, Signature};
use super::{Sign, key, pem};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Reference;

/// Labels of a key's file; the older one is what everyone reads.
const LABELS: [&str; 2] = ["ENCRYPTED COSIGN PRIVATE KEY", "ENCRYPTED SIGSTORE PRIVATE KEY"];
const TAG: usize = 16;

#[derive(Serialize, Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Params {
    #[serde(rename = "N")]
    n: u32,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// A pair of keys, as files.
pub struct Pair {
    /// The private key, under the passphrase.
    pub private: String,
    /// The public key.
    pub public: String,
}

/// Makes a pair of keys: ECDSA on P-256, the one kind that every reader of sigstore knows.
pub fn generate(passphrase: &[u8]) -> Result<Pair> {
    let random = SystemRandom::new();
    let alg = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let made = EcdsaKeyPair::generate_pkcs8(alg, &random).map_err(|_| no_random())?;
    let pair = EcdsaKeyPair::from_pkcs8(alg, made.as_ref(), &random).map_err(|_| no_random())?;
    let (mut salt, mut nonce) = ([0; 32], [0; 24]);
    random.fill(&mut salt).and_then(|()| random.fill(&mut nonce)).map_err(|_| no_random())?;
    let sealed = seal(made.as_ref(), passphrase, &salt, &nonce, 16)?;
    Ok(Pair {
        private: pem::encode(LABELS[0], &sealed),
        public: key::p256_pem(pair.public_key().as_ref()),
    })
}

fn no_random() -> Error {
    Error::invalid("new key", "the kernel gives no random numbers")
}

/// A private key that signs.
pub struct PrivateKey(Kind);

enum Kind {
    Ecdsa(EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

impl PrivateKey {
    /// Reads a key's file.
    pub fn read(path: &Path, passphrase: &[u8]) -> Result<Self> {
        Self::open(&key::read(path)?, passphrase, &path.display().to_string())
    }

    /// Opens a key's file; `what` names it in errors.
    pub fn open(file: &[u8], passphrase: &[u8], what: &str) -> Result<Self> {
        let bad = |why: &str| Error::invalid(format!("private key {what}"), why);
        let (label, sealed) = pem::decode(file).ok_or_else(|| bad("it is not in PEM"))?;
        if !LABELS.contains(&label.as_str()) {
            return Err(bad(&format!("an {} is wanted, this is a {label:?}", LABELS[0])));
        }
        let plain = unseal(&sealed, passphrase).map_err(|why| bad(&why))?;
        let random = SystemRandom::new();
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &plain, &random)
        {
            return Ok(Self(Kind::Ecdsa(pair)));
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&plain) {
            return Ok(Self(Kind::Edwards(pair)));
        }
        let pair = RsaKeyPair::from_pkcs8(&plain);
        pair.map(|p| Self(Kind::Rsa(p)))
            .map_err(|_| bad("its kind is not known: use ECDSA on P-256, Ed25519 or RSA"))
    }

    /// Signs a message.
    pub(super) fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        let failed = |_| no_random();
        match &self.0 {
            Kind::Ecdsa(pair) => {
                pair.sign(&random, message).map(|s| s.as_ref().to_vec()).map_err(failed)
            }
            Kind::Edwards(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Kind::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl Sign for PrivateKey {
    fn sign(&self, manifest: &Digest, name: &Reference) -> Result<Signature> {
        let payload = Payload::write(payload::SIGSTORE, manifest, &name.to_string());
        let signature = BASE64.encode(self.sign_bytes(&payload)?);
        Ok(Signature::Sigstore(Attachment {
            media_type: SIGSTORE_TYPE.to_owned(),
            payload,
            annotations: [(SIGSTORE_SIGNATURE.to_owned(), signature)].into(),
        }))
    }
}

fn stretch(passphrase: &[u8], salt: &[u8], log_n: u8) -> Result<[u8; 32], String> {
    let params = scrypt::Params::new(log_n, 8, 1).map_err(|e| e.to_string())?;
    let mut key = [0; 32];
    scrypt::scrypt(passphrase, salt, &params, &mut key).map_err(|e| e.to_string())?;
    Ok(key)
}

/// NaCl's secretbox: the first 32 bytes of the key stream authenticate, the rest encrypts.
fn cipher(key: &[u8; 32], nonce: &[u8; 24]) -> (XSalsa20, Poly1305) {
    let mut stream = XSalsa20::new(key.into(), nonce.into());
    let mut first = [0; 32];
    stream.apply_keystream(&mut first);
    (stream, Poly1305::new((&first).into()))
}

fn seal(
    plain: &[u8],
    passphrase: &[u8],
    salt: &[u8; 32],
    nonce: &[u8; 24],
    log_n: u8,
) -> Result<Vec<u8>> {
    let failed = |why: String| Error::invalid("new key", why);
    let key = stretch(passphrase, salt, log_n).map_err(failed)?;
    let (mut stream, mac) = cipher(&key, nonce);
    let mut body = plain.to_vec();
    stream.apply_keystream(&mut body);
    let tag = mac.compute_unpadded(&body);
    let sealed = Sealed {
        kdf: Kdf {
            name: "scrypt".into(),
            params: Params { n: 1 << log_n, r: 8, p: 1 },
            salt: BASE64.encode(salt),
        },
        cipher: Cipher { name: "nacl/secretbox".into(), nonce: BASE64.encode(nonce) },
        ciphertext: BASE64.encode([&tag[..], &body].concat()),
    };
    serde_json::to_vec(&sealed).map_err(|e| failed(e.to_string()))
}

fn unseal(sealed: &[u8], passphrase: &[u8]) -> Result<Vec<u8>, String> {
    let sealed: Sealed = serde_json::from_slice(sealed).map_err(|e| e.to_string())?;
    if sealed.kdf.name != "scrypt" || sealed.cipher.name != "nacl/secretbox" {
        let (kdf, cipher) = (sealed.kdf.name, sealed.cipher.name);
        return Err(format!("it is encrypted with {kdf:?} and {cipher:?}, which are not known"));
    }
    // Those that are written anywhere; others may ask for any amount of memory.
    let log_n = match sealed.kdf.params {
        Params { n: n @ (0x8000 | 0x1_0000 | 0x2_0000), r: 8, p: 1 } => n.trailing_zeros(),
        _ => return Err("its scrypt parameters are none that are in use".into()),
    };
    let bytes = |text: &str| BASE64.decode(text).map_err(|e| e.to_string());
    let (salt, nonce) = (bytes(&sealed.kdf.salt)?, bytes(&sealed.cipher.nonce)?);
    let nonce: [u8; 24] = nonce.try_into().map_err(|_| "its nonce has a wrong size")?;
    let whole = bytes(&sealed.ciphertext)?;
    let (tag, body) = whole.split_at_checked(TAG).ok_or("it is cut short")?;
    #[allow(clippy::cast_possible_truncation)] // 15 to 17
    let key = stretch(passphrase, &salt, log_n as u8)?;
    let (mut stream, mac) = cipher(&key, &nonce);
    let right = mac.compute_unpadded(body);
    if right[..] != *tag {
        return Err("the passphrase is wrong, or the file is damaged".into());
    }
    let mut plain = body.to_vec();
    stream.apply_keystream(&mut plain);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::key::PublicKey;
    use proptest::prelude::*;

    #[test]
    fn a_new_key_opens_with_its_passphrase_and_signs() {
        let pair = generate(b"secret").unwrap();
        let public = PublicKey::parse(pair.public.as_bytes(), "x").unwrap();
        assert_eq!(public.to_pem(), pair.public);
        let key = PrivateKey::open(pair.private.as_bytes(), b"secret", "x").unwrap();
        let signature = key.sign_bytes(b"message").unwrap();
        assert!(public.verifies(b"message", &signature));
        assert!(!public.verifies(b"massage", &signature));
        for wrong in [&b""[..], b"secret\n", b"Secret"] {
            assert!(PrivateKey::open(pair.private.as_bytes(), wrong, "x").is_err());
        }
        assert!(PrivateKey::open(pair.public.as_bytes(), b"secret", "x").is_err());
    }

    // Made with libsodium's crypto_secretbox_easy and hashlib.scrypt.
    #[test]
    fn the_box_is_nacls() {
        let sealed = seal(b"plain", b"pw", &[1; 32], &[2; 24], 15).unwrap();
        assert_eq!(unseal(&sealed, b"pw").unwrap(), b"plain");
        let text = String::from_utf8(sealed).unwrap();
        assert!(text.contains(r#""ciphertext":"51gl+0kiu8tnGWDXY+REBuoV9yec""#), "{text}");
    }

    #[test]
    fn parameters_that_nobody_writes_are_refused() {
        let sealed = seal(b"plain", b"", &[1; 32], &[2; 24], 15).unwrap();
        let text = String::from_utf8(sealed).unwrap();
        for (from, to) in [
            ("32768", "1073741824"),
            ("32768", "3"),
            ("\"r\":8", "\"r\":800000"),
            ("scrypt", "pbkdf2"),
            ("nacl/secretbox", "none"),
        ] {
            assert!(unseal(text.replace(from, to).as_bytes(), b"").is_err(), "{to}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = PrivateKey::open(&bytes, b"", "x");
            let _ = unseal(&bytes, b"");
            let _ = PublicKey::parse(&bytes, "x");
        }
    }
}
