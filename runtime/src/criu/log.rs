//! What criu's own log says of a failure.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::swrk::Failed;
use crate::error::Error;

/// As much of the end as is looked at.
const TAIL: u64 = 256 * 1024;
/// As many lines as are quoted.
const QUOTED: usize = 3;
/// As much of a line as is quoted.
const WIDTH: usize = 300;

/// The error, with criu's last words and where the rest is.
pub fn explain(failed: Failed, directory: &Path, name: &str) -> Error {
    let Failed::Criu { what, said } = failed else { return failed.into() };
    let path = directory.join(name);
    let said = match tail(&path).map(|text| errors(&text)) {
        Ok(last) if !last.is_empty() => last,
        _ => said,
    };
    let why = if said.is_empty() { what } else { format!("{what}: {said}") };
    Error::rule(format!("{why} (the log is {})", path.display()))
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last lines that are errors, without their time.
fn errors(text: &str) -> String {
    let line = |line: &str| {
        let (_, rest) = line.split_once("Error ")?;
        Some(rest.trim().chars().take(WIDTH).collect::<String>())
    };
    let mut last: Vec<String> = text.lines().rev().filter_map(line).take(QUOTED).collect();
    last.reverse();
    last.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_errors_are_quoted_without_their_time() {
        let text = "(00.1) Error (a.c:1): one\n(00.2) info\n(00.3) Error (b.c:2): two\n\
                    (00.4) Error (c.c:3): three \n(00.5) Error (d.c:4): four\n(00.6) end\n";
        assert_eq!(errors(text), "(b.c:2): two; (c.c:3): three; (d.c:4): four");
        assert_eq!(errors(""), "");
    }
}
