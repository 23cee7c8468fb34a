//! Paths as docker's client and daemon cut them: Go's `path/filepath`, on bytes.

/// For a message.
pub fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// `filepath.Clean`: no empty, `.` or avoidable `..` part; an empty path is `.`.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|p| *p != b"..") => drop(parts.pop()),
            b".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

/// `filepath.Base`
pub fn base(path: &[u8]) -> &[u8] {
    let trimmed = trim(path);
    match (path, trimmed) {
        (b"", _) => b".",
        (_, b"") => b"/",
        _ => trimmed.rsplit(|&b| b == b'/').next().unwrap_or(trimmed),
    }
}

/// `filepath.Dir`
fn dir(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
    clean(&path[..end])
}

fn trim(mut path: &[u8]) -> &[u8] {
    while let [rest @ .., b'/'] = path {
        path = rest;
    }
    path
}

fn is_here(path: &[u8]) -> bool {
    base(path) == b"."
}

/// Whether it can only be a directory: it ends in `/` or `/.`.
pub fn asserts_directory(path: &[u8]) -> bool {
    path.ends_with(b"/") || is_here(path)
}

/// `typed` below `dir`, cleaned, but with the `/` or `/.` that it ended in.
pub fn absolute(dir: &[u8], typed: &[u8]) -> Vec<u8> {
    let whole = if typed.starts_with(b"/") { typed.to_vec() } else { [dir, b"/", typed].concat() };
    keep_end(clean(&whole), typed)
}

/// `archive.PreserveTrailingDotOrSeparator`
pub fn keep_end(mut cleaned: Vec<u8>, typed: &[u8]) -> Vec<u8> {
    if !is_here(&cleaned) && is_here(typed) {
        if !cleaned.ends_with(b"/") {
            cleaned.push(b'/');
        }
        cleaned.push(b'.');
    }
    if !cleaned.ends_with(b"/") && typed.ends_with(b"/") {
        cleaned.push(b'/');
    }
    cleaned
}

/// `archive.SplitPathDirEntry`
pub fn split(path: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut cleaned = clean(path);
    if is_here(path) {
        cleaned.extend_from_slice(b"/.");
    }
    (dir(&cleaned), base(&cleaned).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: impl AsRef<[u8]>) -> String {
        shown(bytes.as_ref())
    }

    #[test]
    fn as_gos_filepath() {
        for (typed, cleaned) in [
            ("", "."),
            ("/", "/"),
            ("a//b/./c/", "a/b/c"),
            ("/../a", "/a"),
            ("../a", "../a"),
            ("a/../..", ".."),
            ("/a/..", "/"),
            ("./x", "x"),
        ] {
            assert_eq!(text(clean(typed.as_bytes())), cleaned, "{typed}");
        }
        for (typed, last) in [("", "."), ("/", "/"), ("//", "/"), ("a/b/", "b"), ("/a/.", ".")] {
            assert_eq!(text(base(typed.as_bytes())), last, "{typed}");
        }
    }

    #[test]
    fn ends_that_mean_a_directory_are_kept() {
        let of = |typed: &str| text(absolute(b"/w", typed.as_bytes()));
        assert_eq!(of("x/"), "/w/x/");
        assert_eq!(of("x/."), "/w/x/.");
        assert_eq!(of("."), "/w/.");
        assert_eq!(of(".."), "/");
        assert_eq!(of("/"), "/");
        assert_eq!(of("/."), "/.");
        assert_eq!(of("/a/../b"), "/b");
        assert_eq!(of(""), "/w/.");
    }

    #[test]
    fn split_keeps_the_dot() {
        let of = |path: &str| {
            let (dir, base) = split(path.as_bytes());
            (text(dir), text(base))
        };
        assert_eq!(of("/a/b"), ("/a".into(), "b".into()));
        assert_eq!(of("/a/b/"), ("/a".into(), "b".into()));
        assert_eq!(of("/a/b/."), ("/a/b".into(), ".".into()));
        assert_eq!(of("/"), ("/".into(), "/".into()));
    }
}
