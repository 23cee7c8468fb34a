//! Archives of docker's and of OCI's kind, as `load` reads them: all names, manifests, blobs.
#![no_main]

use std::io::Read;
use std::sync::{Mutex, OnceLock};

use dhow_image::manifest::{self, Parsed};
use dhow_image::source::{Source, each};
use dhow_image::transport::File;
use dhow_image::trust::Trust;
use libfuzzer_sys::fuzz_target;

static DATA: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn stdin() -> Box<dyn Read + Send> {
    Box::new(std::io::Cursor::new(DATA.lock().unwrap().clone()))
}

fuzz_target!(|data: &[u8]| {
    static HOME: OnceLock<tempfile::TempDir> = OnceLock::new();
    let home = HOME.get_or_init(|| tempfile::tempdir_in("/dev/shm").unwrap());
    *DATA.lock().unwrap() = data.to_vec();
    let spool = tempfile::tempdir_in(home.path()).unwrap();
    let trust = Trust::default();
    let _ = each(&File::Std, &trust, stdin, spool.path(), |source, _| look(source));
});

fn look(source: &dyn Source) -> dhow_image::Result<()> {
    let root = source.root()?;
    if let Parsed::Manifest(m) = manifest::parse(&root.bytes, &root.at.media_type, "x")? {
        for blob in m.layers.iter().chain([&m.config]) {
            let _ = std::io::copy(&mut source.blob(blob)?.take(1 << 20), &mut std::io::sink());
        }
    }
    Ok(())
}
