use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;

use super::*;

/// A server of plain files: all that `git` needs to fetch. What is in `locked` is for `u` with
/// the password `secret`.
pub(crate) struct Server {
    pub base: String,
}

impl Server {
    pub(crate) fn new(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let root = root.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let root = root.clone();
                std::thread::spawn(move || serve(stream, &root));
            }
        });
        Self { base }
    }
}

fn serve(mut stream: std::net::TcpStream, root: &Path) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let path = line.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap_or("/").to_owned();
    let mut known = !path.starts_with("/locked/");
    while line.trim() != "" {
        known |= line.trim() == "Authorization: Basic dTpzZWNyZXQ=";
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    if !known {
        let head = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n";
        let _ = write!(stream, "{head}Content-Length: 0\r\nConnection: close\r\n\r\n");
        return;
    }
    let bytes = fs::read(root.join(path.trim_start_matches('/')));
    let (status, bytes) = bytes.map_or(("404 Not Found", Vec::new()), |bytes| ("200 OK", bytes));
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nConnection: close\r\n\r\n",
        bytes.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes));
}

/// Where programs are; empty where there is no git.
pub(crate) fn search() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if dirs.iter().any(|dir| dir.join("git").exists()) { dirs } else { Vec::new() }
}

fn git(dir: &Path, args: &[&str]) -> String {
    let out = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_COMMITTER_DATE", "@1500000000 +0000")
        .output()
        .unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// A repository with a tag `v1`, a branch `side` and odd things; its last commit.
pub(crate) fn repository(root: &Path) -> String {
    let work = root.join("work");
    fs::create_dir_all(work.join("sub/deep")).unwrap();
    git(root, &["init", "--quiet", "work"]);
    fs::write(work.join("Dockerfile"), "FROM scratch\nCOPY a /\n").unwrap();
    fs::write(work.join("a"), "one").unwrap();
    fs::write(work.join("sub/deep/b"), "deep").unwrap();
    std::os::unix::fs::symlink("/etc", work.join("out")).unwrap();
    std::os::unix::fs::symlink("sub", work.join("in")).unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "--quiet", "-m", "1"]);
    git(&work, &["tag", "-a", "v1", "-m", "v1"]);
    git(&work, &["checkout", "--quiet", "-b", "side"]);
    fs::write(work.join("a"), "side").unwrap();
    git(&work, &["commit", "--quiet", "-am", "2"]);
    git(&work, &["checkout", "--quiet", "main"]);
    fs::write(work.join("a"), "two").unwrap();
    git(&work, &["commit", "--quiet", "-am", "3"]);
    git(&work, &["update-server-info"]);
    fs::rename(work.join(".git"), root.join("r.git")).unwrap();
    git(&root.join("r.git"), &["rev-parse", "main"])
}

