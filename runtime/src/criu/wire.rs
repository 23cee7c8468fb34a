//! The protocol buffers' wire format, as far as criu's messages go.
//!
//! SPEC: protobuf.dev, "Encoding": a message is a row of fields, each a tag (number and wire type)
//! and a value; numbers are varints, texts and messages have their length before them.

/// What isn't a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Writes fields.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

impl Writer {
    /// The message.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// An unsigned number, a truth value or an enumeration.
    pub fn number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field) << 3 | VARINT);
        self.varint(value);
    }

    /// An `int32`. SPEC: a negative one is ten bytes, as an int64 would be.
    pub fn int(&mut self, field: u32, value: i32) {
        self.number(field, i64::from(value) as u64);
    }

    /// A truth value. As peers do, `false` is said too.
    pub fn truth(&mut self, field: u32, value: bool) {
        self.number(field, u64::from(value));
    }

    /// A text, or an encoded message.
    pub fn bytes(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field) << 3 | BYTES);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    /// A text.
    pub fn text(&mut self, field: u32, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    /// A message within.
    pub fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }
}

/// One field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    Number(u64),
    /// A text or a message.
    Bytes(&'a [u8]),
    /// Of a type that none of criu's messages has; it is skipped.
    Other,
}

impl<'a> Value<'a> {
    /// As a truth value.
    pub fn truth(self) -> Result<bool, Malformed> {
        self.number().map(|n| n != 0)
    }

    /// As an int32. SPEC: what doesn't fit is cut to 32 bits.
    pub fn int(self) -> Result<i32, Malformed> {
        self.number().map(|n| n as i32)
    }

    /// As a number.
    pub const fn number(self) -> Result<u64, Malformed> {
        match self {
            Self::Number(n) => Ok(n),
            _ => Err(Malformed),
        }
    }

    /// As a text.
    pub fn text(self) -> Result<String, Malformed> {
        self.message().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// As a message.
    pub const fn message(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed),
        }
    }
}

/// Calls `each` with every field of a message.
pub fn read<'a>(
    mut bytes: &'a [u8],
    mut each: impl FnMut(u32, Value<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while !bytes.is_empty() {
        let tag = take_varint(&mut bytes)?;
        let field = u32::try_from(tag >> 3).map_err(|_| Malformed)?;
        let value = match tag & 7 {
            VARINT => Value::Number(take_varint(&mut bytes)?),
            BYTES => {
                let length = usize::try_from(take_varint(&mut bytes)?).map_err(|_| Malformed)?;
                Value::Bytes(take(&mut bytes, length)?)
            }
            FIXED64 => take(&mut bytes, 8).map(|_| Value::Other)?,
            FIXED32 => take(&mut bytes, 4).map(|_| Value::Other)?,
            _ => return Err(Malformed),
        };
        each(field, value)?;
    }
    Ok(())
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (head, rest) = bytes.split_at_checked(length).ok_or(Malformed)?;
    *bytes = rest;
    Ok(head)
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
        let mut all = Vec::new();
        read(bytes, |field, value| {
            all.push((field, value));
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn the_encoding_is_the_spec_s() {
        // The examples of protobuf.dev: 150 in field 1, "testing" in field 2, a message in 3.
        let mut w = Writer::default();
        w.number(1, 150);
        w.text(2, "testing");
        w.message(3, |inner| inner.number(1, 150));
        let expected = b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01";
        assert_eq!(w.finish(), expected);
    }

    #[test]
    fn a_negative_int_is_ten_bytes() {
        let mut w = Writer::default();
        w.int(1, -2);
        let bytes = w.finish();
        assert_eq!(bytes.len(), 11);
        assert_eq!(fields(&bytes).unwrap()[0].1.int(), Ok(-2));
    }

    #[test]
    fn a_field_of_a_foreign_type_is_skipped() {
        let bytes = b"\x09\0\0\0\0\0\0\0\0\x15\0\0\0\0\x18\x05";
        let all = fields(bytes).unwrap();
        assert_eq!(all, [(1, Value::Other), (2, Value::Other), (3, Value::Number(5))]);
    }

    #[test]
    fn what_ends_early_is_malformed() {
        for bytes in [&b"\x08"[..], b"\x08\x80", b"\x12\x07test", b"\x09\0", b"\x0b", &[0xff; 11]] {
            assert_eq!(fields(bytes), Err(Malformed), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            rows in proptest::collection::vec(
                (1u32..1 << 28, any::<u64>(), any::<i32>(), ".{0,20}"), 0..8)
        ) {
            let mut w = Writer::default();
            for (field, number, int, text) in &rows {
                w.number(*field, *number);
                w.int(*field, *int);
                w.text(*field, text);
            }
            let bytes = w.finish();
            let all = fields(&bytes).unwrap();
            prop_assert_eq!(all.len(), rows.len() * 3);
            for (three, (field, number, int, text)) in all.chunks(3).zip(&rows) {
                prop_assert!(three.iter().all(|(f, _)| f == field));
                prop_assert_eq!(three[0].1.number(), Ok(*number));
                prop_assert_eq!(three[1].1.int(), Ok(*int));
                prop_assert_eq!(three[2].1.text(), Ok(text.clone()));
            }
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = fields(&bytes);
        }
    }
}
