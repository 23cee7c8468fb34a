//! Fields that lie, maps that don't fit, links that lead back: each one clear error or what the
//! archive says, and never more than the limits allow.

use super::*;

/// The last header's field replaced, and its sum with it.
fn field(mut tar: Tar, at: std::ops::Range<usize>, bytes: &[u8]) -> Tar {
    let start = tar.0.len() - 512;
    let header = &mut tar.0[start..];
    header[at].copy_from_slice(bytes);
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar
}

fn sized(bytes: &[u8; 12]) -> Tar {
    field(Tar::default().file("x", ""), 124..136, bytes)
}

fn why(tar: Tar) -> String {
    let w = World::new();
    let said = w.layer(&tar.end(), FIRST).unwrap_err().to_string();
    assert!(w.intact());
    said
}

#[test]
fn sizes_that_lie_are_refused() {
    for (bytes, part) in [
        (b"-0000000001\0", "no number"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "negative"),
        (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", "beyond the limit"),
        (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "no number"),
        (b"77777777777\0", "beyond the limit"),
        (b"0000000009a\0", "no number"),
        // Within the limits, but not there.
        (b"00000100000\0", "ends in the middle"),
    ] {
        let said = why(sized(bytes));
        assert!(said.contains(part), "{bytes:?}: {said}");
    }
    // Base 256 is how large sizes are written; small ones may be, too.
    let w = World::new();
    let mut tar = sized(b"\x80\0\0\0\0\0\0\0\0\0\0\x05");
    tar.0.extend_from_slice(b"hello");
    tar.0.resize(1024, 0);
    w.layer(&tar.end(), FIRST).unwrap();
    assert_eq!(w.read("x"), "hello");
}

/// What one reader takes for content and another for an entry: the extended size is what counts.
#[test]
fn an_extended_size_hides_no_entry() {
    let inner = Tar::default().file("etc/shadow", "").0;
    let mut tar = Tar::default().pax(&[("size", b"512")]).file("cover", "");
    tar.0.extend_from_slice(&inner);
    let w = World::new();
    w.layer(&tar.file("after", "a").end(), FIRST).unwrap();
    assert!(!w.has("etc") && w.read("after") == "a");
    assert_eq!(fs::read(w.root().join("cover")).unwrap(), inner);
    for size in [&b"-1"[..], b"0x10", b"1e3", b"99999999999999999999"] {
        let said = why(Tar::default().pax(&[("size", size)]).file("x", ""));
        assert!(said.contains("malformed") || said.contains("range"), "{said}");
    }
}

#[test]
fn names_of_odd_bytes() {
    for bad in [&b"a\0b"[..], b"..", b"../x", b"/.."] {
        why(Tar::default().pax(&[("path", bad)]).file("x", ""));
        why(Tar::default().pax(&[("linkpath", bad)]).link("x", "y"));
    }
    why(Tar::default().pax(&[("linkpath", b"a\0b")]).symlink("x", "y"));
    why(Tar::default().pax(&[("path", &[b'd'; 300])]).file("x", ""));
    let w = World::new();
    let tar = Tar::default().pax(&[("path", b"\x1b[2J\n\xff")]).file("x", "odd").file("//./a", "");
    w.layer(&tar.end(), FIRST).unwrap();
    assert!(w.root().join(std::ffi::OsStr::from_bytes(b"\x1b[2J\n\xff")).exists() && w.has("a"));
}

#[test]
fn times_far_from_now() {
    let w = World::new();
    let all: [(&[u8], i64, i64); 6] = [
        (b"-1.5", -2, 500_000_000),
        (b"-2147483648", -(1 << 31), 0),
        (b"4102444800.000000001", 4_102_444_800, 1),
        (b"0.999999999999", 0, 999_999_999),
        // What a file system can't hold it rounds to what it can.
        (b"9223372036854775807", i64::MAX, 0),
        (b"-9223372036854775807.5", i64::MIN, 500_000_000),
    ];
    let mut tar = Tar::default();
    for (i, (time, ..)) in all.iter().enumerate() {
        tar = tar.pax(&[("mtime", time)]).file(&format!("t{i}"), "");
    }
    w.layer(&tar.end(), FIRST).unwrap();
    for (i, (_, secs, nanos)) in all.iter().enumerate().take(4) {
        let meta = w.root().join(format!("t{i}")).metadata().unwrap();
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (*secs, *nanos), "t{i}");
    }
}

/// An old GNU sparse file: offset, length, real size.
fn old_sparse(segments: &[(u64, u64)], real: u64, data: &[u8]) -> Tar {
    let mut header = Header::new_gnu();
    header.set_path("old").unwrap();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_size(data.len() as u64);
    let gnu = header.as_gnu_mut().unwrap();
    for (at, (offset, length)) in segments.iter().enumerate() {
        gnu.sparse[at].offset.copy_from_slice(format!("{offset:011o}\0").as_bytes());
        gnu.sparse[at].numbytes.copy_from_slice(format!("{length:011o}\0").as_bytes());
    }
    gnu.set_real_size(real);
    header.set_cksum();
    let mut tar = Tar(header.as_bytes().to_vec());
    tar.0.extend_from_slice(data);
    tar.0.resize(tar.0.len().next_multiple_of(512), 0);
    tar
}

