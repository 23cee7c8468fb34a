//! Content digests: `sha256:<64 hex>` and `sha512:<128 hex>`, parsed strictly.
//!
//! SPEC: image-spec descriptor.md §digests.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

use crate::error::{Error, Result};

/// A registered digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// `sha256`
    Sha256,
    /// `sha512`
    Sha512,
}

impl Algorithm {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name before the colon, and of the folder under `blobs/`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// An algorithm and its lower-case hexadecimal hash. Safe as a file name by construction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

/// A digest over a chain of layers: SPEC: image-spec config.md §layer-chainid.
pub type ChainId = Digest;
/// A digest over a layer's uncompressed tar.
pub type DiffId = Digest;

impl Digest {
    /// The sha256 of some bytes: what we name things by ourselves.
    pub fn of(bytes: &[u8]) -> Self {
        Self::by(Algorithm::Sha256, bytes)
    }

    /// The digest of some bytes.
    pub fn by(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut h = Hasher::new(algorithm);
        h.update(bytes);
        h.finish()
    }

    /// Whether this is the digest of these bytes.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        Self::by(self.algorithm, bytes) == *self
    }

    /// From the hexadecimal digits alone: their number tells the algorithm.
    pub fn from_hex(hex: &str) -> Result<Self> {
        let long = hex.len() == Algorithm::Sha512.hex_len();
        let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
        format!("{}:{hex}", algorithm.name()).parse()
    }

    /// What the digits of an id, or the first of them, are once the algorithm is taken off.
    pub fn digits(typed: &str) -> &str {
        let names = Algorithm::ALL.map(Algorithm::name);
        let rest = names.iter().find_map(|name| typed.strip_prefix(name)?.strip_prefix(':'));
        rest.unwrap_or(typed)
    }

    /// Its name where all digests lie in one directory: skopeo's, which says the algorithm only
    /// where it isn't sha256.
    pub fn flat_name(&self) -> String {
        match self.algorithm {
            Algorithm::Sha256 => self.hex.clone(),
            Algorithm::Sha512 => format!("{}-{}", self.algorithm.name(), self.hex),
        }
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hash, in lower-case hexadecimal.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve digits, docker's short form.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }

    /// The chain ids of a list of diff ids, lowest first.
    pub fn chain(diff_ids: &[DiffId]) -> Vec<ChainId> {
        let mut chain: Vec<ChainId> = Vec::with_capacity(diff_ids.len());
        for diff in diff_ids {
            let next = match chain.last() {
                None => diff.clone(),
                Some(below) => Self::of(format!("{below} {diff}").as_bytes()),
            };
            chain.push(next);
        }
        chain
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self> {
        let bad = |why: &str| {
            let shown: String = s.chars().take(200).collect();
            Error::usage("digest", shown, why)
        };
        let (name, hex) = s.split_once(':').ok_or_else(|| bad("it has no colon"))?;
        let algorithm = Algorithm::ALL.into_iter().find(|a| a.name() == name);
        let algorithm = algorithm.ok_or_else(|| bad("the algorithm must be sha256 or sha512"))?;
        if hex.len() != algorithm.hex_len() {
            return Err(bad("the hash has the wrong length"));
        }
        if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(bad("the hash must be lower-case hexadecimal"));
        }
        Ok(Self { algorithm, hex: hex.to_owned() })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A running hash.
#[derive(Clone)]
pub struct Hasher(Inner);

#[derive(Clone)]
enum Inner {
    Sha256(sha2::Sha256),
    Sha512(Box<sha2::Sha512>),
}

impl Hasher {
    /// A hash of nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => Inner::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Inner::Sha512(Box::new(sha2::Sha512::new())),
        })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Inner::Sha256(h) => h.update(bytes),
            Inner::Sha512(h) => h.update(bytes),
        }
    }

    /// The digest of what was added.
    pub fn finish(self) -> Digest {
        match self.0 {
            Inner::Sha256(h) => Digest { algorithm: Algorithm::Sha256, hex: hex(&h.finalize()) },
            Inner::Sha512(h) => Digest { algorithm: Algorithm::Sha512, hex: hex(&h.finalize()) },
        }
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new(Algorithm::Sha256)
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|n| DIGITS[n as usize] as char).collect()
}

/// A reader or writer that hashes and counts what passes through it.
pub struct Hashing<T> {
    inner: T,
    hasher: Hasher,
    count: u64,
}

