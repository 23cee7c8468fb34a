//! `--init`: the first process of a container, which starts the command and minds it.
//!
//! It hands on every signal, waits for orphans, and ends as its command ended. It is
//! static, without a C library, and a file of its own: never the dhow program.
#![no_std]
#![no_main]

#[path = "../../runtime/kernel/bare.rs"]
mod bare;
#[path = "../../runtime/kernel/bare_process.rs"]
mod process;

use core::ffi::CStr;

/// The command's place in argv: after our name and `--`.
const COMMAND: usize = 2;
const SIGCHLD: i32 = 17;
/// Signals that a process brings upon itself stay with it: TRAP, ABRT, BUS, FPE, ILL, SEGV, SYS.
const OWN: [i32; 7] = [5, 6, 7, 8, 4, 11, 31];
const ENOENT: i32 = 2;
const ENOTDIR: i32 = 20;
const EACCES: i32 = 13;

/// The whole program; its value is the exit code.
fn run() -> i32 {
    if process::argument(1) != Some(c"--") || process::argument(COMMAND).is_none() {
        bare::write(2, b"usage: docker-init -- COMMAND [ARG...]\n");
        return 1;
    }
    let mut forwarded = u64::MAX;
    for signal in OWN {
        forwarded &= !(1 << (signal - 1));
    }
    // KERNEL: held back, a signal reaches even the first process of a pid namespace (signal(7)).
    let before = process::hold_back(forwarded);
    match process::fork() {
        0 => {
            process::lead_group(process::own_pid());
            process::hold_back(before);
            become_command()
        }
        child if child > 0 => mind(child, forwarded),
        _ => {
            bare::write(2, b"docker-init: no process can be made\n");
            1
        }
    }
}

/// Stays until the command has ended.
fn mind(command: i32, forwarded: u64) -> i32 {
    loop {
        let signal = process::next_signal(forwarded);
        if signal != SIGCHLD {
            process::send(command, signal);
            continue;
        }
        let mut code = None;
        while let Some((pid, status)) = process::ended_child() {
            if pid == command {
                code = Some(code_of(status));
            }
        }
        if let Some(code) = code {
            return code;
        }
    }
}

/// As a shell says it.
fn code_of(status: i32) -> i32 {
    match status & 0x7f {
        0 => (status >> 8) & 0xff,
        signal => 128 + signal,
    }
}

/// execvp(3): a name without a slash is looked for in PATH.
fn become_command() -> i32 {
    let Some(name) = process::argument(COMMAND) else { return 1 };
    let bytes = name.to_bytes();
    let mut error = ENOENT;
    if bytes.contains(&b'/') {
        error = process::execute(name, COMMAND);
    } else if !bytes.is_empty() {
        let path = process::variable(b"PATH=").unwrap_or(b"/usr/local/bin:/bin:/usr/bin");
        for dir in path.split(|b| *b == b':') {
            let mut space = [0; 4096];
            let Some(file) = joined(dir, bytes, &mut space) else { continue };
            match process::execute(file, COMMAND) {
                ENOENT | ENOTDIR => {}
                EACCES => error = EACCES,
                other => {
                    error = other;
                    break;
                }
            }
        }
    }
    let missing = matches!(error, ENOENT | ENOTDIR);
    bare::write(2, b"docker-init: exec ");
    bare::write(2, bytes);
    bare::write(2, if missing { b": no such file or directory\n" } else { b": it cannot be executed\n" });
    if missing { 127 } else { 126 }
}

/// `dir/name`; an empty directory is the current one.
fn joined<'a>(dir: &[u8], name: &[u8], space: &'a mut [u8; 4096]) -> Option<&'a CStr> {
    let dir = if dir.is_empty() { b"." } else { dir };
    let end = dir.len() + 1 + name.len();
    space.get_mut(..dir.len())?.copy_from_slice(dir);
    *space.get_mut(dir.len())? = b'/';
    space.get_mut(dir.len() + 1..end)?.copy_from_slice(name);
    CStr::from_bytes_with_nul(space.get(..=end)?).ok()
}
