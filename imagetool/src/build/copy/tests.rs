use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;

use super::*;
use crate::layer::{Entries, Journal, Limits, Owner, Sink, apply, extract, seal};
use crate::registry::Settings;

/// A context, a base, and what is copied.
pub(super) struct Case {
    tmp: tempfile::TempDir,
    pub ignore: Ignore,
    pub owners: Owners,
    workdir: String,
}

/// A path's mode, owner and content (`->TEXT` for a link, `/` for a directory).
pub(super) type Line = (String, u32, u32, String);

impl Case {
    pub fn new(context: &[(&str, &str)]) -> Self {
        let tmp = tempfile::tempdir().unwrap();
        for part in ["context", "base", "scratch"] {
            fs::create_dir(tmp.path().join(part)).unwrap();
        }
        let case =
            Self { tmp, ignore: Ignore::default(), owners: Owners::Root, workdir: "/".into() };
        case.fill("context", context);
        case
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.tmp.path().join(path)
    }

    /// `name/` is a directory, `->text` a link.
    pub fn fill(&self, part: &str, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.at(part).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if name.ends_with('/') {
                fs::create_dir_all(&path).unwrap();
            } else if let Some(to) = text.strip_prefix("->") {
                symlink(to, &path).unwrap();
            } else {
                fs::write(&path, text).unwrap();
            }
        }
    }

    pub fn run<T>(&self, what: &Copy, add: bool, act: impl FnOnce(&Found<'_>) -> T) -> Result<T> {
        let root = RootDir::open(self.at("context"))?;
        let settings = Settings::default();
        let scratch = self.at("scratch");
        let search = crate::build::fetch::tests::search();
        let cancel = Cancel::new().unwrap();
        let fetch = Fetch {
            settings: &settings,
            scratch: &scratch,
            search: &search,
            agent: None,
            cancel: &cancel,
        };
        let from = Files {
            root: &root,
            ignore: Some(&self.ignore),
            memory: None,
            owners: self.owners,
            title: "the build context",
            cancel: None,
        };
        let now = "2024-05-06T07:08:09Z".parse().unwrap();
        let asked =
            Asked { what, add, from, workdir: &self.workdir, epoch: None, now, fetch: &fetch };
        find(&asked).map(|found| act(&found))
    }

    /// What comes of it upon the base.
    pub fn write(&self, what: &Copy, add: bool) -> Result<Vec<u8>> {
        let base = RootDir::open(self.at("base"))?;
        self.run(what, add, |found| {
            let mut out = Vec::new();
            found.write(Some(&base), &mut out).map(|_| out)
        })?
    }

    pub fn digest(&self, what: &Copy) -> Digest {
        self.run(what, false, |found| found.digest().clone()).unwrap()
    }

    pub fn copied(&self, what: &Copy) -> Result<Vec<Line>> {
        self.write(what, false).map(|tar| listed(&tar))
    }

    pub fn added(&self, what: &Copy) -> Result<Vec<Line>> {
        self.write(what, true).map(|tar| listed(&tar))
    }
}

pub(super) fn listed(tar: &[u8]) -> Vec<Line> {
    let mut archive = tar::Archive::new(tar);
    let mut lines = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut text = String::new();
        let header = entry.header().clone();
        match header.entry_type() {
            tar::EntryType::Directory => text.push('/'),
            tar::EntryType::Symlink => {
                text = format!("->{}", entry.link_name().unwrap().unwrap().display());
            }
            tar::EntryType::Link => {
                text = format!("={}", entry.link_name().unwrap().unwrap().display());
            }
            tar::EntryType::Fifo => text.push('|'),
            _ => {
                std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
            }
        }
        let uid = header.uid().unwrap() as u32;
        lines.push((path, header.mode().unwrap(), uid, text));
    }
    lines
}

pub(super) fn copy(sources: &[&str], dest: &str) -> Copy {
    let sources = sources.iter().map(|s| (*s).to_owned()).collect();
    Copy { sources, dest: dest.to_owned(), ..Copy::default() }
}

/// Paths and texts alone.
pub(super) fn brief(lines: &[Line]) -> Vec<(&str, &str)> {
    lines.iter().map(|(path, _, _, text)| (path.as_str(), text.as_str())).collect()
}

