//! The embedded image's program: what a container sees of the world.
//!
//! No C library, no allocator: it is the image's only file and must run alone.
#![no_std]
#![no_main]

#[path = "../../runtime/kernel/bare.rs"]
mod bare;

use core::ffi::CStr;
use core::fmt::{self, Write};

/// Collects a line's text and writes it at once.
struct Out {
    buffer: [u8; 8192],
    used: usize,
    good: bool,
}

impl Out {
    fn flush(&mut self) {
        self.good &= bare::write(1, self.buffer.get(..self.used).unwrap_or_default());
        self.used = 0;
    }

    fn row(&mut self, name: &str, value: fmt::Arguments) {
        let _ = writeln!(self, "  {name:<14}{value}");
    }
}

impl Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.used == self.buffer.len() {
                self.flush();
            }
            if let Some(slot) = self.buffer.get_mut(self.used) {
                *slot = byte;
            }
            self.used += 1;
        }
        Ok(())
    }
}

/// The whole program; its value is the exit code.
fn run() -> i32 {
    let mut out = Out { buffer: [0; 8192], used: 0, good: true };
    let mut space = [0; 8192];
    let status = text(bare::read(c"/proc/self/status", &mut space));
    let _ = writeln!(out, "Hello from inside a container. This is what it sees:\n");
    process(&mut out, status);
    names(&mut out);
    user(&mut out, status);
    root(&mut out);
    limits(&mut out);
    rights(&mut out, status);
    namespaces(&mut out);
    let _ = writeln!(out, "\nNext: dhow run -it --rm busybox");
    out.flush();
    i32::from(!out.good)
}

fn text(bytes: Option<&[u8]>) -> &str {
    let bytes = bytes.unwrap_or_default();
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => core::str::from_utf8(bytes.get(..e.valid_up_to()).unwrap_or_default())
            .unwrap_or_default(),
    }
}

/// The value of `Key:` in /proc/self/status.
fn field<'a>(status: &'a str, key: &str) -> &'a str {
    let line = status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_default().trim()
}

fn process(out: &mut Out, status: &str) {
    let pid = field(status, "Pid");
    let first = if pid == "1" { ", the first one here" } else { "" };
    out.row("process", format_args!("{pid}{first}"));
}

fn names(out: &mut Out) {
    let (mut a, mut b) = ([0; 256], [0; 256]);
    let name = text(bare::read(c"/proc/sys/kernel/hostname", &mut a)).trim();
    out.row("hostname", format_args!("{name}"));
    let kernel = text(bare::read(c"/proc/sys/kernel/osrelease", &mut b)).trim();
    out.row("kernel", format_args!("Linux {kernel}"));
}

fn user(out: &mut Out, status: &str) {
    let id = |key| field(status, key).split_whitespace().next().unwrap_or("?");
    let groups = field(status, "Groups");
    let more = if groups.is_empty() { "" } else { ", groups " };
    out.row("user", format_args!("{}:{}{more}{groups}", id("Uid"), id("Gid")));
}

/// The root's mount, and how many there are.
fn root(out: &mut Out) {
    let mut space = [0; 65536];
    let mounts = text(bare::read(c"/proc/self/mountinfo", &mut space));
    let count = mounts.lines().count();
    let line = mounts.lines().find(|l| l.split(' ').nth(4) == Some("/")).unwrap_or_default();
    let kind = line.split(" - ").nth(1).and_then(|l| l.split(' ').next()).unwrap_or("unknown");
    let options = line.split(' ').nth(5).unwrap_or_default();
    let access = if options.split(',').any(|o| o == "ro") { "read-only" } else { "writable" };
    out.row("root", format_args!("{kind}, {access}; {count} mounts"));
}

