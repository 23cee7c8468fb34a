//! A connection to a bus, or to a program that speaks without one.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::message::{HEAD, Kind, Message};
use super::value::Value;
use crate::error::Error;

/// How long an answer may take. As runc.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Messages that are kept for later: signals nobody asks for are many on a busy machine.
const KEPT: usize = 1024;

/// Why there is no answer.
#[derive(Debug)]
pub enum Fault {
    /// The other side's refusal: a name such as `org.freedesktop.systemd1.NoSuchUnit`, and words.
    Refused {
        /// The name.
        name: String,
        /// The words.
        why: String,
    },
    /// The connection failed.
    Broken(io::Error),
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Self {
        Self::Broken(e)
    }
}

impl Fault {
    /// Whether it is the refusal of that name, whatever stands before.
    pub fn is(&self, end: &str) -> bool {
        matches!(self, Self::Refused { name, .. } if name.ends_with(end))
    }

    /// The reason in words.
    pub fn why(&self) -> String {
        match self {
            Self::Refused { name, why } if why.is_empty() => name.clone(),
            Self::Refused { why, .. } => why.clone(),
            Self::Broken(e) if matches!(e.kind(), io::ErrorKind::WouldBlock) => {
                format!("no answer in {} s", PATIENCE.as_secs())
            }
            Self::Broken(e) => match e.raw_os_error() {
                Some(raw) => crate::error::describe(Errno::from_raw(raw)),
                None => e.to_string(),
            },
        }
    }

    /// As an error, of what was being done.
    pub fn during(&self, what: &str) -> Error {
        Error::rule(format!("{what}: {}", self.why()))
    }
}

/// A method of an object of somebody's.
#[derive(Debug, Clone, Copy)]
pub struct Method<'a> {
    /// Who.
    pub destination: &'a str,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
}

/// A connection that is open.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// What has been read and not yet taken.
    read: VecDeque<u8>,
    serial: u32,
    kept: VecDeque<Message>,
    until: Instant,
}

impl Connection {
    /// Opens the first of the places that an address names (`unix:path=/run/…;unix:abstract=…`)
    /// that answers.
    pub fn open(address: &str) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::Unsupported, "not a unix socket's address");
        for one in address.split(';').filter_map(socket) {
            match one.and_then(|place| UnixStream::connect_addr(&place)).and_then(Self::over) {
                Ok(connection) => return Ok(connection),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// Over a socket: says who we are first.
    ///
    /// SPEC: §Authentication Protocol. EXTERNAL without an identity: the kernel tells the other
    /// side our uid as it knows it, which from within a user namespace we can't.
    ///
    /// All of it at once, as systemd's own clients: a message that a systemd 252 reads together with
    /// BEGIN lies there unseen until the next one comes.
    pub fn over(stream: UnixStream) -> io::Result<Self> {
        let until = Instant::now() + PATIENCE;
        let (read, kept) = (VecDeque::new(), VecDeque::new());
        let mut connection = Self { stream, read, serial: 0, kept, until };
        connection.stream.set_write_timeout(Some(PATIENCE))?;
        connection.stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        // An answer to each of the first two.
        let answers = [connection.line()?, connection.line()?];
        if answers.iter().any(|line| line.starts_with("OK")) {
            Ok(connection)
        } else {
            Err(io::Error::from_raw_os_error(libc::EACCES))
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.exactly(&mut byte)?;
            line.push(byte[0]);
            if line.len() > 512 {
                return Err(io::Error::from_raw_os_error(libc::EPROTO));
            }
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Takes so many bytes, and reads what is missing; but not for ever.
    fn exactly(&mut self, wanted: &mut [u8]) -> io::Result<()> {
        while self.read.len() < wanted.len() {
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::Error::from_raw_os_error(libc::ECONNRESET)),
                Ok(read) => self.read.extend(&buffer[..read]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.read.read_exact(wanted)
    }

    /// Sends a call; the answer's `reply_to` will be the number that comes back.
    pub fn send(&mut self, method: Method<'_>, body: Vec<Value>) -> io::Result<u32> {
        self.serial += 1;
        let message = Message {
            serial: self.serial,
            path: method.path.to_owned(),
            interface: method.interface.to_owned(),
            member: method.member.to_owned(),
            destination: method.destination.to_owned(),
            body,
            ..Message::default()
        };
        self.stream.write_all(&message.bytes())?;
        Ok(self.serial)
    }

    /// Waits for the answer to a call.
    pub fn answer(&mut self, serial: u32) -> Result<Vec<Value>, Fault> {
        let replies = [Kind::Return, Kind::Error];
        let message = self.wait(PATIENCE, |m| m.reply_to == serial && replies.contains(&m.kind))?;
        if message.kind == Kind::Return {
            return Ok(message.body);
        }
        let why = message.body.first().and_then(Value::as_text).unwrap_or_default().to_owned();
        Err(Fault::Refused { name: message.error, why })
    }

    /// Calls, and waits.
    pub fn call(&mut self, method: Method<'_>, body: Vec<Value>) -> Result<Vec<Value>, Fault> {
        let serial = self.send(method, body)?;
        self.answer(serial)
    }

    /// Waits for a message; what comes meanwhile is kept.
    pub fn wait(
        &mut self,
        patience: Duration,
        wanted: impl Fn(&Message) -> bool,
    ) -> io::Result<Message> {
        if let Some(at) = self.kept.iter().position(&wanted) {
            return Ok(self.kept.remove(at).unwrap_or_default());
        }
        self.until = Instant::now() + patience;
        loop {
            let message = self.receive()?;
            if wanted(&message) {
                return Ok(message);
            }
            if self.kept.len() == KEPT {
                self.kept.pop_front();
            }
            self.kept.push_back(message);
        }
    }

    fn receive(&mut self) -> io::Result<Message> {
        let wrong = || io::Error::from_raw_os_error(libc::EPROTO);
        loop {
            let mut head = [0; HEAD];
            self.exactly(&mut head)?;
            let length = Message::length(&head).ok_or_else(wrong)?;
            let mut bytes = vec![0; length];
            bytes[..HEAD].copy_from_slice(&head);
            self.exactly(&mut bytes[HEAD..])?;
            // SPEC: §Message Protocol: messages of unknown kinds are passed over.
            if (1..=4).contains(&head[1]) {
                return Message::read(&bytes).ok_or_else(wrong);
            }
        }
    }
}

/// The socket that one address names; None for other transports.
fn socket(address: &str) -> Option<io::Result<SocketAddr>> {
    let keys = address.strip_prefix("unix:")?;
    keys.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = unescaped(value);
        match key {
            "path" => Some(SocketAddr::from_pathname(String::from_utf8_lossy(&value).as_ref())),
            "abstract" => Some(SocketAddr::from_abstract_name(value)),
            _ => None,
        }
    })
}

/// SPEC: §Server Addresses: %xx is a byte.
fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.as_bytes();
    while let Some((&byte, rest)) = bytes.split_first() {
        let hex = rest.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) if byte == b'%' => {
                out.push(value);
                bytes = &rest[2..];
            }
            _ => {
                out.push(byte);
                bytes = rest;
            }
        }
    }
    out
}

