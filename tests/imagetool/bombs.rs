//! Layers that are more than they seem, and compressed streams that are not quite what they should
//! be: refused in one line or read for what they say, in flat memory.

use std::fs;
use std::path::Path;

use e2e::{Cmd, World, fixtures};
use fixtures::Layer;
use serde_json::{Value, json};

/// A layout of one layer of these bytes, whatever they are, that should unpack to `plain`.
fn layout(dir: &Path, packed: &[u8], kind: &str, plain: &str) {
    fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    let blob = |bytes: &[u8], kind: &str| {
        let hex = hash(bytes);
        fs::write(dir.join("blobs/sha256").join(&hex), bytes).unwrap();
        json!({"mediaType": kind, "digest": format!("sha256:{hex}"), "size": bytes.len()})
    };
    let oci = |what: &str| format!("application/vnd.oci.image.{what}");
    let config = json!({"architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{plain}")]}});
    let config = blob(config.to_string().as_bytes(), &oci("config.v1+json"));
    let layer = blob(packed, &oci(&format!("layer.v1.tar{kind}")));
    let manifest = json!({"schemaVersion": 2, "mediaType": oci("manifest.v1+json"),
        "config": config, "layers": [layer]});
    let mut entry: Value = blob(manifest.to_string().as_bytes(), &oci("manifest.v1+json"));
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "x"});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(dir.join("index.json"), index.to_string()).unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

fn hash(bytes: &[u8]) -> String {
    Cmd::new("sha256sum").stdin(bytes).run().ok().out()[..64].to_owned()
}

/// What a shell filter makes of bytes.
fn through(filter: &str, bytes: &[u8]) -> Vec<u8> {
    Cmd::new("sh").args(["-c", filter]).stdin(bytes).run().ok().stdout
}

/// Takes the layer into a new store; what was said if it failed.
fn taken(packed: &[u8], kind: &str, plain: &[u8]) -> Result<World, String> {
    let w = World::new();
    layout(&w.path("layout"), packed, kind, &hash(plain));
    let from = format!("oci:{}:x", w.path("layout").display());
    let done = w.image_cmd(["copy", &from, "x"]).limit(60).run();
    if done.code == 0 {
        return Ok(w);
    }
    super::refused::nothing_visible(&w);
    let found = w.cmd("find").arg(w.root().join("layers")).args(["-mindepth", "1"]).run();
    found.ok().out_is("");
    Err(done.err())
}

#[test]
fn gzip_streams_of_every_kind() {
    let tar = Layer::new().file("a", 0o644, "hello ".repeat(50_000)).finish();
    let gzip = through("gzip -6 -n", &tar);
    let end = gzip.len();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = gzip.clone();
        change(&mut bytes);
        bytes
    };
    let half = tar.len() / 2;
    let members = [through("gzip -9 -n", &tar[..half]), through("gzip -1", &tar[half..])].concat();
    // The sum of the header: 0x1f8b08 02 …, its CRC-32's lower half behind it.
    let python = "import sys,zlib,struct; d=sys.stdin.buffer.read(); h=d[:3]+b'\\x02'+d[4:10]; \
        sys.stdout.buffer.write(h+struct.pack('<H',zlib.crc32(h)&0xffff)+d[10:])";
    let summed = through(&format!("python3 -c \"{python}\""), &gzip);
    // What eStargz looks like: members, and behind them an empty one whose header has a field of its own.
    let footer = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x1a\0SG\x16\x000000000000000000STARGZ\
        \x01\0\0\xff\xff\0\0\0\0\0\0\0\0";
    let stargz = [&members[..], footer].concat();
    for good in [&gzip, &members, &stargz, &summed, &with(&|b| b.resize(end + 512, 0))] {
        let w = taken(good, "+gzip", &tar).unwrap();
        w.image(["export", "x"]).ok();
    }
    for (bad, part) in [
        (with(&|b| b.truncate(end - 8)), "ends in the middle"),
        (with(&|b| b.truncate(end - 1)), "ends in the middle"),
        (with(&|b| b.truncate(end / 2)), "ends in the middle"),
        (with(&|b| b[end - 8] ^= 1), "checksum is wrong"),
        (with(&|b| b[end - 1] ^= 1), "length is wrong"),
        (with(&|b| b.extend(b"garbage")), "garbage"),
        (with(&|b| b[2] = 9), "unknown kind"),
        (with(&|b| b[end / 2] ^= 0xff), ""),
    ] {
        let said = taken(&bad, "+gzip", &tar).err().expect("it is refused");
        assert!(said.contains(part) && said.contains("layer"), "{part}: {said}");
    }
}

#[test]
fn zstd_streams_of_every_kind() {
    let tar = Layer::new().file("a", 0o644, "hello ".repeat(50_000)).finish();
    let half = tar.len() / 2;
    let skippable = [&b"\x5e\x2a\x4d\x18\x04\0\0\0note"[..]].concat();
    let (one, two) = (through("zstd -q", &tar[..half]), through("zstd -q -19", &tar[half..]));
    // What zstd:chunked looks like: frames, and its table in skippable ones behind them.
    let frames = [&skippable[..], &one, &skippable, &two, &skippable].concat();
    let far = through("zstd -q --long=27 -3", &tar);
    for good in [&frames, &far, &through("zstd -q --no-check", &tar)] {
        taken(good, "+zstd", &tar).unwrap();
    }
    let mut wide = b"\x28\xb5\x2f\xfd\0".to_vec();
    wide.extend([0xf8, 1, 0, 0]); // a window of 2 TiB
    for bad in [&one[..one.len() - 3], &wide, &[&one[..], b"garbage"].concat()] {
        let said = taken(bad, "+zstd", &tar).err().expect("it is refused");
        assert!(said.contains("layer"), "{said}");
    }
}

