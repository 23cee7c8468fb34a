//! PEM, and the little of DER that keys need.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

/// No key's file is larger.
pub const MAX_KEY: u64 = 1 << 20;

/// The first block of a text: its label and its bytes.
pub fn decode(text: &[u8]) -> Option<(String, Vec<u8>)> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    // Headers, as of old encrypted keys, end with an empty line; none is of use here.
    let body = if body.contains(':') { body.split_once("\n\n")?.1 } else { body };
    let packed: String = body.split_whitespace().collect();
    Some((label.to_owned(), BASE64.decode(packed).ok()?))
}

/// A block, in lines of 64.
pub fn encode(label: &str, bytes: &[u8]) -> String {
    let packed = BASE64.encode(bytes);
    let lines: Vec<&str> =
        (0..packed.len()).step_by(64).map(|at| &packed[at..packed.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// One DER element of this tag at the start: its content, and what follows it. Lengths must be
/// written the shortest way.
pub fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => {
            let (&n, rest) = rest.split_first()?;
            (n >= 0x80).then_some((usize::from(n), rest))?
        }
        0x82 => {
            let (n, rest) = rest.split_first_chunk::<2>()?;
            let n = usize::from(u16::from_be_bytes(*n));
            (n >= 0x100).then_some((n, rest))?
        }
        _ => return None,
    };
    (first == tag).then_some(())?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_are_read_as_written(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = encode("PUBLIC KEY", &bytes);
            prop_assert!(text.lines().all(|l| l.len() <= 64));
            prop_assert_eq!(decode(text.as_bytes()), Some(("PUBLIC KEY".to_owned(), bytes)));
        }

        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in "\\PC{0,80}") {
            let _ = (element(0x30, &bytes), decode(&bytes), decode(text.as_bytes()));
        }
    }
}
