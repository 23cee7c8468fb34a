//! Layers on a real file system: what comes out, and what must never.

mod hostile;
mod overlay;
mod pack;
mod tree;

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tar::{EntryType, Header};
use tempfile::TempDir;

use super::*;
use crate::error::Result;

/// A tar being written, with nothing checked: names go in as they are.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, name: &str, kind: EntryType, link: &str, data: &[u8], mode: u32) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(data.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_device_major(0).unwrap();
        header.set_device_minor(0).unwrap();
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut len = rest + 1;
            while len != rest + len.to_string().len() {
                len = rest + len.to_string().len();
            }
            write!(data, "{len} {key}=").unwrap();
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.entry("pax", EntryType::XHeader, "", &data, 0o644)
    }

    fn file(self, name: &str, text: &str) -> Self {
        self.entry(name, EntryType::Regular, "", text.as_bytes(), 0o644)
    }

    fn dir(self, name: &str) -> Self {
        self.entry(name, EntryType::Directory, "", b"", 0o755)
    }

    fn symlink(self, name: &str, to: &str) -> Self {
        self.entry(name, EntryType::Symlink, to, b"", 0o777)
    }

    fn link(self, name: &str, to: &str) -> Self {
        self.entry(name, EntryType::Link, to, b"", 0o644)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A root in a directory with a sentinel tree beside it.
struct World {
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["root", "outside/etc"] {
            fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        fs::write(dir.path().join("outside/etc/passwd"), "sentinel").unwrap();
        Self { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn layer(&self, tar: &[u8], sink: Sink) -> Result<(Applied, Journal)> {
        unpack(&self.root(), tar, sink)
    }

    fn plain(&self, tars: &[Vec<u8>]) -> Result<()> {
        tars.iter()
            .enumerate()
            .try_for_each(|(i, tar)| self.layer(tar, Sink::Plain { first: i == 0 }).map(drop))
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }

    fn has(&self, path: &str) -> bool {
        self.root().join(path).symlink_metadata().is_ok()
    }

    /// Nothing beside the root has changed, and nothing came.
    fn intact(&self) -> bool {
        let names = |p: &Path| fs::read_dir(p).unwrap().count();
        names(self.dir.path()) == 2
            && names(&self.dir.path().join("outside")) == 1
            && names(&self.dir.path().join("outside/etc")) == 1
            && fs::read_to_string(self.dir.path().join("outside/etc/passwd")).unwrap() == "sentinel"
            && fs::metadata(self.dir.path().join("outside/etc/passwd")).unwrap().nlink() == 1
    }
}

/// On a thread of its own, as the pipeline does it: the umask is the thread's.
fn unpack(root: &Path, tar: &[u8], sink: Sink) -> Result<(Applied, Journal)> {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let root = RootDir::open(root)?;
                let mut journal = Journal::new(&std::env::temp_dir());
                let limits = Limits { bytes: 1 << 30, entries: 2000 };
                let applied = apply(&root, &mut Entries::new(tar, limits), sink, &mut journal)?;
                seal(&root, &journal, sink)?;
                Ok((applied, journal))
            })
            .join()
            .unwrap()
    })
}

const FIRST: Sink = Sink::Plain { first: true };

#[test]
fn extended_headers_before_one_entry_are_bounded_together() {
    let half = vec![b'x'; 600 << 10];
    let one = Tar::default().pax(&[("comment", &half)]).file("a", "");
    World::new().plain(&[one.end()]).unwrap();
    let two = Tar::default().pax(&[("SCHILY.xattr.user.a", &half)]);
    let two = two.pax(&[("SCHILY.xattr.user.b", &half)]).file("a", "");
    let refused = World::new().plain(&[two.end()]).unwrap_err().to_string();
    assert!(refused.contains("larger than 1 MiB"), "{refused}");
}

