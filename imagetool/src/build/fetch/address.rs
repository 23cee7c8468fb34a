//! Where a repository is, as builds write it: `URL#REF:SUBDIR`, or with a query.

use crate::build::glob;
use crate::error::{Error, Result};

/// A repository, and what of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// What `git` is told.
    pub remote: String,
    /// A branch, tag or commit; the remote's HEAD if empty.
    pub reference: String,
    /// A clean path; empty for all.
    pub subdir: String,
    /// What the commit's name must begin with.
    pub checksum: Option<String>,
    /// Whether `.git` stays.
    pub keep: Option<bool>,
    /// Whether submodules come along.
    pub submodules: Option<bool>,
}

impl Address {
    /// Reads one; `None` if it names no repository. `loosely`: `github.com/…` is one, too, as
    /// contexts have it.
    pub fn parse(text: &str, loosely: bool) -> Option<Result<Self>> {
        if text.starts_with("./") || text.starts_with("../") {
            return None;
        }
        if text.starts_with("github.com/") {
            return loosely.then(|| Self::read(&format!("https://{text}")));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let path = rest.split(['?', '#']).next().unwrap_or_default();
            return match scheme.to_ascii_lowercase().as_str() {
                "git" | "ssh" => Some(Self::read(text)),
                "http" | "https" if path.as_bytes().ends_with(b".git") => Some(Self::read(text)),
                _ => None,
            };
        }
        // git@host:path
        let (user, rest) = text.split_once('@')?;
        let (host, path) = rest.split_once(':')?;
        let plain = |text: &str, more: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        let fits = plain(user, "-_") && plain(host, "-.") && !path.is_empty();
        fits.then(|| Self::read(text))
    }

    fn read(text: &str) -> Result<Self> {
        let bad = |why: String| Error::usage("repository", crate::registry::url::shown(text), why);
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (remote, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut this = Self {
            remote: remote.to_owned(),
            reference: decoded(reference),
            subdir: decoded(subdir),
            ..Self::default()
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            this.option(key, decoded(value)).map_err(bad)?;
        }
        this.subdir = cleaned(&this.subdir);
        let control = |text: &str| text.chars().any(|c| c.is_control() || c == ' ');
        if this.reference.starts_with('-') || control(&this.reference) {
            return Err(bad(format!("{:?} is no branch, tag or commit", this.reference)));
        }
        if this.remote.starts_with('-') || control(&this.remote) || this.remote.contains("@-") {
            return Err(bad("it is no address".into()));
        }
        if let Some(sum) = &this.checksum
            && (sum.is_empty() || !sum.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Err(bad(format!("{sum:?} is no commit")));
        }
        Ok(this)
    }

    fn option(&mut self, key: &str, value: String) -> Result<(), String> {
        let truth = |value: &str| match value {
            "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
            other => Err(format!("{key}={other}: write true or false")),
        };
        let once = |place: &mut String, value: String| {
            if !place.is_empty() && *place != value {
                return Err(format!("{place} and {value} contradict each other"));
            }
            *place = value;
            Ok(())
        };
        let prefixed = |prefix: &str| {
            if value.starts_with(prefix) { value.clone() } else { format!("{prefix}{value}") }
        };
        match key {
            "keep-git-dir" => self.keep = truth(&value)?,
            "submodules" => self.submodules = truth(&value)?,
            _ if value.is_empty() => return Err(format!("{key} has no value")),
            "ref" => once(&mut self.reference, value)?,
            "tag" => once(&mut self.reference, prefixed("refs/tags/"))?,
            "branch" => once(&mut self.reference, prefixed("refs/heads/"))?,
            "subdir" => once(&mut self.subdir, value)?,
            "checksum" | "commit" => self.checksum = Some(value.to_ascii_lowercase()),
            // Times are the commit's in any case.
            "mtime" if matches!(value.as_str(), "checkout" | "commit") => {}
            _ => return Err(format!("nothing is known of {key}={value}")),
        }
        Ok(())
    }
}

/// A path below the repository's root, as BuildKit cleans it: none climbs out.
fn cleaned(subdir: &str) -> String {
    let clean = glob::clean(format!("/{subdir}").as_bytes());
    String::from_utf8_lossy(&clean[1..]).into_owned()
}

/// `%20` is a space.
pub(super) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        let decoded = hex.filter(|_| byte == b'%').and_then(|two| u8::from_str_radix(two, 16).ok());
        out.push(decoded.unwrap_or(byte));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<(String, String, String)> {
        let address = Address::parse(text, true)?.unwrap();
        Some((address.remote, address.reference, address.subdir))
    }

    #[test]
    fn what_is_a_repository() {
        for (text, remote, reference, subdir) in [
            ("https://x.io/a.git", "https://x.io/a.git", "", ""),
            ("https://x.io/a.git#v1:sub/dir", "https://x.io/a.git", "v1", "sub/dir"),
            ("http://u:p@x.io/a.git#:sub", "http://u:p@x.io/a.git", "", "sub"),
            ("git@x.io:a/b.git#b:/c/", "git@x.io:a/b.git", "b", "c"),
            ("ssh://git@x.io/a", "ssh://git@x.io/a", "", ""),
            ("git://x.io/a#r", "git://x.io/a", "r", ""),
            ("github.com/a/b#r:s", "https://github.com/a/b", "r", "s"),
            ("https://x.io/a.git?ref=r&subdir=s", "https://x.io/a.git", "r", "s"),
            ("https://x.io/a.git?tag=v1", "https://x.io/a.git", "refs/tags/v1", ""),
            ("https://x.io/a.git?branch=refs/heads/b", "https://x.io/a.git", "refs/heads/b", ""),
            ("https://x.io/a.git#r:../..", "https://x.io/a.git", "r", ""),
            ("https://x.io/a.git#r:../../etc", "https://x.io/a.git", "r", "etc"),
        ] {
            let want = (remote.to_owned(), reference.to_owned(), subdir.to_owned());
            assert_eq!(read(text), Some(want), "{text}");
        }
        for none in [
            "https://x.io/a.tar",
            "dir",
            "./github.com/x",
            "/x.git",
            "file:///x.git",
            "a@b",
            "C:x",
            "ext::sh -c x",
            "../x.git",
            "a b@c:d",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
        assert!(Address::parse("github.com/a/b", false).is_none());
    }

    #[test]
    fn what_would_be_an_option_is_refused() {
        for bad in [
            "https://x.io/a.git#--upload-pack=x",
            "https://x.io/a.git?ref=-x",
            "git@-oProxyCommand=x:y.git",
            "ssh://git@-oProxyCommand=x/y.git",
            "https://x.io/a.git?odd=1",
            "https://x.io/a.git?ref=a&tag=b",
            "https://x.io/a.git?submodules=perhaps",
            "https://x.io/a.git?commit=xyz",
            "https://x.io/a.git#a%0ab",
        ] {
            let parsed = Address::parse(bad, true);
            assert!(parsed.is_none_or(|address| address.is_err()), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_or_climbs(text in "[a-z@:/#?=&.%-]{0,40}") {
            for whole in [text.clone(), format!("https://x.io/a.git{text}")] {
                if let Some(Ok(address)) = Address::parse(&whole, true) {
                    prop_assert!(!address.subdir.split('/').any(|part| part == ".."));
                    prop_assert!(!address.reference.starts_with('-'));
                }
            }
        }
    }
}
