//! The kind of machine that the cases run on, and what not every machine has.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

/// What `DHOW_E2E_MODE` says: `tests/guest/run.sh` sets it inside a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Root on whatever machine this is; groups made by the runtime.
    Here,
    /// Root in a guest with cgroup v2.
    Plain,
    /// The same beside systemd, which makes the groups.
    Systemd,
    /// uid 1000 in a guest, with a delegated group.
    Rootless,
    /// uid 1000 beside a systemd of its own, which makes the groups.
    RootlessSystemd,
}

/// The mode.
pub fn mode() -> Mode {
    static MODE: OnceLock<Mode> = OnceLock::new();
    *MODE.get_or_init(|| match std::env::var("DHOW_E2E_MODE").as_deref() {
        Err(_) | Ok("") => Mode::Here,
        Ok("plain") => Mode::Plain,
        Ok("systemd") => Mode::Systemd,
        Ok("rootless") => Mode::Rootless,
        Ok("rootless-systemd") => Mode::RootlessSystemd,
        Ok(other) => panic!("DHOW_E2E_MODE={other}: no such mode"),
    })
}

impl Mode {
    /// Whether systemd makes the groups.
    pub fn by_systemd(self) -> bool {
        matches!(self, Self::Systemd | Self::RootlessSystemd)
    }

    /// Whether the caller is uid 1000.
    pub fn is_rootless(self) -> bool {
        matches!(self, Self::Rootless | Self::RootlessSystemd)
    }

    /// Whether this is a guest.
    pub fn is_guest(self) -> bool {
        self != Self::Here
    }

    /// `linux.cgroupsPath` of a container.
    pub fn cgroups_path(self, id: &str) -> String {
        match self {
            Self::Here | Self::Plain => format!("/{id}"),
            Self::Systemd => format!("system.slice:e2e:{id}"),
            Self::Rootless => format!("/user-1000/{id}"),
            Self::RootlessSystemd => format!("user.slice:e2e:{id}"),
        }
    }
}

/// What a case needs that not every machine has. A case that needs it begins with
/// [`needs!`](crate::needs), and is counted by the name where it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// cgroup v1's hierarchies: the case reads their files.
    CgroupV1,
    /// Groups where the case's config says, by path: systemd has its own places.
    Cgroupfs,
    /// Root: the case does what the kernel lets nobody else do.
    Root,
    /// More ids than the caller's own.
    ManyIds,
    /// A whole machine: a compiler, other engines, a registry, outside suites.
    Machine,
    /// A second kernel: the case boots a guest.
    Guests,
    /// A kernel with what User Mode Linux lacks (cpuset, resctrl, CRIU, several CPUs, real time).
    FullKernel,
    /// Time that runs evenly.
    EvenTime,
    /// A processor that isn't software: much is done, or often, and would take minutes in a guest.
    Speed,
    /// nftables with tables of both families, and translation: User Mode Linux hasn't these.
    Nftables,
    /// A kernel of at least this version.
    Linux(u32, u32),
    /// A guest of QEMU, which has a stock kernel of Debian, two CPUs, CRIU, AppArmor and podman.
    StockKernel,
}

impl Need {
    /// Whether it is there.
    pub fn is_met(self) -> bool {
        let mode = mode();
        match self {
            Self::CgroupV1 => Path::new("/sys/fs/cgroup/memory").exists(),
            Self::Cgroupfs => !mode.by_systemd(),
            Self::Root | Self::ManyIds => !mode.is_rootless(),
            Self::FullKernel | Self::Nftables => !mode.is_guest() || stock_kernel(),
            Self::StockKernel => stock_kernel(),
            Self::Linux(major, minor) => kernel() >= (major, minor),
            Self::Machine | Self::Guests | Self::EvenTime | Self::Speed => !mode.is_guest(),
        }
    }

    /// In words.
    pub fn words(self) -> String {
        let words = match self {
            Self::CgroupV1 => "cgroup v1",
            Self::Cgroupfs => "groups by path, not systemd's",
            Self::Root => "root",
            Self::ManyIds => "more ids than one",
            Self::Machine => "a whole machine (compiler, engines, registry, suites)",
            Self::Guests => "a guest of its own",
            Self::FullKernel => "a kernel with more than User Mode Linux has",
            Self::EvenTime => "time that runs evenly",
            Self::Speed => "more speed than a guest has",
            Self::Linux(major, minor) => return format!("Linux {major}.{minor}"),
            Self::Nftables => "nftables with all that networks use",
            Self::StockKernel => "a guest of QEMU with Debian's kernel",
        };
        words.to_owned()
    }
}

/// Whether something isn't there; then it is written down who needs it. Use [`needs!`](crate::needs).
pub fn lacks(needs: &[Need]) -> bool {
    let Some(missing) = needs.iter().find(|need| !need.is_met()) else { return false };
    let case = std::thread::current().name().unwrap_or("?").to_owned();
    println!("{case} needs {}", missing.words());
    if let Some(file) = std::env::var_os("DHOW_E2E_LACKS") {
        let line = format!("{case} {}\n", missing.words());
        let opened = OpenOptions::new().append(true).create(true).open(file);
        opened.unwrap().write_all(line.as_bytes()).unwrap();
    }
    true
}

/// The kernel's version.
fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether this is a guest of QEMU: `run.sh --qemu` says so.
fn stock_kernel() -> bool {
    std::env::var_os("DHOW_E2E_QEMU").is_some_and(|text| !text.is_empty())
}

/// Whether pid 1 is systemd.
pub fn has_systemd() -> bool {
    fs::metadata("/run/systemd/system").is_ok_and(|m| m.is_dir())
}

/// Ends the case here where one of these is missing, and has it counted by that name:
/// `needs!(CgroupV1);` as its first line.
#[macro_export]
macro_rules! needs {
    ($($need:ident $(($($number:expr),+))?),+) => {
        if $crate::place::lacks(&[$($crate::place::Need::$need $(($($number),+))?),+]) {
            return;
        }
    };
}
