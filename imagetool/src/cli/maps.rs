//! Whose the files of an image become: umoci's flags.

use clap::Args;
use dhow_image::Result;
use dhow_image::layer::{IdMap, Manner, Range};

/// `--uid-map`, `--gid-map`, `--rootless`.
#[derive(Args, Clone, Debug, Default)]
pub struct MapFlags {
    /// Users of the image that are others here; may be given several times
    #[arg(long, value_name = "INSIDE:OUTSIDE[:SIZE]")]
    pub uid_map: Vec<String>,
    /// Groups of the image that are others here; may be given several times
    #[arg(long, value_name = "INSIDE:OUTSIDE[:SIZE]")]
    pub gid_map: Vec<String>,
    /// Nobody is root: all files become ours, and an attribute says whose they are
    #[arg(long)]
    pub rootless: bool,
}

impl MapFlags {
    /// What is meant. Rootless, the image's root is who runs this, unless maps are given.
    pub fn manner(&self, (uid, gid): (u32, u32)) -> Result<Manner> {
        let map = |given: &[String], own: u32| -> Result<IdMap> {
            if given.is_empty() && self.rootless {
                return Ok(IdMap(vec![Range { inside: 0, outside: own, size: 1 }]));
            }
            // Go's flag package takes several in one, parted by commas.
            let parts = given.iter().flat_map(|text| text.split(','));
            parts.map(str::parse).collect::<Result<_>>().map(IdMap)
        };
        Ok(Manner {
            uids: map(&self.uid_map, uid)?,
            gids: map(&self.gid_map, gid)?,
            rootless: self.rootless,
            keep_dirlinks: false,
        })
    }
}
