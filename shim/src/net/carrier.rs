//! Networks of a user without root: a program carries the container's packets by sockets of the
//! user. pasta is taken before slirp4netns; both show the container who asks a published port.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::error::{Error, Result};
use crate::model::Published;

/// A program that carries packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carrier {
    /// passt's sibling for namespaces.
    Pasta(PathBuf),
    /// The older one.
    Slirp(PathBuf),
}

/// Which program carries; `search` finds one by name.
pub fn choose(search: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Carrier> {
    let pasta = search("pasta").map(Carrier::Pasta);
    pasta.or_else(|| search("slirp4netns").map(Carrier::Slirp)).ok_or_else(|| {
        Error::usage(
            "without root, networks need pasta (package passt) or slirp4netns, and neither is in \
             PATH; install one, or use --network none or host",
        )
    })
}

/// Where the container's network is, and where a carrier's files lie.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The container's network namespace.
    pub space: BorrowedFd<'a>,
    /// RUN/monitors/ID
    pub dir: &'a Path,
}

impl Place<'_> {
    /// The namespace has a name of its own for as long as it is carried. KERNEL: namespaces(7): by
    /// /proc/PID only who may trace the process reaches it, and a carrier drops that right.
    fn name(&self) -> Result<()> {
        let target = self.file();
        let fail = |e: &dyn std::fmt::Display| Error::io("name the network at", &target, e);
        std::fs::write(&target, "").map_err(|e| fail(&e))?;
        let source = format!("/proc/self/fd/{}", self.space.as_raw_fd());
        let bind =
            mount(Some(source.as_str()), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>);
        bind.map_err(|e| fail(&e.desc()))
    }

    fn file(&self) -> PathBuf {
        self.dir.join(SPACE)
    }
}

/// What a namespace is called in RUN/monitors/ID.
const SPACE: &str = "netns";
/// What a carrier makes its device with.
const TUN: &str = "/dev/net/tun";
/// Where pasta writes its pid.
const PID: &str = "pasta.pid";

/// Takes the name away again.
fn unname(dir: &Path) {
    let file = dir.join(SPACE);
    let _ = umount2(&file, MntFlags::MNT_DETACH);
    let _ = std::fs::remove_file(file);
}

/// A carrier at work; its end is the container's.
#[derive(Debug)]
pub enum Carried {
    /// It went to the background and wrote its pid into a file of this directory.
    Pasta(Option<OwnedFd>, PathBuf),
    /// Our child; it ends when this pipe is closed.
    Slirp(Child, OwnedFd, PathBuf),
}

impl Carrier {
    /// Its command line.
    fn arguments(&self, place: Place<'_>, published: &[Published]) -> Vec<OsString> {
        match self {
            Self::Pasta(_) => pasta(place, published),
            Self::Slirp(_) => slirp(place),
        }
    }

    /// Carries from now on, and from these ports of the host.
    pub fn start(&self, place: Place<'_>, published: &[Published]) -> Result<Carried> {
        place.name()?;
        let arguments = self.arguments(place, published);
        match self {
            Self::Pasta(program) => start_pasta(program, &arguments, place),
            Self::Slirp(program) => start_slirp(program, &arguments, place, published),
        }
    }
}

fn pasta(place: Place<'_>, published: &[Published]) -> Vec<OsString> {
    let mut all: Vec<OsString> =
        ["--config-net", "--quiet", "--no-map-gw", "--ns-ifname", "eth0"].map(Into::into).into();
    for (flag, protocol) in [("-t", "tcp"), ("-u", "udp")] {
        let ports = published.iter().filter(|p| p.protocol.as_str() == protocol);
        let mut specs: Vec<OsString> = Vec::new();
        for p in ports {
            let at =
                if p.host_ip.is_unspecified() { String::new() } else { format!("{}/", p.host_ip) };
            let spec = OsString::from(format!("{at}{}:{}", p.host_port, p.port));
            // All addresses of one family are all of both for it.
            if !specs.contains(&spec) {
                specs.push(spec);
            }
        }
        if specs.is_empty() {
            specs.push("none".into());
        }
        all.extend(specs.into_iter().flat_map(|spec| [flag.into(), spec]));
    }
    // Nothing of the host's loopback is the container's.
    all.extend(["-T", "none", "-U", "none", "-P"].map(Into::into));
    all.push(place.dir.join(PID).into());
    // We are in the user namespace already.
    all.extend(["--netns-only".into(), "--netns".into(), place.file().into()]);
    all
}

