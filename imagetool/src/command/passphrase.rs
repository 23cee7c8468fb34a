//! The passphrase of a private key.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::Path;

use dhow_image::{Error, Result};

/// No passphrase is longer.
const MAX: u64 = 64 << 10;

/// A file's first line, as gpg reads it.
pub fn read(file: &Path) -> Result<String> {
    let open = File::open(file).map_err(Error::at("open", file))?;
    let mut line = String::new();
    BufReader::new(open.take(MAX)).read_line(&mut line).map_err(Error::at("read", file))?;
    Ok(line.strip_suffix('\n').map(str::to_owned).unwrap_or(line))
}

/// What is typed for a key.
pub fn ask(key: &Path) -> Result<String> {
    let key = key.display();
    if !std::io::stdin().is_terminal() {
        return Err(Error::Conflict(format!(
            "Cannot prompt for a passphrase for key {key}, standard input is not a TTY; give a file with it"
        )));
    }
    super::ask::secret("passphrase", &format!("Passphrase for key {key}: "))
}