/// A path as part of an address.
pub fn escaped(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_/.\\*".contains(&b);
    path.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::thread::JoinHandle;

    use super::*;
    use proptest::prelude::*;

    /// A server that answers each call as told; the words that it heard first.
    fn server(answers: Vec<Message>) -> (Connection, JoinHandle<(Vec<u8>, UnixStream)>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || {
            let mut heard = vec![0; 29];
            theirs.read_exact(&mut heard).unwrap();
            theirs.write_all(b"DATA\r\nOK 0123456789abcdef\r\n").unwrap();
            for answer in answers {
                theirs.write_all(&answer.bytes()).unwrap();
            }
            (heard, theirs)
        });
        (Connection::over(ours).unwrap(), thread)
    }

    const METHOD: Method<'_> =
        Method { destination: "a.b", path: "/a", interface: "a.b", member: "C" };

    #[test]
    fn an_answer_is_found_among_signals_which_are_kept() {
        let signal = Message {
            kind: Kind::Signal,
            member: "JobRemoved".into(),
            body: vec![Value::text("done")],
            ..Message::default()
        };
        let body = vec![Value::Path("/job/1".into())];
        let answer = Message { kind: Kind::Return, reply_to: 1, body, ..Message::default() };
        let (mut connection, thread) = server(vec![signal, answer]);
        assert_eq!(connection.call(METHOD, vec![]).unwrap(), [Value::Path("/job/1".into())]);
        let kept = connection.wait(PATIENCE, |m| m.member == "JobRemoved").unwrap();
        assert_eq!(kept.body, [Value::text("done")]);
        assert_eq!(thread.join().unwrap().0, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
    }

    #[test]
    fn a_refusal_has_its_name_and_words() {
        let refusal = Message {
            kind: Kind::Error,
            reply_to: 1,
            error: "org.freedesktop.systemd1.NoSuchUnit".into(),
            body: vec![Value::text("Unit a.scope not loaded.")],
            ..Message::default()
        };
        let (mut connection, thread) = server(vec![refusal]);
        let fault = connection.call(METHOD, vec![]).unwrap_err();
        assert!(fault.is("NoSuchUnit") && fault.why() == "Unit a.scope not loaded.", "{fault:?}");
        drop(thread.join());
        let fault = connection.call(METHOD, vec![]).unwrap_err();
        assert!(matches!(fault, Fault::Broken(_)), "{fault:?}");
    }

    #[test]
    fn addresses_are_read() {
        let path = |text: &str| {
            socket(text)?.ok()?.as_pathname().map(|path| path.to_string_lossy().into_owned())
        };
        assert_eq!(path("unix:path=/run/user/1000/bus").unwrap(), "/run/user/1000/bus");
        assert_eq!(path("unix:guid=12,path=/a%20b").unwrap(), "/a b");
        assert!(socket("tcp:host=localhost").is_none());
        assert_eq!(socket("unix:abstract=x").unwrap().unwrap().as_abstract_name(), Some(&b"x"[..]));
        assert_eq!(path(&format!("unix:path={}", escaped("/a b;c,d%"))).unwrap(), "/a b;c,d%");
    }

    proptest! {
        #[test]
        fn no_address_panics(text in ".{0,40}") {
            let _ = socket(&format!("unix:{text}"));
        }
    }
}
