//! Repositories, by the program `git`, as docker and buildah have it done.
//!
//! Why not a crate: gix (its http client and checkout) would bring 122 crates that aren't here yet,
//! an asynchronous runtime and a second TLS among them, and updates no submodules. Where `git` is not
//! installed, what needs it fails.
//!
//! A repository is hostile input, and so is an address: git reads no configuration but ours, asks
//! nobody, runs no hook, no filter and no transport but four, and writes to a directory of ours.
//! CVE: 2024-32002 and its kind (a submodule writes a hook through a link): hooks are off.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::{Mode, UtimensatFlags, umask, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;

use super::Fetch;
use super::address::Address;
use crate::build::child::Child;
use crate::build::progress::Stream;
use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::layer::at::{is_dir, names, open_dir, stat_at};
use crate::layer::name::join;
use crate::registry::url::shown;

/// What holds for every run.
const SETTINGS: [&str; 13] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.autocrlf=false",
    "core.symlinks=true",
    "core.fileMode=true",
    "credential.helper=",
    "init.templateDir=",
    "init.defaultBranch=master",
    "gc.auto=0",
    "advice.detachedHead=false",
    // A server that sends next to nothing for a minute is given up.
    "http.lowSpeedLimit=256",
    "http.lowSpeedTime=60",
    // Of submodules, too: none is a directory of this machine.
    "protocol.file.allow=never",
];
/// The only transports. SPEC: git(1).
const PROTOCOLS: &str = "http:https:git:ssh";

/// A repository's files.
pub(super) struct Checkout {
    pub root: RootDir,
    /// The commit that they are of.
    pub commit: String,
}

/// Fetches what an address names into `dir`, which is empty.
pub(super) fn checkout(
    fetch: &Fetch<'_>,
    address: &Address,
    dir: &Path,
    keep: bool,
) -> Result<Checkout> {
    let git = Git::new(fetch, address, dir)?;
    git.run(&["init", "--quiet"])?;
    git.run(&["remote", "add", "origin", "--", &git.remote()])?;
    let got = git.fetch(keep)?;
    git.run(&["checkout", "--quiet", "--force", "--detach", &got])?;
    let commit = git.run(&["rev-parse", "HEAD"])?;
    git.verify(&commit, &got)?;
    let submodules = address.submodules.unwrap_or(true);
    let root = RootDir::open(dir)?;
    if submodules && stat_at(&root, b".gitmodules").is_ok() {
        let update = ["submodule", "--quiet", "update", "--init", "--recursive"];
        // As with the repository: a plain http server has no shallow ones.
        git.run(&[&update[..], &["--depth=1"]].concat()).or_else(|_| git.run(&update))?;
    }
    let time = git.run(&["log", "-1", "--format=%ct", "HEAD"])?;
    let time: i64 = time.parse().map_err(|_| git.refused("its commit has no time"))?;
    if keep {
        git.run(&["remote", "set-url", "origin", "--", &shown(&address.remote)])?;
        git.run(&["reflog", "expire", "--all", "--expire=now"])?;
        // The index without this checkout's inodes and times: who copies it has the same each time.
        git.run(&["read-tree", "HEAD"])?;
        let _ = fs::remove_file(dir.join(".git/FETCH_HEAD"));
    } else {
        let own = dir.join(".git");
        fs::remove_dir_all(&own).map_err(Error::at("remove", &own))?;
    }
    set_times(&root, b"", &TimeSpec::new(time, 0))
        .map_err(|e| root.error("set the times of", b"", e))?;
    Ok(Checkout { root: git.below(root)?, commit })
}

struct Git<'a> {
    program: PathBuf,
    fetch: &'a Fetch<'a>,
    address: &'a Address,
    dir: &'a Path,
    /// The beginning of the address, with and without who asks, if it says who.
    user: Option<(String, String)>,
}

impl<'a> Git<'a> {
    fn new(fetch: &'a Fetch<'a>, address: &'a Address, dir: &'a Path) -> Result<Self> {
        let runs = |path: &PathBuf| {
            path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        };
        let program = fetch.search.iter().map(|dir| dir.join("git")).find(runs);
        let program = program.ok_or_else(|| {
            let what = format!("fetching {}", shown(&address.remote));
            Error::unsupported(what, "the program git is not installed")
        })?;
        Ok(Self { program, fetch, address, dir, user: user(&address.remote) })
    }

    /// What git writes down, of submodules as well: an address without user and password.
    fn remote(&self) -> String {
        match &self.user {
            Some((with, without)) => self.address.remote.replacen(with, without, 1),
            None => self.address.remote.clone(),
        }
    }