#[test]
fn a_repository_is_fetched_and_nothing_of_it_is_run() {
    let search = search();
    if search.is_empty() {
        return;
    }
    let tmp = tempfile::tempdir().unwrap();
    let last = repository(tmp.path());
    let server = Server::new(tmp.path());
    let settings = Settings::default();
    let scratch = tempfile::tempdir().unwrap();
    let cancel = Cancel::new().unwrap();
    let fetch = Fetch {
        settings: &settings,
        scratch: scratch.path(),
        search: &search,
        agent: None,
        cancel: &cancel,
    };
    let get = |rest: &str, keep: bool| {
        let address = Address::parse(&format!("{}/r.git{rest}", server.base), true).unwrap()?;
        fetch.repository(&address, keep)
    };
    let a = |rest: &str| {
        let fetched = get(rest, false).unwrap_or_else(|e| panic!("{rest}: {e}"));
        assert!(!fetched.root.path().join(".git").exists());
        fs::read_to_string(fetched.root.path().join("a")).unwrap()
    };
    assert_eq!(a(""), "two");
    assert_eq!(a("#main"), "two");
    assert_eq!(a("#v1"), "one");
    assert_eq!(a("#side"), "side");
    assert_eq!(a("?branch=side"), "side");
    assert_eq!(a(&format!("#{last}")), "two");
    assert_eq!(a(&format!("#{}", &last[..10])), "two");
    assert_eq!(a(&format!("?commit={}", &last[..8])), "two");
    let deep = get("#v1:sub/deep", false).unwrap();
    let b = deep.root.path().join("b");
    assert_eq!(fs::read_to_string(&b).unwrap(), "deep");
    let time = b.metadata().unwrap().modified().unwrap();
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(since, 1_500_000_000, "the commit's time");
    drop(deep);
    assert_eq!(get("", false).unwrap().key, get("#main", false).unwrap().key);
    assert_ne!(get("", false).unwrap().key, get("#v1", false).unwrap().key);
    let (one, other) = (get("", true).unwrap(), get("", true).unwrap());
    assert!(one.root.path().join(".git/HEAD").exists());
    assert_eq!(git(one.root.path(), &["--no-optional-locks", "status", "--porcelain"]), "");
    let index = |of: &Fetched| fs::read(of.root.path().join(".git/index")).unwrap();
    assert_eq!(index(&one), index(&other), "it is a layer's, perhaps");
    drop((one, other));
    for (bad, why) in [
        ("#nothing", "no branch or tag nothing"),
        ("#:out", "behind a link"),
        ("#:in/deep", "behind a link"),
        ("#:a", "no directory"),
        ("#:gone", "no directory gone"),
        ("?commit=0000000", "should be 0000000"),
    ] {
        let error = get(bad, false).unwrap_err().to_string();
        assert!(error.contains(why), "{bad}: {error}");
    }
    // Above the root there is only the root.
    assert!(get("#:../..", false).unwrap().root.path().join("a").exists());
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "all goes with its value");
}

#[test]
fn modes_are_the_commit_s_whatever_the_umask() {
    let search = search();
    if search.is_empty() {
        return;
    }
    let tmp = tempfile::tempdir().unwrap();
    repository(tmp.path());
    let server = Server::new(tmp.path());
    let settings = Settings::default();
    let scratch = tempfile::tempdir().unwrap();
    let cancel = Cancel::new().unwrap();
    let fetch = Fetch {
        settings: &settings,
        scratch: scratch.path(),
        search: &search,
        agent: None,
        cancel: &cancel,
    };
    let address = Address::parse(&format!("{}/r.git", server.base), true).unwrap().unwrap();
    let work = || {
        // The umask of this thread alone.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
        fetch.repository(&address, false).unwrap()
    };
    let fetched = std::thread::scope(|scope| scope.spawn(work).join()).unwrap();
    let mode = |name: &str| {
        let about = fetched.root.path().join(name).metadata().unwrap();
        about.permissions().mode() & 0o777
    };
    assert_eq!((mode("a"), mode("sub"), mode("sub/deep/b")), (0o644, 0o755, 0o644));
}

