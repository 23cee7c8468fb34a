//! A registry that answers whatever it likes: each answer is a part of the input, the last one
//! comes again and again.
#![no_main]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use dhow_image::digest::Digest;
use dhow_image::manifest::Descriptor;
use dhow_image::pull::tags;
use dhow_image::reference::Reference;
use dhow_image::registry::{Keyring, Settings};
use dhow_image::source::{Remote, Source};
use libfuzzer_sys::fuzz_target;

/// What is still to be answered, and between which bytes it is cut.
static ANSWERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
const BETWEEN: &[u8] = b"\n---\n";

/// The port of a server that lives as long as this program.
fn port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut asked = [0; 4096];
                let _ = stream.read(&mut asked);
                let mut answers = ANSWERS.lock().unwrap();
                let answer = match answers.len() {
                    0 => Vec::new(),
                    1 => answers[0].clone(),
                    _ => answers.remove(0),
                };
                drop(answers);
                let _ = stream.write_all(&answer);
            }
        });
        port
    })
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
        idle: Some(Duration::from_millis(200)),
        keyring: Keyring::default(),
        ..Settings::default()
    };
    let name = Reference::parse_normal(&format!("127.0.0.1:{}/x:y", port())).unwrap();
    answer(data);
    let _ = tags(&name, &settings);
    answer(data);
    let Ok(remote) = Remote::new(&settings, &name) else { return };
    if let Ok(root) = remote.root() {
        assert_eq!(root.at.size, root.bytes.len() as u64);
    }
    answer(data);
    let blob = Descriptor::new("x", Digest::of(b"abc"), 3);
    let Ok(mut from) = remote.blob(&blob) else { return };
    let mut bytes = Vec::new();
    if from.read_to_end(&mut bytes).is_ok() {
        assert_eq!(bytes, b"abc");
    }
});
