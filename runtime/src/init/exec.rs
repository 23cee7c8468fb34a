//! The last step: the program.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use dhow_kernel::fd::Loose;
use dhow_kernel::process::{Vector, execve};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::child::Context;
use super::fault::{Because, Cause, Done};
use crate::plan::Plan;
use crate::validate::process::Process;

/// A program that was found, with all that execve needs.
#[derive(Debug)]
pub struct Program {
    path: CString,
    name: CString,
    argv: Vector,
    envp: Vector,
    /// Where it wasn't looked at: whether permissions of files don't hold for it.
    unseen: Option<bool>,
}

/// Executes it; comes back only with a cause.
pub fn perform(plan: &Plan, c: &Context) -> Done {
    if plan.filter.is_none() {
        close(c.preserve)?;
    }
    let Some(program) = &c.program else { return Err(Cause::rule("there is no program")) };
    Err(program.execute())
}

/// Closes, for the program, what isn't its: whatever was opened in between, and whatever came
/// with us. What is opened later asks for that itself.
pub fn close(preserve: u32) -> Done {
    dhow_kernel::fd::cloexec_from(3 + preserve).because("close_range", "")
}

impl Program {
    /// Its environment.
    pub const fn environment(&self) -> &Vector {
        &self.envp
    }

    /// Becomes it.
    pub fn execute(&self) -> Cause {
        let errno = execve(&self.path, &self.argv, &self.envp);
        let looked = self.unseen.map_or(Ok(()), |overrides| usable(&self.path, overrides));
        looked.map_or_else(|errno| missing(&self.name, errno), |()| worded(&self.name, errno))
    }
}

/// As runc: engines tell 126 from 127 by these words.
fn worded(name: &CStr, errno: Errno) -> Cause {
    Cause::new(&format!("exec {}", name.to_string_lossy()), "", errno)
}

/// Finds `args[0]` as execvp(3) would, but before anything is started: an
/// engine wants to hear of a missing program from `create`.
///
/// `now` says that it is executed soon, and who waits for that hears as well of what is missing then.
pub fn find(p: &Process, env: Vec<CString>, now: bool) -> Done<Program> {
    let name = &p.args[0];
    let overrides = overrides(p);
    let (path, unseen) = match name.to_bytes().contains(&b'/') {
        true if now => (name.clone(), Some(overrides)),
        true => {
            usable(name, overrides).map_err(|errno| missing(name, errno))?;
            (name.clone(), None)
        }
        false => (search(name, &p.env, overrides)?, None),
    };
    Ok(Program {
        path,
        unseen,
        name: name.clone(),
        argv: Vector::new(p.args.clone()),
        envp: Vector::new(env),
    })
}

fn missing(name: &CStr, errno: Errno) -> Cause {
    let shown = name.to_string_lossy();
    let mut cause = Cause::new(&format!("exec: {shown:?}: stat {shown}"), "", errno);
    if errno == Errno::EACCES || errno == Errno::EISDIR {
        cause.call = format!("exec: {shown:?}");
    }
    cause
}

/// Whether permissions of files don't hold for the program: access(2) asks for who calls it now.
const fn overrides(p: &Process) -> bool {
    const DAC_OVERRIDE: u64 = 1 << 1;
    p.capabilities.effective & p.capabilities.permitted & DAC_OVERRIDE != 0
}

fn usable(path: &CStr, overrides: bool) -> nix::Result<()> {
    let stat = nix::sys::stat::stat(path)?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    match access(path, AccessFlags::X_OK) {
        // KERNEL: capabilities(7): for execution, only where somebody may execute it.
        Err(Errno::EACCES) if overrides && stat.st_mode & 0o111 != 0 => Ok(()),
        other => other,
    }
}

