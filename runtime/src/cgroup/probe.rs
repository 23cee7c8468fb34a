//! What this kernel has no file for, told without making a group.

use std::path::Path;

use super::limit::{Absent, Limit};
use super::place::Place;
use super::{Cgroup, files};

/// A setting that couldn't be written.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its JSON pointer.
    pub pointer: String,
    /// Why not.
    pub why: String,
}

impl Cgroup {
    /// The settings whose files other groups of their hierarchy don't have either.
    pub fn missing(&self) -> Vec<Missing> {
        self.places.iter().flat_map(|place| missing(place, sample(place).as_deref())).collect()
    }
}

fn missing(place: &Place, sample: Option<&str>) -> Vec<Missing> {
    let offers = |dir: &str, limit: &Limit| {
        let offered = files::read(dir, "cgroup.controllers").unwrap_or_default();
        limit.controller.is_empty() || offered.split(' ').any(|name| name == limit.controller)
    };
    let lacks = |limit: &Limit| {
        // KERNEL: a group of v2 has a controller's files once its parent passes it on.
        let shows = |dir: &&str| !place.is_unified() || offers(dir, limit);
        let sample = sample.filter(shows);
        let there = |file: &str| sample.is_none_or(|dir| Path::new(dir).join(file).exists());
        match &limit.absent {
            Absent::Fail => !there(&limit.file),
            Absent::Skip => false,
            Absent::Instead(file, _) => !there(&limit.file) && !there(file),
        }
    };
    let why = |limit: &Limit| {
        if place.is_unified() && !offers(&place.mountpoint, limit) {
            let (top, controller) = (&place.mountpoint, &limit.controller);
            return Some(format!("{top} doesn't offer the {controller} controller"));
        }
        lacks(limit).then(|| format!("this kernel's groups have no {}", limit.file))
    };
    let limits = place.limits.iter().filter(|limit| !limit.is_none());
    let told = limits.filter_map(|limit| {
        let pointer = format!("/linux/resources{}", limit.pointer);
        why(limit).map(|why| Missing { pointer, why })
    });
    told.collect()
}

/// A group like the one that is to be: the nearest there is above it, or any. The root of a
/// hierarchy won't do: some files it alone lacks.
fn sample(place: &Place) -> Option<String> {
    let top = Path::new(&place.mountpoint);
    let above = Path::new(&place.dir).ancestors().skip(1).take_while(|dir| *dir != top);
    let mut above = above.filter(|dir| dir.starts_with(top) && dir.is_dir());
    let near = above.next().and_then(Path::to_str).map(str::to_owned);
    let any = || {
        files::children(top)
            .ok()?
            .into_iter()
            .find_map(|dir| dir.into_os_string().into_string().ok())
    };
    near.or_else(any)
}