#[test]
fn files_and_directories_go_where_docker_puts_them() {
    let case = Case::new(&[("a", "1"), ("d/x", "2"), ("d/e/y", "3")]);
    case.fill("base", &[("dir/", ""), ("file", "old")]);
    let go = |sources: &[&str], dest: &str| case.copied(&copy(sources, dest)).unwrap();
    assert_eq!(brief(&go(&["a"], "/b")), [("b", "1")]);
    assert_eq!(brief(&go(&["a"], "/new/")), [("new/", "/"), ("new/a", "1")]);
    assert_eq!(brief(&go(&["a"], "/dir")), [("dir/", "/"), ("dir/a", "1")]);
    assert_eq!(brief(&go(&["a"], "/file")), [("file", "1")]);
    assert_eq!(brief(&go(&["a"], ".")), [("a", "1")]);
    assert_eq!(brief(&go(&["a"], "")), [("a", "1")]);
    assert_eq!(brief(&go(&["a"], "/x/y/z")), [("x/", "/"), ("x/y/", "/"), ("x/y/z", "1")]);
    let whole = [("n/", "/"), ("n/e/", "/"), ("n/e/y", "3"), ("n/x", "2")];
    for source in ["d", "d/", "d/.", "./d", "/d", "../d"] {
        assert_eq!(brief(&go(&[source], "/n")), whole, "{source}");
        assert_eq!(brief(&go(&[source], "n/")), whole, "{source}");
    }
    assert_eq!(
        brief(&go(&["a", "d"], "/dir/")),
        [("dir/", "/"), ("dir/a", "1"), ("dir/e/", "/"), ("dir/e/y", "3"), ("dir/x", "2")]
    );
    let error = case.copied(&copy(&["d"], "/file")).unwrap_err().to_string();
    assert!(error.contains("non-directory \"file\""), "{error}");
    let error = case.copied(&copy(&["a"], "/file/x")).unwrap_err().to_string();
    assert!(error.contains("\"/file\": it is no directory"), "{error}");
    let error = case.copied(&copy(&["gone"], "/x")).unwrap_err().to_string();
    assert!(error.contains("gone (it is not in the build context)"), "{error}");
}

#[test]
fn the_workdir_and_the_base_s_links_are_followed_inside_the_base() {
    let mut case = Case::new(&[("a", "1"), ("lib/x", "2")]);
    case.fill("base", &[("usr/lib/", ""), ("lib", "->usr/lib"), ("out", "->../../../srv")]);
    case.fill("base", &[("abs", "->/usr"), ("to", "->usr/new"), ("loop", "->loop")]);
    let go = |case: &Case, source: &str, dest: &str| {
        let lines = case.copied(&copy(&[source], dest));
        lines.map(|lines| lines.last().unwrap().0.clone()).map_err(|e| e.to_string())
    };
    assert_eq!(go(&case, "a", "/lib/").unwrap(), "usr/lib/a");
    assert_eq!(go(&case, "a", "/out/").unwrap(), "srv/a");
    assert_eq!(go(&case, "a", "/abs/lib/a").unwrap(), "usr/lib/a");
    assert_eq!(go(&case, "a", "/to").unwrap(), "usr/new");
    assert_eq!(go(&case, "a", "/to/x").unwrap(), "usr/new/x");
    assert_eq!(go(&case, "a", "../../../etc/a").unwrap(), "etc/a");
    assert!(go(&case, "a", "/loop/x").unwrap_err().contains("circle"));
    case.workdir = "/abs/../lib".into();
    assert_eq!(go(&case, "a", "b").unwrap(), "usr/lib/b");
    let error = go(&case, ".", "/").unwrap_err();
    assert!(error.contains("non-directory \"lib\""), "a link is not merged with: {error}");
}

