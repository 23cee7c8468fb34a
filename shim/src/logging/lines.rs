//! Bytes as they come → messages: a line each, long ones in pieces of 16 KiB, as docker cuts them.

use super::Stream;

/// Bytes of text in one message at most.
pub const LONGEST: usize = 16 * 1024;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Where it was said.
    pub stream: Stream,
    /// With its newline, if it has one.
    pub text: &'a [u8],
    /// Of a line that was too long: the line's number among such, counted from 1, and the piece's.
    pub piece: Option<(u64, u64)>,
}

impl Message<'_> {
    /// The end of a line.
    pub fn ends(&self) -> bool {
        self.text.last() == Some(&b'\n')
    }
}

/// What of each stream has no newline yet.
#[derive(Default)]
pub struct Lines {
    held: [Vec<u8>; 2],
    piece: [Option<(u64, u64)>; 2],
    long: u64,
}

impl Lines {
    /// Takes bytes of a stream; `each` gets what is whole now.
    pub fn take(&mut self, stream: Stream, bytes: &[u8], mut each: impl FnMut(Message<'_>)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            self.part(stream, line, &mut each);
            rest = after;
        }
        self.part(stream, rest, &mut each);
    }

    /// Gives what has no newline and never will.
    pub fn finish(&mut self, mut each: impl FnMut(Message<'_>)) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let text = std::mem::take(&mut self.held[stream as usize]);
            let piece = self.piece[stream as usize].take();
            if !text.is_empty() {
                each(Message { stream, text: &text, piece });
            }
        }
    }

    /// `part` ends in a newline or is the unfinished end.
    fn part(&mut self, stream: Stream, mut part: &[u8], each: &mut impl FnMut(Message<'_>)) {
        let (held, piece) = (&mut self.held[stream as usize], &mut self.piece[stream as usize]);
        loop {
            let room = LONGEST - held.len();
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            if text.len() <= room && text.len() < part.len() {
                let piece = piece.take();
                if held.is_empty() {
                    each(Message { stream, text: part, piece });
                } else {
                    held.extend(part);
                    each(Message { stream, text: held, piece });
                    held.clear();
                }
                return;
            }
            if text.len() < room {
                held.extend(part);
                return;
            }
            held.extend(&part[..room]);
            let (line, number) = piece.unwrap_or_else(|| {
                self.long += 1;
                (self.long, 1)
            });
            each(Message { stream, text: held, piece: Some((line, number)) });
            *piece = Some((line, number + 1));
            held.clear();
            part = &part[room..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Got = (Stream, String, Option<(u64, u64)>);

    fn got(parts: &[(Stream, &[u8])]) -> Vec<Got> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        let mut each = |m: Message<'_>| {
            all.push((m.stream, String::from_utf8_lossy(m.text).into_owned(), m.piece));
        };
        for (stream, bytes) in parts {
            lines.take(*stream, bytes, &mut each);
        }
        lines.finish(&mut each);
        all
    }

    #[test]
    fn a_line_in_pieces_is_one_message_and_streams_do_not_mix() {
        let all = got(&[
            (Stream::Stdout, b"he"),
            (Stream::Stderr, b"oops\n"),
            (Stream::Stdout, b"llo\nrest"),
        ]);
        let texts: Vec<_> = all.iter().map(|(s, text, _)| (s.as_str(), text.as_str())).collect();
        assert_eq!(texts, [("stderr", "oops\n"), ("stdout", "hello\n"), ("stdout", "rest")]);
    }

    #[test]
    fn long_lines_are_cut_at_16_kib_and_only_the_last_part_has_a_newline() {
        let mut line = vec![b'x'; LONGEST * 2 + 5];
        line.push(b'\n');
        let all = got(&[(Stream::Stdout, &line), (Stream::Stdout, b"short\n")]);
        let lengths: Vec<_> = all.iter().map(|(_, text, piece)| (text.len(), *piece)).collect();
        let want = [(LONGEST, Some((1, 1))), (LONGEST, Some((1, 2))), (6, Some((1, 3))), (6, None)];
        assert_eq!(lengths, want);
        assert!(all[2].1.ends_with('\n'));
    }

    proptest::proptest! {
        #[test]
        fn text_comes_back_whatever_the_pieces(
            pieces in proptest::collection::vec("[a-z\n\u{e9}\"<]{0,40}", 0..20)
        ) {
            let parts: Vec<_> = pieces.iter().map(|p| (Stream::Stdout, p.as_bytes())).collect();
            let text: String = got(&parts).into_iter().map(|(_, text, _)| text).collect();
            proptest::prop_assert_eq!(text, pieces.concat());
        }
    }
}
