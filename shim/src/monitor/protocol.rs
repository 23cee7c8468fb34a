//! What a monitor and its clients say to each other over `attach.sock`.
//!
//! ```text
//! client                                monitor
//!   Hello{version, role}  ───────────▶            what it came for
//!               ◀───────────  Welcome{version}    or Failed: another version
//!   Stdin, StdinEnd, Resize  ────────▶            at most WINDOW bytes of Stdin beyond Credit
//!   Exec, Freeze, Connect, Disconnect, Renew ▶    a wish; Done or Failed answers it
//!               ◀───────────  Started | Failed    to the client that asked for the start
//!               ◀───────────  Stdout, Stderr, Credit
//!               ◀───────────  Exited              the last word; all output came before
//! ```
//!
//! A frame is one byte of kind, four of length (little endian), and the payload.

use serde::{Deserialize, Serialize};

use crate::model::Wish;

/// The protocol spoken here.
pub const VERSION: u32 = 1;
/// The longest payload; what is longer is not ours.
pub const LONGEST: usize = 64 * 1024;
/// Bytes of stdin a client may have sent and the container not yet taken.
pub const WINDOW: usize = 64 * 1024;

/// What a client came for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// It sends stdin.
    pub stdin: bool,
    /// It wants stdout.
    pub stdout: bool,
    /// It wants stderr.
    pub stderr: bool,
}

/// A client's first frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// What the client speaks.
    pub version: u32,
    /// What it came for.
    pub role: Role,
}

/// One step of a start and how long it took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What was done.
    pub name: String,
    /// How long it took.
    pub micros: u64,
}

/// The container runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its first process.
    pub pid: i32,
    /// What the start consisted of.
    pub steps: Vec<Step>,
    /// Warnings, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
}

/// The container could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Exit code that `run` gives for it.
    pub code: u8,
    /// The one line.
    pub message: String,
}

/// The container has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exited {
    /// Its exit code, 128+n for a signal, -1 when nobody knows.
    pub code: i32,
}

/// Who asked for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopping {
    /// The user: `unless-stopped` leaves it so.
    ByUser = 0,
    /// The machine goes down: it goes on when that is back.
    ByMachine = 1,
}

/// What becomes of a container's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freeze {
    /// They go on.
    Thaw = 0,
    /// They stand still.
    Freeze = 1,
    /// They stand still until this client goes, or says otherwise.
    Hold = 2,
}

/// One more process in the container that nobody waits for; RUN/monitors/ID has its files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOrder {
    /// 64 hex digits.
    pub id: String,
    /// It gets a terminal.
    pub tty: bool,
    /// Command and arguments, for who reads of it.
    pub args: Vec<String>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Client: who it is.
    Hello(Hello),
    /// Client: bytes for the container's stdin.
    Stdin(Vec<u8>),
    /// Client: no more stdin.
    StdinEnd,
    /// Client: its terminal's rows and columns.
    Resize(u16, u16),
    /// Client: what ends now was asked for; no restart.
    Stopping(Stopping),
    /// Client: run this beside the container's first process.
    Exec(ExecOrder),
    /// Client: freeze all of the container's processes, or thaw them.
    Freeze(Freeze),
    /// Client: join one more network.
    Connect(Wish),
    /// Client: leave the network of this name.
    Disconnect(String),
    /// Client: the record has changed, or a container that this one is linked to.
    Renew,
    /// Monitor: the version it speaks.
    Welcome(u32),
    /// Monitor: the start succeeded.
    Started(Started),
    /// Monitor: the start, or the greeting, failed.
    Failed(Failed),
    /// Monitor: output.
    Stdout(Vec<u8>),
    /// Monitor: output.
    Stderr(Vec<u8>),
    /// Monitor: so many more bytes of stdin were taken.
    Credit(u32),
    /// Monitor: the end.
    Exited(Exited),
    /// Monitor: what was asked for is done.
    Done,
}

/// What came was not a frame of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

const HEADER: usize = 5;
/// Kind of an output frame, for those who write its header themselves.
const STDOUT: u8 = 19;
const STDERR: u8 = 20;

