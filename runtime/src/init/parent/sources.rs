//! What of bind mounts only the outside can give: trees that root of a new user namespace
//! couldn't reach, and id maps.

use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::idmap;
use crate::error::{Error, Result};
use crate::init::fault::Cause;
use crate::init::mounts::{self, Source};
use crate::init::procfs::Procfs;
use crate::plan::{Phase, Plan};
use crate::validate::mount::{Ids, Kind, Mapping, Mount};

/// Id maps that are given when init asks, by the mount's place in config.json.
#[derive(Debug, Default)]
pub struct Outside(Vec<(usize, OwnedFd)>);

impl Outside {
    /// Id-maps the tree that init opened for entry `index` of the mounts.
    pub fn idmap(&self, plan: &Plan, index: u32, tree: Option<OwnedFd>) -> Result<()> {
        let index = index as usize;
        let users = self.0.iter().find(|(n, _)| *n == index);
        let mount = plan.mounts.iter().find(|m| m.index == index);
        match (mount, users, tree) {
            (Some(mount), Some((_, users)), Some(tree)) => mapped(mount, &tree, users),
            _ => Err(Error::rule("the container's first process asked for no id map of its own")),
        }
    }
}

/// Prepares every mount, by index in the plan; an empty list means that none needs it.
///
/// KERNEL: mount_setattr(2): an id map takes CAP_SYS_ADMIN where the file system is at home,
/// which root of another user namespace isn't.
pub fn prepare(plan: &Plan, proc: &Procfs) -> Result<(Vec<Source>, Outside)> {
    let mut outside = Outside::default();
    let users = plan.spaces.user && nix::unistd::geteuid().is_root();
    if !users && plan.mounts.iter().all(|m| m.ids == Ids::Same) {
        return Ok((Vec::new(), outside));
    }
    let mut spaces = Spaces { proc, made: Vec::new() };
    let mut inside = Vec::with_capacity(plan.mounts.len());
    for mount in &plan.mounts {
        inside.push(one(plan, mount, users, &mut spaces, &mut outside)?);
    }
    Ok((inside, outside))
}

fn one<'m>(
    plan: &Plan,
    m: &'m Mount,
    users: bool,
    spaces: &mut Spaces<'_, 'm>,
    outside: &mut Outside,
) -> Result<Source> {
    let Kind::Bind { source, recursive } = &m.kind else { return Ok(Source::Here) };
    let ids = match &m.ids {
        Ids::Same => None,
        Ids::Mapped { by, .. } => Some(spaces.of(m, by)?),
    };
    // What lies in the root may be there only once the mounts before it are: init opens it.
    let inside = below(source.to_bytes(), plan.rootfs.to_bytes());
    match (users, inside, ids) {
        (false, _, None) | (true, true, None) => Ok(Source::Here),
        (false, _, Some(ids)) => Ok(Source::Users(ids)),
        (true, true, Some(ids)) => {
            outside.0.push((m.index, ids));
            Ok(Source::Asked)
        }
        (true, false, ids) => {
            let wrong = |cause: Cause| {
                let pointer = format!("/mounts/{}/source", m.index);
                Error::config(pointer, cause.at(Phase::Mounts).to_string())
            };
            if let Some(text) = mounts::link_to_copy(m, source).map_err(wrong)? {
                return Ok(Source::Link(text));
            }
            let tree = mounts::source_of(m, source, *recursive).map_err(wrong)?;
            if let Some(ids) = ids {
                mapped(m, &tree, &ids)?;
            }
            // What the container mounts below must not appear on the host.
            mounts::spread(&[(libc::MS_SLAVE, true)], tree.as_fd())
                .map_err(|e| Error::system("make slave", source.to_string_lossy(), e))?;
            Ok(Source::Tree(tree))
        }
    }
}

fn mapped(m: &Mount, tree: &OwnedFd, users: &OwnedFd) -> Result<()> {
    let Kind::Bind { source, .. } = &m.kind else { return Ok(()) };
    mounts::idmap(m, tree.as_fd(), users.as_fd()).map_err(|errno| {
        let what = format!("{} (/mounts/{})", mounts::unsupported(source), m.index);
        Error::system(mounts::IDMAP, what, errno)
    })
}

fn below(path: &[u8], root: &[u8]) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// User namespaces for id maps, one for all mounts that have the same.
struct Spaces<'p, 'm> {
    proc: &'p Procfs,
    made: Vec<(&'m Mapping, OwnedFd)>,
}

impl<'m> Spaces<'_, 'm> {
    fn of(&mut self, m: &Mount, by: &'m Mapping) -> Result<OwnedFd> {
        let system = |e| Error::system("make the id map of", format!("/mounts/{}", m.index), e);
        if let Some((_, fd)) = self.made.iter().find(|(known, _)| *known == by) {
            return fd.try_clone().map_err(|e| Error::io("dup", "an id map", &e));
        }
        let fd = match by {
            Mapping::Lines(uids, gids) => idmap::space(self.proc, uids, gids)?,
            Mapping::Space(path) => {
                open(path.as_c_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
                    .map_err(system)?
            }
        };
        let copy = fd.try_clone().map_err(|e| Error::io("dup", "an id map", &e))?;
        self.made.push((by, copy));
        Ok(fd)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn below_means_whole_names() {
        use super::below;
        assert!(below(b"/b/rootfs/mnt", b"/b/rootfs") && below(b"/b/rootfs", b"/b/rootfs"));
        assert!(!below(b"/b/rootfs2", b"/b/rootfs") && !below(b"/b", b"/b/rootfs"));
    }
}
