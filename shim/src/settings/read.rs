//! A settings file, whole.

use std::io::ErrorKind;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// More than this is no settings file.
const LARGEST: u64 = 4 << 20;

/// What the file says, nothing where there is none. An empty file says nothing either.
pub fn settings<T: DeserializeOwned + Default>(path: &Path) -> Result<Option<T>> {
    let text = match text(path) {
        Ok(text) => text,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(Error::io("settings", path, e)),
    };
    if text.trim().is_empty() {
        return Ok(Some(T::default()));
    }
    serde_json::from_str(&text).map(Some).map_err(|e| {
        let why = e.to_string();
        let why = why.split(" at line ").next().unwrap_or(&why);
        Error::usage(format!(
            "settings {}, line {}: {why}; mend the file",
            path.display(),
            e.line()
        ))
    })
}

fn text(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
    Ok(text)
}
