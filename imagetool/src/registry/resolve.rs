//! Names to addresses without the C library: a static program must never load NSS.
//!
//! `/etc/hosts` first, then the name servers of `/etc/resolv.conf` with its search list,
//! ndots, timeout and attempts: UDP, and TCP when the answer was cut.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{self, ResolvedSocketAddrs};
use ureq::unversioned::transport::NextTimeout;

/// ureq keeps so many.
const MAX_ADDRESSES: usize = 16;

/// The resolver given to ureq.
#[derive(Debug)]
pub(crate) struct Resolver;

impl resolver::Resolver for Resolver {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let limit = (*timeout.after).min(Duration::from_mins(1));
        let found = lookup(host, Instant::now() + limit)
            .map_err(|e| ureq::Error::Io(io::Error::new(e.kind(), NoAddress(e.to_string()))))?;
        let mut all = self.empty();
        found.into_iter().take(MAX_ADDRESSES).for_each(|ip| all.push(SocketAddr::new(ip, port)));
        Ok(all)
    }
}

/// Why a name leads nowhere: not to be mistaken for a connection's fault.
#[derive(Debug)]
pub(super) struct NoAddress(String);

impl std::fmt::Display for NoAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoAddress {}

/// Every address of a host, IPv4 first.
fn lookup(host: &str, deadline: Instant) -> io::Result<Vec<IpAddr>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![ip]);
    }
    let lower = host.trim_end_matches('.').to_ascii_lowercase();
    if lower == "localhost" || lower.ends_with(".localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let found = hosts(&fs::read_to_string("/etc/hosts").unwrap_or_default(), &lower);
    if !found.is_empty() {
        return Ok(found);
    }
    let conf = Conf::parse(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no such host");
    for name in conf.candidates(host) {
        match ask_all(&conf, &name, deadline) {
            Ok(found) if !found.is_empty() => return Ok(found),
            Ok(_) => {}
            Err(e) => last = io::Error::new(e.kind(), format!("its name can't be looked up: {e}")),
        }
    }
    Err(last)
}

/// The addresses `/etc/hosts` gives a name.
fn hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let ip = words.next()?.parse().ok()?;
            words.any(|w| w.eq_ignore_ascii_case(name)).then_some(ip)
        })
        .collect();
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

/// What resolv.conf(5) says.
#[derive(Debug, PartialEq, Eq)]
struct Conf {
    servers: Vec<IpAddr>,
    search: Vec<String>,
    ndots: usize,
    timeout: Duration,
    attempts: u32,
}

impl Conf {
    fn parse(text: &str) -> Self {
        let mut conf = Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let ip = words.next().and_then(|w| w.split('%').next()?.parse::<IpAddr>().ok());
                    let room = conf.servers.len() < 3;
                    conf.servers.extend(ip.filter(|_| room));
                }
                Some("search" | "domain") => conf.search = words.map(str::to_owned).collect(),
                Some("options") => words.for_each(|w| conf.option(w)),
                _ => {}
            }
        }
        if conf.servers.is_empty() {
            conf.servers.push(Ipv4Addr::LOCALHOST.into());
        }
        conf
    }

    fn option(&mut self, word: &str) {
        let Some((key, value)) = word.split_once(':') else { return };
        let Ok(n) = value.parse::<u32>() else { return };
        match key {
            "ndots" => self.ndots = n.min(15) as usize,
            "timeout" => self.timeout = Duration::from_secs(u64::from(n.clamp(1, 30))),
            "attempts" => self.attempts = n.clamp(1, 5),
            _ => {}
        }
    }

    /// The full names to ask for, in order.
    fn candidates(&self, host: &str) -> Vec<String> {
        if host.ends_with('.') {
            return vec![host.to_owned()];
        }
        let whole = format!("{host}.");
        let mut all: Vec<String> =
            self.search.iter().map(|s| format!("{host}.{}.", s.trim_end_matches('.'))).collect();
        if host.matches('.').count() >= self.ndots {
            all.insert(0, whole);
        } else {
            all.push(whole);
        }
        all
    }
}

/// A and AAAA of one full name, from the first server that answers.
fn ask_all(conf: &Conf, name: &str, deadline: Instant) -> io::Result<Vec<IpAddr>> {
    let name = Name::from_utf8(name).map_err(|e| io::Error::other(e.to_string()))?;
    let mut last = io::Error::new(io::ErrorKind::TimedOut, "no name server answered");
    for _ in 0..conf.attempts {
        for server in &conf.servers {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(last);
            }
            let timeout = conf.timeout.min(left);
            match ask(*server, &name, RecordType::A, timeout) {
                Ok(mut found) => {
                    let six = ask(*server, &name, RecordType::AAAA, timeout);
                    found.extend(six.unwrap_or_default());
                    return Ok(found);
                }
                Err(e) => last = io::Error::new(e.kind(), format!("name server {server}: {e}")),
            }
        }
    }
    Err(last)
}

