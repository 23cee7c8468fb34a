//! A registry that answers whatever it likes, and as slowly as it likes: each answer is a part of
//! the input, the last one comes again and again. A part's first byte may be a manner: `<` stops in
//! the middle of what follows and keeps the connection, `%` lets it drip, `_` says nothing at all.
#![no_main]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use dhow_image::digest::Digest;
use dhow_image::manifest::Descriptor;
use dhow_image::pull::tags;
use dhow_image::reference::Reference;
use dhow_image::registry::{Access, Client, Keyring, Settings, search};
use dhow_image::source::{Remote, Source};
use libfuzzer_sys::fuzz_target;

/// What is still to be answered, and between which bytes it is cut.
static ANSWERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
const BETWEEN: &[u8] = b"\n---\n";
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_millis(40);
/// No call may last longer: a call is a few requests, and each may be silent a few times.
const LIMIT: Duration = Duration::from_secs(5);

/// The port of a server that lives as long as this program.
fn port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                let mut answers = ANSWERS.lock().unwrap();
                let answer = match answers.len() {
                    0 => Vec::new(),
                    1 => answers[0].clone(),
                    _ => answers.remove(0),
                };
                drop(answers);
                thread::spawn(move || serve(stream, &answer));
            }
        });
        port
    })
}

/// Gives one answer in its manner. A connection that is kept ends when the other side has gone.
fn serve(mut stream: TcpStream, answer: &[u8]) {
    let mut asked = [0; 4096];
    let _ = stream.read(&mut asked);
    let Some((manner, rest)) = answer.split_first() else { return };
    let kept = match manner {
        b'<' => stream.write_all(&rest[..rest.len() / 2]).is_ok(),
        b'_' => true,
        b'%' => {
            // The head at once, the body a byte now and then.
            let head = rest.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |at| at + 4);
            let _ = stream.write_all(&rest[..head]);
            let drip = |byte: &u8| {
                thread::sleep(IDLE / 8);
                stream.write_all(&[*byte]).is_ok()
            };
            rest[head..].iter().all(drip)
        }
        _ => stream.write_all(answer).is_err(),
    };
    if kept {
        let _ = stream.set_read_timeout(Some(LIMIT));
        while matches!(stream.read(&mut asked), Ok(n) if n > 0) {}
    }
}

fn answer(data: &[u8]) {
    let mut parts = vec![Vec::new()];
    let mut rest = data;
    while let Some(at) = rest.windows(BETWEEN.len()).position(|w| w == BETWEEN) {
        parts.last_mut().unwrap().extend_from_slice(&rest[..at]);
        parts.push(Vec::new());
        rest = &rest[at + BETWEEN.len()..];
    }
    parts.last_mut().unwrap().extend_from_slice(rest);
    *ANSWERS.lock().unwrap() = parts;
}

fuzz_target!(|data: &[u8]| {
    let settings = Settings {
        plain_http: true,
        retries: Some(0),
        idle: Some(IDLE),
        keyring: Keyring::default(),
        ..Settings::default()
    };
    let name = Reference::parse_normal(&format!("127.0.0.1:{}/x:y", port())).unwrap();
    let since = Instant::now();
    ask(data, &name, &settings);
    assert!(since.elapsed() < LIMIT, "{:?}", since.elapsed());
});

fn ask(data: &[u8], name: &Reference, settings: &Settings) {
    answer(data);
    let _ = tags(name, settings);
    answer(data);
    let Ok(remote) = Remote::new(settings, name) else { return };
    if let Ok(root) = remote.root() {
        assert_eq!(root.at.size, root.bytes.len() as u64);
    }
    answer(data);
    if let Ok(found) = search(settings, &name.to_string(), 9) {
        assert!(found.len() <= 9);
    }
    answer(data);
    let blob = Descriptor::new("x", Digest::of(b"abc"), 3);
    let Ok(mut from) = remote.blob(&blob) else { return };
    let mut bytes = Vec::new();
    if from.read_to_end(&mut bytes).is_ok() {
        assert_eq!(bytes, b"abc");
    }
    let Ok(client) = Client::new(settings, name, Access::Push) else { return };
    answer(data);
    let _ = client.referrers(&blob.digest, None);
    let open = || -> dhow_image::Result<Box<dyn Read + Send>> { Ok(Box::new(&b"abc"[..])) };
    for chunk in [None, Some(2)] {
        answer(data);
        let _ = client.push_blob(&blob, Some("other"), chunk, &open);
    }
    answer(data);
    let _ = client.put_manifest("y", br#"{"subject":{"digest":"sha256:00"}}"#, "x");
}