fn search(name: &CStr, env: &[CString], overrides: bool) -> Done<CString> {
    let path = env.iter().rev().find_map(|e| e.to_bytes().strip_prefix(b"PATH="));
    let mut denied = false;
    for dir in path.unwrap_or_default().split(|b| *b == b':') {
        // A relative entry would search the image's working directory; Go's look-up refuses it too.
        if !dir.starts_with(b"/") {
            continue;
        }
        let full = [dir, b"/", name.to_bytes()].concat();
        let Ok(full) = CString::new(full) else { continue };
        match usable(&full, overrides) {
            Ok(()) => return Ok(full),
            Err(Errno::EACCES) => denied = true,
            Err(_) => {}
        }
    }
    let shown = name.to_string_lossy();
    Err(if denied {
        Cause::new(&format!("exec: {shown:?}"), "", Errno::EACCES)
    } else {
        Cause::rule(format!("exec: {shown:?}: executable file not found in $PATH"))
    })
}

/// Made before the limits and ids, while files can still be opened.
///
/// SPEC: the environment is the config's; HOME is added when it is missing, as runc does.
pub fn environment(p: &Process) -> Vec<CString> {
    let mut env: Vec<CString> = Vec::with_capacity(p.env.len() + 1);
    for (n, entry) in p.env.iter().enumerate() {
        // Of two with one name the last counts, whatever the program's libc thinks.
        let key = key(entry);
        let again = p.env[n + 1..].iter().any(|later| self::key(later) == key);
        // As runc: an empty HOME is none.
        if !again && entry.to_bytes() != b"HOME=" {
            env.push(entry.clone());
        }
    }
    if !env.iter().any(|e| e.to_bytes().starts_with(b"HOME=")) {
        env.push(home(p.uid));
    }
    env
}

fn key(entry: &CStr) -> &[u8] {
    entry.to_bytes().split(|b| *b == b'=').next().unwrap_or_default()
}

/// The user's home by the container's /etc/passwd; bounded, and a plain file only.
fn home(uid: u32) -> CString {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    // CVE: 2024-9676, 2026-47262: it may be a fifo, or endless.
    const LIMIT: u64 = 1 << 20;
    const MOSTLY: usize = 8192;
    let mut text = Vec::new();
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(OsStr::from_bytes(b"/etc/passwd"));
    if let Ok(file) = file
        && file.metadata().is_ok_and(|m| m.is_file())
    {
        let mut file = file.take(LIMIT);
        text.resize(MOSTLY, 0);
        let first = file.read(&mut text).unwrap_or(0);
        text.truncate(first);
        // Mostly it is in there; whether there is more needn't be known then.
        let lines = text.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        if home_in(&text[..lines], uid).is_none() {
            let _ = file.read_to_end(&mut text);
        }
        drop(Loose::from(OwnedFd::from(file.into_inner())));
    }
    CString::new([b"HOME=", home_in(&text, uid).unwrap_or(b"/")].concat()).unwrap_or_default()
}

fn home_in(text: &[u8], uid: u32) -> Option<&[u8]> {
    text.split(|b| *b == b'\n').find_map(|line| {
        let mut fields = line.split(|b| *b == b':').skip(2);
        let id = std::str::from_utf8(fields.next()?).ok()?.parse::<u32>().ok()?;
        let home = fields.nth(2)?;
        (id == uid && !home.is_empty()).then_some(home)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_entry_is_not_searched() {
        let env = [c"PATH=:.:bin:/bin".to_owned()];
        assert_eq!(search(c"sh", &env, false).unwrap(), c"/bin/sh".to_owned());
        let env = [c"PATH=:.".to_owned()];
        let cause = search(c"sh", &env, false).unwrap_err();
        assert!(cause.call.ends_with("executable file not found in $PATH"));
    }

    #[test]
    fn a_directory_is_no_program() {
        assert_eq!(usable(c"/tmp", true), Err(Errno::EISDIR));
        let cause = missing(c"/tmp", Errno::EISDIR);
        assert_eq!((cause.call.as_str(), cause.errno), ("exec: \"/tmp\"", libc::EISDIR));
    }
}
