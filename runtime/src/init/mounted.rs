//! Mounts that are come back to, held by descriptor.
//!
//! CVE: 2019-19921, 2023-27561: who shares the root may exchange /proc for a link or a directory
//! while the container starts: looked for by name, what is to be masked there would not be found,
//! and the procfs beside it stay open.

use std::ffi::{CStr, CString};

use dhow_kernel::fd::Loose;

use super::root::Root;

/// One of them.
#[derive(Debug)]
pub struct Held {
    /// What is mounted.
    pub root: Root,
    /// Whether it is proved to be a procfs or sysfs: its names are the kernel's, and nobody exchanges
    /// them.
    pub kernels: bool,
}

/// By their targets.
#[derive(Debug, Default)]
pub struct Mounted(Vec<(CString, Held)>);

impl Mounted {
    /// Something is mounted at `target`: what was held there and below lies under it.
    pub fn cover(&mut self, target: &CStr) {
        self.0.retain(|(held, _)| below(target, held).is_none());
    }

    /// Holds what has been mounted at `target`.
    pub fn hold(&mut self, target: &CStr, mount: Loose, kernels: bool) {
        self.0.push((target.to_owned(), Held { root: Root::new(mount), kernels }));
    }

    /// The mount that `path` (clean, relative) lies in, and the way from there.
    pub fn find<'a>(&'a self, path: &'a CStr) -> Option<(&'a Held, &'a CStr)> {
        let ways = self.0.iter().filter_map(|(held, mount)| Some((mount, below(held, path)?)));
        ways.min_by_key(|(_, way)| way.count_bytes())
    }
}

/// The way from `dir` to `path`, if it lies there or is the same.
fn below<'a>(dir: &CStr, path: &'a CStr) -> Option<&'a CStr> {
    let way = path.to_bytes_with_nul().strip_prefix(dir.to_bytes())?;
    let way = match (way, dir.is_empty()) {
        ([0], _) | (_, true) => way,
        ([b'/', way @ ..], false) => way,
        _ => return None,
    };
    CStr::from_bytes_with_nul(way).ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_path_lies_in_the_nearest_mount_that_holds_it() {
        assert_eq!(below(c"proc", c"proc/sys/net"), Some(c"sys/net"));
        assert_eq!(below(c"proc", c"proc"), Some(c""));
        assert_eq!(below(c"", c"proc"), Some(c"proc"));
        assert_eq!(below(c"proc", c"process"), None);
        assert_eq!(below(c"proc/sys", c"proc"), None);
        let null = || Loose::from(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        let mut all = Mounted::default();
        all.hold(c"a", null(), false);
        all.hold(c"a/b", null(), true);
        assert_eq!(all.find(c"a/b/c").unwrap().1, c"c");
        assert_eq!(all.find(c"a/bc").unwrap().1, c"bc");
        assert!(all.find(c"b").is_none());
    }

    #[test]
    fn what_is_covered_is_not_found_any_more() {
        let null = || Loose::from(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        let mut all = Mounted::default();
        for target in [c"a", c"a/b", c"c"] {
            all.hold(target, null(), false);
        }
        all.cover(c"a");
        assert!(all.find(c"a/b").is_none());
        assert!(all.find(c"c").is_some());
        all.cover(c"");
        assert!(all.find(c"c").is_none());
    }
}
