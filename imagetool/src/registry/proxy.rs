//! Which proxy stands before a host: what the environment says, read as curl and Go's programs
//! read it. A proxy that can't be spoken to is an error: what was to go through it never goes
//! past it.

use std::net::IpAddr;

use ureq::ProxyProtocol;

use super::url;
use crate::error::{Error, Result};

/// The proxies for what is asked by https and by http, and who is reached without them.
#[derive(Clone)]
pub struct Proxy {
    https: Option<String>,
    http: Option<String>,
    direct: Vec<String>,
}

/// Their URLs may hold a password.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |url: &Option<String>| url.as_ref().map(|url| url::shown(url));
        let (https, http) = (shown(&self.https), shown(&self.http));
        write!(f, "Proxy(https {https:?}, http {http:?}, but for {:?})", self.direct)
    }
}

impl Proxy {
    /// What variables say; `get` knows them.
    pub fn of(get: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| get(name).filter(|text| !text.trim().is_empty()))
        };
        let url = |names: &[&str]| first(names).map(|url| url.trim().to_owned());
        let https = url(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]);
        let http = url(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]);
        if https.is_none() && http.is_none() {
            return None;
        }
        let direct = first(&["NO_PROXY", "no_proxy"]).unwrap_or_default();
        let direct = direct.split([',', ' ']).filter(|entry| !entry.is_empty());
        Some(Self { https, http, direct: direct.map(str::to_lowercase).collect() })
    }

    /// The variables that tell another program of them.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let named = [("https_proxy", &self.https), ("http_proxy", &self.http)];
        let mut all: Vec<_> =
            named.into_iter().filter_map(|(name, url)| Some((name, url.clone()?))).collect();
        all.push(("no_proxy", self.direct.join(",")));
        all
    }

    /// Whether it matters by which scheme a host is asked.
    pub(super) fn differs(&self) -> bool {
        self.https != self.http
    }

    /// For who speaks to a host first, and then perhaps to where it redirects to.
    pub(super) fn before(&self, host: &str, tls: bool) -> Result<Option<ureq::Proxy>> {
        let Some(url) = (if tls { &self.https } else { &self.http }) else { return Ok(None) };
        let (name, port) = apart(host);
        let free = |entry: &String| entry == "*" || covers(entry, name, port);
        let direct = url::is_loopback(host) || self.direct.iter().any(free);
        let wrong = |why: &str| Err(Error::usage("proxy", url::shown(url), why));
        let known = match ureq::Proxy::new(url) {
            Ok(known) if matches!(known.protocol(), ProxyProtocol::Http | ProxyProtocol::Https) => {
                known
            }
            _ if direct => return Ok(None),
            Ok(_) => return wrong("only http:// and https:// ones are spoken to; or unset it"),
            Err(_) => return wrong("write it as http://HOST:PORT, or unset it"),
        };
        let mut proxy =
            ureq::Proxy::builder(known.protocol()).host(known.host()).port(known.port());
        if let Some(user) = known.username() {
            proxy = proxy.username(user);
        }
        if let Some(password) = known.password() {
            proxy = proxy.password(password);
        }
        // Those with a port and networks are for `covers`: the client knows names alone.
        for entry in self.direct.iter().filter(|e| apart(e).1.is_none() && !e.contains('/')) {
            proxy = proxy.no_proxy(entry);
            // `x.io` means what lies below it, too.
            if !entry.starts_with(['.', '*']) {
                proxy = proxy.no_proxy(&format!(".{entry}"));
            }
        }
        if direct {
            proxy = proxy.no_proxy(name).no_proxy(&format!("[{name}]"));
        }
        match proxy.build() {
            Ok(proxy) => Ok(Some(proxy)),
            Err(_) => wrong("write it as http://HOST:PORT, or unset it"),
        }
    }
}

/// `HOST[:PORT]`, apart; an address of IPv6 without its brackets.
fn apart(host: &str) -> (&str, Option<&str>) {
    if let Some(v6) = host.strip_prefix('[') {
        let (name, rest) = v6.split_once(']').unwrap_or((v6, ""));
        return (name, rest.strip_prefix(':'));
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, Some(port)),
        _ => (host, None),
    }
}

/// Whether an entry says that a host is reached without the proxy: a network, or an address or
/// a name of this port.
fn covers(entry: &str, name: &str, port: Option<&str>) -> bool {
    if let (Some((net, bits)), Ok(ip)) = (entry.split_once('/'), name.parse::<IpAddr>()) {
        let (Ok(net), Ok(bits)) = (net.parse::<IpAddr>(), bits.parse::<u32>()) else {
            return false;
        };
        return within(net, bits, ip);
    }
    let (own, only) = apart(entry);
    if only.is_some() && only != port.or(Some("443")) {
        return false;
    }
    if let (Ok(own), Ok(ip)) = (own.parse::<IpAddr>(), name.parse::<IpAddr>()) {
        return own == ip;
    }
    let below = name.len().checked_sub(own.len()).and_then(|at| name.split_at_checked(at));
    below.is_some_and(|(before, end)| {
        let parted = before.is_empty() || before.ends_with('.') || own.starts_with('.');
        parted && end.eq_ignore_ascii_case(own)
    })
}

