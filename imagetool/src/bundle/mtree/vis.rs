//! Names as mtree has them. SPEC: vis(3) with VIS_OCTAL, VIS_WHITE and VIS_GLOB, go-mtree's
//! choice: what isn't printable ASCII, and what shells expand, is `\ooo`; a backslash is doubled.

/// A name, encoded.
pub fn vis(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'\\' => out.push_str("\\\\"),
            0x21..=0x7e if !matches!(byte, b'*' | b'?' | b'[' | b'#') => out.push(byte as char),
            _ => {
                let octal = [byte >> 6, byte >> 3 & 7, byte & 7].map(|n| (b'0' + n) as char);
                out.push('\\');
                out.extend(octal);
            }
        }
    }
    out
}

/// A name, decoded; `None` if it is no encoded name.
pub fn unvis(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, next)) = rest.split_first() {
        rest = next;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&kind, next) = rest.split_first()?;
        rest = next;
        match kind {
            b'0'..=b'7' => {
                let more = next.iter().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
                let digits = std::iter::once(&kind).chain(&next[..more]);
                let value = digits.fold(0u32, |n, d| n * 8 + u32::from(d - b'0'));
                out.push(u8::try_from(value).ok()?);
                rest = &next[more..];
            }
            b'x' => {
                let digits = std::str::from_utf8(next.get(..2)?).ok()?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &next[2..];
            }
            b'^' => (out, rest) = control(out, next, 0)?,
            b'M' => match next.split_first()? {
                (b'^', next) => (out, rest) = control(out, next, 0x80)?,
                (b'-', next) => {
                    let (&byte, next) = next.split_first()?;
                    out.push(byte | 0x80);
                    rest = next;
                }
                _ => return None,
            },
            b'\n' | b'$' => {}
            _ => out.push(match kind {
                b'\\' | b'"' => kind,
                b'n' => b'\n',
                b'r' => b'\r',
                b'b' => 8,
                b'a' => 7,
                b'v' => 11,
                b't' => b'\t',
                b'f' => 12,
                b's' => b' ',
                b'E' => 27,
                _ => return None,
            }),
        }
    }
    Some(out)
}

fn control(mut out: Vec<u8>, from: &[u8], mask: u8) -> Option<(Vec<u8>, &[u8])> {
    let (&byte, rest) = from.split_first()?;
    out.push(mask | if byte == b'?' { 0x7f } else { byte & 0x1f });
    Some((out, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_encoded_as_go_mtree_encodes_them() {
        assert_eq!(vis(b"a b"), "a\\040b");
        assert_eq!(vis("ü#*\\\n".as_bytes()), "\\303\\274\\043\\052\\\\\\012");
        assert_eq!(unvis(b"\\x41\\^A\\M-A\\M^A\\s\\12x").unwrap(), b"A\x01\xc1\x81 \nx");
        assert_eq!(unvis(b"\\"), None);
        assert_eq!(unvis(b"\\777"), None);
    }

    proptest! {
        #[test]
        fn any_name_comes_back(name in proptest::collection::vec(any::<u8>(), 0..60)) {
            let text = vis(&name);
            prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()));
            prop_assert_eq!(unvis(text.as_bytes()), Some(name.clone()));
            let _ = unvis(&name);
        }
    }
}