#[test]
fn what_goes_in_comes_out() {
    let w = World::new();
    let tar = Tar::default()
        .dir("./")
        .entry("bin/", EntryType::Directory, "", b"", 0o1775)
        .entry("bin/su", EntryType::Regular, "", b"suid", 0o4755)
        .link("bin/su2", "./bin/su")
        .symlink("bin/sh", "su")
        .entry("bin/fifo", EntryType::Fifo, "", b"", 0o622)
        .pax(&[("mtime", b"1.000000007"), ("path", b"name-\xff-long"), ("uid", b"70000")])
        .file("x", "binary name")
        .file("implicit/deep/file", "i")
        .end();
    w.layer(&tar, FIRST).unwrap();
    let stat = |p: &str| w.root().join(p).symlink_metadata().unwrap();
    assert_eq!(stat("bin").permissions().mode() & 0o7777, 0o1775);
    assert_eq!(stat("bin/su").permissions().mode() & 0o7777, 0o4755);
    assert_eq!((stat("bin/su").nlink(), stat("bin/su").ino()), (2, stat("bin/su2").ino()));
    assert!(stat("bin/fifo").file_type().is_fifo());
    assert_eq!((stat("bin").mtime(), stat("bin/su").mtime()), (1_000_000_000, 1_000_000_000));
    assert_eq!(fs::read_link(w.root().join("bin/sh")).unwrap(), Path::new("su"));
    let odd = w.root().join(std::ffi::OsStr::from_bytes(b"name-\xff-long"));
    let odd = odd.metadata().unwrap();
    assert_eq!((odd.mtime(), odd.mtime_nsec(), odd.uid()), (1, 7, 70000));
    assert_eq!(w.read("implicit/deep/file"), "i");
    assert_eq!((stat("implicit").mtime(), stat("implicit").permissions().mode()), (0, 0o40755));
}

#[test]
fn long_names_of_every_kind() {
    let w = World::new();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let c = [long.as_bytes(), b"\0"].concat();
    let tar = Tar::default()
        .entry("././@LongLink", EntryType::GNULongName, "", &c, 0)
        .file("cut", "gnu")
        .entry("././@LongLink", EntryType::GNULongLink, "", &c, 0)
        .link("link", "cut")
        .pax(&[("path", format!("{long}2").as_bytes()), ("linkpath", long.as_bytes())])
        .link("cut", "cut")
        .end();
    w.layer(&tar, FIRST).unwrap();
    assert_eq!(
        (w.read(&long), w.read("link"), w.read(&format!("{long}2"))),
        ("gnu".into(), "gnu".into(), "gnu".into())
    );
}

#[test]
fn sparse_files_keep_their_holes() {
    let w = World::new();
    let mut map = b"2\n0\n3\n1000000\n3\n".to_vec();
    map.resize(512, 0);
    map.extend_from_slice(b"abcxyz");
    let keys = |v: &'static [u8]| ("GNU.sparse.major", v);
    let tar = Tar::default()
        .pax(&[
            keys(b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"one"),
            ("GNU.sparse.realsize", b"2000000"),
        ])
        .entry("GNUSparseFile.0/one", EntryType::Regular, "", &map, 0o644)
        .pax(&[
            ("GNU.sparse.map", b"0,3,1000000,3"),
            ("GNU.sparse.size", b"2000000"),
            ("GNU.sparse.name", b"two"),
            ("GNU.sparse.numblocks", b"2"),
        ])
        .file("x", "abcxyz")
        .end();
    let (applied, _) = w.layer(&tar, FIRST).unwrap();
    for name in ["one", "two"] {
        let bytes = fs::read(w.root().join(name)).unwrap();
        assert_eq!(
            (bytes.len(), &bytes[..3], &bytes[1_000_000..1_000_003]),
            (2_000_000, &b"abc"[..], &b"xyz"[..])
        );
        assert!(fs::metadata(w.root().join(name)).unwrap().blocks() < 100);
    }
    assert_eq!(applied.size, 4_000_000);
}

#[test]
fn whiteouts_remove_what_lies_below_and_spare_this_layer() {
    let w = World::new();
    let lower =
        Tar::default().file("a/one", "1").file("a/two", "2").file("b/x", "x").file("c", "c").end();
    let upper = Tar::default()
        .file("a/new", "n")
        .file("a/.wh..wh..opq", "")
        .file(".wh.c", "")
        .file("b/y", "y")
        .file(".wh.b", "")
        .file(".wh.nothing", "")
        .end();
    w.plain(&[lower, upper]).unwrap();
    assert!(!w.has("a/one") && !w.has("a/two") && !w.has("c") && !w.has("b/x"));
    assert!(w.has("a/new") && w.has("b/y") && !w.has("nothing"));
}

#[test]
fn a_directory_that_a_layer_only_passes_keeps_its_time() {
    let w = World::new();
    let lower = Tar::default().dir("d").file("d/old", "").dir("e").end();
    w.plain(&[lower, Tar::default().file("d/new", "").file("d/.wh.old", "").end()]).unwrap();
    assert_eq!(w.root().join("d").metadata().unwrap().mtime(), 1_000_000_000);
}

