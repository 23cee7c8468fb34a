//! Two layers, one upon the other: entries are read, contents taken, names merged, and the same
//! layers unpacked into a directory that nothing may leave.
#![no_main]

use std::fs;
use std::sync::OnceLock;

use dhow_image::layer::entry::Kind;
use dhow_image::layer::merged::Merged;
use dhow_image::layer::{Entries, Journal, Limits, RootDir, Sink, apply, seal};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 1000 };

fuzz_target!(|data: &[u8]| {
    let (below, above) = data.split_at(data.len() / 2 / 512 * 512);
    let mut merged = Merged::new(true, true);
    for layer in [below, above] {
        let mut entries = Entries::new(layer, LIMITS);
        while let Ok(Some(entry)) = entries.advance() {
            assert!(!entry.name.as_bytes().split(|&b| b == b'/').any(|part| part == b".."));
            if let Kind::File(body) = &entry.kind {
                let mut end = 0;
                let taken = entries.body(body, |at, piece| {
                    assert!(at >= end && at + piece.len() as u64 <= body.size);
                    end = at + piece.len() as u64;
                    Ok(())
                });
                if taken.is_err() {
                    break;
                }
            }
        }
        let _ = merged.push(&mut Entries::new(layer, LIMITS));
    }
    unpacked(&[below, above]);
});

/// A directory in memory with a file beside the root, which must stay as it is.
fn home() -> &'static tempfile::TempDir {
    static HOME: OnceLock<tempfile::TempDir> = OnceLock::new();
    HOME.get_or_init(|| {
        let home = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::write(home.path().join("sentinel"), "mine").unwrap();
        home
    })
}

fn unpacked(layers: &[&[u8]]) {
    let home = home().path();
    for overlay in [false, true] {
        let root = home.join("root");
        fs::create_dir(&root).unwrap();
        for (n, layer) in layers.iter().enumerate() {
            let sink = if overlay { Sink::Overlay } else { Sink::Plain { first: n == 0 } };
            let dir = RootDir::open(&root).unwrap();
            let mut journal = Journal::new(home);
            if apply(&dir, &mut Entries::new(*layer, LIMITS), sink, &mut journal).is_ok() {
                let _ = seal(&dir, &journal, sink);
            }
            if overlay {
                break;
            }
        }
        fs::remove_dir_all(&root).unwrap();
    }
    let left: Vec<_> = fs::read_dir(home).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(left == ["sentinel"], "{left:?}");
    assert_eq!(fs::read(home.join("sentinel")).unwrap(), b"mine");
}