fn slirp(place: Place<'_>) -> Vec<OsString> {
    let mut all: Vec<OsString> =
        ["--configure", "--mtu=65520", "--disable-host-loopback"].map(Into::into).into();
    all.extend(["--api-socket".into(), place.dir.join("slirp.sock").into()]);
    all.extend(["--ready-fd=3", "--exit-fd=4", "--netns-type=path"].map(Into::into));
    all.extend([place.file().into(), "tap0".into()]);
    all
}

fn cannot(program: &Path, why: impl std::fmt::Display) -> Error {
    Error::engine(format!("{}: {why}", program.display()))
}

/// Why there is no network device to be had, and what to do.
fn hint_of_tun() -> &'static str {
    if File::options().write(true).open(TUN).is_err() {
        "; this user may not open /dev/net/tun: have its mode set to 0666, or use --network none or host"
    } else {
        ""
    }
}

fn start_pasta(program: &Path, arguments: &[OsString], place: Place<'_>) -> Result<Carried> {
    let done = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let done = done.map_err(|e| cannot(program, e))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        let last =
            said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it failed");
        return Err(cannot(program, format!("{last}{}", hint_of_tun())));
    }
    Ok(Carried::Pasta(running_pasta(&place.dir.join(PID)), place.dir.to_owned()))
}

fn start_slirp(
    program: &Path,
    arguments: &[OsString],
    place: Place<'_>,
    published: &[Published],
) -> Result<Carried> {
    let io = |e: std::io::Error| cannot(program, e);
    let (mut ready, tells) = std::io::pipe().map_err(io)?;
    let (ends, ours) = std::io::pipe().map_err(io)?;
    // KERNEL: a descriptor outlives exec when it is passed as a stream; the shell puts two more in
    // their places.
    let mut child = Command::new("/bin/sh")
        .args(["-c", "exec 3>&1 4<&0 >/dev/null </dev/null; exec \"$@\"", "sh"])
        .arg(program)
        .args(arguments)
        .stdin(ends)
        .stdout(tells)
        .stderr(Stdio::null())
        .spawn()
        .map_err(io)?;
    let mut word = [0; 1];
    if ready.read(&mut word).map_err(io)? == 0 {
        let _ = child.wait();
        let why = "it ended before the container had a network";
        return Err(cannot(program, format!("{why}{}", hint_of_tun())));
    }
    let carried = Carried::Slirp(child, ours.into(), place.dir.to_owned());
    for one in published {
        forward(&place.dir.join("slirp.sock"), one).map_err(|why| cannot(program, why))?;
    }
    Ok(carried)
}

/// slirp4netns's own protocol: a JSON object there, one back.
fn forward(socket: &Path, one: &Published) -> Result<(), String> {
    let order = order(one);
    let mut stream = UnixStream::connect(socket).map_err(|e| e.to_string())?;
    stream.write_all(order.as_bytes()).map_err(|e| e.to_string())?;
    stream.shutdown(std::net::Shutdown::Write).map_err(|e| e.to_string())?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer).map_err(|e| e.to_string())?;
    if answer.contains("\"error\"") {
        return Err(format!("port {}: {}", one.host_port, answer.trim()));
    }
    Ok(())
}

fn order(one: &Published) -> String {
    serde_json::json!({
        "execute": "add_hostfwd",
        "arguments": {
            "proto": one.protocol.as_str(),
            "host_addr": one.host_ip.to_string(),
            "host_port": one.host_port,
            "guest_port": one.port,
        },
    })
    .to_string()
}

