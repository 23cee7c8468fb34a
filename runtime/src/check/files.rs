//! What isn't where it should be: the root, sources of mounts, hooks, the program.

use std::ffi::{CStr, CString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat};

use super::program::Fault;
use super::{Asked, Finding, Report};
use crate::error::{Error, describe};
use crate::init::child::HELD;
use crate::init::protocol::errno_of;
use crate::init::root::Root;
use crate::lifecycle;
use crate::validate::hook::Hook;
use crate::validate::linux::ns;
use crate::validate::mount::{Ids, Kind, Links, Mapping};
use crate::validate::pointer::escaped;

/// Looks at files of the host and, confined, of the root.
pub fn look(asked: &Asked<'_>, report: &mut Report) {
    let c = asked.container;
    for fault in lifecycle::faults(c) {
        match fault {
            Error::Config { pointer, why } => {
                report.problems.push(asked.about(&pointer, why, remedy(&pointer)));
            }
            other => report.problems.push(asked.about("", other.to_string(), "")),
        }
    }
    sources(asked, report);
    devices(asked, report);
    hooks(asked, report);
    if c.process.terminal {
        let why = "create, and run --detach, need --console-socket for it";
        report.warnings.push(asked.about("/process/terminal", why, ""));
    }
    let Ok(root) = open(c.rootfs.as_c_str(), HELD, Mode::empty()).map(Root::new) else { return };
    program(asked, &root, report);
    for (n, hook) in c.hooks.start_container.iter().enumerate() {
        if let Err(errno) = executable(&root, &hook.path) {
            let pointer = format!("/hooks/startContainer/{n}/path");
            inside(asked, &pointer, std::slice::from_ref(&hook.path), errno, report);
        }
    }
}

fn remedy(pointer: &str) -> &'static str {
    match pointer.split('/').nth(1) {
        Some("root") => "make it, or name the right one",
        Some("process") => "leave it out",
        Some("linux") => "name one that exists, or leave it out",
        _ => "",
    }
}

fn sources(asked: &Asked<'_>, report: &mut Report) {
    for mount in &asked.container.mounts {
        let missing = |path: &CStr| {
            let path = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
            let link = mount.links != Links::Followed && fs::symlink_metadata(path).is_ok();
            let found = if link { Ok(()) } else { fs::metadata(path).map(drop) };
            found.err().map(|e| describe(errno_of(&e)))
        };
        if let Kind::Bind { source, .. } = &mount.kind
            && let Some(why) = missing(source)
        {
            let pointer = format!("/mounts/{}/source", mount.index);
            report.problems.push(asked.about(&pointer, why, "make it, or leave the mount out"));
        }
        if let Ids::Mapped { by: Mapping::Space(path), .. } = &mount.ids
            && let Some(why) = missing(path)
        {
            let pointer = format!("/mounts/{}", mount.index);
            let why = format!("{}: {why}", path.to_string_lossy());
            report.problems.push(asked.about(&pointer, why, "name a user namespace that exists"));
        }
    }
}

/// In a user namespace whose maps we don't write, or as a user, devices are the host's, bound;
/// interfaces come from where the caller is.
fn devices(asked: &Asked<'_>, report: &mut Report) {
    let host = |path: &CStr| Path::new("/").join(std::ffi::OsStr::from_bytes(path.to_bytes()));
    let spaces = &asked.container.namespaces;
    let made = spaces.new & ns::USER != 0 && nix::unistd::geteuid().is_root();
    let bound = spaces.has(ns::USER) && !made;
    for (n, device) in asked.container.devices.iter().enumerate().filter(|_| bound) {
        if device.kind != libc::S_IFIFO && !host(&device.path).exists() {
            let pointer = format!("/linux/devices/{n}/path");
            let why = "in a user namespace it is bound from the host, which has none";
            report.problems.push(asked.about(&pointer, why, "make it there, or leave it out"));
        }
    }
    let interfaces = asked.value("/linux/netDevices").as_object().into_iter().flatten();
    for (name, _) in interfaces {
        if !Path::new("/sys/class/net").join(name).exists() {
            let pointer = format!("/linux/netDevices/{}", escaped(name));
            let why = "there is no network interface of that name";
            report.problems.push(asked.about(&pointer, why, "name one that exists"));
        }
    }
}

