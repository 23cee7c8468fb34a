//! An ordinary user of the machine, who is there as long as a case lasts: nothing of the machine's
//! own /etc is changed, as the user's commands see another one.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::{Cmd, Done, Pty, World, program};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// What goes before each command: another /etc/passwd, /etc/subuid and /etc/subgid, a /dev/net/tun
/// that is everybody's as udev has it, then the user.
const BECOME: &str = "set -e
    mount --bind \"$1\" /etc/passwd; mount --bind \"$2\" /etc/subuid; mount --bind \"$2\" /etc/subgid
    if [ -e /dev/net/tun ]; then mount --bind \"$3\" /dev/net/tun; fi
    user=$4; shift 4; exec setpriv --reuid=\"$user\" --regid=\"$user\" --clear-groups -- \"$@\"";

/// A user with a home in a world.
pub struct Ordinary<'a> {
    world: &'a World,
    uid: u32,
}

impl<'a> Ordinary<'a> {
    /// With `ranges`, 65,536 ids more are the user's.
    pub fn new(world: &'a World, ranges: bool) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let uid = 23_000 + std::process::id() % 1000 * 10 + number;
        let this = Self { world, uid };
        let open = |dir: PathBuf, mode| {
            fs::create_dir_all(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
            dir
        };
        open(world.path(""), 0o755);
        for (dir, mode) in [("home", 0o755), ("rt", 0o700)] {
            chown(open(world.path(dir), mode), Some(uid), Some(uid)).unwrap();
        }
        let programs = open(world.path("bin"), 0o755);
        for name in ["dhow", "dhow-image", "dhow-runtime"] {
            // The programs may stand where the user can't go.
            let (from, to) = (program(name), programs.join(name));
            fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(drop)).unwrap();
        }
        let machine = fs::read_to_string("/etc/passwd").unwrap();
        let home = world.path("home");
        let line = format!("ann:x:{uid}:{uid}::{}:/bin/sh\n", home.display());
        fs::write(world.path("passwd"), machine + &line).unwrap();
        let range = format!("ann:{}:65536\n", this.first());
        fs::write(world.path("subid"), if ranges { range } else { String::new() }).unwrap();
        let tun = makedev(10, 200);
        mknod(&world.path("tun"), SFlag::S_IFCHR, Mode::empty(), tun).unwrap();
        fs::set_permissions(world.path("tun"), fs::Permissions::from_mode(0o666)).unwrap();
        let settings = world.path("daemon.json");
        if settings.exists() {
            fs::set_permissions(settings, fs::Permissions::from_mode(0o644)).unwrap();
        }
        this
    }

    /// Who it is.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The first id of the user's range.
    pub fn first(&self) -> u32 {
        400_000_000 + (self.uid - 23_000) * 65_536
    }

    /// Where the user's images and containers are.
    pub fn root(&self) -> PathBuf {
        self.world.path("home/.local/share/dhow")
    }

    /// Where what runs is.
    pub fn run_dir(&self) -> PathBuf {
        self.world.path("rt/dhow")
    }

    /// Any command of this user's.
    pub fn cmd<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, words: I) -> Cmd {
        let mut words = words.into_iter();
        let world = self.world;
        let file = |name: &str| world.path(name).into_os_string();
        let user = self.uid.to_string();
        let before = ["unshare", "-m", "--propagation", "private", "sh", "-c", BECOME, "sh"];
        let before = before.map(Into::into).into_iter();
        world
            .cmd(words.next().unwrap())
            .args(words)
            .without_env("DHOW_ROOT")
            .without_env("DHOW_RUN")
            .without_env("XDG_DATA_HOME")
            .env("XDG_RUNTIME_DIR", world.path("rt"))
            .env("PATH", format!("{}:/usr/bin:/bin", world.path("bin").display()))
            .under(before.chain([file("passwd"), file("subid"), file("tun"), user.into()]))
    }

    /// `dhow ARGS`, not yet run.
    pub fn dhow_cmd<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Cmd {
        let program = self.world.path("bin/dhow").into_os_string();
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        self.cmd(std::iter::once(program).chain(args))
    }

    /// Runs `dhow ARGS`.
    pub fn dhow<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Done {
        self.dhow_cmd(args).run()
    }

    /// Runs `dhow ARGS` on a terminal.
    pub fn dhow_pty<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Pty {
        Pty::start(self.dhow_cmd(args))
    }
}
