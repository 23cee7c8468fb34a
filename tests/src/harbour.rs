//! A small HTTP server whose every answer a case decides: a registry that lies, a token server, a
//! host that must not see what it is sent to steal.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fixtures;

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `GET`.
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// As long as was announced, unless the client went away before.
    pub body: Vec<u8>,
}

impl Asked {
    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What it gets.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    end: End,
}

/// What happens behind the body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum End {
    /// The connection is closed after what was announced.
    #[default]
    Fair,
    /// After so many bytes the connection is closed.
    Cut(usize),
    /// After so many bytes nothing more comes until the client goes.
    Stall(usize),
    /// The body comes again and again, until the client goes.
    Never,
    /// A byte comes every so many milliseconds.
    Drip(u64),
    /// Not even an answer comes.
    Silent,
    /// The body is all there is: no head before it.
    Raw,
}

impl Answer {
    /// A status and nothing else.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// 200 and a body.
    pub fn body(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Only the first `bytes` of the body, then the connection is closed.
    #[must_use]
    pub fn cut(mut self, bytes: usize) -> Self {
        self.end = End::Cut(bytes);
        self
    }

    /// Only the first `bytes` of the body, then silence.
    #[must_use]
    pub fn stall(mut self, bytes: usize) -> Self {
        self.end = End::Stall(bytes);
        self
    }

    /// The body without end.
    #[must_use]
    pub fn endless(mut self) -> Self {
        self.end = End::Never;
        self
    }

    /// The body byte by byte, one every so many milliseconds.
    #[must_use]
    pub fn drip(mut self, ms: u64) -> Self {
        self.end = End::Drip(ms);
        self
    }

    /// No answer at all, for as long as the client waits.
    pub fn silent() -> Self {
        Self { end: End::Silent, ..Self::default() }
    }

    /// These bytes, head and all; then the connection is closed.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { body: bytes.into(), end: End::Raw, ..Self::default() }
    }

    fn send(&self, to: &mut TcpStream) -> std::io::Result<()> {
        match self.end {
            End::Silent => return to.read(&mut [0]).map(drop),
            End::Raw => return to.write_all(&self.body),
            _ => {}
        }
        let mut head = format!("HTTP/1.1 {} So\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        let told = self.headers.iter().any(|(name, _)| name == "Content-Length");
        if self.end != End::Never && !told {
            head.extend(["Content-Length: ", &self.body.len().to_string(), "\r\n"]);
        }
        to.write_all(format!("{head}\r\n").as_bytes())?;
        match self.end {
            End::Fair | End::Silent | End::Raw => to.write_all(&self.body),
            End::Drip(ms) => self.body.iter().try_for_each(|byte| {
                thread::sleep(Duration::from_millis(ms));
                to.write_all(&[*byte])
            }),
            End::Cut(bytes) => to.write_all(&self.body[..bytes]),
            End::Stall(bytes) => {
                to.write_all(&self.body[..bytes])?;
                to.read(&mut [0]).map(drop)
            }
            End::Never => loop {
                to.write_all(&self.body)?;
            },
        }
    }
}

/// The server: up until the program ends, on a port of its own.
pub struct Harbour {
    port: u16,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Harbour {
    /// Answers every request by `answer`, each on a thread of its own.
    pub fn open(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (noted, answer) = (Arc::clone(&log), Arc::new(answer));
        // A name of its own, or it would bear the case's, as if that were still running.
        let body = move || {
            for stream in listener.incoming().flatten() {
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                thread::spawn(move || serve(stream, &noted, &*answer));
            }
        };
        thread::Builder::new().name("harbour".to_owned()).spawn(body).unwrap();
        Self { port, log }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The full name of a repository here.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.host())
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }
}

/// One request and its answer; a client that goes away ends it.
fn serve(mut stream: TcpStream, log: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Answer) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = || {
        let mut text = String::new();
        let n = reader.read_line(&mut text).ok()?;
        (n > 0).then(|| text.trim_end().to_owned())
    };
    let Some(first) = line() else { return };
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return };
    let mut headers = BTreeMap::new();
    while let Some(text) = line().filter(|l| !l.is_empty()) {
        let Some((name, value)) = text.split_once(':') else { continue };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = Vec::new();
    let _ = reader.take(length).read_to_end(&mut body);
    let asked = Asked { method, path, headers, body };
    log.lock().unwrap().push(asked.clone());
    let _ = answer(&asked).send(&mut stream);
}

/// A whole small image, as an honest registry serves it; a case spoils what it is about.
#[derive(Clone)]
pub struct Cargo {
    /// The manifest, to be changed.
    pub manifest: Value,
    /// Its media type, as announced.
    pub kind: String,
    /// What is at `blobs/DIGEST`.
    pub blobs: BTreeMap<String, Vec<u8>>,
}

impl Cargo {
    /// busybox and `/cargo`, `size` bytes that don't compress.
    pub fn new(note: &str, size: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fixtures::unlike("x", note, size).write(dir.path());
        let read = |path: &Path| std::fs::read(path).unwrap();
        let index: Value = serde_json::from_slice(&read(&dir.path().join("index.json"))).unwrap();
        let at = index["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
        let folder = dir.path().join("blobs");
        let manifest = serde_json::from_slice(&read(&folder.join(at))).unwrap();
        let files = std::fs::read_dir(folder.join("sha256")).unwrap().flatten();
        let blob = |e: std::fs::DirEntry| {
            (format!("sha256:{}", e.file_name().to_string_lossy()), read(&e.path()))
        };
        let kind = "application/vnd.oci.image.manifest.v1+json".to_owned();
        Self { manifest, kind, blobs: files.map(blob).collect() }
    }

    /// The digest of the layer with `/cargo`.
    pub fn layer(&self) -> String {
        self.manifest["layers"][1]["digest"].as_str().unwrap_or_default().to_owned()
    }

    /// An honest answer.
    pub fn answer(&self, asked: &Asked) -> Answer {
        let path = asked.path.split('?').next().unwrap_or_default();
        if path == "/v2/" {
            return Answer::body("{}");
        }
        if path.contains("/manifests/") {
            let bytes = serde_json::to_vec(&self.manifest).unwrap();
            return Answer::body(bytes).header("Content-Type", self.kind.clone());
        }
        let Some(blob) = path.rsplit('/').next().and_then(|digest| self.blobs.get(digest)) else {
            let none = json!({"errors": [{"code": "BLOB_UNKNOWN", "message": "unknown"}]});
            return Answer { status: 404, ..Answer::body(none.to_string()) };
        };
        let from = asked.header("range").strip_prefix("bytes=").and_then(|r| r.strip_suffix('-'));
        match from.and_then(|from| from.parse::<usize>().ok()) {
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
                let rest = Answer { status: 206, ..Answer::body(&blob[from..]) };
                rest.header("Content-Range", range)
            }
            None => Answer::body(blob.as_slice()),
        }
    }

    /// The manifest's bytes.
    pub fn document(&self) -> Vec<u8> {
        serde_json::to_vec(&self.manifest).unwrap()
    }

    /// A registry that serves it.
    pub fn serve(self) -> Harbour {
        Harbour::open(move |asked| self.answer(asked))
    }
}