#[test]
fn types_replace_each_other() {
    let w = World::new();
    let lower = Tar::default().file("a/deep/er/x", "").symlink("l", "a").file("f", "old").end();
    let upper = Tar::default()
        .file("a", "file")
        .dir("l")
        .file("l/in", "in")
        .dir("f")
        .file("f/in", "")
        .end();
    w.plain(&[lower, upper]).unwrap();
    assert_eq!((w.read("a"), w.read("l/in")), ("file".into(), "in".into()));
    assert!(w.root().join("l").symlink_metadata().unwrap().is_dir() && w.has("f/in"));
}

#[test]
fn links_in_parents_lead_no_further_than_the_root() {
    let w = World::new();
    let outside = w.dir.path().join("outside");
    let tar = Tar::default()
        .symlink("abs", "/etc")
        .symlink("up", "../../outside")
        .symlink("host", outside.to_str().unwrap())
        .symlink("loop", "loop2")
        .symlink("loop2", "up")
        .file("abs/passwd", "in root")
        .file("up/etc/passwd", "evil")
        .file("loop/etc/passwd", "evil")
        .file("host/etc/passwd", "evil")
        .end();
    w.layer(&tar, FIRST).unwrap();
    assert!(w.intact());
    assert_eq!(w.read("etc/passwd"), "in root");
    assert_eq!(w.read("outside/etc/passwd"), "evil");
}

/// What has broken other unpackers. Each is refused, or harmless; never outside.
#[test]
fn hostile_archives_change_nothing_outside() {
    let t = Tar::default;
    let hostile: Vec<(&str, Vec<u8>, bool)> = vec![
        ("dotdot", t().file("../outside/etc/passwd", "x").end(), false),
        ("dotdot inside", t().file("a/../../outside/etc/passwd", "x").end(), false),
        ("dotdot alone", t().dir("..").end(), false),
        ("absolute", t().file("/outside/x", "x").end(), true),
        ("hard link out", t().link("x", "../outside/etc/passwd").end(), false),
        (
            "hard link by link",
            t().symlink("l", "../outside").link("x", "l/etc/passwd").end(),
            false,
        ),
        (
            "hard link then write",
            t().symlink("l", "../outside/etc/passwd").link("x", "l").file("x", "evil").end(),
            true,
        ),
        ("link then file", t().symlink("x", "../outside/etc/passwd").file("x", "evil").end(), true),
        ("link with slash", t().symlink("x", "../outside").dir("x/").file("x/y", "y").end(), true),
        ("link then whiteout", t().symlink("x", "../outside").file("x/.wh.etc", "").end(), true),
        ("link then opaque", t().symlink("x", "../outside").file("x/.wh..wh..opq", "").end(), true),
        ("whiteout of dotdot", t().file(".wh...", "").end(), false),
        ("whiteout of dot", t().file("a/.wh..", "").end(), false),
        ("whiteout of nothing", t().file(".wh.", "").end(), false),
        ("root as file", t().file("./", "x").end(), true),
        ("root as link", t().symlink(".", "/").end(), false),
        ("endless link", t().symlink("a", "a").file("a/b", "").end(), false),
        ("growing link", t().symlink("a", "a/a/a/a/a/a/a/a").file("a/b", "").end(), false),
        ("device 0:0", t().entry("w", EntryType::Char, "", b"", 0o644).end(), false),
        ("unknown type", t().entry("w", EntryType::new(b'Z'), "", b"", 0o644).end(), false),
        ("huge count", (0..2001).fold(t(), |t, i| t.file(&format!("f{i}"), "")).end(), false),
        (
            "same name often",
            (0..500).fold(t(), |t, i| if i % 2 == 0 { t.file("f", "x") } else { t.dir("f") }).end(),
            true,
        ),
        ("huge pax", t().entry("p", EntryType::XHeader, "", &vec![b' '; 2 << 20], 0).end(), false),
        ("uid -1", t().pax(&[("uid", b"4294967295")]).file("x", "").end(), false),
        ("huge size", t().pax(&[("size", b"9223372036854775807")]).file("x", "").end(), false),
        (
            "sparse bomb",
            t().pax(&[
                ("GNU.sparse.map", b"0,1,9223372036854775806,9"),
                ("GNU.sparse.size", b"9223372036854775807"),
            ])
            .file("x", "abcd")
            .end(),
            false,
        ),
    ];
    for sink in [FIRST, Sink::Overlay] {
        for (what, tar, fine) in &hostile {
            let w = World::new();
            let done = w.layer(tar, sink);
            assert!(w.intact(), "{what} {sink:?}");
            // A link that leads to what isn't there is a later matter for an overlay layer.
            if !what.starts_with("hard link") || sink == FIRST {
                assert_eq!(done.is_ok(), *fine, "{what} {sink:?}: {done:?}");
            }
        }
    }
}

