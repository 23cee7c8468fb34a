//! systemd's journal, by its native protocol (systemd.journal-fields(7)): a datagram a message,
//! a `KEY=VALUE` a line, values with newlines behind their length.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Error, ErrorKind, Result, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::lines::{Lines, Message};
use super::{Settings, Stream, attributes};
use crate::model::Record;

/// Where the journal listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// Milliseconds that a journal gets to take a message before the message is lost.
const PATIENCE: u16 = 5_000;

/// Writes a container's log to the journal.
pub struct Writer {
    path: PathBuf,
    socket: UnixDatagram,
    /// What is the same in every message.
    fields: Vec<u8>,
    lines: Lines,
    epoch: String,
    ordinal: u64,
    waiting: VecDeque<Vec<u8>>,
    buffer: Option<usize>,
}

impl Writer {
    /// A log of `record` in the journal behind `path`.
    pub fn open(record: &Record, settings: &Settings, path: &Path) -> crate::error::Result<Self> {
        let none = |_| {
            crate::error::Error::engine(
                "failed to initialize logging driver: journald is not enabled on this host",
            )
        };
        let tag = attributes::tag(record, settings)?;
        let mut fields = Vec::new();
        for (key, value) in [
            ("CONTAINER_ID", record.short_id()),
            ("CONTAINER_ID_FULL", &record.id),
            ("CONTAINER_NAME", &record.name),
            ("CONTAINER_TAG", &tag),
            ("IMAGE_NAME", &record.config.image),
            ("SYSLOG_IDENTIFIER", &tag),
        ] {
            field(&mut fields, key, value.as_bytes());
        }
        for (key, value) in attributes::wanted(record, settings) {
            let key = clean(&key);
            if !key.is_empty() {
                field(&mut fields, &key, value.as_bytes());
            }
        }
        Ok(Self {
            socket: connect(path).map_err(none)?,
            path: path.to_owned(),
            fields,
            lines: Lines::default(),
            epoch: crate::making::new_id()?[..32].to_owned(),
            ordinal: 0,
            waiting: VecDeque::new(),
            buffer: settings.buffer,
        })
    }

    /// Logs the whole lines of `bytes`, keeping an unfinished last one for later.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<()> {
        self.with_lines(|lines, each| lines.take(stream, bytes, each))
    }

    /// Logs what has no newline yet, and waits for a journal that was behind.
    pub fn finish(&mut self) -> Result<()> {
        let done = self.with_lines(|lines, each| lines.finish(each));
        while let Some(datagram) = self.waiting.pop_front() {
            self.send(&datagram, true)?;
        }
        done
    }

    fn with_lines(
        &mut self,
        give: impl FnOnce(&mut Lines, &mut dyn FnMut(Message<'_>)),
    ) -> Result<()> {
        let mut lines = std::mem::take(&mut self.lines);
        let mut done = Ok(());
        give(&mut lines, &mut |message| {
            let sent = self.log(&message);
            if done.is_ok() {
                done = sent;
            }
        });
        self.lines = lines;
        done
    }

    fn log(&mut self, message: &Message<'_>) -> Result<()> {
        let datagram = self.datagram(message);
        let Some(room) = self.buffer else { return self.send(&datagram, true).map(drop) };
        self.waiting.push_back(datagram);
        while let Some(first) = self.waiting.pop_front() {
            if !self.send(&first, false)? {
                self.waiting.push_front(first);
                break;
            }
        }
        // As docker: the oldest go first.
        let mut bytes: usize = self.waiting.iter().map(Vec::len).sum();
        while bytes > room
            && let Some(lost) = self.waiting.pop_front()
        {
            bytes -= lost.len();
        }
        Ok(())
    }

    fn datagram(&mut self, message: &Message<'_>) -> Vec<u8> {
        self.ordinal += 1;
        let mut out = self.fields.clone();
        let stderr = message.stream == Stream::Stderr;
        field(&mut out, "PRIORITY", if stderr { b"3" } else { b"6" });
        field(&mut out, "CONTAINER_LOG_EPOCH", self.epoch.as_bytes());
        field(&mut out, "CONTAINER_LOG_ORDINAL", self.ordinal.to_string().as_bytes());
        field(&mut out, "SYSLOG_TIMESTAMP", Timestamp::now().to_string().as_bytes());
        if let Some((line, number)) = message.piece {
            let last = message.ends();
            if !last {
                field(&mut out, "CONTAINER_PARTIAL_MESSAGE", b"true");
            }
            let id = format!("{}{line:016x}", self.epoch);
            field(&mut out, "CONTAINER_PARTIAL_ID", id.as_bytes());
            field(&mut out, "CONTAINER_PARTIAL_ORDINAL", number.to_string().as_bytes());
            field(&mut out, "CONTAINER_PARTIAL_LAST", if last { b"true" } else { b"false" });
        }
        field(&mut out, "MESSAGE", message.text.strip_suffix(b"\n").unwrap_or(message.text));
        out
    }

    /// Sends a datagram; false when there is no room and nobody waits for it. What is too long for one
    /// goes as systemd's own library sends it: in a file in memory that nobody changes any more.
    fn send(&mut self, datagram: &[u8], wait: bool) -> Result<bool> {
        let (mut again, mut sealed) = (true, None);
        loop {
            let sent = match &sealed {
                None => self.socket.send(datagram).map(drop),
                Some(file) => pass(&self.socket, file),
            };
            match sent {
                Ok(()) => return Ok(true),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock && !wait => return Ok(false),
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.wait()?,
                Err(e) if e.raw_os_error() == Some(libc::EMSGSIZE) && sealed.is_none() => {
                    sealed = Some(in_memory(datagram)?);
                }
                // It was started anew: its socket is another one.
                Err(_) if std::mem::take(&mut again) => self.socket = connect(&self.path)?,
                Err(e) => return Err(e),
            }
        }
    }

    /// Waits until there is room.
    fn wait(&self) -> Result<()> {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
        if poll(&mut fds, PollTimeout::from(PATIENCE)) == Ok(0) {
            return Err(Error::new(ErrorKind::TimedOut, "the journal takes no more"));
        }
        Ok(())
    }
}

fn in_memory(datagram: &[u8]) -> Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"journal-entry", flags)?);
    file.write_all(datagram)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::all()))?;
    Ok(file)
}

