use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::build::cancel::Cancel;
use crate::build::fetch::tests::{Server, repository, search};
use crate::registry::Settings;

struct Place {
    tmp: TempDir,
    scratch: TempDir,
    settings: Settings,
    search: Vec<PathBuf>,
    cancel: Cancel,
}

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let tmp = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = tmp.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let scratch = tempfile::tempdir().unwrap();
        let cancel = Cancel::new().unwrap();
        Self { tmp, scratch, settings: Settings::default(), search: search(), cancel }
    }

    fn at(&self, name: &str) -> String {
        self.tmp.path().join(name).display().to_string()
    }

    fn open(&self, place: &str, file: Option<&str>, stdin: &[u8]) -> Result<Context> {
        let mut stdin = stdin;
        let fetch = self.fetch();
        let stdin: Option<&mut (dyn Read + Send)> = Some(&mut stdin);
        open(Asked { place, file, stdin, fetch, keep_git_dir: false, memory: None })
    }

    fn fetch(&self) -> Fetch<'_> {
        let (settings, search) = (&self.settings, &self.search);
        Fetch { settings, scratch: self.scratch.path(), search, agent: None, cancel: &self.cancel }
    }
}

fn text(context: &Context) -> &str {
    std::str::from_utf8(&context.dockerfile().unwrap().text).unwrap()
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn a_directory_and_its_dockerfile() {
    let place = Place::new(&[
        ("c/Dockerfile", "own"),
        ("c/.dockerignore", "a"),
        ("c/other.df", "other"),
        ("c/other.df.dockerignore", "b"),
        ("small/dockerfile", "small"),
        ("none/x", ""),
        ("far/d", "far"),
    ]);
    let c = place.at("c");
    let own = place.open(&c, None, b"").unwrap();
    assert_eq!((text(&own), own.ignore().matches(b"a")), ("own", true));
    let other = place.open(&c, Some(&place.at("c/other.df")), b"").unwrap();
    let ignored = |name: &[u8]| other.ignore().matches(name);
    assert_eq!((text(&other), ignored(b"a"), ignored(b"b")), ("other", false, true));
    let far = place.open(&c, Some(&place.at("far/d")), b"").unwrap();
    assert_eq!((text(&far), far.ignore().matches(b"a")), ("far", true));
    assert_eq!(text(&place.open(&c, Some("-"), b"typed").unwrap()), "typed");
    assert_eq!(text(&place.open(&place.at("small"), None, b"").unwrap()), "small");
    for (context, file) in [("none", None), ("gone", None), ("c", Some("gone")), ("c", Some("/"))] {
        assert!(place.open(&place.at(context), file, b"").is_err(), "{context}");
    }
    let error = place.open("-", Some("-"), b"x").unwrap_err().to_string();
    assert!(error.contains("both"), "{error}");
}

#[test]
fn a_dockerfile_is_a_file_of_its_directory() {
    let place = Place::new(&[("c/real", "real"), ("secret", "secret"), ("i/Dockerfile", "x")]);
    let link = place.at("c/Dockerfile");
    let open = || place.open(&place.at("c"), None, b"").map(|c| text(&c).to_owned());
    symlink("real", &link).unwrap();
    assert_eq!(open().unwrap(), "real");
    for out in ["../secret", "/etc/passwd", "/proc/self/environ"] {
        fs::remove_file(&link).unwrap();
        symlink(out, &link).unwrap();
        let error = open().unwrap_err().to_string();
        assert!(error.contains("leads out"), "{out}: {error}");
    }
    fs::remove_file(&link).unwrap();
    nix::unistd::mkfifo(link.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let fifo = link.clone();
    let waiting = thread::spawn(move || fs::File::create(fifo).map(drop));
    assert!(open().unwrap_err().to_string().contains("no regular file"), "and nobody waits");
    thread::sleep(std::time::Duration::from_millis(50));
    assert!(!waiting.is_finished(), "it was opened");
    while !waiting.is_finished() {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
        drop(RootDir::open(place.at("c")).unwrap().open_plain(b"Dockerfile", flags).unwrap());
        thread::yield_now();
    }
    symlink("../secret", place.at("i/.dockerignore")).unwrap();
    assert!(place.open(&place.at("i"), None, b"").is_err());
}

#[test]
fn a_stream_is_a_tar_or_a_dockerfile() {
    let place = Place::new(&[]);
    let plain =
        tar(&[("Dockerfile", "in tar"), ("d/x", "1"), (".dockerignore", "y"), (".wh.z", "2")]);
    let zipped = zstd::encode_all(&plain[..], 1).unwrap();
    for bytes in [&plain, &zipped] {
        let context = place.open("-", None, bytes).unwrap();
        assert_eq!((text(&context), context.ignore().matches(b"y")), ("in tar", true));
        let root = context.files().root.path().to_owned();
        assert_eq!(fs::read_to_string(root.join("d/x")).unwrap(), "1");
        assert_eq!(fs::read_to_string(root.join(".wh.z")).unwrap(), "2");
        assert_eq!(text(&place.open("-", Some("d/x"), bytes).unwrap()), "1");
        assert!(place.open("-", Some("../x"), bytes).is_err());
        drop(context);
        assert!(!root.exists());
    }
    let alone = place.open("-", None, b"FROM scratch\n").unwrap();
    assert_eq!(text(&alone), "FROM scratch\n");
    assert_eq!(fs::read_dir(alone.files().root.path()).unwrap().count(), 0);
    assert!(place.open("-", Some("x"), b"FROM scratch\n").is_err());
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..7].copy_from_slice(b"../../x");
    header.set_size(0);
    header.set_cksum();
    let climbing = [header.as_bytes().as_slice(), &plain].concat();
    let error = place.open("-", None, &climbing).unwrap_err().to_string();
    assert!(error.contains("climbs out"), "{error}");
    drop(alone);
    assert_eq!(fs::read_dir(place.scratch.path()).unwrap().count(), 0);
}

#[test]
fn urls_and_repositories() {
    let place = Place::new(&[("d", "by url")]);
    fs::write(place.tmp.path().join("t.tgz"), tar(&[("Dockerfile", "packed")])).unwrap();
    let server = Server::new(place.tmp.path());
    let at = |path: &str| format!("{}/{path}", server.base);
    assert_eq!(text(&place.open(&at("d"), None, b"").unwrap()), "by url");
    assert_eq!(text(&place.open(&at("t.tgz"), None, b"").unwrap()), "packed");
    assert!(place.open(&at("gone"), None, b"").is_err());
    let Named::Files(named) = named("n", &at("d"), place.fetch(), None).unwrap() else { panic!() };
    assert_eq!(fs::read_to_string(named.files().root.path().join("context")).unwrap(), "by url");
    if place.search.is_empty() {
        return;
    }
    repository(place.tmp.path());
    let context = place.open(&at("r.git#v1"), None, b"").unwrap();
    assert_eq!(text(&context), "FROM scratch\nCOPY a /\n");
    assert_eq!(text(&place.open(&at("r.git#v1:sub"), Some("deep/b"), b"").unwrap()), "deep");
    let error = place.open(&at("r.git#v1"), Some("out/passwd"), b"").unwrap_err().to_string();
    assert!(error.contains("leads out"), "{error}");
}

#[test]
fn a_repository_s_own_directory_stays_where_it_is_asked_for() {
    let place = Place::new(&[]);
    if place.search.is_empty() {
        return;
    }
    repository(place.tmp.path());
    let server = Server::new(place.tmp.path());
    let at = |query: &str| format!("{}/r.git{query}", server.base);
    let has = |context: &Context| context.files().root.path().join(".git/HEAD").exists();
    let asked = |query: &str, keep_git_dir: bool| {
        let (place, fetch) = (&at(query), place.fetch());
        let asked = Asked { place, file: None, stdin: None, fetch, keep_git_dir, memory: None };
        has(&open(asked).unwrap())
    };
    assert!(!asked("", false) && asked("", true) && asked("?keep-git-dir=1", false));
    assert!(!asked("?keep-git-dir=0", false) && asked("?keep-git-dir=false", true));
    let of_name = |query: &str| match named("n", &at(query), place.fetch(), None).unwrap() {
        Named::Files(files) => has(&files),
        _ => panic!(),
    };
    assert!(!of_name("") && of_name("?keep-git-dir=true"));
}

#[test]
fn named_contexts() {
    let place = Place::new(&[("n/.dockerignore", "x"), ("n/a", "")]);
    let named = |what: &str| named("n", what, place.fetch(), None);
    let Named::Files(files) = named(&place.at("n")).unwrap() else { panic!() };
    assert!(files.ignore().matches(b"x") && files.dockerfile().is_none());
    assert!(matches!(named("docker-image://alpine:3").unwrap(), Named::Image(_)));
    let layout = |what: &str| match named(what).unwrap() {
        Named::Layout(dir, rest) => (dir.display().to_string(), rest),
        _ => panic!(),
    };
    assert_eq!(layout("oci-layout:///d/e:tag"), ("/d/e".into(), ":tag".into()));
    assert_eq!(layout("oci-layout://d@sha256:00"), ("d".into(), "@sha256:00".into()));
    assert_eq!(layout("oci-layout://h:1/d"), ("h:1/d".into(), String::new()));
    assert!(named("gone").unwrap_err().to_string().contains("--build-context n takes"));
}
