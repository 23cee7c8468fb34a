//! Sources that fight, and all kinds of trees.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use proptest::prelude::*;

use super::tests::{Case, brief, copy, listed};
use super::*;
use crate::registry::Settings;

#[test]
fn nothing_outside_is_reached() {
    let case = Case::new(&[("d/x", "1")]);
    fs::write(case.at("secret"), "secret").unwrap();
    for (name, to) in
        [("up", "../secret"), ("abs", "/etc/passwd"), ("dir", ".."), ("proc", "/proc/self/root")]
    {
        symlink(to, case.at("context").join(name)).unwrap();
    }
    for source in
        ["up", "abs", "proc/etc/passwd", "../secret", "/../secret", "d/../../secret", "u*"]
    {
        assert!(case.copied(&copy(&[source], "/x")).is_err(), "{source}");
    }
    // A link that climbs ends at the top, which is the context.
    assert!(case.copied(&copy(&["dir/d/x"], "/x")).is_ok());
    // Links that lie in a directory are copied as they are.
    let lines = case.copied(&copy(&["."], "/")).unwrap();
    assert!(brief(&lines).contains(&("up", "->../secret")));
    assert!(!lines.iter().any(|l| l.3.contains("secret") && !l.3.starts_with("->")));
}

#[test]
fn fifos_sockets_and_devices_are_never_opened() {
    let case = Case::new(&[("a", "1")]);
    mkfifo(&case.at("context/fifo"), Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(case.at("context/sock")).unwrap();
    let begun = Instant::now();
    let fifo = case.at("context/fifo");
    // It waits until somebody opens the other end, which the device would notice as well.
    let waiting = thread::spawn(move || fs::File::create(fifo).map(drop));
    let lines = case.copied(&copy(&["."], "/")).unwrap();
    assert_eq!(brief(&lines), [("a", "1"), ("fifo", "|"), ("sock", "")]);
    assert_eq!(brief(&case.added(&copy(&["fifo"], "/")).unwrap()), [("fifo", "|")]);
    thread::sleep(std::time::Duration::from_millis(50));
    assert!(!waiting.is_finished(), "it was opened");
    let flags = nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_NONBLOCK;
    while !waiting.is_finished() {
        drop(RootDir::open(case.at("context")).unwrap().open_plain(b"fifo", flags).unwrap());
        thread::yield_now();
    }
    assert!(begun.elapsed().as_secs() < 5);
}

/// What happens, and how.
type Change<'a> = (&'a str, &'a dyn Fn(&Case));

#[test]
fn what_changes_after_it_was_hashed_ends_the_copy() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "2").unwrap();
    let changes: [Change<'_>; 5] = [
        ("content", &|case| fs::write(case.at("context/d/x"), "2").unwrap()),
        ("longer", &|case| fs::write(case.at("context/d/x"), "21").unwrap()),
        ("shorter", &|case| fs::write(case.at("context/d/x"), "").unwrap()),
        ("a link", &|case| {
            fs::remove_file(case.at("context/d/x")).unwrap();
            symlink(secret.path(), case.at("context/d/x")).unwrap();
        }),
        ("a directory on the way", &|case| {
            fs::rename(case.at("context/d"), case.at("moved")).unwrap();
            symlink(case.at("moved"), case.at("context/d")).unwrap();
        }),
    ];
    for (what, change) in changes {
        let case = Case::new(&[("d/x", "1")]);
        let base = RootDir::open(case.at("base")).unwrap();
        let done = case.run(&copy(&["."], "/"), false, |found| {
            change(&case);
            found.write(Some(&base), &mut Vec::new())
        });
        assert!(done.unwrap().is_err(), "{what}");
    }
}

