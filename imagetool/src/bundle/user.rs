//! Who `USER` is: names and numbers looked up in the image's own passwd and group.
//!
//! The files are hostile input: opened inside the root, never blocking, only if regular,
//! read up to a bound. A number is a strict id and is never looked up as a name.
//! CVE: 2024-9676 (passwd as FIFO), 2024-40635 and 2026-46680 (huge numbers became root),
//! 2026-47262 (endless passwd), 2023-25173 (primary group missing from the groups).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};

use crate::error::{Error, Result};
use crate::layer::RootDir;
use crate::layer::at::kind;

/// No passwd or group file is read beyond this.
const MAX: u64 = 4 << 20;
/// DIFFERS: the kernel takes ids up to 2³²-2; docker and runc up to this, and so images.
const MAX_ID: u32 = i32::MAX as u32;

/// A user, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Its groups: the primary one first, then those that list it as a member.
    pub additional_gids: Vec<u32>,
    /// Its home; `/` if unknown, empty if there was nothing to look it up in.
    pub home: String,
}

/// Resolves `user[:group]` in a root; empty means root.
pub fn resolve(root: &RootDir, spec: &str) -> Result<User> {
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (spec, None),
    };
    let wanted = Wanted::parse(if user.is_empty() { "0" } else { user })
        .map_err(|why| Error::usage("user", spec, why))?;
    let passwd = read(root, "etc/passwd")?;
    let known = accounts(&passwd).find(|a| wanted.fits(a.name, a.uid));
    let (uid, gid, home) = match (&known, &wanted) {
        (Some(account), _) => (account.uid, account.gid, account.home),
        (None, Wanted::Id(uid)) => (*uid, 0, "/"),
        (None, Wanted::Name(name)) => return Err(unknown("user", name, "/etc/passwd")),
    };
    let home = if home.is_empty() { "/" } else { home }.to_owned();
    if let Some(group) = group {
        let gid = self::group(root, group)?;
        return Ok(User { uid, gid, additional_gids: vec![gid], home });
    }
    let mut additional_gids = vec![gid];
    if let Some(account) = known {
        let table = read(root, "etc/group")?;
        let of = groups(&table).filter(|g| g.members.split(',').any(|m| m == account.name));
        for group in of {
            if !additional_gids.contains(&group.gid) && additional_gids.len() < 65536 {
                additional_gids.push(group.gid);
            }
        }
    }
    Ok(User { uid, gid, additional_gids, home })
}

/// Resolves a group's name or number in a root.
pub fn group(root: &RootDir, spec: &str) -> Result<u32> {
    match Wanted::parse(spec).map_err(|why| Error::usage("group", spec, why))? {
        Wanted::Id(gid) => Ok(gid),
        Wanted::Name(name) => {
            let table = read(root, "etc/group")?;
            let found = groups(&table).find(|g| g.name == name).map(|g| g.gid);
            found.ok_or_else(|| unknown("group", name, "/etc/group"))
        }
    }
}

enum Wanted<'a> {
    Id(u32),
    Name(&'a str),
}

impl<'a> Wanted<'a> {
    fn parse(text: &'a str) -> Result<Self, &'static str> {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return if text.is_empty() { Err("it is empty") } else { Ok(Self::Name(text)) };
        }
        match text.parse::<u32>() {
            Ok(id) if id <= MAX_ID && !text.starts_with('+') => Ok(Self::Id(id)),
            _ => Err("a numeric id must be between 0 and 2147483647"),
        }
    }

    fn fits(&self, name: &str, id: u32) -> bool {
        match self {
            Self::Id(want) => *want == id,
            Self::Name(want) => *want == name,
        }
    }
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// SPEC: passwd(5): name:password:uid:gid:gecos:home:shell. Broken lines are no accounts.
fn accounts(table: &str) -> impl Iterator<Item = Account<'_>> {
    table.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|n| !n.is_empty() && !n.starts_with('#'))?;
        let uid = fields.nth(1).and_then(id)?;
        let gid = fields.next().and_then(id)?;
        let home = fields.nth(1).unwrap_or("");
        Some(Account { name, uid, gid, home })
    })
}

/// SPEC: group(5): name:password:gid:members.
fn groups(table: &str) -> impl Iterator<Item = Group<'_>> {
    table.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|n| !n.is_empty() && !n.starts_with('#'))?;
        let gid = fields.nth(1).and_then(id)?;
        Some(Group { name, gid, members: fields.next().unwrap_or("") })
    })
}

fn id(text: &str) -> Option<u32> {
    match Wanted::parse(text) {
        Ok(Wanted::Id(id)) => Some(id),
        _ => None,
    }
}

/// A table of the root's, or nothing if it has none.
fn read(root: &RootDir, path: &str) -> Result<String> {
    match root.open_inside(path.as_bytes(), OFlag::O_PATH) {
        Ok(fd) => read_regular(fd, path),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(String::new()),
        Err(e) => Err(root.error("open", path.as_bytes(), e)),
    }
}

