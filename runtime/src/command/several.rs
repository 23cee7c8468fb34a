//! `--regex` of `delete` and `kill`: one verb for every container whose id matches.

use std::ffi::CString;

use dhow_kernel::pattern::Pattern;

use super::World;
use crate::error::{Error, Result};

/// Does it to all of them, also where one fails.
///
/// DIFFERS: from crun, which exits with 0 whatever failed.
pub fn each(text: &str, world: &World, mut one: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let pattern = CString::new(text).ok().and_then(|text| Pattern::new(&text));
    let Some(pattern) = pattern else {
        return Err(Error::rule(format!("invalid regular expression {text:?}")));
    };
    let mut failed = vec![];
    for (_, record) in world.store.list(&world.log)? {
        let id = CString::new(record.id.as_str()).unwrap_or_default();
        if pattern.is_in(&id)
            && let Err(e) = one(&record.id)
        {
            failed.push(format!("{}: {e}", record.id));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Error::rule(failed.join("; "))) }
}
