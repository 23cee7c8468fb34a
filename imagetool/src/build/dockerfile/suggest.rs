//! The word that was probably meant.

use crate::words::distance;

/// The nearest of `known`, at most two slips away, in the case it was typed in.
pub fn suggest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = typed.to_lowercase();
    let mut best = (3, None);
    for word in known {
        let near = distance(&lower, &word.to_lowercase());
        if near == 0 {
            // The word itself is right: it is something else that is wrong.
            return None;
        }
        if near < best.0 {
            best = (near, Some(word));
        }
    }
    best.1.map(|word| {
        if typed == lower {
            word.to_lowercase()
        } else if typed == typed.to_uppercase() {
            word.to_uppercase()
        } else {
            word.to_owned()
        }
    })
}

/// The same where case matters: a name that differs in it alone is near.
pub(super) fn suggest_exact<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let mut best = (3, None);
    for word in known {
        match distance(typed, word) {
            0 => return None,
            near if near < best.0 => best = (near, Some(word)),
            _ => {}
        }
    }
    best.1.map(ToOwned::to_owned)
}

/// `why` with the word that was probably meant, if there is one.
pub(super) fn with_hint<'a>(
    why: &str,
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
    before: &str,
) -> String {
    match suggest(typed, known) {
        Some(word) => format!("{why} (did you mean {before}{word}?)"),
        None => why.to_owned(),
    }
}