    fn refused(&self, why: &str) -> Error {
        Error::invalid(format!("repository {}", shown(&self.address.remote)), why)
    }

    /// What it prints, trimmed.
    fn run(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.args(args).current_dir(self.dir).env_clear();
        let search = std::env::join_paths(self.fetch.search).unwrap_or_default();
        let fixed: [(&str, &OsStr); 12] = [
            ("PATH", &search),
            ("HOME", "/dev/null".as_ref()),
            ("LC_ALL", "C".as_ref()),
            ("GIT_CONFIG_NOSYSTEM", "1".as_ref()),
            ("GIT_CONFIG_GLOBAL", "/dev/null".as_ref()),
            ("GIT_ATTR_NOSYSTEM", "1".as_ref()),
            ("GIT_TERMINAL_PROMPT", "0".as_ref()),
            ("GIT_ASKPASS", "".as_ref()),
            ("GIT_ALLOW_PROTOCOL", PROTOCOLS.as_ref()),
            ("GIT_DIR", ".git".as_ref()),
            ("GIT_OPTIONAL_LOCKS", "0".as_ref()),
            // DIFFERS: BuildKit takes any host's key where it was told of none.
            ("GIT_SSH_COMMAND", "ssh -F /dev/null -o BatchMode=yes".as_ref()),
        ];
        // Submodules find their own.
        let fixed =
            fixed.into_iter().filter(|(name, _)| *name != "GIT_DIR" || args[0] != "submodule");
        command.envs(fixed);
        // So it comes into no file of `.git`, submodules' neither. Needs git 2.31.
        if let Some((with, without)) = &self.user {
            command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_VALUE_0", without);
            command.env("GIT_CONFIG_KEY_0", format!("url.{with}.insteadOf"));
        }
        if let Some(proxy) = &self.fetch.settings.proxy {
            command.envs(proxy.variables());
        }
        if let Some(agent) = self.fetch.agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        command.stdin(Stdio::null());
        let (well, out, said) = self.wait(&mut command)?;
        if well {
            return Ok(String::from_utf8_lossy(&out).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&said);
        let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        let fatal = lines.clone().find(|line| line.starts_with("fatal:"));
        let last = fatal.or_else(|| lines.next_back()).unwrap_or("it says nothing");
        // An address may hold a password.
        let mut last = last.replace(&self.address.remote, &shown(&self.address.remote));
        if let Some((with, without)) = &self.user {
            last = last.replace(with, without);
        }
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        let last: String = last.chars().map(clean).take(300).collect();
        Err(self.refused(&format!("git {}: {last}", args[0])))
    }

    /// Runs it to its end: whether that is a good one, and what it wrote to its two outputs.
    fn wait(&self, command: &mut Command) -> Result<(bool, Vec<u8>, Vec<u8>)> {
        let canceled = || self.refused("the build was canceled");
        if self.fetch.cancel.is_stopped() {
            return Err(canceled());
        }
        // A group of its own, to end it with whom it has called: the one that speaks http, and ssh.
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = with_umask(|| command.spawn()).map_err(Error::at("run", &self.program))?;
        let group = Pid::from_raw(child.id().cast_signed());
        let mut child = Child::new(child, "git", self.fetch.cancel)?;
        let (mut out, mut said) = (Vec::new(), Vec::new());
        let end = child.run(&mut |stream, bytes| match stream {
            Stream::Stdout => out.extend_from_slice(bytes),
            Stream::Stderr => said.extend_from_slice(bytes),
        });
        if let Ok(Some(end)) = end {
            return Ok((end.success(), out, said));
        }
        // It isn't waited for yet: the group's number is nobody else's.
        let _ = killpg(group, Signal::SIGKILL);
        child.kill();
        end.and(Err(canceled()))
    }

    /// Brings what is wanted, and says what it is now called: one commit if the server gives that,
    /// else all. Where `.git` stays, a branch or tag has its name in it, for `git describe`.
    fn fetch(&self, keep: bool) -> Result<String> {
        let got = || "FETCH_HEAD".to_owned();
        let wanted = match self.address.reference.as_str() {
            "" => "HEAD".to_owned(),
            commit if is_commit(commit) => commit.to_owned(),
            name => match self.named(name)? {
                Some(full) => full,
                None if is_hex(name) => return self.everything(name),
                None => return Err(self.refused(&format!("it has no branch or tag {name}"))),
            },
        };
        let named = keep && wanted.starts_with("refs/");
        let refspec = if named { format!("+{wanted}:{wanted}") } else { wanted.clone() };
        // The branch may be the one that HEAD names; there are no files yet.
        let begin = ["fetch", "--quiet", "--no-tags", "--update-head-ok"];
        let end = ["--", "origin", refspec.as_str()];
        let shallow = [&begin[..], &["--depth=1"], &end].concat();
        if self.run(&shallow).is_ok() {
            return Ok(got());
        }
        // A plain http server has no shallow ones.
        let deep = [&begin[..], &end].concat();
        match self.run(&deep) {
            Ok(_) => Ok(got()),
            Err(_) if is_commit(&wanted) => self.everything(&wanted),
            Err(e) => Err(e),
        }
    }

    /// The full name of a branch or tag; a branch goes first, as with `git checkout`.
    fn named(&self, name: &str) -> Result<Option<String>> {
        let list = self.run(&["ls-remote", "--", "origin", name])?;
        let has = |full: &String| {
            list.lines().any(|line| line.split_once('\t').is_some_and(|(_, known)| known == full))
        };
        let short = name.strip_prefix("refs/").unwrap_or(name);
        let full = ["refs/", "refs/heads/", "refs/tags/"].map(|prefix| format!("{prefix}{short}"));
        Ok(full.into_iter().find(has))
    }

    /// Fetches all branches and tags, for a commit that only they lead to.
    fn everything(&self, commit: &str) -> Result<String> {
        let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
        self.run(&["fetch", "--quiet", "--", "origin", all[0], all[1]])?;
        let peeled = format!("{commit}^{{commit}}");
        self.run(&["rev-parse", "--verify", "--quiet", "--end-of-options", &peeled])
            .map_err(|_| self.refused(&format!("it has no commit {commit}")))
    }

    /// The commit, or the tag that led to it, must be the one that was said.
    fn verify(&self, commit: &str, got: &str) -> Result<()> {
        let Some(want) = &self.address.checksum else { return Ok(()) };
        let tag = self.run(&["rev-parse", got]).unwrap_or_default();
        if commit.starts_with(want) || tag.starts_with(want) {
            return Ok(());
        }
        Err(self.refused(&format!("its commit should be {want}, but is {commit}")))
    }

    /// The directory that is wanted: a link is none.
    fn below(&self, root: RootDir) -> Result<RootDir> {
        let subdir = &self.address.subdir;
        if subdir.is_empty() {
            return Ok(root);
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        match root.open_plain(subdir.as_bytes(), flags) {
            Ok(fd) => Ok(RootDir::from_fd(fd, root.path().join(subdir))),
            Err(Errno::ELOOP | Errno::ENOTDIR) => {
                Err(self.refused(&format!("{subdir} is no directory, or is behind a link")))
            }
            Err(Errno::ENOENT) => Err(self.refused(&format!("it has no directory {subdir}"))),
            Err(e) => Err(root.error("open", subdir.as_bytes(), e)),
        }
    }
}

/// Runs something under the usual umask, whatever the caller's is: a commit's files have the same
/// modes everywhere.
fn with_umask<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = || {
        // KERNEL: unshare(2): CLONE_FS needs no privilege; threads share the umask otherwise.
        if unshare(CloneFlags::CLONE_FS).is_ok() {
            umask(Mode::S_IWGRP | Mode::S_IWOTH);
        }
        work()
    };
    let done = thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The beginning of an address by HTTP with who asks, and without.
fn user(remote: &str) -> Option<(String, String)> {
    let (scheme, rest) = remote.split_once("://")?;
    let by_http = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let authority = rest.split('/').next().filter(|_| by_http)?;
    let (_, host) = authority.rsplit_once('@')?;
    Some((format!("{scheme}://{authority}/"), format!("{scheme}://{host}/")))
}

fn is_hex(text: &str) -> bool {
    text.len() >= 7 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && is_hex(text)
}

/// All is of the commit's time: when it was fetched matters to nobody.
fn set_times(root: &RootDir, path: &[u8], time: &TimeSpec) -> nix::Result<()> {
    let dir = open_dir(root, path)?;
    for base in names(dir.try_clone().map_err(|_| Errno::EMFILE)?)? {
        if is_dir(&stat_at(&dir, &base)?) {
            set_times(root, &join(path, &base), time)?;
        }
        utimensat(&dir, base.as_slice(), time, time, UtimensatFlags::NoFollowSymlink)?;
    }
    Ok(())
}
