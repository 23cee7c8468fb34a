//! gzip, in a stream and in bounded memory: the members' headers and trailers are read here,
//! what lies between them by fdeflate. Measured (docs/performance.md): the fastest decoder that
//! needs no assembler.
//!
//! SPEC: RFC 1952. Zeros behind the last member are padding, as gzip(1) takes them; anything
//! else there is an error.

use std::io::{self, Read};

use fdeflate::Decompressor;

/// How far back deflate may refer. A buffer that is filled has as much before its content.
pub const WINDOW: usize = 32 << 10;

/// Bytes already taken that stay at hand: the decoder reads ahead of the trailer.
const KEPT: usize = 16;
const PACKED: usize = 128 << 10;
const OWN: usize = 128 << 10;

/// What a gzip stream unpacks to.
pub struct Gunzip<R> {
    from: Packed<R>,
    state: State,
    decoder: Decompressor,
    crc: crc32fast::Hasher,
    size: u32,
    members: u64,
    /// The last bytes that were made, at its end; so many are of this member.
    window: Box<[u8]>,
    known: usize,
    /// For those who read instead of having a buffer filled.
    own: Box<[u8]>,
    at: usize,
    end: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Body,
    End,
}

impl<R: Read> Gunzip<R> {
    /// Unpacks `from`.
    pub fn new(from: R) -> Self {
        Self {
            from: Packed::new(from),
            state: State::Head,
            decoder: Decompressor::new(),
            crc: crc32fast::Hasher::new(),
            size: 0,
            members: 0,
            window: vec![0; WINDOW].into(),
            known: 0,
            own: Box::default(),
            at: 0,
            end: 0,
        }
    }

    /// Fills `out` from [`WINDOW`] on; what lies before is for this to work with. Gives the
    /// number of bytes, less than there is room for only at the end.
    pub fn fill(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut at = WINDOW;
        // Nothing before the first byte of this member can be referred to.
        let mut base = WINDOW - self.known;
        out[base..WINDOW].copy_from_slice(&self.window[base..]);
        loop {
            match self.state {
                State::End => break,
                State::Head => {
                    base = at;
                    self.state = if self.head()? { State::Body } else { State::End };
                }
                State::Body if at == out.len() => break,
                State::Body => at += self.body(&mut out[base..], at - base)?,
            }
        }
        self.known = (at - base).min(WINDOW);
        self.window[WINDOW - self.known..].copy_from_slice(&out[at - self.known..at]);
        Ok(at - WINDOW)
    }

    /// Whether another member begins here.
    fn head(&mut self) -> io::Result<bool> {
        if self.members > 0 {
            self.from.skip_zeros()?;
            if self.from.peek(1)?.is_empty() {
                return Ok(false);
            }
        }
        header(&mut self.from, self.members == 0)?;
        self.members += 1;
        self.decoder = Decompressor::new();
        self.decoder.ignore_adler32();
        // It wants zlib's header, and takes the four bytes behind the data for zlib's sum.
        self.decoder.read(&[0x78, 0x01], &mut [], 0, false).map_err(broken)?;
        self.crc = crc32fast::Hasher::new();
        self.size = 0;
        Ok(true)
    }

    fn body(&mut self, out: &mut [u8], at: usize) -> io::Result<usize> {
        let packed = self.from.peek(1)?;
        let over = packed.is_empty();
        let (used, made) = self.decoder.read(packed, out, at, false).map_err(broken)?;
        self.from.consume(used);
        self.crc.update(&out[at..at + made]);
        self.size = self.size.wrapping_add(made as u32);
        if self.decoder.is_done() {
            self.trailer()?;
            self.state = State::Head;
        } else if over && made == 0 {
            return Err(cut());
        }
        Ok(made)
    }

    /// The decoder has read over the sum, and up to three bytes more: where the trailer is
    /// shows by what it says.
    fn trailer(&mut self) -> io::Result<()> {
        let sum = std::mem::take(&mut self.crc).finalize().to_le_bytes();
        let size = self.size.to_le_bytes();
        self.from.back(7);
        let near = self.from.peek(11)?;
        let there = |at: &usize| near.get(*at..*at + 8) == Some(&[sum, size].concat()[..]);
        if let Some(at) = (0..=3).find(there) {
            self.from.consume(at + 8);
            return Ok(());
        }
        let what = match (0..=3).find(|&at| near.get(at..at + 4) == Some(&sum[..])) {
            Some(at) if near.len() < at + 8 => return Err(cut()),
            Some(_) => "length",
            None => "checksum",
        };
        Err(invalid(format!("a gzip member's {what} is wrong")))
    }
}

