//! Short names: `fedora` is what an alias says, or is looked for in the registries to search;
//! where no file says anything it is Docker Hub's.

use super::{Mode, Registries};
use crate::error::{Error, Result};
use crate::reference::Reference;

/// Whether a name has no registry before it.
pub fn is_short(typed: &str) -> bool {
    match typed.split_once('/') {
        Some((first, _)) => {
            let host = first.contains(['.', ':']) || first == "localhost";
            !host && !first.bytes().any(|b| b.is_ascii_uppercase())
        }
        None => true,
    }
}

impl Registries {
    /// Every image that a name may mean, the first that is there is meant.
    pub fn meanings(&self, typed: &str) -> Result<Vec<Reference>> {
        let hub = Reference::parse_normal(typed)?;
        if !is_short(typed) {
            return Ok(vec![hub]);
        }
        // A short name's own text, without tag and digest.
        let rest = hub.to_string()[hub.name().len()..].to_owned();
        let name = typed.strip_suffix(rest.as_str()).unwrap_or(typed);
        if let Some(full) = self.aliases.get(name) {
            return Ok(vec![Reference::parse_normal(&format!("{full}{rest}"))?]);
        }
        match (self.search.as_slice(), self.mode) {
            ([], _) => Ok(vec![hub]),
            ([_, _, ..], Mode::Enforcing) => {
                let why = format!(
                    "it may be in {}, and short-name-mode is enforcing: write one of them before it",
                    self.search.join(" or ")
                );
                Err(Error::usage("short name", typed, why))
            }
            (all, _) => {
                all.iter().map(|host| Reference::parse_normal(&format!("{host}/{typed}"))).collect()
            }
        }
    }
}
