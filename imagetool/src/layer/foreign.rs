//! Archives compressed by what images don't use: bzip2 and xz. A tar that is loaded or imported
//! may come so; its bytes are inflated before anything else looks at them.

use std::io::{self, BufReader, Cursor, Read};

use crate::error::{Error, Result};

const BUFFER: usize = 128 << 10;
/// xz's window, and so its memory, in KiB: what `xz -9` needs, and as much as zstd may have.
const XZ_MEMORY: u32 = 128 << 10;

/// The stream, without bzip2 or xz around it; anything else as it is.
pub(crate) fn peel<'a>(mut reader: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let mut head = [0; 6];
    let mut n = 0;
    while n < head.len() {
        match reader.read(&mut head[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::from_io("read", "archive", e)),
        }
    }
    let head = &head[..n];
    let whole = Cursor::new(head.to_vec()).chain(reader);
    Ok(if head.starts_with(b"BZh") {
        let buffered = BufReader::with_capacity(BUFFER, whole);
        Box::new(bzip2::bufread::MultiBzDecoder::new(buffered))
    } else if head.starts_with(b"\xfd7zXZ\0") {
        let buffered = BufReader::with_capacity(BUFFER, whole);
        Box::new(lzma_rust2::XzReader::new_mem_limit(buffered, true, XZ_MEMORY))
    } else {
        Box::new(whole)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::sync::OnceLock;

    fn packed(program: &str, data: &[u8]) -> Vec<u8> {
        let mut child = Command::new(program)
            .args(["-c", "-9"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(data).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap().stdout
    }

    fn plain(data: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        peel(data).map_err(Error::into_io)?.read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn bzip2_and_xz_come_off_and_others_stay() {
        let text = b"hello hello hello".repeat(10_000);
        for program in ["bzip2", "xz"] {
            let whole = packed(program, &text);
            assert_eq!(plain(&whole).unwrap(), text, "{program}");
            assert_eq!(plain(&[&whole[..], &whole].concat()).unwrap().len(), 2 * text.len());
            assert!(plain(&whole[..whole.len() - 3]).is_err(), "{program}: cut short");
            let mut flipped = whole.clone();
            flipped[whole.len() / 2] ^= 1;
            assert!(plain(&flipped).is_err(), "{program}: a bit flipped");
        }
        for as_it_is in [&b""[..], b"BZ", b"plain text"] {
            assert_eq!(plain(as_it_is).unwrap(), as_it_is);
        }
    }

    proptest! {
        /// A changed stream ends, and not as if it were whole.
        #[test]
        fn near_misses_end(changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..4)) {
            static PACKED: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
            let text: Vec<u8> = (0..20_000u32).flat_map(|n| (n * n % 977).to_le_bytes()).collect();
            for good in PACKED.get_or_init(|| ["bzip2", "xz"].map(|program| packed(program, &text))) {
                let mut bytes = good.clone();
                for (at, to) in &changes {
                    bytes[at.index(good.len())] = *to;
                }
                let Ok(stream) = peel(&bytes[..]) else { continue };
                let mut out = Vec::new();
                let whole = stream.take(16 << 20).read_to_end(&mut out).is_ok();
                prop_assert!(!whole || out == text || out == bytes);
                prop_assert!(out.len() < 16 << 20);
            }
        }
    }
}