/// CVE: 2024-23651, 2024-9675 and their kind: a directory is exchanged for a link all the time.
#[test]
fn a_swap_gains_nothing() {
    let case = Case::new(&[("a/d/x", "1"), ("b", "1")]);
    fs::create_dir(case.at("outside")).unwrap();
    fs::write(case.at("outside/x"), "secret").unwrap();
    symlink(case.at("outside"), case.at("context/l")).unwrap();
    let stop = AtomicBool::new(false);
    let (dir, link) = (case.at("context/a/d"), case.at("context/l"));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
                nix::fcntl::renameat2(
                    nix::fcntl::AT_FDCWD,
                    &dir,
                    nix::fcntl::AT_FDCWD,
                    &link,
                    flags,
                )
                .unwrap();
            }
        });
        for _ in 0..300 {
            for source in [".", "a", "a/d", "a/d/x", "a/*/x"] {
                if let Ok(tar) = case.write(&copy(&[source], "/o/"), false) {
                    assert!(!listed(&tar).iter().any(|l| l.3 == "secret"), "{source}");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn deep_trees_and_odd_names() {
    let deep = "d/".repeat(200) + "x";
    let case =
        Case::new(&[(&deep, "1"), ("new\nline", "2"), ("-rf", "3"), ("a b", "4"), (".what", "5")]);
    let bytes = std::os::unix::ffi::OsStrExt::from_bytes(b"context/\xff\xfe");
    fs::write(case.at("").join(<&std::ffi::OsStr>::clone(&bytes)), "6").unwrap();
    let tar = case.write(&copy(&["."], "/"), false).unwrap();
    let mut archive = tar::Archive::new(&tar[..]);
    let names: Vec<Vec<u8>> =
        archive.entries().unwrap().map(|e| e.unwrap().path_bytes().into_owned()).collect();
    for name in [deep.as_bytes(), b"new\nline", b"-rf", b"a b", b".what", b"\xff\xfe"] {
        assert!(names.iter().any(|n| n == name), "{name:?}");
    }
}

/// Trees small enough to be made often: a file where the text is odd, else a directory.
fn trees() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[abc](/[abc]){0,3}", 1..12)
}

fn rules() -> impl Strategy<Value = Vec<String>> {
    let part = prop_oneof![Just("a"), Just("b"), Just("*"), Just("**"), Just("/"), Just("/")];
    let text = proptest::collection::vec(part, 1..5).prop_map(|parts| parts.concat());
    let rule = (any::<bool>(), text)
        .prop_map(|(not, text)| format!("{}{text}", if not { "!" } else { "" }));
    proptest::collection::vec(rule, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// A copy brings the files that a plain look at each path says, with the directories above.
    #[test]
    fn a_copy_brings_what_is_not_ignored(tree in trees(), rules in rules(), exclude in rules()) {
        let mut case = Case::new(&[]);
        let mut files = std::collections::BTreeSet::new();
        for path in tree {
            let whole = case.at("context").join(&path);
            if fs::create_dir_all(whole.parent().unwrap()).is_ok() && fs::write(&whole, &path).is_ok() {
                files.insert(path);
            }
        }
        let Ok(ignore) = Ignore::parse(rules.join("\n").as_bytes(), "i") else { return Ok(()) };
        let Ok(excluded) = Ignore::new(exclude.iter().map(String::as_str)) else { return Ok(()) };
        // Asked directory by directory, as moby asks.
        let ask = |rules: &Ignore, path: &str| {
            let up = split(path.as_bytes()).0;
            rules.matches_in(&rules.seen(up), path.as_bytes())
        };
        let want: Vec<&String> =
            files.iter().filter(|path| !ask(&ignore, path) && !ask(&excluded, path)).collect();
        case.ignore = ignore;
        let lines = case.copied(&Copy { exclude, ..copy(&["."], "/") }).unwrap();
        let got: Vec<&String> = lines.iter().filter(|l| l.3 != "/").map(|l| &l.0).collect();
        let mut got = got;
        got.sort();
        prop_assert_eq!(got, want);
        for (path, _, _, text) in &lines {
            prop_assert!(text == "/" || text == path);
        }
    }

    /// Two copies of one tree are one key and one tar.
    #[test]
    fn a_copy_is_the_same_twice(tree in trees(), dest in "(/[abc.]{1,2}){1,3}/?") {
        let made: Vec<Case> = (0..2).map(|_| {
            let case = Case::new(&[]);
            for path in &tree {
                let whole = case.at("context").join(path);
                if fs::create_dir_all(whole.parent().unwrap()).is_ok() {
                    let _ = fs::write(&whole, path);
                    if let Ok(file) = fs::File::open(&whole) {
                        let _ = file.set_modified(std::time::SystemTime::UNIX_EPOCH);
                    }
                }
            }
            case
        }).collect();
        let what = copy(&["a*", "b*", "c*"], &dest);
        let files: Vec<_> = made.iter().map(|case| {
            let lines = case.copied(&what).map_err(|e| e.to_string());
            (case.digest(&what), lines)
        }).collect();
        prop_assert_eq!(&files[0], &files[1]);
    }
}

/// By hand: `cargo test -p dhow-image --lib fifty_thousand -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn fifty_thousand_files() {
    let case = Case::new(&[]);
    for dir in 0..500 {
        let dir = case.at("context").join(format!("d{}/e{dir}", dir % 20));
        fs::create_dir_all(&dir).unwrap();
        for file in 0..100 {
            fs::write(dir.join(format!("file{file}.txt")), format!("{file} ").repeat(400)).unwrap();
        }
    }
    thread::sleep(std::time::Duration::from_millis(300));
    let root = RootDir::open(case.at("context")).unwrap();
    let settings = Settings::default();
    let scratch = case.at("scratch");
    let cancel = Cancel::new().unwrap();
    let fetch =
        Fetch { settings: &settings, scratch: &scratch, search: &[], agent: None, cancel: &cancel };
    let what = copy(&["."], "/app/");
    for round in 0..5 {
        let begun = Instant::now();
        let stat = nix::sys::stat::fstat(&root).unwrap();
        let memory = Memory::of_directory(&scratch, &stat);
        let from = Files {
            root: &root,
            ignore: None,
            memory: Some(&memory),
            owners: Owners::Root,
            title: "t",
            cancel: None,
        };
        let now = Timestamp::UNIX_EPOCH;
        let asked =
            Asked { what: &what, add: false, from, workdir: "/", epoch: None, now, fetch: &fetch };
        let found = find(&asked).unwrap();
        let hashed = begun.elapsed();
        memory.save().unwrap();
        let saved = begun.elapsed();
        let digest = found.digest().short().to_owned();
        let mut written = std::time::Duration::ZERO;
        if round == 4 {
            let begun = Instant::now();
            found.write(None, &mut std::io::sink()).unwrap();
            written = begun.elapsed();
        }
        eprintln!("{round}: {digest}: found {hashed:?}, remembered {saved:?}, written {written:?}");
    }
}
