//! What several cases of networks do.

use e2e::{World, until};

/// `HOST:PORT`, with the brackets that IPv6 wants.
pub fn at(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A running `mirror` of that name, listening.
#[track_caller]
pub fn mirror(w: &World, name: &str, flags: &[&str]) {
    w.dhow([&["run", "-d", "--name", name], flags, &["mirror"]].concat()).ok();
    listens(w, name);
}

/// Waits until a `mirror` that was started says that it is ready.
#[track_caller]
pub fn listens(w: &World, name: &str) {
    until("the mirror is ready", || w.dhow(["logs", name]).ok().out().ends_with("ready"));
}

/// The container's IPv4 address, of its only network.
#[track_caller]
pub fn address(w: &World, name: &str) -> String {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = w.dhow(["inspect", "-f", format, name]).ok().out();
    assert!(!address.is_empty(), "{name} has no address");
    address
}

/// Where `7/tcp` of a container is published.
#[track_caller]
pub fn port(w: &World, name: &str, private: &str) -> u16 {
    let line = w.dhow(["port", name, private]).ok().lines()[0].clone();
    line.rsplit(':').next().unwrap().parse().unwrap()
}

/// Asks the mirror at `host` from within a container: the address it sees, or nothing.
#[track_caller]
pub fn from_within(w: &World, container: &str, host: &str, port: u16) -> Option<String> {
    ask_within(w, container, (host, port), 20)
}

/// The same where nobody may answer, which is not waited for long.
#[track_caller]
pub fn is_deaf_within(w: &World, container: &str, host: &str, port: u16) -> bool {
    ask_within(w, container, (host, port), 1).is_none()
}

#[track_caller]
fn ask_within(
    w: &World,
    container: &str,
    (host, port): (&str, u16),
    seconds: u32,
) -> Option<String> {
    let nc = format!("echo 'who asks?' | nc -w {seconds} {host} {port}");
    let done = w.dhow(["exec", container, "sh", "-c", &nc]);
    done.lines().first().cloned()
}
