//! Whose the files of a layer become on this host, and back: user and group maps, and what
//! stands for owners and devices where nobody is root.
//!
//! SPEC: github.com/rootless-containers/proto: the attribute `user.rootlesscontainers` holds a
//! message of two numbers, 1: uid, 2: gid; 2³²-1 means "as it is". umoci writes and reads it.

use std::str::FromStr;
use std::sync::OnceLock;

use nix::unistd::{getegid, geteuid};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::entry::{Meta, invalid};
use crate::error::{Error, Result};
use crate::rootless;

/// The attribute that keeps the owner of a file that couldn't be given away.
pub(crate) const OWNER: &[u8] = b"user.rootlesscontainers";
const AS_IT_IS: u32 = u32::MAX;

/// A run of ids, and where it lies on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first id in the image.
    #[serde(rename = "containerID")]
    pub inside: u32,
    /// The first id on the host.
    #[serde(rename = "hostID")]
    pub outside: u32,
    /// How many there are.
    pub size: u32,
}

impl FromStr for Range {
    type Err = Error;

    /// `INSIDE:OUTSIDE[:SIZE]`, as umoci has it.
    fn from_str(text: &str) -> Result<Self> {
        let bad = |why| Error::usage("id map", text, why);
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            let number = part.parse().ok().filter(|_| digits);
            number.ok_or_else(|| bad("write INSIDE:OUTSIDE[:SIZE], numbers from 0 to 4294967295"))
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (inside, outside, size) = match parts[..] {
            [inside, outside] => (number(inside)?, number(outside)?, 1),
            [inside, outside, size] => (number(inside)?, number(outside)?, number(size)?),
            _ => return Err(bad("write INSIDE:OUTSIDE[:SIZE]")),
        };
        let end = u64::from(inside.max(outside)) + u64::from(size);
        if size == 0 || end > u64::from(u32::MAX) {
            return Err(bad("it is empty, or goes beyond the highest id"));
        }
        Ok(Self { inside, outside, size })
    }
}

/// Runs of ids; without any, ids are what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap(pub Vec<Range>);

impl IdMap {
    /// The host's id for one of the image.
    pub fn outside(&self, id: u32) -> Option<u32> {
        self.find(id, |range| (range.inside, range.outside))
    }

    /// The image's id for one of the host.
    pub fn inside(&self, id: u32) -> Option<u32> {
        self.find(id, |range| (range.outside, range.inside))
    }

    fn find(&self, id: u32, ends: impl Fn(&Range) -> (u32, u32)) -> Option<u32> {
        if self.0.is_empty() {
            return Some(id);
        }
        self.0.iter().find_map(|range| {
            let (from, to) = ends(range);
            let offset = id.checked_sub(from)?;
            if offset < range.size { to.checked_add(offset) } else { None }
        })
    }
}

/// umoci writes `null` for no map.
impl Serialize for IdMap {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() { s.serialize_none() } else { self.0.serialize(s) }
    }
}

impl<'de> Deserialize<'de> for IdMap {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self(Option::deserialize(d)?.unwrap_or_default()))
    }
}

/// How the layers of an image become files in one root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manner {
    /// Users.
    #[serde(rename = "uid_mappings", default)]
    pub uids: IdMap,
    /// Groups.
    #[serde(rename = "gid_mappings", default)]
    pub gids: IdMap,
    /// All files are their maker's; [`OWNER`] says whose they would be.
    #[serde(default)]
    pub rootless: bool,
    /// A link to a directory stays where a layer has a directory.
    #[serde(skip)]
    pub keep_dirlinks: bool,
}