impl<T> Hashing<T> {
    /// Hashes what passes through `inner`.
    pub fn new(inner: T, algorithm: Algorithm) -> Self {
        Self { inner, hasher: Hasher::new(algorithm), count: 0 }
    }

    /// How many bytes have passed.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What is inside.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// What is inside, the digest and the number of bytes.
    pub fn finish(self) -> (T, Digest, u64) {
        (self.inner, self.hasher.finish(), self.count)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        self.count += n as u64;
        Ok(n)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.count += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A reader that fails unless it yields exactly `size` bytes of digest `want`.
/// The check is made when the last byte is read, so a caller that reads to the end
/// has verified bytes, and one byte too many is never handed on.
pub struct Verified<R> {
    inner: Hashing<R>,
    want: Digest,
    size: u64,
    what: String,
    checked: bool,
}

impl<R: Read> Verified<R> {
    /// `what` names the bytes in errors: "layer sha256:…".
    pub fn new(inner: R, want: &Digest, size: u64, what: impl Into<String>) -> Self {
        let inner = Hashing::new(inner, want.algorithm());
        Self { inner, want: want.clone(), size, what: what.into(), checked: false }
    }

    fn check(&mut self) -> Result<()> {
        let got = self.inner.hasher.clone().finish();
        if got != self.want {
            return Err(Error::Digest { what: self.what.clone(), want: self.want.clone(), got });
        }
        let mut one = [0];
        if self.inner.inner.read(&mut one).map_err(|e| Error::from_io("read", &self.what, e))? > 0 {
            return Err(self.wrong_size(self.size + 1));
        }
        self.checked = true;
        Ok(())
    }

    fn wrong_size(&self, got: u64) -> Error {
        Error::Size { what: self.what.clone(), want: self.size, got }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.size - self.inner.count;
        if buf.is_empty() {
            return Ok(0);
        }
        if left == 0 {
            if !self.checked {
                self.check().map_err(Error::into_io)?;
            }
            return Ok(0);
        }
        let max = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let n = self.inner.read(&mut buf[..max])?;
        if n == 0 {
            return Err(self.wrong_size(self.inner.count).into_io());
        }
        if n as u64 == left {
            self.check().map_err(Error::into_io)?;
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn known_digest() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
    }

    #[test]
    fn only_strict_forms_parse() {
        for bad in [
            "",
            "sha256",
            "sha256:",
            "sha256:../x",
            &EMPTY.to_uppercase(),
            &EMPTY[..70],
            &format!("{EMPTY}0"),
            &EMPTY.replace("sha256", "md5"),
            "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        assert_eq!(EMPTY.parse::<Digest>().unwrap().to_string(), EMPTY);
    }

    #[test]
    fn both_algorithms_have_names_of_their_own() {
        for algorithm in Algorithm::ALL {
            let digest = Digest::by(algorithm, b"x");
            assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
            assert_eq!(Digest::from_hex(digest.hex()).unwrap(), digest);
            assert_eq!(Digest::digits(&digest.to_string()), digest.hex());
            assert!(digest.is_of(b"x") && !digest.is_of(b"y"));
        }
        let (short, long) = (Digest::of(b"x"), Digest::by(Algorithm::Sha512, b"x"));
        assert_eq!(short.flat_name(), short.hex());
        assert_eq!(long.flat_name(), format!("sha512-{}", long.hex()));
        assert!(Digest::from_hex(&long.hex()[..127]).is_err());
        assert_eq!(Digest::digits("abc"), "abc");
    }

    #[test]
    fn chain_ids_follow_the_spec() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let chain = Digest::chain(&[a.clone(), b.clone()]);
        assert_eq!(chain[0], a);
        assert_eq!(chain[1], Digest::of(format!("{a} {b}").as_bytes()));
    }

    fn read_all(data: &[u8], want: &Digest, size: u64) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Verified::new(data, want, size, "x").read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn verified_refuses_short_long_and_wrong() {
        let d = Digest::of(b"hello");
        assert_eq!(read_all(b"hello", &d, 5).unwrap(), b"hello");
        assert!(read_all(b"hell", &d, 5).is_err());
        assert!(read_all(b"hello!", &d, 5).is_err());
        assert!(read_all(b"hellO", &d, 5).is_err());
        assert!(read_all(b"", &Digest::of(b"x"), 0).is_err());
        assert!(read_all(b"", &Digest::of(b""), 0).is_ok());
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_round_trips(s in "\\PC{0,80}") {
            if let Ok(d) = s.parse::<Digest>() {
                prop_assert_eq!(d.to_string(), s);
            }
        }
    }
}