impl Frame {
    /// Appends the frame's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => json(out, 1, hello),
            Self::Stdin(bytes) => raw(out, 2, bytes),
            Self::StdinEnd => raw(out, 3, &[]),
            Self::Resize(rows, columns) => {
                let [a, b] = rows.to_le_bytes();
                let [c, d] = columns.to_le_bytes();
                raw(out, 4, &[a, b, c, d]);
            }
            Self::Stopping(why) => raw(out, 5, &[*why as u8]),
            Self::Exec(order) => json(out, 6, order),
            Self::Freeze(freeze) => raw(out, 7, &[*freeze as u8]),
            Self::Connect(wish) => json(out, 8, wish),
            Self::Disconnect(name) => json(out, 9, name),
            Self::Renew => raw(out, 10, &[]),
            Self::Welcome(version) => raw(out, 16, &version.to_le_bytes()),
            Self::Started(started) => json(out, 17, started),
            Self::Failed(failed) => json(out, 18, failed),
            Self::Stdout(bytes) => raw(out, STDOUT, bytes),
            Self::Stderr(bytes) => raw(out, STDERR, bytes),
            Self::Credit(bytes) => raw(out, 21, &bytes.to_le_bytes()),
            Self::Exited(exited) => json(out, 22, exited),
            Self::Done => raw(out, 23, &[]),
        }
    }

    /// The frame's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    fn decode(kind: u8, payload: &[u8]) -> Result<Self, Malformed> {
        Ok(match (kind, payload) {
            (1, json) => Self::Hello(parse(json)?),
            (2, bytes) => Self::Stdin(bytes.to_vec()),
            (3, []) => Self::StdinEnd,
            (4, &[a, b, c, d]) => {
                Self::Resize(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
            }
            (5, [0]) => Self::Stopping(Stopping::ByUser),
            (5, [1]) => Self::Stopping(Stopping::ByMachine),
            (6, json) => Self::Exec(parse(json)?),
            (7, [0]) => Self::Freeze(Freeze::Thaw),
            (7, [1]) => Self::Freeze(Freeze::Freeze),
            (7, [2]) => Self::Freeze(Freeze::Hold),
            (8, json) => Self::Connect(parse(json)?),
            (9, json) => Self::Disconnect(parse(json)?),
            (10, []) => Self::Renew,
            (16, &[a, b, c, d]) => Self::Welcome(u32::from_le_bytes([a, b, c, d])),
            (17, json) => Self::Started(parse(json)?),
            (18, json) => Self::Failed(parse(json)?),
            (STDOUT, bytes) => Self::Stdout(bytes.to_vec()),
            (STDERR, bytes) => Self::Stderr(bytes.to_vec()),
            (21, &[a, b, c, d]) => Self::Credit(u32::from_le_bytes([a, b, c, d])),
            (22, json) => Self::Exited(parse(json)?),
            (23, []) => Self::Done,
            _ => return Err(Malformed),
        })
    }
}

/// Appends an output frame without building a [`Frame`] first.
pub fn encode_output(stderr: bool, bytes: &[u8], out: &mut Vec<u8>) {
    for part in bytes.chunks(LONGEST) {
        raw(out, if stderr { STDERR } else { STDOUT }, part);
    }
}

fn raw(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    debug_assert!(payload.len() <= LONGEST);
    out.push(kind);
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(payload);
}

fn json(out: &mut Vec<u8>, kind: u8, value: &impl Serialize) {
    // Strings and numbers only: this can't fail.
    let mut payload = serde_json::to_vec(value).unwrap_or_default();
    payload.truncate(LONGEST);
    raw(out, kind, &payload);
}

fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Malformed> {
    serde_json::from_slice(payload).map_err(|_| Malformed)
}

/// Bytes in, frames out; holds at most one frame's bytes beyond what it was given.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    read: usize,
}

impl Decoder {
    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.buffer.drain(..self.read);
            self.read = 0;
        }
        self.buffer.extend(bytes);
    }

    /// The next whole frame, if there is one.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Malformed> {
        let rest = &self.buffer[self.read..];
        let Some((&[kind, a, b, c, d], rest)) = rest.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > LONGEST {
            return Err(Malformed);
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let frame = Frame::decode(kind, payload)?;
        self.read += HEADER + length;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..300);
        prop_oneof![
            any::<(u32, bool, bool, bool)>().prop_map(|(version, stdin, stdout, stderr)| {
                Frame::Hello(Hello { version, role: Role { stdin, stdout, stderr } })
            }),
            bytes().prop_map(Frame::Stdin),
            Just(Frame::StdinEnd),
            any::<(u16, u16)>().prop_map(|(r, c)| Frame::Resize(r, c)),
            prop_oneof![Just(Stopping::ByUser), Just(Stopping::ByMachine)]
                .prop_map(Frame::Stopping),
            Just(Frame::Done),
            (0..3_usize)
                .prop_map(|n| { Frame::Freeze([Freeze::Thaw, Freeze::Freeze, Freeze::Hold][n]) }),
            ("[0-9a-f]{0,64}", any::<bool>(), proptest::collection::vec(".*", 0..3))
                .prop_map(|(id, tty, args)| Frame::Exec(ExecOrder { id, tty, args })),
            ("[a-z]{1,9}", any::<i64>()).prop_map(|(network, gw_priority)| {
                Frame::Connect(Wish { network, gw_priority, ..Wish::default() })
            }),
            ".{0,40}".prop_map(Frame::Disconnect),
            Just(Frame::Renew),
            any::<u32>().prop_map(Frame::Welcome),
            (any::<i32>(), ".*", any::<u64>()).prop_map(|(pid, name, micros)| {
                let told = vec![name.clone()];
                Frame::Started(Started { pid, steps: vec![Step { name, micros }], told })
            }),
            (any::<u8>(), ".*").prop_map(|(code, message)| Frame::Failed(Failed { code, message })),
            bytes().prop_map(Frame::Stdout),
            bytes().prop_map(Frame::Stderr),
            any::<u32>().prop_map(Frame::Credit),
            any::<i32>().prop_map(|code| Frame::Exited(Exited { code })),
        ]
    }

    proptest! {
        #[test]
        fn frames_survive_the_wire_however_it_is_cut(
            sent in proptest::collection::vec(frames(), 0..8),
            cut in 1_usize..64,
        ) {
            let mut wire = Vec::new();
            for frame in &sent {
                frame.encode(&mut wire);
            }
            let (mut decoder, mut got) = (Decoder::default(), Vec::new());
            for part in wire.chunks(cut) {
                decoder.push(part);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    got.push(frame);
                }
            }
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn foreign_bytes_are_refused_or_waited_for(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }

    #[test]
    fn a_frame_longer_than_the_longest_is_refused_before_it_is_read() {
        let mut decoder = Decoder::default();
        decoder.push(&[2, 1, 0, 1, 0]); // 65537 bytes
        assert_eq!(decoder.next_frame(), Err(Malformed));
    }
}
