//! A docker daemon's HTTP API, over its socket: images out of it and into it, as the archives that
//! `docker save` and `docker load` know.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use ureq::config::Config;
use ureq::tls::TlsConfig;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, LazyBuffers, NextTimeout, Transport,
};
use ureq::{Agent, SendBody};

use crate::error::{Error, Result};
use crate::registry::{Resolver, daemon_tls};

/// Where docker's daemon listens by default.
pub const DEFAULT: &str = "unix:///var/run/docker.sock";
/// What a daemon says of a failure is no longer.
const MAX_MESSAGE: u64 = 64 << 10;

/// How to reach a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `unix:///SOCKET`, `http://HOST:PORT`, `https://HOST:PORT`; `tcp://` is https if there are
    /// certificates.
    pub address: String,
    /// A folder of `ca.pem`, `cert.pem`, `key.pem`.
    pub certs: Option<PathBuf>,
    /// Whether the server's certificate is checked.
    pub verify: bool,
}

impl Default for Host {
    fn default() -> Self {
        Self { address: DEFAULT.into(), certs: None, verify: true }
    }
}

/// A docker daemon.
#[derive(Debug)]
pub struct Daemon {
    agent: Agent,
    base: String,
    address: String,
}

impl Daemon {
    /// Nothing is sent yet.
    pub fn new(host: &Host) -> Result<Self> {
        let bad = || {
            let why =
                "write unix:///SOCKET, tcp://HOST:PORT, http://HOST:PORT or https://HOST:PORT";
            Error::usage("docker host", &host.address, why)
        };
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("dhow-image/", env!("CARGO_PKG_VERSION")))
            .proxy(None)
            .input_buffer_size(256 << 10)
            .output_buffer_size(256 << 10)
            .timeout_connect(Some(Duration::from_secs(20)));
        let (scheme, rest) = host.address.split_once("://").ok_or_else(bad)?;
        if rest.is_empty() {
            return Err(bad());
        }
        let (agent, base) = match scheme {
            "unix" => {
                let connector = Socket(rest.into());
                // The name is for the request's Host only.
                let agent = Agent::with_parts(config.build(), connector, Nowhere);
                (agent, "http://docker".to_owned())
            }
            "tcp" | "http" | "https" => {
                let tls = scheme == "https" || (scheme == "tcp" && host.certs.is_some());
                let tls_config = if tls {
                    daemon_tls(host.certs.as_deref(), host.verify)?
                } else {
                    TlsConfig::default()
                };
                let config = config.tls_config(tls_config).build();
                let agent = Agent::with_parts(config, DefaultConnector::default(), Resolver);
                let scheme = if tls { "https" } else { "http" };
                (agent, format!("{scheme}://{}", rest.trim_end_matches('/')))
            }
            _ => return Err(bad()),
        };
        Ok(Self { agent, base, address: host.address.clone() })
    }

    /// What errors call it.
    pub fn title(&self) -> String {
        format!("the docker daemon at {}", self.address)
    }

    /// The archive of one image, while the daemon writes it.
    pub fn export(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        let url = format!("{}/images/{}/get", self.base, escaped(name));
        let answer = self.agent.get(&url).call().map_err(|e| self.failed(&e))?;
        match answer.status().as_u16() {
            200 => Ok(Box::new(answer.into_body().into_reader())),
            404 => Err(Error::NotFound {
                what: "image",
                name: format!("{name} in {}", self.title()),
                hint: String::new(),
            }),
            status => Err(self.refused(status, answer.into_body().into_reader())),
        }
    }

    /// Has the daemon load an archive.
    pub fn load(&self, archive: &mut (dyn Read + Send)) -> Result<()> {
        let url = format!("{}/images/load?quiet=1", self.base);
        let mut archive = archive;
        let body = SendBody::from_reader(&mut archive);
        let request = self.agent.post(&url).header("Content-Type", "application/x-tar");
        let answer = request.send(body).map_err(|e| self.failed(&e))?;
        let status = answer.status().as_u16();
        let from = answer.into_body().into_reader();
        if status != 200 {
            return Err(self.refused(status, from));
        }
        match complaint(from).map_err(|e| Error::io("read the answer of", self.title(), e))? {
            Some(message) => Err(Error::Registry { request: self.asked(), status, message }),
            None => Ok(()),
        }
    }

    fn asked(&self) -> String {
        self.title()
    }

    fn refused(&self, status: u16, from: impl Read) -> Error {
        let mut text = String::new();
        let _ = from.take(MAX_MESSAGE).read_to_string(&mut text);
        let value = serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default();
        let message = value["message"].as_str().unwrap_or_default().to_owned();
        Error::Registry { request: self.asked(), status, message }
    }

    fn failed(&self, e: &ureq::Error) -> Error {
        let why = match e {
            ureq::Error::Io(e) => match e.raw_os_error() {
                Some(code) => nix::errno::Errno::from_raw(code).desc().to_owned(),
                None => e.to_string(),
            },
            other => other.to_string(),
        };
        let hint = "is it running? --src-daemon-host and DOCKER_HOST say where";
        Error::Unreachable { host: self.title(), why, hint }
    }
}

