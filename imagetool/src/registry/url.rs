//! The little of URLs that a registry needs: joining a Location, comparing hosts.

use std::net::IpAddr;

use ureq::http::Uri;

use crate::error::{Error, Result};

/// Where a `Location` header, absolute or not, leads from `base`.
pub(super) fn join(base: &str, location: &str) -> Result<String> {
    let bad =
        |why: &str| Error::invalid(format!("Location {location:?} from {}", shown(base)), why);
    let joined = if location.starts_with("http://") || location.starts_with("https://") {
        location.to_owned()
    } else {
        // What looks like another scheme is no path here.
        let first = location.split(['/', '?', '#']).next().unwrap_or_default();
        if first.contains(':') {
            return Err(bad("it is no http URL"));
        }
        let from: Uri = base.parse().map_err(|_| bad("the base is no URL"))?;
        let scheme = from.scheme_str().unwrap_or("https");
        let authority = from.authority().map(ToString::to_string).unwrap_or_default();
        if let Some(rest) = location.strip_prefix("//") {
            format!("{scheme}://{rest}")
        } else if location.starts_with('/') {
            format!("{scheme}://{authority}{location}")
        } else if let Some(query) = location.strip_prefix('?') {
            format!("{scheme}://{authority}{}?{query}", from.path())
        } else {
            let folder = from.path().rsplit_once('/').map_or("", |(f, _)| f);
            format!("{scheme}://{authority}{folder}/{location}")
        }
    };
    let joined = joined.split('#').next().unwrap_or_default().to_owned();
    let uri: Uri = joined.parse().map_err(|_| bad("it is no URL"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(joined),
        _ => Err(bad("it is no http URL")),
    }
}

/// `scheme://host:port`, with the default port filled in: what credentials are keyed by.
pub(super) fn origin(url: &str) -> String {
    let Ok(uri) = url.parse::<Uri>() else { return String::new() };
    let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if scheme == "http" { 80 } else { 443 });
    format!("{scheme}://{}:{port}", uri.host().unwrap_or_default().to_ascii_lowercase())
}

/// The host without a port.
pub(super) fn host(url: &str) -> String {
    let uri = url.parse::<Uri>().ok();
    uri.and_then(|u| u.host().map(str::to_ascii_lowercase)).unwrap_or_default()
}

/// A URL for messages: without user info and query, which may hold secrets.
pub(crate) fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) =
                rest.split_once('/').map_or((rest, None), |(a, p)| (a, Some(p)));
            let authority = authority.rsplit('@').next().unwrap_or_default();
            path.map_or(format!("{scheme}://{authority}"), |p| {
                format!("{scheme}://{authority}/{p}")
            })
        }
        None => url.to_owned(),
    }
}

/// Whether `host[:port]` is this machine: `localhost`, `127.0.0.0/8`, `::1`.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// `%`-encodes all but unreserved characters.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(b as char);
            }
            _ => {
                out.push('%');
                out.extend([b >> 4, b & 15].map(|n| char::from(b"0123456789ABCDEF"[n as usize])));
            }
        }
    }
    out
}

/// Adds a query parameter to a URL that may already have some.
pub(super) fn with_query(url: &str, key: &str, value: &str) -> String {
    let sep = if url.contains('?') { '&' } else { '?' };
    format!("{url}{sep}{key}={}", encode(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn locations_join_like_in_a_browser() {
        let base = "https://r.io:5000/v2/x/blobs/uploads/";
        for (location, want) in [
            ("/v2/y?a=b", "https://r.io:5000/v2/y?a=b"),
            ("http://e.io/z", "http://e.io/z"),
            ("//e.io/z", "https://e.io/z"),
            ("u1?s=2#frag", "https://r.io:5000/v2/x/blobs/uploads/u1?s=2"),
        ] {
            assert_eq!(join(base, location).unwrap(), want);
        }
        for bad in ["http://", "file:///etc/passwd", "FTP://x/y", "javascript:x", "a:b/c"] {
            assert!(join(base, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for yes in ["localhost", "localhost:5000", "127.0.0.1:80", "127.9.9.9", "[::1]:5", "[::1]"]
        {
            assert!(is_loopback(yes), "{yes}");
        }
        for no in ["localhost.evil.io", "127.0.0.1.evil.io:80", "128.0.0.1", "[::2]", "", "0.0.0.0"]
        {
            assert!(!is_loopback(no), "{no}");
        }
    }

    #[test]
    fn origins_differ_by_scheme_host_and_port() {
        assert_eq!(origin("https://A.io/x"), origin("https://a.io:443/y"));
        assert_ne!(origin("https://a.io"), origin("http://a.io"));
        assert_ne!(origin("https://a.io:1"), origin("https://a.io:2"));
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(shown("https://u:p@h/x?sig=1"), "https://h/x");
    }

    proptest! {
        #[test]
        fn joining_never_panics(s in "\\PC{0,60}") {
            let _ = join("https://r.io/v2/", &s);
            let _ = (origin(&s), shown(&s), is_loopback(&s), encode(&s));
        }
    }
}
