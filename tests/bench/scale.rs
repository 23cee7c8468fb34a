//! What an image costs by the number of its files and of its layers: each ten times as many should
//! cost ten times as much, and no more memory.
//!
//! What is made stays until the end, 14 GB with a million files: on an ext4 without a journal whoever
//! makes files soon after a tree was removed searches past each of its inodes.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use e2e::fixtures::{Image, Layer, Packed};
use e2e::{Cmd, World, program};

use crate::measure::{cost, peak};

/// More files than these are copied only once.
const MANY: u64 = 100_000;

/// All of it, or with `only` the row of so many files.
pub fn bench(most: u64, only: bool) {
    let w = World::new();
    println!("\nfiles of 1 KiB in one layer: from a layout into a store, unpacked");
    let counts = [10, 100, 1000, 10_000, 100_000, 1_000_000];
    for count in
        counts.into_iter().filter(|&count| if only { count == most } else { count <= most })
    {
        files(&w, count);
    }
    if only {
        return;
    }
    println!("\nlayers of ten files each");
    for count in [1, 2, 8, 32, 127] {
        layers(&w, count);
    }
}

fn files(w: &World, count: u64) {
    let made = w.path(format!("files-{count}"));
    let bench = std::env::current_exe().unwrap();
    let script = "\"$1\" --tar $2 | \"$0\" import - files && \"$0\" copy -q files oci:$3:x";
    let sh = w.cmd("sh").args(["-c", script]).arg(program("dhow-image")).arg(bench);
    let sh = sh.arg(count.to_string()).arg(&made).env("DHOW_ROOT", w.path(format!("made-{count}")));
    sh.limit(600).run().ok();
    row(w, &made, count, "file");
}

fn layers(w: &World, count: u64) {
    let made = w.path(format!("layers-{count}"));
    let layer = |n: u64| {
        let add = |layer: Layer, i| layer.file(&format!("l{n}/f{i}"), 0o644, [b'x'; 1024]);
        ((0..10).fold(Layer::new(), add).finish(), Packed::Gzip)
    };
    let layers = (0..count).map(layer).collect();
    Image { name: "x", layers, config: serde_json::json!({}) }.write(&made);
    row(w, &made, count, "layer");
}

/// The cost of a copy into a new store; the least of three, each beside those before it.
#[allow(clippy::cast_precision_loss)] // a few digits are shown
fn row(w: &World, layout: &Path, count: u64, what: &str) {
    let copy = |turn: &str| -> Cmd {
        let root = w.path(format!("store-{what}-{count}-{turn}"));
        let from = format!("oci:{}:x", layout.display());
        w.cmd(program("dhow-image")).args(["copy", "-q", &from, "x"]).env("DHOW_ROOT", root)
    };
    let (first, peak) = peak(&copy("peak"));
    // That one costs a process more, which is nothing beside so many files.
    let costs = (0..3).map(|turn| cost(&copy(&turn.to_string())).0);
    let least = if count > MANY { first } else { costs.min_by_key(|cost| cost.cpu).unwrap() };
    let (cpu, wall) = (least.cpu.as_secs_f64() * 1e3, least.wall.as_secs_f64() * 1e3);
    println!(
        "{count:>9} {what}s: CPU {cpu:>9.1} ms ({:>8.1} us each), wall {wall:>9.1} ms, peak {:>5.1} MiB",
        cpu * 1e3 / count as f64,
        peak as f64 / 1024.0
    );
}

/// Writes a tar of so many small files to stdout, a thousand to a directory.
pub fn tar(count: u64) {
    let mut tar = tar::Builder::new(BufWriter::with_capacity(1 << 20, io::stdout().lock()));
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_mtime(1_000_000_000);
    for n in 0..count {
        let mut data = [b'.'; 1024];
        write!(&mut data[..], "{n}").unwrap();
        header.set_size(data.len() as u64);
        tar.append_data(&mut header, format!("d{}/f{n}", n / 1000), &data[..]).unwrap();
    }
    tar.into_inner().unwrap().flush().unwrap();
}
