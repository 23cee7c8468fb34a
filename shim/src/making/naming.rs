//! Ids and made-up names.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};

const ADJECTIVES: [&str; 64] = [
    "able", "airy", "amber", "ample", "azure", "balmy", "blithe", "brave", "breezy", "bright",
    "brisk", "calm", "candid", "civil", "clear", "coral", "crisp", "daring", "deft", "eager",
    "early", "easy", "fair", "fleet", "fond", "frank", "fresh", "gentle", "glad", "golden",
    "grand", "hardy", "hearty", "humble", "jaunty", "jolly", "keen", "kind", "light", "lively",
    "loyal", "lucid", "mellow", "merry", "mild", "neat", "nimble", "noble", "patient", "placid",
    "plucky", "proud", "quick", "quiet", "ready", "rosy", "sage", "serene", "sleek", "spry",
    "steady", "sunny", "tidy", "vivid",
];

/// People who went to sea, mapped it, or studied it.
const SURNAMES: [&str; 64] = [
    "amundsen",
    "anning",
    "baret",
    "barents",
    "battuta",
    "beaufort",
    "bering",
    "bowditch",
    "bougainville",
    "brendan",
    "cabot",
    "carson",
    "chichester",
    "cook",
    "cousteau",
    "cunliffe",
    "dampier",
    "darwin",
    "diaz",
    "drake",
    "earle",
    "eratosthenes",
    "ericson",
    "fitzroy",
    "flinders",
    "franklin",
    "frobisher",
    "gama",
    "grenfell",
    "halley",
    "hanno",
    "harrison",
    "hawkins",
    "hero",
    "heyerdahl",
    "hudson",
    "humboldt",
    "kerguelen",
    "knox",
    "laperouse",
    "magellan",
    "majid",
    "maury",
    "mercator",
    "nansen",
    "nightingale",
    "pinzon",
    "polo",
    "ptolemy",
    "pytheas",
    "raleigh",
    "ross",
    "scott",
    "selkirk",
    "shackleton",
    "slocum",
    "tasman",
    "tharp",
    "tupaia",
    "vancouver",
    "vespucci",
    "weddell",
    "wilkes",
    "zheng",
];

fn random<const N: usize>() -> Result<[u8; N]> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; N];
    File::open(path)
        .and_then(|mut f| f.read_exact(&mut bytes))
        .map_err(|e| Error::io("read", path, e))?;
    Ok(bytes)
}

/// 64 hex digits, of which the first twelve are not all numbers (they would read as one).
pub fn id() -> Result<String> {
    loop {
        let bytes: [u8; 32] = random()?;
        let id = bytes.iter().fold(String::with_capacity(64), |mut id, b| {
            let _ = write!(id, "{b:02x}");
            id
        });
        if !id[..12].bytes().all(|b| b.is_ascii_digit()) {
            return Ok(id);
        }
    }
}

/// `brave_cook`, or `brave_cook7` when `again` says the plain one was taken.
pub fn name(again: u32) -> Result<String> {
    let [a, s, n]: [u8; 3] = random()?;
    let adjective = ADJECTIVES[usize::from(a) % ADJECTIVES.len()];
    let surname = SURNAMES[usize::from(s) % SURNAMES.len()];
    let digit = if again == 0 { String::new() } else { n.to_string() };
    Ok(format!("{adjective}_{surname}{digit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names() {
        for again in 0..50 {
            crate::store::check_container_name(&name(again).unwrap()).unwrap();
        }
        let id = id().unwrap();
        assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