impl Carried {
    /// The container has ended.
    pub fn finish(self) {
        match self {
            Self::Pasta(process, dir) => {
                // By a handle from its start: whoever clears RUN/monitors/ID takes the file away.
                if let Some(process) = process {
                    let _ = dhow_kernel::process::pidfd_signal(process.as_fd(), libc::SIGKILL);
                }
                unname(&dir);
            }
            Self::Slirp(mut child, pipe, dir) => {
                drop(pipe);
                let _ = child.kill();
                let _ = child.wait();
                unname(&dir);
            }
        }
    }
}

/// Ends the pasta of a monitor that was killed.
pub fn end_pasta(file: &Path) {
    if let Some(process) = running_pasta(file) {
        // It has nothing to put away, and may be slow to listen.
        let _ = dhow_kernel::process::pidfd_signal(process.as_fd(), libc::SIGKILL);
    }
    let _ = std::fs::remove_file(file);
}

/// The process whose pid the file has, if that is pasta.
fn running_pasta(file: &Path) -> Option<OwnedFd> {
    let text = std::fs::read_to_string(file).ok()?;
    let pid = text.trim().parse::<i32>().ok()?;
    let process = dhow_kernel::process::pidfd_open(nix::unistd::Pid::from_raw(pid)).ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.starts_with("pasta").then_some(process)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    fn published(ip: &str, host_port: u16, protocol: Protocol) -> Published {
        Published { port: 80, protocol, host_ip: ip.parse().unwrap(), host_port }
    }

    fn line(arguments: &[OsString]) -> String {
        let words: Vec<_> = arguments.iter().map(|a| a.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    #[test]
    fn pastas_line_names_ports_by_address_and_leads_nothing_else() {
        let stdin = std::io::stdin();
        let place = Place { space: stdin.as_fd(), dir: Path::new("/run/m") };
        let ports = [
            published("0.0.0.0", 8080, Protocol::Tcp),
            published("::", 8080, Protocol::Tcp),
            published("127.0.0.1", 5353, Protocol::Udp),
        ];
        assert_eq!(
            line(&pasta(place, &ports)),
            "--config-net --quiet --no-map-gw --ns-ifname eth0 -t 8080:80 -u 127.0.0.1/5353:80 \
             -T none -U none -P /run/m/pasta.pid --netns-only --netns /run/m/netns"
        );
        // One port of both protocols is two.
        let ports = [Protocol::Tcp, Protocol::Udp].map(|p| published("0.0.0.0", 8080, p));
        assert!(line(&pasta(place, &ports)).contains("-t 8080:80 -u 8080:80 "));
        assert!(line(&pasta(place, &[])).contains("-t none -u none -T none -U none"));
    }

    #[test]
    fn slirps_line_and_its_orders() {
        let stdin = std::io::stdin();
        let place = Place { space: stdin.as_fd(), dir: Path::new("/run/m") };
        let said = line(&slirp(place));
        assert!(
            said.starts_with(
                "--configure --mtu=65520 --disable-host-loopback --api-socket /run/m/"
            )
        );
        assert!(said.ends_with("--netns-type=path /run/m/netns tap0"), "{said}");
        let order: serde_json::Value =
            serde_json::from_str(&order(&published("0.0.0.0", 8080, Protocol::Tcp))).unwrap();
        assert_eq!(order["arguments"]["host_port"], 8080);
    }

    #[test]
    fn pasta_comes_first_and_without_either_it_is_said_what_to_install() {
        let all = |name: &str| Some(PathBuf::from(format!("/bin/{name}")));
        let slirp = |name: &str| all(name).filter(|_| name == "slirp4netns");
        assert_eq!(choose(&all).unwrap(), Carrier::Pasta("/bin/pasta".into()));
        assert_eq!(choose(&slirp).unwrap(), Carrier::Slirp("/bin/slirp4netns".into()));
        assert!(choose(&|_| None).unwrap_err().message.contains("package passt"));
    }
}