#[test]
fn sparse_files_of_the_older_kinds_and_maps_that_do_not_fit() {
    let w = World::new();
    let pairs: [(&str, &[u8]); 7] = [
        ("GNU.sparse.size", b"1000000"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"0"),
        ("GNU.sparse.numbytes", b"3"),
        ("GNU.sparse.offset", b"999997"),
        ("GNU.sparse.numbytes", b"3"),
        ("path", b"pairs"),
    ];
    let tar = Tar(old_sparse(&[(0, 3), (999_997, 3)], 1_000_000, b"abcxyz").0);
    let tar = tar.pax(&pairs).file("x", "abcxyz");
    w.layer(&tar.end(), FIRST).unwrap();
    for name in ["old", "pairs"] {
        let bytes = fs::read(w.root().join(name)).unwrap();
        assert_eq!(
            (bytes.len(), &bytes[..3], &bytes[999_997..]),
            (1_000_000, &b"abc"[..], &b"xyz"[..])
        );
        assert!(fs::metadata(w.root().join(name)).unwrap().blocks() < 100);
    }
    for bad in [
        old_sparse(&[(5, 3), (0, 3)], 100, b"abcxyz"),
        old_sparse(&[(0, 3), (2, 3)], 100, b"abcxyz"),
        old_sparse(&[(0, 3), (98, 3)], 100, b"abcxyz"),
        old_sparse(&[(0, 3)], 100, b"abcxyz"),
        old_sparse(&[(0, 600)], 600, b"abcxyz"),
    ] {
        assert!(why(bad).contains("sparse map"));
    }
}

/// Holes cost nothing here, but whoever reads the file reads them all.
#[test]
fn holes_count_as_much_as_bytes() {
    let sparse = |size: &[u8], name: &[u8]| {
        let keys = [("GNU.sparse.map", &b"0,1"[..]), ("GNU.sparse.size", size), ("path", name)];
        Tar::default().pax(&keys).file("x", "a")
    };
    World::new().layer(&sparse(b"1000000000", b"a").end(), FIRST).unwrap();
    assert!(why(sparse(b"2000000000", b"a")).contains("with it"));
    let mut both = sparse(b"1000000000", b"a");
    both.0.extend(sparse(b"1000000000", b"b").0);
    assert!(why(both).contains("with it"));
}

#[test]
fn hard_links_to_odd_places() {
    assert!(why(Tar::default().link("a", "a")).contains('a'));
    assert!(why(Tar::default().link("a", "later").file("later", "")).contains("isn't there"));
    assert!(why(Tar::default().link("a", ".")).contains("root"));
    why(Tar::default().dir("d").link("a", "d"));
    let w = World::new();
    let tar = Tar::default().file("f", "one").link("f", "f").symlink("s", "f").link("t", "s");
    w.layer(&tar.link("u", "f").file("u", "two").end(), FIRST).unwrap();
    assert_eq!((w.read("f"), w.read("u"), w.read("t")), ("one".into(), "two".into(), "one".into()));
    assert!(w.root().join("t").symlink_metadata().unwrap().is_symlink());
    // In an overlay's layer a link may lead below, but not to what comes later.
    let (_keep, _) = overlay::overlay(&[
        Tar::default().file("low", "low").end(),
        Tar::default().link("up", "low").end(),
    ]);
}

#[test]
fn attributes_too_large_are_told_and_the_rest_comes() {
    let w = World::new();
    let large = vec![b'x'; 60_000];
    let tar = Tar::default().pax(&[("SCHILY.xattr.user.large", &large)]).file("a", "content");
    let tar = tar.pax(&[("SCHILY.xattr.user.none", &vec![b'x'; 70_000])]).file("b", "more");
    let (applied, _) = w.layer(&tar.end(), FIRST).unwrap();
    assert_eq!((w.read("a"), w.read("b")), ("content".into(), "more".into()));
    assert!(applied.lost.iter().any(|l| l.contains("user.none")), "{:?}", applied.lost);
}

#[test]
fn thousands_of_names_in_one_directory_and_the_same_name_again() {
    let w = World::new();
    let tar = (0..1000).fold(Tar::default(), |tar, i| tar.file(&format!("d/{i}"), ""));
    let tar = (0..900).fold(tar, |tar, i| tar.file("d/1", &i.to_string()));
    w.layer(&tar.end(), FIRST).unwrap();
    assert_eq!(fs::read_dir(w.root().join("d")).unwrap().count(), 1000);
    assert_eq!(w.read("d/1"), "899");
}
