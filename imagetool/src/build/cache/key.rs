//! What a step's result follows from, as one digest.

use crate::digest::{Algorithm, Digest, Hasher};

/// A key in the making: names and values, each with its length, so that no two lists give the
/// same bytes.
pub(crate) struct Key(Hasher);

impl Key {
    /// Of a step of this kind; with another `version` earlier results are of no use.
    pub fn new(kind: &str, version: u32) -> Self {
        let key = Self(Hasher::new(Algorithm::Sha256));
        key.with("kind", kind).with("version", version.to_string())
    }

    /// Adds what something is.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        for bytes in [name.as_bytes(), value.as_ref()] {
            self.0.update(&(bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
        self
    }

    /// Adds a list.
    #[must_use]
    pub fn with_all<T: AsRef<[u8]>>(self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        values.into_iter().fold(self.with(name, "["), |key, value| key.with("", value))
    }

    /// Adds what may be nothing.
    #[must_use]
    pub fn with_some<T: ToString>(self, name: &str, value: Option<T>) -> Self {
        match value {
            Some(value) => self.with(name, value.to_string()),
            None => self,
        }
    }

    /// The digest.
    pub fn finish(self) -> Digest {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_value_ends_matters() {
        let of = |a: &str, b: &str| Key::new("k", 1).with("a", a).with("b", b).finish();
        assert_eq!(of("x", "y"), of("x", "y"));
        assert_ne!(of("xy", ""), of("x", "y"));
        let list = |all: &[&str]| Key::new("k", 1).with_all("l", all).finish();
        assert_ne!(list(&["a", "b"]), list(&["ab"]));
        assert_ne!(list(&[]), list(&[""]));
    }
}