fn limits(out: &mut Out) {
    let mut space = [0; 64];
    // cgroup v2 first, then v1's name for the same.
    let mut first = |paths: [&CStr; 2]| -> Option<u64> {
        for path in paths {
            if let Some(bytes) = bare::read(path, &mut space) {
                return text(Some(bytes)).trim().parse().ok();
            }
        }
        None
    };
    let memory = first([c"/sys/fs/cgroup/memory.max", c"/sys/fs/cgroup/memory/memory.limit_in_bytes"]);
    let pids = first([c"/sys/fs/cgroup/pids.max", c"/sys/fs/cgroup/pids/pids.max"]);
    match memory {
        // v1 says "no limit" with the largest number of whole pages.
        Some(bytes) if bytes < 1 << 60 => {
            out.row("memory", format_args!("{} MiB at most", bytes >> 20));
        }
        _ => out.row("memory", format_args!("no limit")),
    }
    match quota() {
        Some((quota, period)) => {
            let hundredths = quota * 100 / period;
            let (whole, rest) = (hundredths / 100, hundredths % 100);
            out.row("cpu", format_args!("{whole}.{rest:02} CPUs at most"));
        }
        None => out.row("cpu", format_args!("no limit")),
    }
    match pids {
        Some(n) => out.row("processes", format_args!("{n} at most")),
        None => out.row("processes", format_args!("no limit")),
    }
}

/// Microseconds of CPU in each period of so many microseconds.
fn quota() -> Option<(u64, u64)> {
    let (mut a, mut b) = ([0; 64], [0; 64]);
    let (quota, period) = match bare::read(c"/sys/fs/cgroup/cpu.max", &mut a) {
        Some(bytes) => text(Some(bytes)).trim().split_once(' ')?,
        None => (
            text(bare::read(c"/sys/fs/cgroup/cpu/cpu.cfs_quota_us", &mut a)).trim(),
            text(bare::read(c"/sys/fs/cgroup/cpu/cpu.cfs_period_us", &mut b)).trim(),
        ),
    };
    let period = period.parse().ok().filter(|p| *p > 0)?;
    Some((quota.parse().ok()?, period))
}

const CAPABILITIES: [&str; 41] = [
    "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid",
    "setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw",
    "ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct",
    "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod",
    "lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog",
    "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
];

fn rights(out: &mut Out, status: &str) {
    let set = u64::from_str_radix(field(status, "CapEff"), 16).unwrap_or(0);
    let _ = write!(out, "  {:<14}{} of {}", "capabilities", set.count_ones(), CAPABILITIES.len());
    // The first line has begun with the count.
    let mut width = 10;
    for (i, name) in CAPABILITIES.iter().enumerate().filter(|(i, _)| set & (1 << i) != 0) {
        if width + name.len() > 62 {
            let _ = write!(out, "\n{:15}", "");
            width = 0;
        }
        let _ = write!(out, "{}{name}", if set & ((1 << i) - 1) == 0 { ": " } else { " " });
        width += name.len() + 1;
    }
    let _ = writeln!(out);
    let filters = field(status, "Seccomp_filters");
    match field(status, "Seccomp") {
        "2" if filters.is_empty() => out.row("seccomp", format_args!("on")),
        "2" => out.row("seccomp", format_args!("on, filters: {filters}")),
        "1" => out.row("seccomp", format_args!("strict")),
        _ => out.row("seccomp", format_args!("off")),
    }
    let gain = match field(status, "NoNewPrivs") {
        "1" => "setuid programs give no rights (no_new_privs)",
        _ => "setuid programs give rights",
    };
    out.row("privileges", format_args!("{gain}"));
}

const NAMESPACES: [(&str, &CStr); 8] = [
    ("cgroup", c"/proc/self/ns/cgroup"),
    ("ipc", c"/proc/self/ns/ipc"),
    ("mnt", c"/proc/self/ns/mnt"),
    ("net", c"/proc/self/ns/net"),
    ("pid", c"/proc/self/ns/pid"),
    ("time", c"/proc/self/ns/time"),
    ("user", c"/proc/self/ns/user"),
    ("uts", c"/proc/self/ns/uts"),
];

/// KERNEL: include/linux/proc_ns.h: the first namespaces have these fixed numbers.
const FIRST: core::ops::RangeInclusive<u64> = 0xEFFF_FFF0..=0xEFFF_FFFF;

fn namespaces(out: &mut Out) {
    for (title, own) in [("own", true), ("the machine's", false)] {
        let _ = write!(out, "  {:<14}{title}:", if own { "namespaces" } else { "" });
        for (name, path) in NAMESPACES {
            let mut space = [0; 64];
            let number = text(bare::link(path, &mut space));
            let number = number.split(['[', ']']).nth(1).and_then(|n| n.parse::<u64>().ok());
            if number.is_some_and(|n| FIRST.contains(&n) != own) {
                let _ = write!(out, " {name}");
            }
        }
        let _ = writeln!(out);
    }
}