fn read_regular(fd: OwnedFd, path: &str) -> Result<String> {
    let what = || format!("/{path} of the image");
    let io = |e: io::Error| Error::io("read", format!("/{path}"), e);
    let stat = fstat(&fd).map_err(|e| io(e.into()))?;
    if kind(&stat) != SFlag::S_IFREG {
        return Err(Error::invalid(what(), "it is no regular file"));
    }
    // Opened for reading only now: opening a device can be an act (a tape rewinds, a
    // watchdog starts), and we aren't in the container's devices group.
    let file = File::open(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX {
        return Err(Error::invalid(what(), "it is larger than 4 MiB"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unknown(what: &'static str, name: &str, table: &str) -> Error {
    Error::NotFound {
        what,
        name: name.to_owned(),
        hint: format!("{table} of the image has no such {what}; a number needs no entry"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn root(passwd: &str, group: &str) -> (tempfile::TempDir, RootDir) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        fs::write(dir.path().join("etc/group"), group).unwrap();
        let root = RootDir::open(dir.path()).unwrap();
        (dir, root)
    }

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# c\nbroken\napp:x:1000:1001::/home/app:/bin/sh\n77:x:5:5::/five:\nbig:x:4294967296:0::/:\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,app\napp:x:1001:\naudio:x:29:app,other\n";

    fn ids(spec: &str) -> Option<(u32, u32, Vec<u32>, String)> {
        let (_dir, root) = root(PASSWD, GROUP);
        resolve(&root, spec).ok().map(|u| (u.uid, u.gid, u.additional_gids, u.home))
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(ids(""), Some((0, 0, vec![0, 10], "/root".into())));
        assert_eq!(ids("app"), Some((1000, 1001, vec![1001, 10, 29], "/home/app".into())));
        assert_eq!(ids("1000"), ids("app"));
        assert_eq!(ids("app:audio"), Some((1000, 29, vec![29], "/home/app".into())));
        assert_eq!(ids("app:7"), Some((1000, 7, vec![7], "/home/app".into())));
        assert_eq!(ids("4242"), Some((4242, 0, vec![0], "/".into())));
        assert_eq!(ids(":29"), Some((0, 29, vec![29], "/root".into())));
        assert_eq!(ids("nobody"), None);
        assert_eq!(ids("app:nogroup"), None);
    }

    #[test]
    fn a_number_is_an_id_in_range_and_never_a_name() {
        assert_eq!(ids("77"), Some((77, 0, vec![0], "/".into())));
        for bad in [
            "2147483648",
            "4294967295",
            "4294967296",
            "100000000000",
            "-1",
            "+1",
            "99999999999999999999999",
            "0:-1",
            "0:4294967296",
            "big",
        ] {
            assert_eq!(ids(bad), None, "{bad}");
        }
    }

    #[test]
    fn hostile_tables_are_refused_or_confined() {
        let (dir, root) = root("", "");
        let passwd = dir.path().join("etc/passwd");
        fs::remove_file(&passwd).unwrap();
        assert_eq!(resolve(&root, "5").unwrap().uid, 5, "no table is fine for a number");
        symlink("/etc/hostile", &passwd).unwrap();
        fs::write(dir.path().join("etc/hostile"), "me:x:9:9::/:").unwrap();
        assert_eq!(resolve(&root, "me").unwrap().uid, 9, "links lead inside the root");
        fs::remove_file(&passwd).unwrap();
        symlink("../../../../../../etc/passwd", &passwd).unwrap();
        assert!(resolve(&root, "root").is_err(), "a link to itself, seen from inside");
        fs::remove_file(&passwd).unwrap();
        nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(resolve(&root, "root").unwrap_err().to_string().contains("no regular file"));
        fs::remove_file(&passwd).unwrap();
        // Without a driver behind it, opening it would say so.
        let device = nix::sys::stat::makedev(240, 77);
        let mode = nix::sys::stat::Mode::S_IRWXU;
        if nix::sys::stat::mknod(&passwd, SFlag::S_IFCHR, mode, device).is_ok() {
            assert!(resolve(&root, "root").unwrap_err().to_string().contains("no regular file"));
            fs::remove_file(&passwd).unwrap();
        }
        fs::create_dir(&passwd).unwrap();
        assert!(resolve(&root, "root").unwrap_err().to_string().contains("no regular file"));
        fs::remove_dir(&passwd).unwrap();
        let odd = [&vec![b'x'; 1 << 20][..], b"\n\0:\0:1:1::/:\nme:x:3:4::/:\nme\0:x:0:0::/:\n"];
        fs::write(&passwd, odd.concat()).unwrap();
        assert_eq!(resolve(&root, "me").unwrap().uid, 3, "long lines and NULs are no accounts");
        fs::write(&passwd, "me:x:-1:4::/:\nme:x:4294967296:0::/:\nme:x:4294967295:0::/:\n")
            .unwrap();
        assert!(resolve(&root, "me").is_err(), "ids that are none");
        fs::remove_file(&passwd).unwrap();
        fs::File::create(&passwd).unwrap().set_len(2 << 30).unwrap();
        assert!(resolve(&root, "root").unwrap_err().to_string().contains("larger than 4 MiB"));
    }

    proptest! {
        #[test]
        fn tables_and_specs_never_panic(table in "[a-z0-9:,\\n\\-]{0,200}", spec in "\\PC{0,12}") {
            let (_dir, root) = root(&table, &table);
            let _ = resolve(&root, &spec);
        }
    }
}