impl<R: Read> Read for Gunzip<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.end {
            let mut own = std::mem::take(&mut self.own);
            if own.is_empty() {
                own = vec![0; WINDOW + OWN].into();
            }
            let filled = self.fill(&mut own);
            self.own = own;
            (self.at, self.end) = (WINDOW, WINDOW + filled?);
        }
        let n = buf.len().min(self.end - self.at);
        buf[..n].copy_from_slice(&self.own[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// A member's header. SPEC: RFC 1952 §2.3.
fn header<R: Read>(from: &mut Packed<R>, first: bool) -> io::Result<()> {
    const HEADER_SUM: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    if from.peek(2)?.get(..2).is_some_and(|magic| magic != [0x1f, 0x8b]) {
        let what = if first { "this is no gzip" } else { "there is garbage behind its gzip" };
        return Err(invalid(what.to_owned()));
    }
    let mut sum = crc32fast::Hasher::new();
    let head: [u8; 10] = from.exact(&mut sum)?;
    let flags = head[3];
    if head[2] != 8 || flags & 0xe0 != 0 {
        return Err(invalid("a gzip member is of an unknown kind".to_owned()));
    }
    if flags & EXTRA != 0 {
        let length: [u8; 2] = from.exact(&mut sum)?;
        for _ in 0..u16::from_le_bytes(length) {
            let [_] = from.exact(&mut sum)?;
        }
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            while from.exact(&mut sum)? != [0] {}
        }
    }
    if flags & HEADER_SUM != 0 {
        let want = (sum.clone().finalize() as u16).to_le_bytes();
        if from.exact(&mut sum)? != want {
            return Err(invalid("a gzip header's checksum is wrong".to_owned()));
        }
    }
    Ok(())
}

/// The packed bytes, in a buffer that can go back a little.
struct Packed<R> {
    inner: R,
    bytes: Box<[u8]>,
    at: usize,
    end: usize,
}

impl<R: Read> Packed<R> {
    fn new(inner: R) -> Self {
        Self { inner, bytes: vec![0; KEPT + PACKED].into(), at: KEPT, end: KEPT }
    }

    /// What is at hand: at least so many bytes (a few), unless the stream ends before.
    fn peek(&mut self, least: usize) -> io::Result<&[u8]> {
        while self.end - self.at < least {
            let from = self.at.saturating_sub(KEPT);
            self.bytes.copy_within(from..self.end, 0);
            (self.at, self.end) = (self.at - from, self.end - from);
            match self.inner.read(&mut self.bytes[self.end..]) {
                Ok(0) => break,
                Ok(n) => self.end += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(&self.bytes[self.at..self.end])
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }

    /// At most [`KEPT`] bytes back.
    fn back(&mut self, n: usize) {
        self.at -= n;
    }

    fn exact<const N: usize>(&mut self, sum: &mut crc32fast::Hasher) -> io::Result<[u8; N]> {
        let near = self.peek(N)?;
        let bytes: [u8; N] = near.get(..N).and_then(|b| b.try_into().ok()).ok_or_else(cut)?;
        sum.update(&bytes);
        self.consume(N);
        Ok(bytes)
    }

    fn skip_zeros(&mut self) -> io::Result<()> {
        loop {
            let near = self.peek(1)?;
            let zeros = near.iter().take_while(|&&b| b == 0).count();
            let all = zeros == near.len();
            self.consume(zeros);
            if !all || zeros == 0 {
                return Ok(());
            }
        }
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it ends in the middle")
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn broken(error: fdeflate::DecompressionError) -> io::Error {
    invalid(format!("its deflate data is broken: {error:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(data: &[u8], level: u32) -> Vec<u8> {
        packed(data, level, GzBuilder::new())
    }

    fn packed(data: &[u8], level: u32, header: GzBuilder) -> Vec<u8> {
        let mut w = header.write(Vec::new(), Compression::new(level));
        w.write_all(data).unwrap();
        w.finish().unwrap()
    }

    /// Hands out a few bytes at a time.
    struct Dripping<'a>(&'a [u8], usize);

    impl Read for Dripping<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(buf.len());
            self.0.read(&mut buf[..n])
        }
    }

    fn unpack(packed: &[u8], drip: usize, room: usize) -> io::Result<Vec<u8>> {
        let mut gunzip = Gunzip::new(Dripping(packed, drip));
        let (mut out, mut buf) = (Vec::new(), vec![0; WINDOW + room]);
        loop {
            let n = gunzip.fill(&mut buf)?;
            out.extend_from_slice(&buf[WINDOW..WINDOW + n]);
            if n < room {
                return Ok(out);
            }
        }
    }

    fn text(len: usize) -> Vec<u8> {
        (0..len as u32).flat_map(|n| format!("{} ", n.wrapping_mul(n) >> 9).into_bytes()).collect()
    }

    #[test]
    fn all_comes_back_however_it_is_cut() {
        let data = text(60_000);
        for level in [0, 1, 6, 9] {
            let whole = gzip(&data, level);
            for (drip, room) in [(usize::MAX, 1 << 20), (4097, 4096), (100, 33_333)] {
                assert!(unpack(&whole, drip, room).unwrap() == data, "{level} {drip} {room}");
            }
            let mut read = Vec::new();
            Gunzip::new(&whole[..]).read_to_end(&mut read).unwrap();
            assert!(read == data);
        }
        // Byte by byte the trailer is met at each of its places.
        for len in 0..40 {
            assert!(unpack(&gzip(&data[..len], 6), 1, 7).unwrap() == data[..len]);
        }
    }

    #[test]
    fn headers_of_every_kind() {
        let header = GzBuilder::new().filename("name").comment("why").extra(vec![7; 300]).mtime(5);
        let whole = packed(b"data", 6, header);
        assert_eq!(unpack(&whole, 3, 9).unwrap(), b"data");
        let mut summed = gzip(b"data", 6);
        summed[3] = 2;
        let sum = (crc32fast::hash(&summed[..10]) as u16).to_le_bytes();
        summed.splice(10..10, sum);
        assert_eq!(unpack(&summed, 3, 9).unwrap(), b"data");
        summed[10] ^= 1;
        assert!(unpack(&summed, 3, 9).unwrap_err().to_string().contains("header's checksum"));
        let mut unknown = gzip(b"data", 6);
        unknown[3] = 0x40;
        assert!(unpack(&unknown, 3, 9).is_err());
    }

    #[test]
    fn members_follow_each_other_and_do_not_see_each_other() {
        let data = text(9_000);
        let parts: Vec<Vec<u8>> = data.chunks(10_000).map(|part| gzip(part, 6)).collect();
        assert!(unpack(&parts.concat(), 999, 5000).unwrap() == data);
        assert_eq!(unpack(&[gzip(b"a", 6), gzip(b"", 6)].concat(), 1, 5).unwrap(), b"a");
        // A copy from 1 before the member's start: fixed block, length 3, distance 1, end.
        let back = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 0x03, 0x02, 0x00, 0, 0, 0, 0, 0, 0, 0, 0];
        let both = [gzip(b"secret", 6), back.to_vec()].concat();
        assert!(unpack(&both, 999, 5000).unwrap_err().to_string().contains("broken"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let data = text(3000);
        let whole = gzip(&data, 6);
        let len = whole.len();
        let why = |bytes: &[u8]| unpack(bytes, 100, 4096).unwrap_err().to_string();
        for cut in 1..=20 {
            assert!(why(&whole[..len - cut]).contains("ends in the middle"), "{cut}");
        }
        let spoiled = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            why(&bytes)
        };
        assert!(spoiled(len - 8).contains("checksum is wrong"));
        assert!(spoiled(len - 1).contains("length is wrong"));
        assert!(why(&[&whole[..], b"garbage"].concat()).contains("garbage"));
        assert!(why(&[&whole[..], &[0; 600], b"garbage"].concat()).contains("garbage"));
        assert!(unpack(&[&whole[..], &vec![0; 300_000]].concat(), 5000, 4096).unwrap() == data);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn it_is_of_one_mind_with_another_decoder(
            data in proptest::collection::vec(0u8..20, 0..3000),
            level in 0u32..10,
            flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
            drip in 1usize..300,
        ) {
            let mut bytes = gzip(&data, level);
            for (at, by) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= by;
            }
            let mut other = Vec::new();
            let read = flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut other);
            match (unpack(&bytes, drip, 1000), read) {
                (Ok(ours), Ok(_)) => prop_assert_eq!(ours, other),
                (Err(_), Err(_)) => {}
                // It doesn't look at a header's sum or unknown flags.
                (Err(_), Ok(_)) if bytes[3] != 0 || other == data => {}
                (ours, theirs) => prop_assert!(false, "{:?} {:?}", ours.is_ok(), theirs),
            }
        }
    }
}