/// 20 GiB of zeros in a few hundred KiB of zstd, 2 in as much gzip; a sparse file of 8 EiB in a block.
#[test]
fn bombs_go_off_outside() {
    let peak = |w: &World| {
        let from = format!("oci:{}:x", w.path("layout").display());
        // What it takes in memory is told by the kernel: no more than this may be mapped.
        let limited = "ulimit -v 400000; exec \"$@\"";
        w.image_cmd(["copy", &from, "x"]).under(["sh", "-c", limited, "sh"]).limit(60).run()
    };
    let mut head = Layer::new().file("a", 0o644, "").finish();
    head.truncate(512);
    // An entry of 40 GiB that begins well: the size in base 256.
    head[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0]);
    head[148..156].fill(b' ');
    let sum: u32 = head.iter().map(|&b| u32::from(b)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    for (kind, filter, pieces) in [("+zstd", "zstd -q -1", 80), ("+gzip", "gzip -n", 8)] {
        let w = World::new();
        let piece = through(&format!("head -c 268435456 /dev/zero | {filter}"), b"");
        let bomb = [through(filter, &head), piece.repeat(pieces)].concat();
        layout(&w.path("layout"), &bomb, kind, &"0".repeat(64));
        // The disk is the case's own, and small.
        fs::create_dir(w.path("root")).unwrap();
        let mount = "mount -t tmpfs -o size=64m tmpfs \"$0\" && exec \"$@\"";
        let from = format!("oci:{}:x", w.path("layout").display());
        let prefix =
            ["unshare", "-m", "sh", "-c", mount, w.root().to_str().unwrap()].map(str::to_owned);
        let done = w.image_cmd(["copy", &from, "x"]).under(prefix).limit(60).run();
        super::refused::one_line(done, &["no space left on device"]);
    }
    let w = World::new();
    let sparse = "import tarfile,sys; t=tarfile.open(fileobj=sys.stdout.buffer,mode='w|',\
        format=tarfile.PAX_FORMAT); i=tarfile.TarInfo('x'); i.pax_headers={'GNU.sparse.map':'0,0',\
        'GNU.sparse.size':'9223372036854775807'}; t.addfile(i); t.close()";
    let tar = w.cmd("python3").args(["-c", sparse]).run().ok().stdout;
    layout(&w.path("layout"), &tar, "", &hash(&tar));
    super::refused::one_line(peak(&w), &["larger than"]);
}

#[test]
fn the_root_itself_may_be_opaque() {
    let w = World::new();
    let layers = [
        Layer::new().dir("old", 0o755).file("old/a", 0o644, "a").file("b", 0o644, "b"),
        Layer::new().file(".wh..wh..opq", 0o644, "").file("new", 0o644, "n"),
    ];
    let layers = layers.map(|layer| (layer.finish(), fixtures::Packed::Gzip)).to_vec();
    let image = fixtures::Image { name: "x", layers, config: json!({}) };
    image.write(&w.path("layout"));
    w.image(["copy", &format!("oci:{}:x", w.path("layout").display()), "x"]).ok();
    let bundle = w.path("bundle");
    w.image(["unpack", "x", bundle.to_str().unwrap()]).ok();
    let names = |dir: &Path| w.cmd("ls").arg("-A").arg(dir).run().ok().out();
    assert_eq!(names(&bundle.join("rootfs")), "new");
    let export = w.image(["export", "x"]).ok().stdout;
    let list = through("tar -t", &export);
    assert!(!String::from_utf8(list).unwrap().contains("old"), "the layers below show through");
}

/// What one reader takes for a file's content and another for the next entry.
#[test]
fn an_extended_size_hides_no_entry() {
    let w = World::new();
    let python = "import tarfile,sys; i=tarfile.TarInfo('cover'); i.pax_headers={'size':'512'}; \
        o=sys.stdout.buffer; o.write(i.tobuf(tarfile.PAX_FORMAT)); \
        o.write(tarfile.TarInfo('etc/shadow').tobuf(tarfile.USTAR_FORMAT)); o.write(bytes(1024))";
    let tar = w.cmd("python3").args(["-c", python]).run().ok().stdout;
    layout(&w.path("layout"), &tar, "", &hash(&tar));
    w.image(["copy", &format!("oci:{}:x", w.path("layout").display()), "x"]).ok();
    let bundle = w.path("bundle");
    w.image(["unpack", "x", bundle.to_str().unwrap()]).ok();
    assert_eq!(fs::metadata(bundle.join("rootfs/cover")).unwrap().len(), 512);
    assert!(!bundle.join("rootfs/etc").exists());
    let list = through("tar -t", &w.image(["export", "x"]).ok().stdout);
    assert!(!String::from_utf8(list).unwrap().contains("shadow"));
}