/// One question to one server.
fn ask(
    server: IpAddr,
    name: &Name,
    kind: RecordType,
    timeout: Duration,
) -> io::Result<Vec<IpAddr>> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), kind));
    let id = question.metadata.id;
    let bytes = question.to_vec().map_err(|e| io::Error::other(e.to_string()))?;
    let to = SocketAddr::new(server, 53);
    let mut answer = over_udp(to, &bytes, id, timeout)?;
    if answer.metadata.truncation {
        answer = over_tcp(to, &bytes, timeout)?;
    }
    if !fits(&answer, id, &question.queries) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the answer is to another question",
        ));
    }
    match answer.metadata.response_code {
        ResponseCode::NoError => Ok(addresses(&answer)),
        ResponseCode::NXDomain => Ok(Vec::new()),
        other => Err(io::Error::other(other.to_string())),
    }
}

fn addresses(answer: &Message) -> Vec<IpAddr> {
    let ip = |data: &RData| match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(a) => Some(IpAddr::V6(a.0)),
        _ => None,
    };
    answer.answers.iter().filter_map(|r| ip(&r.data)).collect()
}

fn fits(answer: &Message, id: u16, asked: &[Query]) -> bool {
    answer.metadata.id == id
        && answer.metadata.message_type == MessageType::Response
        && answer.metadata.op_code == OpCode::Query
        && answer.queries.first().map(Query::name) == asked.first().map(Query::name)
}

fn over_udp(to: SocketAddr, question: &[u8], id: u16, timeout: Duration) -> io::Result<Message> {
    let any: IpAddr =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(to)?;
    socket.send(question)?;
    let deadline = Instant::now() + timeout;
    let mut buf = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
        }
        socket.set_read_timeout(Some(left))?;
        let n = match socket.recv(&mut buf) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
            other => other?,
        };
        // A stray or forged datagram doesn't end the wait for the real one.
        match Message::from_vec(&buf[..n]) {
            Ok(m) if m.metadata.id == id => return Ok(m),
            _ => {}
        }
    }
}

fn over_tcp(to: SocketAddr, question: &[u8], timeout: Duration) -> io::Result<Message> {
    let mut stream = TcpStream::connect_timeout(&to, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let size = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&size.to_be_bytes(), question].concat())?;
    let mut size = [0; 2];
    stream.read_exact(&mut size)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(size))];
    stream.read_exact(&mut answer)?;
    Message::from_vec(&answer).map_err(|e| io::Error::other(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals_and_localhost_need_no_server() {
        let now = Instant::now();
        assert_eq!(lookup("127.0.0.9", now).unwrap(), [IpAddr::from([127, 0, 0, 9])]);
        assert_eq!(lookup("[::1]", now).unwrap(), [IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        assert_eq!(lookup("LOCALHOST", now).unwrap()[0], IpAddr::V4(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn hosts_are_found_by_any_name() {
        let text = "::2 r r.io # x\n10.0.0.1\tother R.IO\n#10.0.0.2 r.io\nbad r.io\n";
        assert_eq!(
            hosts(text, "r.io"),
            ["10.0.0.1".parse::<IpAddr>().unwrap(), "::2".parse().unwrap()]
        );
    }

    #[test]
    fn resolv_conf_is_read_as_its_manual_says() {
        let c = Conf::parse(
            "nameserver 1.1.1.1\nnameserver fe80::1%eth0\nsearch a.b c.\noptions ndots:2 timeout:1\n",
        );
        assert_eq!(c.servers.len(), 2);
        assert_eq!((c.ndots, c.timeout, c.attempts), (2, Duration::from_secs(1), 2));
        assert_eq!(c.candidates("x.y"), ["x.y.a.b.", "x.y.c.", "x.y."]);
        assert_eq!(c.candidates("x.y.z"), ["x.y.z.", "x.y.z.a.b.", "x.y.z.c."]);
        assert_eq!(Conf::parse("").servers, [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }

    proptest! {
        #[test]
        fn files_never_panic(s in "\\PC{0,200}") {
            let _ = (hosts(&s, "x"), Conf::parse(&s));
        }
    }
}