#[test]
fn owners_and_modes() {
    let case = Case::new(&[("a", "1"), ("d/x", "2")]);
    case.fill(
        "base",
        &[("old/", ""), ("etc/passwd", "app:x:7:8::/:\n"), ("etc/group", "g:x:9:\n")],
    );
    fs::set_permissions(case.at("context/a"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(case.at("context/d"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(case.at("base/old"), fs::Permissions::from_mode(0o1777)).unwrap();
    let me = fs::metadata(case.at("base/old")).unwrap().uid();
    let at = |lines: &[Line], path: &str| {
        let (_, mode, uid, _) = lines.iter().find(|l| l.0 == path).unwrap();
        (*mode, *uid)
    };
    let lines = case.copied(&copy(&["a", "d"], "/n/m/")).unwrap();
    assert_eq!(at(&lines, "n/m/a"), (0o640, 0));
    assert_eq!(at(&lines, "n/m/"), (0o755, 0));
    let chown = |chown: &str| Copy { chown: Some(chown.into()), ..copy(&["a"], "/n/") };
    assert_eq!(at(&case.copied(&chown("app")).unwrap(), "n/"), (0o755, 7));
    assert_eq!(at(&case.copied(&chown("5:g")).unwrap(), "n/a"), (0o640, 5));
    assert!(case.copied(&chown("nobody")).unwrap_err().to_string().contains("find user nobody"));
    let chmod = Copy { chmod: Some("4711".into()), ..copy(&["a"], "/n/") };
    let lines = case.copied(&chmod).unwrap();
    assert_eq!((at(&lines, "n/"), at(&lines, "n/a")), ((0o711, 0), (0o4711, 0)));
    let chmod = Copy { chmod: Some("go=u".into()), ..copy(&["."], "/old") };
    let lines = case.copied(&chmod).unwrap();
    assert_eq!(at(&lines, "old/"), (0o1777, me), "what is there stays as it is");
    assert_eq!(at(&lines, "old/a"), (0o666, 0));
    assert_eq!(at(&lines, "old/d/"), (0o777, 0));
}

#[test]
fn what_is_written_can_be_unpacked() {
    let case = Case::new(&[("a", "1"), ("d/link", "->../a"), ("d/é", "2")]);
    let long = "x/".repeat(120) + "deep";
    case.fill("context", &[(&long, "far")]);
    fs::hard_link(case.at("context/a"), case.at("context/z")).unwrap();
    let tar = case.write(&copy(&["."], "/app"), false).unwrap();
    fs::create_dir(case.at("out")).unwrap();
    let out = RootDir::open(case.at("out")).unwrap();
    let scratch = case.at("scratch");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut entries = Entries::new(&tar[..], Limits::default());
            extract(&out, &mut entries, Owner::Maker, Journal::new(&scratch)).unwrap();
        });
    });
    let read = |path: &str| fs::read_to_string(case.at("out/app").join(path)).unwrap();
    assert_eq!(
        (read("a"), read("z"), read(&long), read("d/é")),
        ("1".into(), "1".into(), "far".into(), "2".into())
    );
    let inode = |path: &str| fs::metadata(case.at("out/app").join(path)).unwrap().ino();
    assert_eq!(inode("a"), inode("z"));
    assert_eq!(fs::read_link(case.at("out/app/d/link")).unwrap(), Path::new("../a"));
}

#[test]
fn the_key_knows_what_matters_and_no_more() {
    let case = Case::new(&[("a", "1"), ("d/x", "2")]);
    let all = copy(&["."], "/");
    let first = case.digest(&all);
    let time = std::time::SystemTime::UNIX_EPOCH;
    fs::File::options().write(true).open(case.at("context/a")).unwrap().set_modified(time).unwrap();
    assert_eq!(case.digest(&all), first, "times don't matter");
    assert_ne!(case.digest(&copy(&["d"], "/")), first);
    fs::set_permissions(case.at("context/a"), fs::Permissions::from_mode(0o755)).unwrap();
    let second = case.digest(&all);
    assert_ne!(second, first, "modes do");
    let chmod = Copy { chmod: Some("600".into()), ..all.clone() };
    let fixed = case.digest(&chmod);
    fs::set_permissions(case.at("context/a"), fs::Permissions::from_mode(0o711)).unwrap();
    assert_eq!(case.digest(&chmod), fixed, "but not those that go");
    fs::set_permissions(case.at("context/a"), fs::Permissions::from_mode(0o755)).unwrap();
    for change in [("a", "2"), ("new", "1"), ("link", "->a"), ("dir/", "")] {
        let before = case.digest(&all);
        case.fill("context", &[change]);
        assert_ne!(case.digest(&all), before, "{change:?}");
    }
}

