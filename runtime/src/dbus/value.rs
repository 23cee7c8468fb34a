//! D-Bus values, and how they lie in a message.
//!
//! SPEC: D-Bus specification §Type System, §Marshaling (Wire Format).

use std::fmt::Write as _;

/// How deep containers may lie in each other, both ways.
///
/// SPEC: §Valid Signatures: 32 arrays and 32 structs; variants on top.
const DEPTH: u8 = 64;

/// A value with its type.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`; a descriptor's index (`h`), too.
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`
    F64(f64),
    /// `s`
    Text(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `a`: the elements' signature, and they.
    Array(String, Vec<Value>),
    /// `(…)`; a dictionary's entry (`{…}`), too, when it is read.
    Struct(Vec<Value>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Its signature.
    pub fn signature(&self) -> String {
        match self {
            Self::Byte(_) => "y".into(),
            Self::Bool(_) => "b".into(),
            Self::I16(_) => "n".into(),
            Self::U16(_) => "q".into(),
            Self::I32(_) => "i".into(),
            Self::U32(_) => "u".into(),
            Self::I64(_) => "x".into(),
            Self::U64(_) => "t".into(),
            Self::F64(_) => "d".into(),
            Self::Text(_) => "s".into(),
            Self::Path(_) => "o".into(),
            Self::Signature(_) => "g".into(),
            Self::Array(of, _) => format!("a{of}"),
            Self::Struct(parts) => {
                format!("({})", parts.iter().map(Self::signature).collect::<String>())
            }
            Self::Variant(_) => "v".into(),
        }
    }

    /// The text, path or signature that it is.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Path(text) | Self::Signature(text) => Some(text),
            Self::Variant(inner) => inner.as_text(),
            _ => None,
        }
    }

    /// In the words of `systemctl show`, shortly.
    pub fn shown(&self) -> String {
        let list = |parts: &[Self]| parts.iter().map(Self::shown).collect::<Vec<_>>().join(" ");
        match self {
            Self::Byte(n) => n.to_string(),
            Self::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
            Self::I16(n) => n.to_string(),
            Self::U16(n) => n.to_string(),
            Self::I32(n) => n.to_string(),
            Self::U32(n) => n.to_string(),
            Self::I64(n) => n.to_string(),
            Self::U64(u64::MAX) => "infinity".into(),
            Self::U64(n) => n.to_string(),
            Self::F64(n) => n.to_string(),
            Self::Text(text) | Self::Path(text) | Self::Signature(text) => text.clone(),
            Self::Array(of, parts) if of == "y" => {
                parts.iter().fold(String::new(), |mut out, b| {
                    if let Self::Byte(b) = b {
                        let _ = write!(out, "{b:02x}");
                    }
                    out
                })
            }
            Self::Array(_, parts) | Self::Struct(parts) => list(parts),
            Self::Variant(inner) => inner.shown(),
        }
    }
}

/// Appends values as they lie in a message, little-endian.
#[derive(Debug, Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// Zeros up to a multiple of `to`.
    pub fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    /// A `u`.
    pub fn number(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u32);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        // SPEC: a signature is at most 255 bytes; ours are built here.
        self.0.push(text.len() as u8);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// A value.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(n) => self.0.push(*n),
            Value::Bool(yes) => self.number(u32::from(*yes)),
            Value::I16(n) => self.fixed(&n.to_le_bytes()),
            Value::U16(n) => self.fixed(&n.to_le_bytes()),
            Value::I32(n) => self.fixed(&n.to_le_bytes()),
            Value::U32(n) => self.fixed(&n.to_le_bytes()),
            Value::I64(n) => self.fixed(&n.to_le_bytes()),
            Value::U64(n) => self.fixed(&n.to_le_bytes()),
            Value::F64(n) => self.fixed(&n.to_le_bytes()),
            Value::Text(text) | Value::Path(text) => self.text(text),
            Value::Signature(text) => self.signature(text),
            Value::Array(of, parts) => {
                self.number(0);
                let length_at = self.0.len() - 4;
                // SPEC: the padding before the first element is there without one, and not counted.
                self.align(alignment(of.as_bytes().first().copied().unwrap_or(b'y')));
                let start = self.0.len();
                self.all(parts);
                let length = (self.0.len() - start) as u32;
                self.0[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
            }
            Value::Struct(parts) => {
                self.align(8);
                self.all(parts);
            }
            Value::Variant(inner) => {
                self.signature(&inner.signature());
                self.value(inner);
            }
        }
    }

    fn all(&mut self, values: &[Value]) {
        for value in values {
            self.value(value);
        }
    }

    fn fixed(&mut self, bytes: &[u8]) {
        self.align(bytes.len());
        self.0.extend(bytes);
    }
}

const fn alignment(kind: u8) -> usize {
    match kind {
        b'y' | b'g' | b'v' => 1,
        b'n' | b'q' => 2,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 4,
    }
}

/// Takes values out of a message; None for what is none.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// At the start of a message, or of a body, which is aligned like one.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Where it has come to.
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Goes to the next multiple of `to`.
    pub fn align(&mut self, to: usize) -> Option<()> {
        let at = self.at.next_multiple_of(to);
        (at <= self.bytes.len()).then(|| self.at = at)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let part = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(part)
    }

    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.align(N)?;
        self.take(N)?.try_into().ok()
    }

    /// A `u`.
    pub fn number(&mut self) -> Option<u32> {
        self.fixed().map(u32::from_le_bytes)
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let bytes = self.take(length)?;
        (self.take(1)? == [0]).then_some(())?;
        String::from_utf8(bytes.to_vec()).ok()
    }

    /// All the values that a signature says.
    pub fn values(&mut self, signature: &str) -> Option<Vec<Value>> {
        let mut types = signature.as_bytes();
        let mut values = Vec::new();
        while !types.is_empty() {
            values.push(self.value(&mut types, DEPTH)?);
        }
        Some(values)
    }

    fn value(&mut self, types: &mut &[u8], depth: u8) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        let (&kind, rest) = types.split_first()?;
        *types = rest;
        Some(match kind {
            b'y' => Value::Byte(self.take(1)?[0]),
            b'b' => match self.number()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return None,
            },
            b'n' => Value::I16(i16::from_le_bytes(self.fixed()?)),
            b'q' => Value::U16(u16::from_le_bytes(self.fixed()?)),
            b'i' => Value::I32(i32::from_le_bytes(self.fixed()?)),
            b'u' | b'h' => Value::U32(self.number()?),
            b'x' => Value::I64(i64::from_le_bytes(self.fixed()?)),
            b't' => Value::U64(u64::from_le_bytes(self.fixed()?)),
            b'd' => Value::F64(f64::from_le_bytes(self.fixed()?)),
            b's' => {
                let length = self.number()?;
                Value::Text(self.text(length as usize)?)
            }
            b'o' => {
                let length = self.number()?;
                Value::Path(self.text(length as usize)?)
            }
            b'g' => Value::Signature(self.short()?),
            b'v' => {
                let signature = self.short()?;
                let mut inner = signature.as_bytes();
                let value = self.value(&mut inner, depth)?;
                inner.is_empty().then_some(())?;
                Value::Variant(Box::new(value))
            }
            b'a' => self.array(types, depth)?,
            b'(' | b'{' => {
                self.align(8)?;
                let end = if kind == b'(' { b')' } else { b'}' };
                let mut parts = Vec::new();
                while *types.first()? != end {
                    parts.push(self.value(types, depth)?);
                }
                *types = &types[1..];
                Value::Struct(parts)
            }
            _ => return None,
        })
    }

    fn short(&mut self) -> Option<String> {
        let length = self.take(1)?[0];
        self.text(length.into())
    }

    fn array(&mut self, types: &mut &[u8], depth: u8) -> Option<Value> {
        let length = self.number()? as usize;
        let of = one_type(types, depth)?;
        self.align(alignment(of[0]))?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        let mut parts = Vec::new();
        while self.at < end {
            let before = self.at;
            parts.push(self.value(&mut &*of, depth)?);
            // A struct of nothing would be read for ever.
            (self.at > before).then_some(())?;
        }
        (self.at == end).then_some(())?;
        Some(Value::Array(String::from_utf8(of.to_vec()).ok()?, parts))
    }
}

/// The first single complete type, which is taken off.
pub(super) fn one_type<'t>(types: &mut &'t [u8], depth: u8) -> Option<&'t [u8]> {
    let depth = depth.checked_sub(1)?;
    let whole = *types;
    let (&kind, mut rest) = whole.split_first()?;
    match kind {
        b'a' => drop(one_type(&mut rest, depth)?),
        b'(' | b'{' => {
            let end = if kind == b'(' { b')' } else { b'}' };
            while *rest.first()? != end {
                one_type(&mut rest, depth)?;
            }
            rest = &rest[1..];
        }
        b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'h' | b'x' | b't' | b'd' | b's' | b'o'
        | b'g' | b'v' => {}
        _ => return None,
    }
    *types = rest;
    Some(&whole[..whole.len() - rest.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(values: &[Value]) -> (String, Vec<u8>) {
        let mut writer = Writer::default();
        writer.all(values);
        (values.iter().map(Value::signature).collect(), writer.0)
    }

    #[test]
    fn values_lie_as_the_specification_has_them() {
        // SPEC: §Marshaling: an array of one t: length 8, padding to 8, the number.
        let (signature, bytes) = written(&[Value::Array("t".into(), vec![Value::U64(5)])]);
        assert_eq!(signature, "at");
        assert_eq!(bytes, [8, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        let pair = Value::Struct(vec![
            Value::text("Delegate"),
            Value::Variant(Box::new(Value::Bool(true))),
        ]);
        let (signature, bytes) = written(&[pair]);
        assert_eq!(signature, "(sv)");
        assert_eq!(bytes, b"\x08\0\0\0Delegate\0\x01b\0\x01\0\0\0");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<u8>().prop_map(Value::Byte),
            any::<bool>().prop_map(Value::Bool),
            any::<i16>().prop_map(Value::I16),
            any::<u32>().prop_map(Value::U32),
            any::<i64>().prop_map(Value::I64),
            any::<u64>().prop_map(Value::U64),
            ".{0,9}".prop_map(|t| Value::Text(t.replace('\0', ""))),
            Just(Value::Path("/a/b".into())),
            Just(Value::Signature("a(sv)".into())),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                inner.clone().prop_map(|v| Value::Variant(Box::new(v))),
                proptest::collection::vec(inner.clone(), 1..4).prop_map(Value::Struct),
                (inner, 0..3_usize).prop_map(|(v, n)| Value::Array(v.signature(), vec![v; n])),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in proptest::collection::vec(any_value(), 0..5)) {
            let (signature, bytes) = written(&values);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.values(&signature), Some(values));
            prop_assert_eq!(reader.at(), bytes.len());
        }

        #[test]
        fn foreign_bytes_are_read_without_panic(
            signature in "[ybnqiuxtdsogva(){}h]{0,12}",
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let _ = Reader::new(&bytes).values(&signature);
        }
    }

    #[test]
    fn nests_have_an_end() {
        assert_eq!(Reader::new(&[]).values(&"(".repeat(1000)), None);
        assert_eq!(Reader::new(&[0; 4096]).values(&"a".repeat(1000)), None);
        let variants = b"\x01v\0".repeat(1000);
        assert_eq!(Reader::new(&variants).values("v"), None);
        assert_eq!(
            Reader::new(&[8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).values("a()"),
            None
        );
    }
}
