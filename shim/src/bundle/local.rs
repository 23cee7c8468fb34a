//! docker's local driver: a volume whose options name a file system, mounted on its `_data`
//! while a container that has it lives.
//!
//! The mount lies in the host's mount namespace, so that all its containers share it. Each of
//! them leaves a file in RUN/volumes/NAME; the last to go unmounts. A reboot clears both.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use dhow_image::rootless;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{MountPoint, Record};
use crate::mounted;
use crate::store::make_dir;

/// Whether any of its volumes has to be mounted.
pub fn any(record: &Record) -> bool {
    record.mounts.iter().any(|m| m.mounted)
}

/// Mounts the volume of `point` for `record`, unless another container has done so.
pub fn acquire(host: &Host, record: &Record, point: &MountPoint) -> Result<()> {
    let users = Users::of(host, &point.name)?;
    // Mounts of an ordinary user are seen by their own monitor alone: each would have a volume of its own.
    if rootless::inside().is_some() && users.has_other_than(&record.id) {
        return Err(Error::conflict(format!(
            "volume {} is another container's just now, and without root what is mounted can't be shared; \
             take a volume without options",
            point.name
        )));
    }
    // Named first: who is killed in between leaves a name without a mount, which is swept.
    let name = users.dir.join(&record.id);
    File::create(&name).map_err(|e| Error::io("write", &name, e))?;
    look(host, point).inspect_err(|_| drop(std::fs::remove_file(&name)))
}

/// Unmounts the volumes that nobody but `record` had; not having any is fine.
pub fn release(host: &Host, record: &Record) -> Result<()> {
    for point in record.mounts.iter().filter(|m| m.mounted) {
        let users = Users::of(host, &point.name)?;
        if std::fs::remove_file(users.dir.join(&record.id)).is_ok() && users.is_last() {
            match umount2(Path::new(&point.source), MntFlags::MNT_DETACH) {
                Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
                Err(e) => return Err(Error::io("unmount volume", point.source.as_ref(), e.desc())),
            }
        }
    }
    Ok(())
}

/// Mounts it in this process's mount namespace, when it isn't there already.
pub fn look(host: &Host, point: &MountPoint) -> Result<()> {
    if mounted::at(Path::new(&point.source))? { Ok(()) } else { mount_volume(host, point) }
}

/// Who has a volume mounted; locked while it is looked at.
struct Users {
    dir: PathBuf,
    _lock: Flock<File>,
}

impl Users {
    fn of(host: &Host, volume: &str) -> Result<Self> {
        let dir = host.paths.run.join("volumes").join(volume);
        make_dir(&dir)?;
        let path = dir.join("lock");
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|e| Error::io("open lock", &path, e))?;
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, e)| Error::io("lock", &path, e.desc()))?;
        Ok(Self { dir, _lock: lock })
    }

    fn is_last(&self) -> bool {
        !self.has_other_than("lock")
    }

    fn has_other_than(&self, id: &str) -> bool {
        let mut entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries.any(|e| e.file_name() != "lock" && e.file_name() != id)
    }
}

fn mount_volume(host: &Host, point: &MountPoint) -> Result<()> {
    let options = host.volumes.find(&point.name)?.spec.options;
    let wanted = Wanted::of(&options);
    let hidden = wanted.data.as_deref().map(without_password);
    let fail = |why: String| {
        let what = format!("{} of type {} on {}", wanted.device, wanted.kind, point.source);
        let hidden = hidden.as_deref().unwrap_or("");
        Error::engine(format!(
            "error while mounting volume '{}': failed to mount local volume: mount {what}, data: {hidden}: {why}",
            point.name
        ))
    };
    if matches!(wanted.kind, "nfs" | "nfs4" | "cifs")
        && let Some(address) = wanted.address()
        && address.parse::<std::net::IpAddr>().is_err()
    {
        return Err(fail(format!("addr={address} is a name; the kernel takes an IP address")));
    }
    let (target, data) = (Path::new(&point.source), wanted.data.as_deref());
    mount(Some(wanted.device), target, Some(wanted.kind), wanted.flags, data)
        .map_err(|e| fail(e.desc().to_lowercase()))?;
    let undo = |e: Errno| {
        let _ = umount2(target, MntFlags::MNT_DETACH);
        fail(e.desc().to_lowercase())
    };
    // KERNEL: mount(2): a bind takes flags at a second call only, and a propagation alone.
    let bound = wanted.flags.contains(MsFlags::MS_BIND);
    let more = wanted.flags.difference(MsFlags::MS_BIND | MsFlags::MS_REC);
    if bound && !more.is_empty() {
        let again = wanted.flags | MsFlags::MS_REMOUNT;
        mount(None::<&str>, target, None::<&str>, again, None::<&str>).map_err(undo)?;
    }
    if !wanted.propagation.is_empty() {
        mount(None::<&str>, target, None::<&str>, wanted.propagation, None::<&str>)
            .map_err(undo)?;
    }
    Ok(())
}

