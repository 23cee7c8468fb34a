//! `null` in JSON, which Go programs write for what they don't set.

use serde::{Deserialize, Deserializer};

/// Reads `null` as the default, for `#[serde(deserialize_with)]`.
pub(crate) fn is_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