fn within(net: IpAddr, bits: u32, ip: IpAddr) -> bool {
    match (net, ip) {
        (IpAddr::V4(net), IpAddr::V4(ip)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            net.to_bits() & mask == ip.to_bits() & mask
        }
        (IpAddr::V6(net), IpAddr::V6(ip)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            net.to_bits() & mask == ip.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(proxy: &str, direct: &str) -> Option<Proxy> {
        Proxy::of(|name| match name {
            "HTTPS_PROXY" => Some(proxy.to_owned()),
            "no_proxy" => Some(direct.to_owned()),
            _ => None,
        })
    }

    fn goes_direct(direct: &str, host: &str) -> bool {
        let proxy =
            of("http://u:p@proxy:3128", direct).unwrap().before(host, true).unwrap().unwrap();
        assert_eq!((proxy.host(), proxy.port(), proxy.password()), ("proxy", 3128, Some("p")));
        proxy.is_no_proxy(&format!("https://{host}/v2/").parse().unwrap())
    }

    #[test]
    fn who_is_reached_directly() {
        for (direct, host) in [
            ("*", "r.io"),
            ("a.io, r.io", "r.io"),
            ("R.io", "r.io:5000"),
            ("r.io", "x.r.io"),
            (".r.io", "x.r.io"),
            ("*.r.io", "x.r.io"),
            ("r.io:5000", "r.io:5000"),
            ("r.io:443", "x.r.io"),
            ("10.0.0.0/8", "10.1.2.3:5000"),
            ("10.1.2.3", "10.1.2.3"),
            ("fd00::/8", "[fd12::1]:5000"),
            ("fd12::1", "[fd12::1]"),
            ("", "127.0.0.1:5000"),
            ("", "localhost"),
            ("0.0.0.0/0", "1.2.3.4"),
        ] {
            assert!(goes_direct(direct, host), "{direct} {host}");
        }
        for (direct, host) in [
            ("", "r.io"),
            ("r.io", "evilr.io"),
            ("r.io:5000", "r.io"),
            (".r.io", "r.io"),
            ("10.0.0.0/8", "11.1.2.3"),
            ("10.0.0.0/33", "10.1.2.3"),
            ("x/y", "r.io"),
        ] {
            assert!(!goes_direct(direct, host), "{direct} {host}");
        }
    }

    #[test]
    fn each_scheme_has_its_own() {
        let of = |set: &'static [(&str, &str)]| {
            Proxy::of(|name| set.iter().find(|s| s.0 == name).map(|s| s.1.to_owned())).unwrap()
        };
        let host = |proxy: &Proxy, tls| {
            proxy.before("r.io", tls).unwrap().map(|proxy| proxy.host().to_owned())
        };
        let both = of(&[("http_proxy", "http://plain:1"), ("HTTPS_PROXY", "http://safe:1")]);
        assert_eq!(
            (host(&both, true), host(&both, false)),
            (Some("safe".into()), Some("plain".into()))
        );
        assert!(both.differs());
        let one = of(&[("http_proxy", "http://plain:1")]);
        assert_eq!((host(&one, true), host(&one, false)), (None, Some("plain".into())));
        let all = of(&[("ALL_PROXY", "http://all:1"), ("HTTPS_PROXY", " ")]);
        assert_eq!(host(&all, true), Some("all".into()));
        assert!(!all.differs());
    }

    #[test]
    fn a_proxy_that_cant_be_spoken_to_is_no_reason_to_go_past_it() {
        for bad in ["socks5://p:1", "socks4://p:1", "ftp://p:1", "http://", "::"] {
            let said = of(bad, "").unwrap().before("r.io", true).unwrap_err().to_string();
            assert!(said.contains("proxy"), "{bad}: {said}");
        }
        let said = of("socks5://u:secret@p:1", "").unwrap().before("r.io", true).unwrap_err();
        assert!(!said.to_string().contains("secret"), "{said}");
        // Who isn't asked through it doesn't mind.
        assert!(
            of("socks5://p:1", "10.0.0.0/8").unwrap().before("10.1.1.1", true).unwrap().is_none()
        );
        assert!(of("socks5://p:1", "").unwrap().before("localhost:5000", true).unwrap().is_none());
        assert!(of("", "x").is_none());
        of("p:3128", "").unwrap().before("r.io", true).unwrap();
    }

    proptest! {
        #[test]
        fn reading_never_panics(url in "\\PC{0,30}", direct in "\\PC{0,30}", host in "[a-z0-9.:\\[\\]]{0,12}") {
            if let Some(proxy) = of(&url, &direct) {
                let _ = (proxy.before(&host, true), proxy.before(&host, false));
            }
        }
    }
}