#[test]
fn errors_name_the_entry() {
    let w = World::new();
    let e = w.layer(&Tar::default().file("../x", "").end(), FIRST).unwrap_err();
    assert_eq!(e.to_string(), "invalid path \"../x\": it climbs out of the root");
    let e = w.layer(&Tar::default().link("a", "b").end(), FIRST).unwrap_err();
    assert_eq!(
        e.to_string(),
        "invalid archive entry \"a\": it is a hard link to \"b\", which isn't there"
    );
    let e = w.layer(b"no tar at all".repeat(100).as_slice(), FIRST).unwrap_err();
    assert!(e.to_string().contains("checksum is wrong"), "{e}");
}

#[test]
fn a_deep_tree_can_be_removed() {
    let w = World::new();
    let deep = ["d"; 500].join("/");
    let tar = Tar::default().pax(&[("path", format!("{deep}/f").as_bytes())]).file("x", "").end();
    w.plain(&[tar, Tar::default().file(".wh.d", "").end()]).unwrap();
    assert!(!w.has("d"));
}

/// Someone renames directories to and fro, and puts links in their place, while we unpack.
#[test]
fn a_live_mutator_leads_nothing_outside() {
    let w = World::new();
    let mut tar = Tar::default();
    for i in 0..1500 {
        tar = tar.file(&format!("d/e{}/f{i}", i % 7), "caught");
    }
    let tar = tar.end();
    let (root, stop) = (w.root(), std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let order = std::sync::atomic::Ordering::Relaxed;
            for i in (0..7).cycle() {
                let (dir, aside) = (root.join(format!("d/e{i}")), root.join("aside"));
                let _ = fs::rename(&dir, &aside);
                let _ = symlink("../../../outside", &dir);
                let _ = fs::remove_file(&dir);
                let _ = fs::rename(&aside, &dir);
                let _ = fs::remove_dir_all(&aside);
                if stop.load(order) {
                    break;
                }
            }
        });
        for _ in 0..5 {
            let _ = w.layer(&tar, FIRST); // may fail: the tree moves beneath it
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(w.intact());
}

fn arbitrary() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        "[ab]{1,2}(/[ab]{1,2}){0,2}/?",
        "(\\.\\./){0,3}[ab]",
        "/?[ab]/\\.wh\\.[ab.]{0,3}",
        "[ab]/\\.wh\\.\\.wh\\.\\.opq",
    ];
    let kind = prop_oneof![
        Just(b'0'),
        Just(b'1'),
        Just(b'2'),
        Just(b'2'),
        Just(b'5'),
        Just(b'6'),
        Just(b'L'),
        Just(b'x'),
        any::<u8>()
    ];
    let link = prop_oneof!["[ab](/[ab]){0,2}", "(\\.\\./){0,4}outside(/etc(/passwd)?)?", "/[ab]"];
    let entry = (name, kind, link, "[a-z]{0,20}", 0u32..0o10000);
    (proptest::collection::vec(entry, 0..12), any::<(bool, usize, u8)>()).prop_map(
        |(entries, (spoil, at, byte))| {
            let mut tar = entries
                .iter()
                .fold(Tar::default(), |t, (name, kind, link, data, mode)| {
                    let data =
                        if matches!(kind, b'0' | b'L' | b'x') { data.as_bytes() } else { b"" };
                    t.entry(name, EntryType::new(*kind), link, data, *mode)
                })
                .end();
            if spoil {
                let at = at % tar.len();
                tar[at] = byte;
            }
            tar
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn random_archives_never_panic_and_never_escape(
        tars in proptest::collection::vec(arbitrary(), 1..4), overlaid in any::<bool>()
    ) {
        let w = World::new();
        symlink("../outside", w.root().join("b")).unwrap();
        for (i, tar) in tars.iter().enumerate() {
            let sink = if overlaid { Sink::Overlay } else { Sink::Plain { first: i == 0 } };
            let _ = w.layer(tar, sink);
        }
        prop_assert!(w.intact());
    }
}
