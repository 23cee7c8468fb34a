//! Sparse files: GNU's old format and the three that ride on pax headers, as Go reads them.
//! A map only says where data lies; holes are never written, so a huge file with a
//! small map costs nothing.

use tar::{GnuExtSparseHeader, GnuHeader, GnuSparseHeader};

use super::entry::invalid;
use super::pax::{MAX_SPECIAL, SparseKeys, decimal, field};
use crate::error::Result;

/// A run of data in a sparse file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its place in the file.
    pub offset: u64,
    /// Its length.
    pub length: u64,
}

/// Where a pax sparse map is.
pub(super) enum Format {
    /// Formats 0.0 and 0.1: in the header's records.
    InHeader,
    /// Format 1.0: in the first blocks of the data.
    InData,
}

/// Which pax format, if any. SPEC: Go's readGNUSparsePAXHeaders.
pub(super) fn pax_format(keys: &SparseKeys) -> Option<Format> {
    match (keys.major.as_deref(), keys.minor.as_deref()) {
        (Some(b"1"), Some(b"0")) => Some(Format::InData),
        (Some(b"0"), Some(b"0" | b"1")) => Some(Format::InHeader),
        (None, None) if keys.map.is_some() || !keys.pairs.is_empty() => Some(Format::InHeader),
        _ => None,
    }
}

/// The map of a format 0.0 or 0.1 header.
pub(super) fn from_header(keys: &mut SparseKeys) -> Result<Vec<Segment>> {
    let numbers = match keys.map.take() {
        Some(map) => map
            .split(|&b| b == b',')
            .map(|n| decimal(n).ok_or_else(|| invalid("its sparse map is malformed")))
            .collect::<Result<Vec<u64>>>()?,
        None => std::mem::take(&mut keys.pairs),
    };
    pairs(&numbers)
}

/// The map of a format 1.0 file: lines of decimal numbers (count, then offset and length
/// each), padded to a block. `block` gives the next one.
pub(super) fn from_data(mut block: impl FnMut() -> Result<[u8; 512]>) -> Result<Vec<Segment>> {
    let mut numbers: Vec<u64> = Vec::new();
    let mut digits: Vec<u8> = Vec::new();
    let mut want = None;
    let mut read = 0;
    loop {
        for byte in block()? {
            if want == Some(numbers.len() as u64) {
                break; // padding
            }
            if byte != b'\n' {
                digits.push(byte);
                continue;
            }
            let n = decimal(&digits).ok_or_else(|| invalid("its sparse map is malformed"))?;
            digits.clear();
            match want {
                None => want = Some(n.checked_mul(2).ok_or_else(too_long)?),
                Some(_) => numbers.push(n),
            }
        }
        if want == Some(numbers.len() as u64) {
            return pairs(&numbers);
        }
        read += 512;
        if read >= MAX_SPECIAL {
            return Err(too_long());
        }
    }
}

/// The real size and map of an old GNU header; `block` gives the blocks of a longer map.
pub(super) fn old_gnu(
    header: &GnuHeader,
    mut block: impl FnMut() -> Result<[u8; 512]>,
) -> Result<(u64, Vec<Segment>)> {
    let mut map = Vec::new();
    take_old(&header.sparse, &mut map)?;
    let mut more = header.is_extended();
    let mut read = 0;
    while more {
        let mut extension = GnuExtSparseHeader::new();
        *extension.as_mut_bytes() = block()?;
        take_old(extension.sparse(), &mut map)?;
        more = extension.is_extended();
        read += 512;
        if read > MAX_SPECIAL {
            return Err(too_long());
        }
    }
    Ok((old_number(&header.realsize)?, map))
}

fn take_old(from: &[GnuSparseHeader], map: &mut Vec<Segment>) -> Result<()> {
    for one in from.iter().take_while(|one| !one.is_empty()) {
        map.push(Segment { offset: old_number(&one.offset)?, length: old_number(&one.numbytes)? });
    }
    Ok(())
}

fn old_number(bytes: &[u8]) -> Result<u64> {
    field(bytes)
        .and_then(|n| u64::try_from(n).ok())
        .ok_or_else(|| invalid("its sparse map is malformed"))
}

fn pairs(numbers: &[u64]) -> Result<Vec<Segment>> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(invalid("its sparse map is malformed"));
    }
    Ok(pairs.iter().map(|&[offset, length]| Segment { offset, length }).collect())
}

/// In order, without overlap, within the file, and exactly as much data as the archive has.
pub(super) fn check(map: &[Segment], size: u64, data: u64) -> Result<()> {
    let mut end = 0;
    let mut sum = 0u64;
    for segment in map {
        let stop = segment.offset.checked_add(segment.length);
        match stop {
            Some(stop) if segment.offset >= end && stop <= size => end = stop,
            _ => return Err(invalid("its sparse map is out of order or too large")),
        }
        sum += segment.length;
    }
    if sum != data || size > i64::MAX as u64 {
        return Err(invalid("its sparse map doesn't fit its data"));
    }
    Ok(())
}

fn too_long() -> crate::error::Error {
    invalid("its sparse map is larger than 1 MiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn overlap_disorder_and_overflow_are_refused() {
        let s = |offset, length| Segment { offset, length };
        assert!(check(&[s(0, 5), s(10, 5)], 20, 10).is_ok());
        assert!(check(&[s(10, 0)], 10, 0).is_ok());
        assert!(check(&[s(0, 5), s(4, 5)], 20, 10).is_err());
        assert!(check(&[s(10, 5), s(0, 5)], 20, 10).is_err());
        assert!(check(&[s(u64::MAX, 2)], 20, 2).is_err());
        assert!(check(&[s(0, 5)], 4, 5).is_err());
        assert!(check(&[s(0, 5)], 20, 6).is_err());
    }

    #[test]
    fn a_map_in_the_data_may_span_blocks() {
        let mut text = b"100\n".to_vec();
        for i in 0..100u64 {
            text.extend_from_slice(format!("{}\n1\n", i * 1000).as_bytes());
        }
        text.resize(text.len().next_multiple_of(512), 0);
        let mut blocks = text.as_chunks::<512>().0.iter();
        let map = from_data(|| Ok(*blocks.next().unwrap())).unwrap();
        assert_eq!((map.len(), map[99].offset, blocks.len()), (100, 99_000, 0));
    }

    #[test]
    fn an_endless_map_is_refused() {
        assert!(from_data(|| Ok([b'1'; 512])).is_err());
        assert!(
            from_data(|| Ok(*b"1\n2\n1\n2\n".repeat(64).as_chunks().0.first().unwrap())).is_ok()
        );
    }

    proptest! {
        #[test]
        fn never_panics(data in proptest::collection::vec(any::<u8>(), 512..2048)) {
            let mut blocks = data.as_chunks::<512>().0.iter().copied().chain(std::iter::repeat([0; 512]));
            let _ = from_data(|| Ok(blocks.next().unwrap()));
        }
    }
}
