//! Log lines in runc's two forms, which conmon and containerd parse, and the places they go to.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::trace::Trace;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `time="…" level=error msg="…"`.
    #[default]
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`.
    Json,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only with `--debug`.
    Debug,
    /// Something odd that was survived.
    #[default]
    Warning,
    /// Why the command failed.
    Error,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// As syslog(3) counts, for journald too.
    const fn priority(self) -> u8 {
        match self {
            Self::Debug => 7,
            Self::Warning => 4,
            Self::Error => 3,
        }
    }
}

/// Where log lines go.
#[derive(Debug, Default)]
pub struct Log {
    to: To,
    format: Format,
    least: Level,
    /// Where the steps go, by `--trace`.
    pub trace: Trace,
    /// The container that it is about.
    id: String,
    started: Option<Instant>,
}

#[derive(Debug, Default)]
enum To {
    #[default]
    Stderr,
    File(File),
    /// The journal, under a name.
    Journal(String),
    /// syslog(3), under a name.
    Syslog(String),
}

const NAME: &str = "dhow-runtime";
const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";

impl Log {
    /// Opens what `--log` names, else standard error.
    ///
    /// DIFFERS: from runc, for which `journald:NAME`, `syslog:NAME` and `file:PATH` are names of
    /// files; here they mean what they mean to crun.
    pub fn open(to: Option<&Path>, format: Format, least: Level, id: &str) -> Result<Self> {
        let text = to.and_then(Path::to_str).unwrap_or_default();
        let named = |name: &str| if name.is_empty() { NAME } else { name }.to_owned();
        let to = match (text.split_once(':'), to) {
            (Some(("journald", name)), _) => To::Journal(named(name)),
            (Some(("syslog", name)), _) => To::Syslog(named(name)),
            (Some(("file", path)), _) => To::File(open(Path::new(path))?),
            (_, Some(path)) => To::File(open(path)?),
            (_, None) => To::Stderr,
        };
        let (id, started) = (id.to_owned(), Some(Instant::now()));
        Ok(Self { to, format, least, trace: Trace::default(), id, started })
    }

    /// Whether whoever looks at standard error sees these lines already.
    pub const fn is_stderr(&self) -> bool {
        matches!(self.to, To::Stderr)
    }

    /// Whether debug lines are written: what they would say need not be found out otherwise.
    pub fn debugs(&self) -> bool {
        self.least == Level::Debug
    }

    /// Writes a debug line, which is made only where it is wanted.
    pub fn debug(&self, message: impl FnOnce() -> String) {
        if self.debugs() {
            self.line(Level::Debug, &message());
        }
    }

    /// Writes one line. A log that can't be written must not stop a container.
    pub fn line(&self, level: Level, message: &str) {
        if level < self.least {
            return;
        }
        let rendered = |terminal: bool| match self.format {
            Format::Text if terminal => {
                let seconds = self.started.map_or(0, |started| started.elapsed().as_secs());
                coloured(level, message, seconds)
            }
            format => render(format, level, message, SystemTime::now()),
        };
        let _ = match &self.to {
            To::File(file) => (&*file).write_all(rendered(file.is_terminal()).as_bytes()),
            To::Journal(name) => send(JOURNAL, &journal(level, message, name, &self.id)),
            To::Syslog(name) => send(SYSLOG, &syslog(level, message, name)),
            To::Stderr => {
                let mut out = std::io::stderr();
                let line = rendered(out.is_terminal());
                out.write_all(line.as_bytes())
            }
        };
    }
}

/// As runc: what is written is on its way to the disk.
fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o644).custom_flags(libc::O_SYNC | libc::O_CLOEXEC);
    options.open(path).map_err(|e| Error::io("open", path.to_string_lossy(), &e))
}

fn send(socket: &str, datagram: &[u8]) -> std::io::Result<()> {
    UnixDatagram::unbound()?.send_to(datagram, socket).map(drop)
}

/// The journal's native protocol: fields in lines, and one with line ends behind its length.
fn journal(level: Level, message: &str, name: &str, id: &str) -> Vec<u8> {
    let mut out = format!("PRIORITY={}\nSYSLOG_IDENTIFIER={name}\n", level.priority()).into_bytes();
    if !id.is_empty() {
        out.extend(format!("ID={id}\n").bytes());
    }
    if message.contains('\n') {
        out.extend(b"MESSAGE\n");
        out.extend((message.len() as u64).to_le_bytes());
    } else {
        out.extend(b"MESSAGE=");
    }
    out.extend(message.bytes());
    out.push(b'\n');
    out
}

/// SPEC: RFC 3164 §4.3.2: without a time stamp, which is local there, the receiver adds its own.
fn syslog(level: Level, message: &str, name: &str) -> Vec<u8> {
    const USER: u8 = 1 << 3;
    let (priority, pid) = (USER | level.priority(), std::process::id());
    format!("<{priority}>{name}[{pid}]: {message}").into_bytes()
}

/// As logrus.
///
/// DIFFERS: times are UTC, where logrus's are local; with `--debug` there are no `func` and
/// `file`, which name places in runc's source.
fn render(format: Format, level: Level, message: &str, now: SystemTime) -> String {
    let (word, time) = (level.word(), timestamp(now, 0));
    match format {
        Format::Json => {
            let message = html_safe(serde_json::Value::from(message).to_string());
            format!("{{\"level\":\"{word}\",\"msg\":{message},\"time\":\"{time}\"}}\n")
        }
        Format::Text if message.is_empty() => format!("time=\"{time}\" level={word}\n"),
        Format::Text => format!("time=\"{time}\" level={word} msg={}\n", quoted(message)),
    }
}

/// logrus's line for a terminal, with the seconds since the start.
fn coloured(level: Level, message: &str, seconds: u64) -> String {
    let (colour, word) = match level {
        Level::Debug => (37, "DEBU"),
        Level::Warning => (33, "WARN"),
        Level::Error => (31, "ERRO"),
    };
    let message = message.strip_suffix('\n').unwrap_or(message);
    format!("\x1b[{colour}m{word}\x1b[0m[{seconds:04}] {message:<44} \n")
}

/// JSON as Go writes it, safe to be put into a page of HTML.
pub fn html_safe(json: String) -> String {
    // All of these stand in strings only.
    const RISKY: [char; 5] = ['<', '>', '&', '\u{2028}', '\u{2029}'];
    if !json.contains(RISKY) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if RISKY.contains(&c) {
            let _ = write!(out, "\\u{:04x}", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}

/// logrus's value: as it is, or in Go's `%q`.
fn quoted(text: &str) -> String {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "-._/@^+".contains(c)) {
        return text.to_owned();
    }
    let mut out = String::from('"');
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            '\u{7}' => write!(out, "\\a"),
            '\u{8}' => write!(out, "\\b"),
            '\t' => write!(out, "\\t"),
            '\n' => write!(out, "\\n"),
            '\u{b}' => write!(out, "\\v"),
            '\u{c}' => write!(out, "\\f"),
            '\r' => write!(out, "\\r"),
            c if is_print(c) => write!(out, "{c}"),
            c if c.is_ascii() => write!(out, "\\x{:02x}", c as u32),
            c if (c as u32) < 0x1_0000 => write!(out, "\\u{:04x}", c as u32),
            c => write!(out, "\\U{:08x}", c as u32),
        };
    }
    out.push('"');
    out
}

/// Nearly Go's `unicode.IsPrint`: what shows, and doesn't change how other text shows.
fn is_print(c: char) -> bool {
    let formats = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e000}'..='\u{f8ff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..);
    c == ' ' || !(c.is_control() || c.is_whitespace() || formats)
}

/// RFC 3339 in UTC with `digits` (0 or 9) digits of a second's fraction; as Go, zeros at the
/// fraction's end are left out.
pub fn timestamp(at: SystemTime, digits: usize) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days as i64);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let mut fraction =
        if digits == 0 { String::new() } else { format!(".{:09}", since.subsec_nanos()) };
    fraction.truncate(fraction.trim_end_matches('0').trim_end_matches('.').len());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Days since 1970-01-01 to year, month, day, in the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const AT: SystemTime = UNIX_EPOCH;

    #[test]
    fn a_json_line_is_runc_s() {
        let at = UNIX_EPOCH + Duration::new(951_782_400, 5);
        assert_eq!(
            render(Format::Json, Level::Error, "a \"b\"\n<&>", at),
            "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\n\\u003c\\u0026\\u003e\",\"time\":\"2000-02-29T00:00:00Z\"}\n"
        );
    }

    #[test]
    fn a_time_is_gos() {
        let at = |nanos| timestamp(UNIX_EPOCH + Duration::new(951_782_400, nanos), 9);
        assert_eq!(at(5), "2000-02-29T00:00:00.000000005Z");
        assert_eq!(at(120_000_000), "2000-02-29T00:00:00.12Z");
        assert_eq!(at(0), "2000-02-29T00:00:00Z");
    }

    #[test]
    fn a_text_line_is_quoted_as_logrus_does() {
        let msg = |text| {
            let line = render(Format::Text, Level::Warning, text, AT);
            let start = "time=\"1970-01-01T00:00:00Z\" level=warning msg=";
            line.strip_prefix(start).unwrap().trim_end_matches('\n').to_owned()
        };
        for plain in ["plain", "a-b._/@^+9"] {
            assert_eq!(msg(plain), plain);
        }
        for (text, quoted) in [
            ("two words", r#""two words""#),
            ("a=b", r#""a=b""#),
            ("say \"hi\"\\", r#""say \"hi\"\\""#),
            ("\u{7}\u{8}\t\n\u{b}\u{c}\r\u{1b}\u{7f}", r#""\a\b\t\n\v\f\r\x1b\x7f""#),
            ("é\u{a0}\u{202e}\u{e0001}", r#""é\u00a0\u202e\U000e0001""#),
        ] {
            assert_eq!(msg(text), quoted);
        }
        let empty = render(Format::Text, Level::Error, "", AT);
        assert_eq!(empty, "time=\"1970-01-01T00:00:00Z\" level=error\n");
    }

    #[test]
    fn a_terminal_s_line_is_logrus_s() {
        let line = coloured(Level::Error, "container does not exist", 0);
        let message = "container does not exist                     ";
        assert_eq!(line, format!("\x1b[31mERRO\x1b[0m[0000] {message}\n"));
    }

    #[test]
    fn the_journal_gets_fields_and_long_ones_by_length() {
        assert_eq!(
            journal(Level::Error, "why", "me", "c1"),
            b"PRIORITY=3\nSYSLOG_IDENTIFIER=me\nID=c1\nMESSAGE=why\n"
        );
        assert_eq!(
            journal(Level::Warning, "a\nb", "me", ""),
            b"PRIORITY=4\nSYSLOG_IDENTIFIER=me\nMESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n"
        );
    }

    #[test]
    fn what_is_less_than_asked_for_is_not_logged() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for least in [Level::Error, Level::Warning, Level::Debug] {
            let log = Log::open(Some(file.path()), Format::Text, least, "").unwrap();
            log.line(Level::Debug, "d");
            log.line(Level::Warning, "w");
            log.line(Level::Error, "e");
        }
        let text = std::fs::read_to_string(file.path()).unwrap();
        let said: String = text.lines().filter_map(|line| line.chars().last()).collect();
        assert_eq!(said, "ewedwe");
    }
}
