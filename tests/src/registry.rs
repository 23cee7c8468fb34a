//! Debian's docker-registry on 127.0.0.1: one open, one behind a password, for the whole run.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Cmd, fixtures};

/// A registry that is up. It ends with the test program, however that ends.
pub struct Registry {
    port: u16,
    dir: TempDir,
}

impl Registry {
    /// The user of the secured registry.
    pub const USER: &str = "mate";
    /// The password of the secured registry.
    pub const PASSWORD: &str = "fair wind";

    /// The registry that lets everybody in; it holds the fixtures.
    pub fn open() -> &'static Self {
        static ONE: OnceLock<Registry> = OnceLock::new();
        ONE.get_or_init(|| Self::start(false))
    }

    /// The registry that wants [`Registry::USER`] and [`Registry::PASSWORD`]; same content.
    pub fn secured() -> &'static Self {
        static ONE: OnceLock<Registry> = OnceLock::new();
        ONE.get_or_init(|| Self::start(true))
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The full name of a repository here.
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.host())
    }

    /// The file that holds a blob, to spoil it.
    pub fn blob(&self, digest: &str) -> std::path::PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let below = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        self.dir.path().join("data").join(below)
    }

    /// Pushes an image of its own for one case; gives its full name and its layers' digests.
    pub fn push(&self, image: &fixtures::Image, name: &str) -> (String, Vec<String>) {
        let layout = tempfile::tempdir().unwrap();
        image.write(layout.path());
        let full = self.name(name);
        fixtures::push(layout.path(), image.name, &full);
        let inspect = ["inspect", "--tls-verify=false", "--raw"];
        let raw = Cmd::new("skopeo").args(inspect).arg(format!("docker://{full}")).run().ok();
        let layers = raw.json()["layers"].as_array().unwrap().clone();
        let digest = |l: &serde_json::Value| l["digest"].as_str().unwrap().to_owned();
        (full, layers.iter().map(digest).collect())
    }

    fn start(secured: bool) -> Self {
        crate::leaks::baseline();
        let prefix = format!("dhow-e2e-{}-registry-", std::process::id());
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
        Cmd::new("cp").arg("-a").arg(fixtures::registry()).arg(dir.path().join("data")).run().ok();
        let port = serve(dir.path(), secured);
        Self { port, dir }
    }

    /// Removes both registries' files; called when the last test is done.
    pub fn remove_files() {
        for registry in [Self::open(), Self::secured()] {
            fs::remove_dir_all(registry.dir.path()).unwrap();
        }
    }
}

/// Starts a registry over `dir/data` and waits until it answers: its port.
pub fn serve(dir: &Path, secured: bool) -> u16 {
    let auth = if secured {
        let htpasswd = dir.join("htpasswd");
        let entry = Cmd::new("htpasswd").args(["-nbB", Registry::USER, Registry::PASSWORD]).run();
        fs::write(&htpasswd, entry.ok().out()).unwrap();
        format!("auth:\n  htpasswd:\n    realm: harbour\n    path: {}\n", htpasswd.display())
    } else {
        String::new()
    };
    launch(dir, &auth)
}

/// Starts an empty registry that speaks TLS; gives the authority that signed it (it itself, or
/// another), and its port.
pub fn serve_tls(dir: &Path, itself: bool) -> (PathBuf, u16) {
    certificates(dir);
    let (cert, key) = if itself { ("ca.crt", "ca.key") } else { ("cert", "key") };
    (dir.join("ca.crt"), launch(dir, &tls(dir, cert, key)))
}

/// Starts an empty registry that speaks TLS with those alone who show a certificate: its port.
/// `dir` then has `client.cert` and `client.key`, too.
pub fn serve_tls_asking(dir: &Path) -> (PathBuf, u16) {
    certificates(dir);
    let asking = format!("    clientcas:\n      - {}\n", dir.join("ca.crt").display());
    (dir.join("ca.crt"), launch(dir, &(tls(dir, "cert", "key") + &asking)))
}

fn tls(dir: &Path, cert: &str, key: &str) -> String {
    let file = |name: &str| dir.join(name).display().to_string();
    format!("  tls:\n    certificate: {}\n    key: {}\n", file(cert), file(key))
}

/// An authority, `cert` and `key` for 127.0.0.1, `client.cert` and `client.key` for a client, and in
/// `old.cert` one of version 1, without extensions.
fn certificates(dir: &Path) {
    let make = "new='openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes' && cd $0 &&
        sign='openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 2' &&
        $new -x509 -days 2 -subj /CN=pilots $1 -keyout ca.key -out ca.crt &&
        $new -subj /CN=harbour $1 -keyout key -out request &&
        $sign -in request -out cert -copy_extensions copy &&
        $new -subj /CN=mate $1 -keyout client.key -out request &&
        $sign -in request -out old.cert &&
        $sign -in request -out client.cert -copy_extensions copy";
    let names = "-addext subjectAltName=IP:127.0.0.1";
    Cmd::new("sh").args(["-c", make]).arg(dir).arg(names).run().ok();
}

/// `more` is what follows `http: addr:` in its configuration.
fn launch(dir: &Path, more: &str) -> u16 {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\n  \
         delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n{more}",
        dir.join("data").display()
    );
    let file = dir.join("config.yml");
    fs::write(&file, config).unwrap();
    keep(&file, &dir.join("log"));
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = || fs::read_to_string(dir.join("log")).unwrap_or_default();
        assert!(Instant::now() < until, "docker-registry does not answer:\n{}", log());
        thread::sleep(Duration::from_millis(20));
    }
    port
}

/// Starts docker-registry from a thread that never ends: the kernel ends the registry (by its
/// parent death signal, which goes by the thread) with this program, and not before.
fn keep(config: &Path, log: &Path) {
    let (ready, started) = mpsc::channel();
    let mut command = Command::new("setpriv");
    // The shell takes the files along: a run of some cases has no last one that does.
    let serve = "docker-registry serve $0 & pid=$!; \
        trap 'kill $pid; rm -rf \"$1\"; exit' TERM; wait";
    command.args(["--pdeathsig", "TERM", "sh", "-c", serve]).arg(config);
    command.arg(config.parent().unwrap());
    let log = fs::File::create(log).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let keeper = thread::Builder::new().name("keeper".to_owned());
    let body = move || {
        let child = command.spawn();
        let _ = ready.send(child.as_ref().err().map(ToString::to_string));
        if let Ok(mut child) = child {
            let _ = child.wait();
        }
    };
    keeper.spawn(body).unwrap();
    if let Ok(Some(error)) = started.recv() {
        panic!("cannot start docker-registry: {error} (Debian package docker-registry)");
    }
}