/// What went wrong, from a line for each step. The status comes before the work: a failure is the last
/// line, behind however many of progress.
fn complaint(from: impl Read) -> io::Result<Option<String>> {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut from).take(MAX_MESSAGE).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let said: serde_json::Value = serde_json::from_slice(&line).unwrap_or_default();
        if let Some(why) = said["error"].as_str() {
            return Ok(Some(why.to_owned()));
        }
    }
}

/// A name as a part of a path. Slashes stay, as docker's own client leaves them.
fn escaped(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:@".contains(&b);
    name.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// There is nothing to look up.
#[derive(Debug)]
struct Nowhere;

impl ureq::unversioned::resolver::Resolver for Nowhere {
    fn resolve(
        &self,
        _uri: &ureq::http::Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ureq::unversioned::resolver::ResolvedSocketAddrs, ureq::Error> {
        let mut none = self.empty();
        none.push(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
        Ok(none)
    }
}

/// Connects to a unix socket.
#[derive(Debug)]
struct Socket(PathBuf);

impl Connector for Socket {
    type Out = Unix;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<Unix>, ureq::Error> {
        let stream = UnixStream::connect(&self.0)?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Unix { stream, buffers }))
    }
}

/// A connection by a unix socket. Without a limit of time: a daemon packs a large image for as
/// long as it takes, and says nothing meanwhile.
struct Unix {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl fmt::Debug for Unix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unix")
    }
}

impl Transport for Unix {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _timeout: NextTimeout) -> Result<(), ureq::Error> {
        Ok(self.stream.write_all(&self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, _timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let input = self.buffers.input_append_buf();
        let amount = loop {
            match self.stream.read(input) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // One request a connection: there is nothing to gain.
        let _ = self.stream.shutdown(Shutdown::Both);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::thread;

    /// Answers one request; what was asked.
    fn serve(dir: &Path, answer: Vec<u8>) -> (Host, thread::JoinHandle<Vec<u8>>) {
        let path = dir.join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = vec![0; 64 << 10];
            let mut n = 0;
            while !asked[..n].windows(4).any(|w| w == b"\r\n\r\n") {
                n += stream.read(&mut asked[n..]).unwrap();
            }
            if asked.starts_with(b"POST") {
                while !asked[..n].ends_with(b"0\r\n\r\n") {
                    n += stream.read(&mut asked[n..]).unwrap();
                }
            }
            stream.write_all(&answer).unwrap();
            asked.truncate(n);
            asked
        });
        let address = format!("unix://{}", path.display());
        (Host { address, ..Host::default() }, asked)
    }

    fn answer(status: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
    }

    #[test]
    fn an_archive_comes_out_of_it_in_chunks_too() {
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        for (bytes, want) in [(answer("200 OK", "archive"), "archive"), (chunked.to_vec(), "abcde")]
        {
            let dir = tempfile::tempdir().unwrap();
            let (host, asked) = serve(dir.path(), bytes);
            let mut out = String::new();
            let mut from = Daemon::new(&host).unwrap().export("a/b:1 ?").unwrap();
            from.read_to_string(&mut out).unwrap();
            assert_eq!(out, want);
            let asked = String::from_utf8(asked.join().unwrap()).unwrap();
            assert!(asked.starts_with("GET /images/a/b:1%20%3F/get HTTP/1.1\r\n"), "{asked}");
        }
    }

    #[test]
    fn what_is_not_there_and_who_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let (host, _asked) = serve(dir.path(), answer("404 Not Found", r#"{"message":"no"}"#));
        assert!(Daemon::new(&host).unwrap().export("x").err().unwrap().is_not_found());
        let nobody = Host { address: "unix:///nonexistent/s".into(), ..Host::default() };
        let why = Daemon::new(&nobody).unwrap().export("x").err().unwrap().to_string();
        assert!(why.contains("is it running"), "{why}");
        for bad in ["", "unix://", "npipe://x", "/var/run/docker.sock"] {
            let host = Host { address: bad.into(), ..Host::default() };
            assert!(Daemon::new(&host).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_archive_goes_into_it_and_a_late_refusal_is_heard() {
        let said = "{\"stream\":\"Loaded\"}\n";
        let refused = "{\"errorDetail\":{\"message\":\"bad\"},\"error\":\"bad archive\"}\n";
        let late = format!("{}{refused}", said.repeat(10_000));
        for (body, why) in
            [(said, None), (refused, Some("bad archive")), (&late, Some("bad archive"))]
        {
            let dir = tempfile::tempdir().unwrap();
            let (host, asked) = serve(dir.path(), answer("200 OK", body));
            let done = Daemon::new(&host).unwrap().load(&mut &b"the archive"[..]);
            assert_eq!(done.is_ok(), why.is_none());
            if let (Err(e), Some(why)) = (done, why) {
                assert!(e.to_string().contains(why), "{e}");
            }
            let asked = String::from_utf8(asked.join().unwrap()).unwrap();
            assert!(asked.contains("the archive"), "{asked}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_heard(before in "(\\PC{0,20}\n){0,3}", why in "[a-z]{1,9}", long in 0usize..200_000) {
            prop_assume!(!before.contains("error"));
            let line = format!("{{\"error\":\"{why}\"}}\n");
            let bytes = [before.as_bytes(), b"\xff\n", &vec![b'x'; long], b"\n", line.as_bytes()].concat();
            prop_assert_eq!(complaint(&bytes[..]).unwrap(), Some(why));
        }
    }
}
