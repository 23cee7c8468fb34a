//! D-Bus messages.
//!
//! SPEC: D-Bus specification §Message Protocol.

use super::value::{Reader, Value, Writer};

/// The longest message that is read. SPEC: §Message Format allows 128 MiB; systemd's largest
/// (a list of every unit, which nobody here asks for) has a few.
const LONGEST: u64 = 16 << 20;

/// Bytes of a header before its fields.
pub const HEAD: usize = 16;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A method is called.
    Call = 1,
    /// It has returned.
    Return = 2,
    /// It has failed.
    Error = 3,
    /// Something has happened.
    Signal = 4,
}

/// A message; names that it has not got are empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Its sender's number for it.
    pub serial: u32,
    /// What it answers.
    pub reply_to: u32,
    /// The object.
    pub path: String,
    /// The interface.
    pub interface: String,
    /// The method or signal.
    pub member: String,
    /// The error's name.
    pub error: String,
    /// Whom it is for.
    pub destination: String,
    /// What it says.
    pub body: Vec<Value>,
}

impl Default for Message {
    fn default() -> Self {
        Self {
            kind: Kind::Call,
            serial: 1,
            reply_to: 0,
            path: String::new(),
            interface: String::new(),
            member: String::new(),
            error: String::new(),
            destination: String::new(),
            body: Vec::new(),
        }
    }
}

impl Message {
    /// As it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut body = Writer::default();
        self.body.iter().for_each(|value| body.value(value));
        let signature: String = self.body.iter().map(Value::signature).collect();
        let mut fields = Vec::new();
        let mut field = |code: u8, value: Value| {
            fields.push(Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]));
        };
        let names = [
            (1, &self.path),
            (2, &self.interface),
            (3, &self.member),
            (4, &self.error),
            (6, &self.destination),
        ];
        for (code, name) in names.into_iter().filter(|(_, name)| !name.is_empty()) {
            let name = name.clone();
            field(code, if code == 1 { Value::Path(name) } else { Value::Text(name) });
        }
        if self.reply_to != 0 {
            field(5, Value::U32(self.reply_to));
        }
        if !signature.is_empty() {
            field(8, Value::Signature(signature));
        }
        let mut out = Writer(vec![b'l', self.kind as u8, 0, 1]);
        out.number(body.0.len() as u32);
        out.number(self.serial);
        out.value(&Value::Array("(yv)".into(), fields));
        out.align(8);
        out.0.append(&mut body.0);
        out.0
    }

    /// How long the message is that begins so; None when it is none of this machine's.
    pub fn length(head: &[u8; HEAD]) -> Option<usize> {
        let number = |at: usize| u64::from(u32::from_le_bytes([0, 1, 2, 3].map(|i| head[at + i])));
        // SPEC: a sender writes in its own byte order, and ours is the same machine's.
        (head[0] == b'l' && head[3] == 1).then_some(())?;
        let (body, fields) = (number(4), number(12));
        let whole = HEAD as u64 + fields.next_multiple_of(8) + body;
        (whole <= LONGEST).then_some(whole as usize)
    }

    /// Reads a whole one; None for what breaks the rules, or is of a kind not known here.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let mut head = reader.values("yyyyuua(yv)")?;
        reader.align(8)?;
        let Value::Array(_, fields) = head.pop()? else { return None };
        let (Value::U32(serial), Value::U32(length)) = (head.pop()?, head.pop()?) else {
            return None;
        };
        let kind = match head.get(1)? {
            Value::Byte(1) => Kind::Call,
            Value::Byte(2) => Kind::Return,
            Value::Byte(3) => Kind::Error,
            Value::Byte(4) => Kind::Signal,
            _ => return None,
        };
        let mut message = Self { kind, serial, ..Self::default() };
        let mut signature = String::new();
        for field in fields {
            let Value::Struct(parts) = field else { return None };
            let [Value::Byte(code), Value::Variant(value)] = &*parts else { return None };
            match (code, &**value) {
                (1, Value::Path(text)) => message.path.clone_from(text),
                (2, Value::Text(text)) => message.interface.clone_from(text),
                (3, Value::Text(text)) => message.member.clone_from(text),
                (4, Value::Text(text)) => message.error.clone_from(text),
                (5, Value::U32(number)) => message.reply_to = *number,
                (6, Value::Text(text)) => message.destination.clone_from(text),
                (8, Value::Signature(text)) => signature.clone_from(text),
                // SPEC: fields that are not known are passed over.
                _ => {}
            }
        }
        let body = &bytes[reader.at()..];
        (body.len() == length as usize).then_some(())?;
        let mut reader = Reader::new(body);
        message.body = reader.values(&signature)?;
        (reader.at() == body.len()).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello() -> Message {
        Message {
            path: "/org/freedesktop/DBus".into(),
            interface: "org.freedesktop.DBus".into(),
            member: "Hello".into(),
            destination: "org.freedesktop.DBus".into(),
            ..Message::default()
        }
    }

    #[test]
    fn a_call_is_written_as_others_write_it() {
        // As others write a bus's first message, but for the order of the fields.
        let bytes = hello().bytes();
        assert_eq!(bytes[..16], [b'l', 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 109, 0, 0, 0]);
        assert_eq!(&bytes[16..24], [1, 1, b'o', 0, 21, 0, 0, 0]);
        assert_eq!(bytes.len(), 128);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let body = vec![Value::U32(7), Value::text("a.scope"), Value::Array("s".into(), vec![])];
        for message in [
            Message { body, reply_to: 3, kind: Kind::Return, ..Message::default() },
            Message { error: "a.b".into(), kind: Kind::Error, reply_to: 1, ..Message::default() },
            hello(),
        ] {
            let bytes = message.bytes();
            let head: [u8; HEAD] = bytes[..HEAD].try_into().unwrap();
            assert_eq!(Message::length(&head), Some(bytes.len()));
            assert_eq!(Message::read(&bytes), Some(message));
        }
    }

    #[test]
    fn a_length_beyond_reason_is_refused() {
        let mut head: [u8; HEAD] = hello().bytes()[..HEAD].try_into().unwrap();
        head[7] = 0xff;
        assert_eq!(Message::length(&head), None);
        head[0] = b'B';
        assert_eq!(Message::length(&head), None);
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_read_without_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
            at in 0..128_usize, byte in any::<u8>(),
        ) {
            let _ = Message::read(&bytes);
            bytes = hello().bytes();
            bytes[at % 128] = byte;
            let _ = Message::read(&bytes);
            let _ = Message::read(&bytes[..at]);
        }
    }
}
