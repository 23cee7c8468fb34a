//! What others named (labels, files, descriptions) may hold control characters. A terminal would
//! obey them; a pipe gets every byte.

use std::borrow::Cow;

/// The text with control characters as `?`: all but newline, tab and colours, for which people
/// write templates.
pub fn tame(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|&b| is_control(b) || b == 0xc2) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let length = colour(rest).unwrap_or(1);
        match tail.first() {
            // U+0080 to U+009F
            Some(0x80..=0x9f) if first == 0xc2 => {
                out.push(b'?');
                rest = &tail[1..];
                continue;
            }
            _ if length == 1 && is_control(first) => out.push(b'?'),
            _ => out.extend(&rest[..length]),
        }
        rest = &rest[length..];
    }
    Cow::Owned(out)
}

fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, b'\n' | b'\t')
}

/// The length of the colour that the text begins with: `ESC [ … m`.
fn colour(text: &[u8]) -> Option<usize> {
    let inner = text.strip_prefix(b"\x1b[")?;
    let end = inner.iter().position(|b| !matches!(b, b'0'..=b'9' | b';' | b':'))?;
    (inner[end] == b'm').then_some(end + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_colours_and_nothing_else_to_obey() {
        let of = |text: &str| String::from_utf8(tame(text.as_bytes()).into_owned()).unwrap();
        assert_eq!(of("a\tb é\n"), "a\tb é\n");
        assert_eq!(of("\x1b[1;31mred\x1b[0m"), "\x1b[1;31mred\x1b[0m");
        assert_eq!(of("\x1b]0;title\x07"), "?]0;title?");
        assert_eq!(of("\x1b[2Jx\x1b[6n\x1b["), "?[2Jx?[6n?[");
        assert_eq!(of("a\rb\x08\x7f\u{9b}2J\u{a0}"), "a?b???2J\u{a0}");
        assert_eq!(&*tame(b"\xff\xc2\x1bc"), b"\xff\xc2?c");
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            let _ = tame(&text);
        }
    }
}