impl Manner {
    /// How files come into this user's store, and out of it again: a user of one id can't give
    /// them away.
    pub(crate) fn own() -> &'static Self {
        static OWN: OnceLock<Manner> = OnceLock::new();
        OWN.get_or_init(|| Self { rootless: rootless::is_single(), ..Self::default() })
    }

    /// An entry's metadata, as this host gets it.
    pub(super) fn outside(&self, meta: &mut Meta) -> Result<()> {
        if self.rootless {
            meta.xattrs.retain(|(key, _)| key != OWNER);
            if (meta.uid, meta.gid) != (0, 0) {
                meta.xattrs.push((OWNER.to_vec(), pack(meta.uid, meta.gid)));
            }
            (meta.uid, meta.gid) = (geteuid().as_raw(), getegid().as_raw());
            return Ok(());
        }
        let lacks = |what: &str, id: u32| invalid(&format!("its {what} {id} is in no id map"));
        meta.uid = self.uids.outside(meta.uid).ok_or_else(|| lacks("owner", meta.uid))?;
        meta.gid = self.gids.outside(meta.gid).ok_or_else(|| lacks("group", meta.gid))?;
        Ok(())
    }

    /// A file's owners and attributes, as an image gets them.
    pub(super) fn inside(
        &self,
        ids: (u32, u32),
        xattrs: &mut Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<(u32, u32)> {
        if !self.rootless {
            let lacks = |what: &str, id: u32| {
                let why = format!("the {what} {id} of this host is in no id map of the bundle");
                Error::invalid("file", why)
            };
            let uid = self.uids.inside(ids.0).ok_or_else(|| lacks("user", ids.0))?;
            let gid = self.gids.inside(ids.1).ok_or_else(|| lacks("group", ids.1))?;
            return Ok((uid, gid));
        }
        let kept = xattrs.iter().position(|(key, _)| key == OWNER).map(|at| xattrs.remove(at));
        let Some((_, value)) = kept else { return Ok((0, 0)) };
        let (uid, gid) = unpack(&value)
            .ok_or_else(|| Error::invalid("attribute user.rootlesscontainers", "it is no owner"))?;
        let real = |id| if id == AS_IT_IS { 0 } else { id };
        Ok((real(uid), real(gid)))
    }
}

fn pack(uid: u32, gid: u32) -> Vec<u8> {
    let mut out = Vec::new();
    for (tag, id) in [(0x08, uid), (0x10, gid)] {
        out.push(tag);
        let mut rest = if id == 0 { AS_IT_IS } else { id };
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
    out
}

fn unpack(mut from: &[u8]) -> Option<(u32, u32)> {
    let (mut uid, mut gid) = (0, 0);
    while let Some((&tag, rest)) = from.split_first() {
        let end = rest.iter().take(5).position(|b| b & 0x80 == 0)?;
        let value = rest[..=end].iter().rev().fold(0u64, |n, b| n << 7 | u64::from(b & 0x7f));
        let value = u32::try_from(value).ok()?;
        match tag {
            0x08 => uid = value,
            0x10 => gid = value,
            _ => return None,
        }
        from = &rest[end + 1..];
    }
    Some((uid, gid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn maps_are_read_as_umoci_reads_them() {
        let map = IdMap(vec!["0:1000".parse().unwrap(), "1:100000:65536".parse().unwrap()]);
        assert_eq!((map.outside(0), map.outside(1)), (Some(1000), Some(100_000)));
        assert_eq!((map.outside(65536), map.outside(65537)), (Some(165_535), None));
        assert_eq!(
            (map.inside(1000), map.inside(100_001), map.inside(0)),
            (Some(0), Some(2), None)
        );
        assert_eq!(IdMap::default().outside(7), Some(7));
        for bad in [
            "",
            "0",
            "0:0:0",
            "a:0",
            "0:-1:1",
            "+1:0:1",
            "0:0:1:1",
            "0:4294967295:2",
            "1:4294967296",
        ] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
    }

    #[test]
    fn owners_are_kept_as_umoci_keeps_them() {
        assert_eq!(pack(992, 123), [0x08, 0xe0, 0x07, 0x10, 0x7b]);
        assert_eq!(pack(0, 456), [0x08, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x10, 0xc8, 0x03]);
        assert_eq!(unpack(&pack(0, 456)), Some((AS_IT_IS, 456)));
        assert_eq!(unpack(&[0x10, 5]), Some((0, 5)));
        assert_eq!(unpack(&[0x08, 0x80]), None);
        let rootless = Manner { rootless: true, ..Manner::default() };
        let mut meta = Meta { uid: 98, ..Meta::default() };
        rootless.outside(&mut meta).unwrap();
        assert_eq!(rootless.inside((1, 1), &mut meta.xattrs).unwrap(), (98, 0));
        assert!(meta.xattrs.is_empty());
    }

    proptest! {
        #[test]
        fn any_owner_comes_back_and_nothing_panics(
            uid in 1..AS_IT_IS, gid in 1..AS_IT_IS, junk in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            prop_assert_eq!(unpack(&pack(uid, gid)), Some((uid, gid)));
            let _ = unpack(&junk);
        }
    }
}