pub(super) fn packed(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, text) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o640);
        header.set_uid(3);
        header.set_gid(4);
        header.set_size(0);
        if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        } else if let Some(to) = text.strip_prefix("->") {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_link_name(to).unwrap();
        } else if let Some(to) = text.strip_prefix('=') {
            header.set_entry_type(tar::EntryType::Link);
            header.set_link_name(to).unwrap();
        } else {
            header.set_size(text.len() as u64);
            builder.append_data(&mut header, name, text.as_bytes()).unwrap();
            continue;
        }
        builder.append_data(&mut header, name, &b""[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn an_archive_is_told_by_its_content_and_unpacked_by_add_alone() {
    let case = Case::new(&[("fake.tar", "text")]);
    case.fill("base", &[("usr/lib/", ""), ("lib", "->usr/lib"), ("etc/old", "kept")]);
    let tar = packed(&[
        ("etc/", ""),
        ("lib/x", "1"),
        ("run/", ""),
        ("var/run", "->/run"),
        ("var/run/pid", "2"),
        ("var/run/also", "=var/run/pid"),
        ("twice", "3"),
        ("twice", "4"),
        ("old", "=etc/old"),
    ]);
    fs::write(case.at("context/x"), &tar).unwrap();
    fs::write(case.at("context/z"), zstd::encode_all(&tar[..], 1).unwrap()).unwrap();
    let want = [
        ("etc/", "/"),
        ("etc/old", "kept"),
        ("old", "=etc/old"),
        ("run/", "/"),
        ("run/also", "2"),
        ("run/pid", "=run/also"),
        ("twice", "4"),
        ("usr/", "/"),
        ("usr/lib/", "/"),
        ("usr/lib/x", "1"),
        ("var/", "/"),
        ("var/run", "->/run"),
    ];
    for name in ["x", "z"] {
        let lines = case.added(&copy(&[name], "/")).unwrap();
        assert_eq!(brief(&lines), want, "{name}");
        let owners: Vec<u32> = lines.iter().filter(|l| l.0 == "twice").map(|l| l.2).collect();
        assert_eq!(owners, [3]);
    }
    let chown = Copy { chown: Some("5:6".into()), ..copy(&["x"], "/n") };
    let error = case.added(&chown).unwrap_err().to_string();
    assert!(error.contains("\"/n/etc/old\": a hard link leads to it"), "{error}");
    case.fill("base", &[("n/etc/old", "kept")]);
    let lines = case.added(&chown).unwrap();
    assert!(lines.iter().all(|l| l.0 == "n/" || l.0 == "n/etc/old" || l.0 == "n/old" || l.2 == 5));
    assert_eq!(brief(&case.added(&copy(&["fake.tar"], "/")).unwrap()), [("fake.tar", "text")]);
    let as_it_is = Copy { unpack: Some(false), ..copy(&["z"], "/") };
    assert_eq!(
        case.write(&as_it_is, true).unwrap(),
        case.write(&copy(&["z"], "/"), false).unwrap()
    );
}

#[test]
fn what_is_excluded_and_what_keeps_its_parents() {
    let case = Case::new(&[
        ("a/b/c/x.txt", "1"),
        ("a/b/c/y.md", "2"),
        ("a/b2/c/x.txt", "3"),
        ("top.txt", "4"),
        ("top.md", "5"),
    ]);
    let files = |what: &Copy| -> Vec<String> {
        let lines = case.copied(what).unwrap();
        lines.into_iter().filter(|l| l.3 != "/").map(|l| l.0).collect()
    };
    let exclude = |sources: &[&str], patterns: &[&str]| {
        let exclude = patterns.iter().map(|p| (*p).to_owned()).collect();
        files(&Copy { exclude, ..copy(sources, "/o/") })
    };
    assert_eq!(exclude(&["."], &["a", "*.md"]), ["o/top.txt"]);
    assert_eq!(exclude(&["a"], &["**/*.txt"]), ["o/b/c/y.md"]);
    assert_eq!(exclude(&["a"], &["*", "!b2/c"]), ["o/b2/c/x.txt"]);
    assert_eq!(exclude(&["top*"], &["*.txt"]), ["o/top.md"]);
    assert_eq!(exclude(&["a/b/c/x.txt"], &["*.txt"]), ["o/x.txt"], "it was named");
    let parents = |sources: &[&str]| files(&Copy { parents: true, ..copy(sources, "/o") });
    assert_eq!(parents(&["a/b/c/x.txt"]), ["o/a/b/c/x.txt"]);
    assert_eq!(parents(&["./a/b/./c"]), ["o/c/x.txt", "o/c/y.md"]);
    assert_eq!(parents(&["a/b*/./c/*.txt"]), ["o/c/x.txt"]);
    assert_eq!(parents(&["a/./**/*.txt"]), ["o/b/c/x.txt", "o/b2/c/x.txt"]);
    assert_eq!(
        parents(&["a/./b", "/top.*"]),
        ["o/b/c/x.txt", "o/b/c/y.md", "o/top.md", "o/top.txt"]
    );
    assert_eq!(parents(&["a/b3*/c"]), [""; 0]);
    let gone = Copy { parents: true, ..copy(&["a/gone"], "/o") };
    assert!(case.copied(&gone).unwrap_err().to_string().contains("a/gone"));
}

#[test]
fn a_link_copy_depends_on_no_base() {
    let case = Case::new(&[("a", "1"), ("lib/x", "2")]);
    case.fill("base", &[("usr/lib/", ""), ("lib", "->usr/lib"), ("etc/passwd", "app:x:7:8::/:\n")]);
    let link = |chown: Option<&str>| Copy {
        link: true,
        chown: chown.map(str::to_owned),
        ..copy(&["lib"], "/lib/")
    };
    let run = |what: &Copy| {
        case.run(what, false, |found| {
            let mut out = Vec::new();
            (found.needs_base(), found.write(None, &mut out).map(|_| listed(&out)))
        })
    };
    let (needs, lines) = run(&link(Some("5"))).unwrap();
    assert_eq!((needs, brief(&lines.unwrap())), (false, vec![("lib/", "/"), ("lib/x", "2")]));
    let (needs, lines) = run(&link(Some("app"))).unwrap();
    assert!(needs && lines.is_err());
    assert_eq!(case.copied(&link(Some("app"))).unwrap()[1].2, 7, "with a base, names are known");
    assert!(run(&copy(&["a"], "/")).unwrap().0);
}

#[test]
fn heredocs_are_files() {
    let case = Case::new(&[("a", "1")]);
    case.fill("base", &[("d/", "")]);
    let doc = |name: &str| super::super::dockerfile::Heredoc {
        name: name.into(),
        expand: true,
        chomp: false,
        content: format!("text of {name}\n"),
    };
    let what = |names: &[&str], dest: &str| Copy {
        heredocs: names.iter().map(|name| doc(name)).collect(),
        ..copy(&[], dest)
    };
    let lines = case.copied(&what(&["EOF"], "/f")).unwrap();
    assert_eq!(lines, [("f".into(), 0o644, 0, "text of EOF\n".into())]);
    let lines = case.copied(&what(&["x", "y"], "/d")).unwrap();
    assert_eq!(brief(&lines)[1..], [("d/x", "text of x\n"), ("d/y", "text of y\n")]);
    let both = Copy { sources: vec!["a".into()], ..what(&["../x"], "/n/") };
    assert_eq!(brief(&case.copied(&both).unwrap())[1..], [("n/a", "1"), ("n/x", "text of ../x\n")]);
    assert_ne!(case.digest(&what(&["x"], "/f")), case.digest(&what(&["y"], "/f")));
}

#[test]
fn a_stage_s_owners_stay_and_times_are_clamped() {
    let mut case = Case::new(&[("a", "1")]);
    let me = fs::metadata(case.at("context/a")).unwrap().uid();
    case.owners = Owners::Kept;
    assert_eq!(case.copied(&copy(&["a"], "/")).unwrap()[0].2, me);
    let root = RootDir::open(case.at("context")).unwrap();
    let settings = Settings::default();
    let scratch = case.at("scratch");
    let cancel = Cancel::new().unwrap();
    let fetch =
        Fetch { settings: &settings, scratch: &scratch, search: &[], agent: None, cancel: &cancel };
    let from = Files {
        root: &root,
        ignore: None,
        memory: None,
        owners: Owners::Root,
        title: "t",
        cancel: None,
    };
    let epoch: Timestamp = "2001-01-01T00:00:00Z".parse().unwrap();
    let what = copy(&["a"], "/new/");
    let now = Timestamp::now();
    let asked = Asked {
        what: &what,
        add: false,
        from,
        workdir: "/",
        epoch: Some(epoch),
        now,
        fetch: &fetch,
    };
    let mut out = Vec::new();
    find(&asked).unwrap().write(None, &mut out).unwrap();
    let mut archive = tar::Archive::new(&out[..]);
    for entry in archive.entries().unwrap() {
        assert_eq!(entry.unwrap().header().mtime().unwrap(), 978_307_200);
    }
}

#[test]
fn add_fetches_and_copy_does_not() {
    let case = Case::new(&[]);
    let web = tempfile::tempdir().unwrap();
    fs::write(web.path().join("t.tar"), packed(&[("in", "1")])).unwrap();
    let server = crate::build::fetch::tests::Server::new(web.path());
    let url = format!("{}/t.tar", server.base);
    let add = |what: &Copy| case.added(what).map(|lines| lines.last().unwrap().0.clone());
    assert_eq!(add(&copy(&[&url], "/")).unwrap(), "t.tar");
    assert_eq!(add(&copy(&[&url], "/x/y")).unwrap(), "x/y");
    assert_eq!(add(&Copy { unpack: Some(true), ..copy(&[&url], "/d/") }).unwrap(), "d/in");
    let sum = |sum: &str| Copy { checksum: Some(sum.into()), ..copy(&[&url], "/") };
    assert!(add(&sum(&Digest::of(b"x").to_string())).unwrap_err().to_string().contains("corrupt"));
    assert!(add(&sum("12")).is_err());
    assert!(case.copied(&copy(&[&url], "/")).unwrap_err().to_string().contains("ADD fetches"));
    let odd = Copy { checksum: Some("12".into()), ..copy(&["a"], "/") };
    assert!(add(&odd).unwrap_err().to_string().contains("--checksum"));
    if crate::build::fetch::tests::search().is_empty() {
        return;
    }
    crate::build::fetch::tests::repository(web.path());
    let at = format!("{}/r.git#v1:sub", server.base);
    let lines = case.added(&copy(&[&at], "/src")).unwrap();
    let want = [("src/", "/"), ("src/deep/", "/"), ("src/deep/b", "deep")];
    assert_eq!(brief(&lines), want);
    assert_eq!(fs::read_dir(case.at("scratch")).unwrap().count(), 0);
}

#[test]
fn a_layer_is_packed_from_its_files_as_it_was_written() {
    if !nix::unistd::geteuid().is_root() {
        return; // owners would be others
    }
    let case = Case::new(&[("a/b", "1"), ("a-b", "2"), ("a/é/x", "3"), ("l", "->a"), ("a.b", "4")]);
    case.fill("base", &[("etc/w", "old"), ("lib", "->etc")]);
    fs::hard_link(case.at("context/a/b"), case.at("context/a-c")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(case.at("context/sock")).unwrap();
    nix::unistd::mkfifo(&case.at("context/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let long = "y".repeat(150);
    let tar =
        [("x/y", "1"), ("x-y", "2"), ("x/z", "=x/y"), ("k", "->x"), ("x.z", "3"), (&long, "4")];
    fs::write(case.at("context/t"), packed(&tar)).unwrap();
    let chmod =
        Copy { chmod: Some("6755".into()), chown: Some("5:6".into()), ..copy(&["."], "/n/m") };
    for (what, add) in [
        (copy(&["."], "/"), false),
        (copy(&["a", "a-b", "l"], "/lib/"), false),
        (copy(&["t"], "/etc"), true),
        (copy(&["a", "t"], "/both/"), true),
        (chmod, false),
    ] {
        let tar = case.write(&what, add).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let root = RootDir::open(dir.path()).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut journal = Journal::new(dir.path().parent().unwrap());
                let mut entries = Entries::new(&tar[..], Limits::default());
                apply(&root, &mut entries, Sink::Overlay, &mut journal).unwrap();
                seal(&root, &journal, Sink::Overlay).unwrap();
            });
        });
        let mut again = Vec::new();
        crate::layer::diff(&[root], &[], &mut again).unwrap();
        assert_eq!(listed(&again), listed(&tar), "{what:?}");
        assert!(again == tar, "{what:?}");
    }
}

#[test]
fn names_that_mean_whiteouts_are_refused() {
    let case = Case::new(&[("d/.wh.x", "1")]);
    let error = case.copied(&copy(&["d"], "/")).unwrap_err().to_string();
    assert!(error.contains("a file called \".wh.x\" is not supported"), "{error}");
    assert!(case.copied(&copy(&["d/.wh.x"], "/y")).is_ok());
}