fn pass(socket: &UnixDatagram, file: &File) -> Result<()> {
    dhow_kernel::rights::send(socket.as_fd(), &[], &[file.as_fd()]).map(drop).map_err(Error::from)
}

fn connect(path: &Path) -> Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn field(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    out.extend(key.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend((value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend(value);
    out.push(b'\n');
}

/// A key that the journal takes: capitals, digits, and underscores but at the beginning.
fn clean(key: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let key: String = key.chars().map(fit).collect();
    key.trim_start_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Config, HostConfig, ImageRef, LogConfig};

    fn record(options: &[(&str, &str)]) -> Record {
        let config = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let log_config = LogConfig { kind: "journald".into(), config };
        Record {
            version: 1,
            id: "ab".repeat(32),
            name: "web".into(),
            created: Timestamp::UNIX_EPOCH,
            image: ImageRef { reference: "x".into(), id: "sha256:1".into(), manifest: "y".into() },
            layers: vec![],
            path: "true".into(),
            args: vec![],
            config: Config {
                image: "busybox".into(),
                labels: [("com.x".to_owned(), "1".to_owned())].into(),
                ..Config::default()
            },
            host_config: HostConfig { log_config, ..HostConfig::default() },
            mounts: vec![],
            runtime_args: Vec::new(),
            detach_keys: None,
            ..Record::default()
        }
    }

    fn fields(datagram: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let (mut all, mut rest) = (BTreeMap::new(), datagram);
        while !rest.is_empty() {
            let end = rest.iter().position(|&b| b == b'\n' || b == b'=').unwrap();
            let key = String::from_utf8(rest[..end].to_vec()).unwrap();
            let (value, after) = if rest[end] == b'=' {
                let stop = rest.iter().position(|&b| b == b'\n').unwrap();
                (&rest[end + 1..stop], &rest[stop + 1..])
            } else {
                let length =
                    u64::from_le_bytes(rest[end + 1..end + 9].try_into().unwrap()) as usize;
                (&rest[end + 9..end + 9 + length], &rest[end + 10 + length..])
            };
            all.insert(key, value.to_vec());
            rest = after;
        }
        all
    }

    #[test]
    fn messages_carry_dockers_fields() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let record = record(&[("labels", "com.x"), ("tag", "{{.Name}}!")]);
        let settings = Settings::of(&record.host_config.log_config).unwrap();
        let mut log = Writer::open(&record, &settings, &path).unwrap();
        log.write(Stream::Stderr, b"oops\n").unwrap();
        let mut buffer = vec![0; 65536];
        let mut next = || {
            let n = journal.recv(&mut buffer).unwrap();
            fields(&buffer[..n])
        };
        let got = next();
        for (key, value) in [
            ("MESSAGE", "oops"),
            ("PRIORITY", "3"),
            ("CONTAINER_ID", "abababababab"),
            ("CONTAINER_NAME", "web"),
            ("CONTAINER_TAG", "web!"),
            ("SYSLOG_IDENTIFIER", "web!"),
            ("IMAGE_NAME", "busybox"),
            ("COM_X", "1"),
            ("CONTAINER_LOG_ORDINAL", "1"),
        ] {
            assert_eq!(String::from_utf8_lossy(&got[key]), value, "{key}");
        }
        assert!(!got.contains_key("CONTAINER_PARTIAL_MESSAGE"));
        let mut long = vec![b'x'; super::super::lines::LONGEST + 3];
        long.push(b'\n');
        log.write(Stream::Stdout, &long).unwrap();
        let (first, last) = (next(), next());
        assert_eq!(first["CONTAINER_PARTIAL_MESSAGE"], b"true");
        assert_eq!(first["CONTAINER_PARTIAL_ID"], last["CONTAINER_PARTIAL_ID"]);
        assert_eq!(
            (&first["CONTAINER_PARTIAL_LAST"][..], &last["CONTAINER_PARTIAL_LAST"][..]),
            (&b"false"[..], &b"true"[..])
        );
        assert_eq!(last["MESSAGE"], b"xxx");
    }

    #[test]
    fn what_is_too_long_for_a_datagram_goes_in_a_sealed_file() {
        use std::io::{Read, Seek};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let mut record = record(&[("labels", "com.x")]);
        record.config.labels.insert("com.x".into(), "y".repeat(4 << 20));
        let settings = Settings::of(&record.host_config.log_config).unwrap();
        let mut log = Writer::open(&record, &settings, &path).unwrap();
        log.write(Stream::Stdout, b"long\n").unwrap();
        let (n, mut fds) = dhow_kernel::rights::receive(journal.as_fd(), &mut [0; 16]).unwrap();
        assert_eq!((n, fds.len()), (0, 1));
        let mut file = File::from(fds.remove(0));
        let seals = fcntl(&file, FcntlArg::F_GET_SEALS).unwrap();
        assert_eq!(SealFlag::from_bits_truncate(seals), SealFlag::all());
        let mut text = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut text).unwrap();
        let got = fields(&text);
        assert_eq!((got["MESSAGE"].as_slice(), got["COM_X"].len()), (&b"long"[..], 4 << 20));
    }

    #[test]
    fn bug_what_is_too_long_waited_for_a_slow_journal_and_never_found_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let mut record =
            record(&[("labels", "com.x"), ("mode", "non-blocking"), ("max-buffer-size", "4m")]);
        record.config.labels.insert("com.x".into(), "y".repeat(64 << 10));
        let settings = Settings::of(&record.host_config.log_config).unwrap();
        let mut log = Writer::open(&record, &settings, &path).unwrap();
        nix::sys::socket::setsockopt(&log.socket, nix::sys::socket::sockopt::SndBuf, &4096)
            .unwrap();
        // More than its queue holds: some wait here, and nobody for them.
        let begun = std::time::Instant::now();
        for _ in 0..600 {
            log.write(Stream::Stdout, b"long\n").unwrap();
            if !log.waiting.is_empty() {
                break;
            }
        }
        assert!(!log.waiting.is_empty());
        assert!(begun.elapsed().as_millis() < u128::from(PATIENCE));
        drop(journal);
        std::fs::remove_file(&path).unwrap();
        let journal = UnixDatagram::bind(&path).unwrap();
        log.write(Stream::Stdout, b"more\n").unwrap();
        let (n, fds) = dhow_kernel::rights::receive(journal.as_fd(), &mut [0; 16]).unwrap();
        assert_eq!((n, fds.len()), (0, 1));
    }

    #[test]
    fn a_slow_journal_loses_the_oldest_and_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let options = [("mode", "non-blocking"), ("max-buffer-size", "4k")];
        let record = record(&options);
        let settings = Settings::of(&record.host_config.log_config).unwrap();
        let mut log = Writer::open(&record, &settings, &path).unwrap();
        for n in 0..2000 {
            log.write(Stream::Stdout, format!("{n}\n").as_bytes()).unwrap();
        }
        journal.set_nonblocking(true).unwrap();
        let (mut buffer, mut got) = ([0; 4096], Vec::new());
        let mut drain = |got: &mut Vec<u32>| {
            while let Ok(n) = journal.recv(&mut buffer) {
                let text = fields(&buffer[..n]).remove("MESSAGE").unwrap();
                got.push(String::from_utf8(text).unwrap().parse().unwrap());
            }
        };
        drain(&mut got);
        log.finish().unwrap();
        drain(&mut got);
        assert_eq!((got[0], *got.last().unwrap()), (0, 1999));
        assert!(got.len() < 2000 && got.is_sorted());
    }

    #[test]
    fn no_journal_is_told_in_dockers_words() {
        let record = record(&[]);
        let settings = Settings::of(&record.host_config.log_config).unwrap();
        let error =
            Writer::open(&record, &settings, Path::new("/nonexistent/socket")).err().unwrap();
        assert!(error.message.contains("journald is not enabled on this host"));
    }

    #[test]
    fn keys_are_made_fit() {
        assert_eq!(clean("com.docker-x"), "COM_DOCKER_X");
        assert_eq!(clean("__a"), "A");
    }
}
