//! Our gzip beside another: what both take, both take alike.
#![no_main]

use std::io::Read;

use dhow_image::layer::compress::inflate;
use dhow_image::manifest::Compression;
use libfuzzer_sys::fuzz_target;

const MAX: u64 = 4 << 20;

fuzz_target!(|data: &[u8]| {
    let Ok((compression, plain)) = inflate(data) else { return };
    let mut ours = Vec::new();
    let read = plain.take(MAX).read_to_end(&mut ours);
    if compression != Compression::Gzip || read.is_err() || ours.len() as u64 == MAX {
        return;
    }
    let mut theirs = Vec::new();
    let other = flate2::read::MultiGzDecoder::new(data).take(MAX).read_to_end(&mut theirs);
    // Zeros behind the last member are padding to us, and the start of a bad one to it.
    assert!(other.is_err() || ours == theirs);
    assert!(ours.starts_with(&theirs));
});