/// `type`, `device` and `o`, as mount(2) takes them.
struct Wanted<'a> {
    device: &'a str,
    kind: &'a str,
    flags: MsFlags,
    propagation: MsFlags,
    data: Option<String>,
}

impl<'a> Wanted<'a> {
    fn of(options: &'a BTreeMap<String, String>) -> Self {
        let text = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
        let (mut flags, mut propagation) = (MsFlags::empty(), MsFlags::empty());
        let mut data = Vec::new();
        for word in text("o").split(',').filter(|w| !w.is_empty()) {
            match meaning(word) {
                Some(Meaning::Set(flag)) => flags |= flag,
                Some(Meaning::Clear(flag)) => flags -= flag,
                Some(Meaning::Propagation(flag)) => propagation = flag,
                None => data.push(word),
            }
        }
        let data = (!data.is_empty()).then(|| data.join(","));
        let kind = if text("type").is_empty() { "none" } else { text("type") };
        Self { device: text("device"), kind, flags, propagation, data }
    }

    fn address(&self) -> Option<&str> {
        self.data.as_deref()?.split(',').find_map(|word| word.strip_prefix("addr="))
    }
}

enum Meaning {
    Set(MsFlags),
    Clear(MsFlags),
    Propagation(MsFlags),
}

fn meaning(word: &str) -> Option<Meaning> {
    use Meaning::{Clear, Propagation, Set};
    let deep = |flag| Propagation(flag | MsFlags::MS_REC);
    Some(match word {
        "defaults" => Set(MsFlags::empty()),
        "ro" => Set(MsFlags::MS_RDONLY),
        "rw" => Clear(MsFlags::MS_RDONLY),
        "nosuid" => Set(MsFlags::MS_NOSUID),
        "suid" => Clear(MsFlags::MS_NOSUID),
        "nodev" => Set(MsFlags::MS_NODEV),
        "dev" => Clear(MsFlags::MS_NODEV),
        "noexec" => Set(MsFlags::MS_NOEXEC),
        "exec" => Clear(MsFlags::MS_NOEXEC),
        "sync" => Set(MsFlags::MS_SYNCHRONOUS),
        "async" => Clear(MsFlags::MS_SYNCHRONOUS),
        "dirsync" => Set(MsFlags::MS_DIRSYNC),
        "noatime" => Set(MsFlags::MS_NOATIME),
        "atime" => Clear(MsFlags::MS_NOATIME),
        "nodiratime" => Set(MsFlags::MS_NODIRATIME),
        "diratime" => Clear(MsFlags::MS_NODIRATIME),
        "relatime" => Set(MsFlags::MS_RELATIME),
        "norelatime" => Clear(MsFlags::MS_RELATIME),
        "strictatime" => Set(MsFlags::MS_STRICTATIME),
        "bind" => Set(MsFlags::MS_BIND),
        "rbind" => Set(MsFlags::MS_BIND | MsFlags::MS_REC),
        "private" => Propagation(MsFlags::MS_PRIVATE),
        "rprivate" => deep(MsFlags::MS_PRIVATE),
        "shared" => Propagation(MsFlags::MS_SHARED),
        "rshared" => deep(MsFlags::MS_SHARED),
        "slave" => Propagation(MsFlags::MS_SLAVE),
        "rslave" => deep(MsFlags::MS_SLAVE),
        _ => return None,
    })
}

fn without_password(data: &str) -> String {
    let hide = |word: &str| {
        if word.starts_with("password=") { "password=********".to_owned() } else { word.to_owned() }
    };
    data.split(',').map(hide).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_flags_propagation_and_the_rest() {
        let map = |o: &str| BTreeMap::from([("o".to_owned(), o.to_owned())]);
        let options = map("ro,noexec,exec,size=1m,uid=7,rshared");
        let wanted = Wanted::of(&options);
        assert_eq!((wanted.kind, wanted.flags), ("none", MsFlags::MS_RDONLY));
        assert_eq!(wanted.propagation, MsFlags::MS_SHARED | MsFlags::MS_REC);
        assert_eq!(wanted.data.as_deref(), Some("size=1m,uid=7"));
        assert_eq!(without_password("a=b,password=secret"), "a=b,password=********");
    }
}