/// Those that run in the runtime's mount namespace, or before the root is `/`.
fn hooks(asked: &Asked<'_>, report: &mut Report) {
    let hooks = &asked.container.hooks;
    for (kind, list) in [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
        ("createContainer", &hooks.create_container),
        ("poststart", &hooks.poststart),
        ("poststop", &hooks.poststop),
    ] {
        for (n, hook) in list.iter().enumerate() {
            if let Some(why) = unusable(hook) {
                let pointer = format!("/hooks/{kind}/{n}/path");
                report.problems.push(asked.about(&pointer, why, "install it, or take it out"));
            }
        }
    }
}

fn unusable(hook: &Hook) -> Option<String> {
    let path = Path::new(std::ffi::OsStr::from_bytes(hook.path.to_bytes()));
    match fs::metadata(path) {
        Err(e) => Some(describe(errno_of(&e))),
        Ok(meta) if meta.is_dir() => Some("is a directory".to_owned()),
        Ok(meta) if meta.permissions().mode() & 0o111 == 0 => Some("is not executable".to_owned()),
        Ok(_) => None,
    }
}

/// What execvp(3) would find, as far as the root shows it.
fn program(asked: &Asked<'_>, root: &Root, report: &mut Report) {
    let p = &asked.container.process;
    let name = p.args[0].to_bytes();
    let tried: Vec<CString> = if name.starts_with(b"/") {
        vec![p.args[0].clone()]
    } else if name.contains(&b'/') {
        joined(p.cwd.to_bytes(), name).into_iter().collect()
    } else {
        let path = p.env.iter().rev().find_map(|e| e.to_bytes().strip_prefix(b"PATH="));
        let dirs = path.unwrap_or_default().split(|b| *b == b':');
        dirs.filter(|dir| dir.starts_with(b"/")).filter_map(|dir| joined(dir, name)).collect()
    };
    let mut worst = Errno::ENOENT;
    for path in &tried {
        match executable(root, path) {
            Ok(()) => return format(asked, root, path, report),
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(other) => worst = other,
        }
    }
    match &tried[..] {
        [] => {
            let why = "executable file not found in $PATH, which names no absolute directory";
            let finding = asked.about("/process/args/0", why, "set PATH in /process/env");
            report.problems.push(finding);
        }
        tried => inside(asked, "/process/args/0", tried, worst, report),
    }
}

/// Found, it may still not be executable here.
fn format(asked: &Asked<'_>, root: &Root, path: &CStr, report: &mut Report) {
    match super::program::fault(root, path) {
        None => {}
        Some(Fault::Format(why)) => {
            let remedy = "the host may have a handler for it (binfmt_misc)";
            report.warnings.push(asked.about("/process/args/0", why, remedy));
        }
        Some(Fault::Interpreter(other)) => {
            if let Err(errno) = executable(root, &other) {
                let why =
                    format!("its interpreter {}: {}", other.to_string_lossy(), describe(errno));
                let remedy = "put that into the root too";
                let finding = asked.about("/process/args/0", why, remedy);
                sorted(asked, std::slice::from_ref(&other), report).push(finding);
            }
        }
    }
}

fn joined(dir: &[u8], name: &[u8]) -> Option<CString> {
    CString::new([dir, b"/", name].concat()).ok()
}

fn executable(root: &Root, path: &CStr) -> nix::Result<()> {
    let stat = fstat(&root.open(path, OFlag::O_PATH)?)?;
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG if stat.st_mode & 0o111 != 0 => Ok(()),
        libc::S_IFDIR => Err(Errno::EISDIR),
        _ => Err(Errno::EACCES),
    }
}

/// A program, or hook, that the root lacks.
fn inside(asked: &Asked<'_>, pointer: &str, paths: &[CString], errno: Errno, report: &mut Report) {
    let why = match errno {
        Errno::ENOENT if pointer.ends_with("args/0") => {
            "executable file not found in $PATH of the root".to_owned()
        }
        other => describe(other),
    };
    let finding = asked.about(pointer, why, "put it into the root, or name another");
    sorted(asked, paths, report).push(finding);
}

/// Where a finding about files of the root belongs: a mount may bring them.
fn sorted<'a>(
    asked: &Asked<'_>,
    paths: &[CString],
    report: &'a mut Report,
) -> &'a mut Vec<Finding> {
    let path = |path: &CStr| Path::new("/").join(std::ffi::OsStr::from_bytes(path.to_bytes()));
    let below = |m: &CStr| paths.iter().any(|p| path(p).starts_with(path(m)));
    let binds = |kind: &Kind| matches!(kind, Kind::Bind { .. });
    let mounted = asked.container.mounts.iter().any(|m| binds(&m.kind) && below(&m.target));
    if mounted { &mut report.warnings } else { &mut report.problems }
}