/// Which files below a directory have a word in them.
fn telling(dir: &Path, word: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            found.extend(telling(&path, word));
        } else if fs::read(&path).unwrap().windows(word.len()).any(|at| at == word.as_bytes()) {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_password_stays_nowhere() {
    let search = search();
    if search.is_empty() {
        return;
    }
    let tmp = tempfile::tempdir().unwrap();
    let locked = tmp.path().join("locked");
    fs::create_dir(&locked).unwrap();
    let last = repository(&locked);
    let whole = locked.join("whole");
    fs::create_dir(&whole).unwrap();
    git(&whole, &["init", "--quiet"]);
    let modules = "[submodule \"part\"]\n\tpath = part\n\turl = ../../r.git\n";
    fs::write(whole.join(".gitmodules"), modules).unwrap();
    git(&whole, &["add", "."]);
    git(&whole, &["update-index", "--add", "--cacheinfo", &format!("160000,{last},part")]);
    git(&whole, &["commit", "--quiet", "-m", "1"]);
    git(&whole, &["tag", "v7"]);
    git(&whole, &["update-server-info"]);
    let server = Server::new(tmp.path());
    let settings = Settings::default();
    let scratch = tempfile::tempdir().unwrap();
    let cancel = Cancel::new().unwrap();
    let fetch = Fetch {
        settings: &settings,
        scratch: scratch.path(),
        search: &search,
        agent: None,
        cancel: &cancel,
    };
    let base = server.base.replace("://", "://u:secret@");
    let get = |rest: &str| {
        let address = Address::parse(&format!("{base}/locked/{rest}"), true).unwrap()?;
        fetch.repository(&address, true)
    };
    let fetched = get("whole/.git#v7").unwrap();
    let root = fetched.root.path();
    assert_eq!(fs::read_to_string(root.join("part/a")).unwrap(), "two");
    assert_eq!(git(root, &["describe", "--tags"]), "v7");
    let origin = git(root, &["config", "remote.origin.url"]);
    assert_eq!(origin, format!("{}/locked/whole/.git", server.base));
    assert_eq!(telling(root, "secret"), Vec::<PathBuf>::new());
    let error = get("gone.git").unwrap_err().to_string();
    assert!(error.contains("gone.git") && !error.contains("secret"), "{error}");
}

#[test]
fn without_git_it_is_said() {
    let settings = Settings::default();
    let scratch = tempfile::tempdir().unwrap();
    let cancel = Cancel::new().unwrap();
    let fetch = Fetch {
        settings: &settings,
        scratch: scratch.path(),
        search: &[],
        agent: None,
        cancel: &cancel,
    };
    let address = Address::parse("https://u:secret@x.io/a.git", true).unwrap().unwrap();
    let error = fetch.repository(&address, false).unwrap_err().to_string();
    assert!(error.contains("https://x.io/a.git is not supported: the program git"), "{error}");
}

#[test]
fn a_url_s_file_has_its_name_time_and_digest() {
    let tmp = tempfile::tempdir().unwrap();
    fs::create_dir(tmp.path().join("d")).unwrap();
    fs::write(tmp.path().join("d/x"), "text").unwrap();
    let server = Server::new(tmp.path());
    let settings = Settings::default();
    let scratch = tempfile::tempdir().unwrap();
    let cancel = Cancel::new().unwrap();
    let fetch = Fetch {
        settings: &settings,
        scratch: scratch.path(),
        search: &[],
        agent: None,
        cancel: &cancel,
    };
    let url = format!("{}/d/x?q=1", server.base);
    let fetched = fetch.file(&url, Some(&Digest::of(b"text")), false).unwrap();
    let path = fetched.root.path().join("x");
    let mut text = String::new();
    File::open(&path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!((fetched.name.as_slice(), text.as_str()), (&b"x"[..], "text"));
    let about = path.metadata().unwrap();
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    let since = about.modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(since.as_secs(), 1_445_412_480);
    drop(fetched);
    let error = fetch.file(&url, Some(&Digest::of(b"other")), false).unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    assert!(fetch.file(&format!("{}/gone", server.base), None, false).is_err());
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn names_of_urls() {
    for (url, want) in [
        ("http://x.io/a/b.tar?x=/y#z/q", "b.tar"),
        ("http://x.io/a/", "a"),
        ("http://x.io/", "__unnamed__"),
        ("http://x.io", "__unnamed__"),
        ("http://x.io/a/..", "__unnamed__"),
        ("http://x.io/%2e%2e", "__unnamed__"),
        ("http://x.io/a%2F..%2Fb%20c", "b c"),
    ] {
        assert_eq!(name_of(url), want, "{url}");
    }
}

#[test]
fn a_fetch_that_hangs_ends_with_the_build() {
    let search = search();
    if search.is_empty() {
        return;
    }
    // A server that says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/r.git", silent.local_addr().unwrap());
    let (settings, cancel) = (Settings::default(), Cancel::new().unwrap());
    let scratch = tempfile::tempdir().unwrap();
    let fetch = Fetch {
        settings: &settings,
        scratch: scratch.path(),
        search: &search,
        agent: None,
        cancel: &cancel,
    };
    let address = Address::parse(&address, true).unwrap().unwrap();
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| fetch.repository(&address, false));
        let (asking, _) = silent.accept().unwrap();
        cancel.stop();
        let why = fetching.join().unwrap().unwrap_err().to_string();
        assert!(why.ends_with("the build was canceled"), "{why}");
        // Whoever has called is gone, and not only its parent: the connection ends.
        let mut rest = Vec::new();
        (&asking).read_to_end(&mut rest).unwrap();
    });
    // Nor is another one begun.
    let why = fetch.repository(&address, false).unwrap_err().to_string();
    assert!(why.ends_with("the build was canceled"), "{why}");
}
