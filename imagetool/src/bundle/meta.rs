//! `umoci.json` in a bundle: of which image it was made, and in what way. umoci's own file, so
//! that either tool goes on with what the other has unpacked.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layer::Manner;
use crate::manifest::Descriptor;

const FILE: &str = "umoci.json";
const VERSION: &str = "2";
/// No such file is larger.
const MAX: u64 = 1 << 20;

/// What is known about a bundle.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Meta {
    #[serde(rename = "umoci_version")]
    version: String,
    #[serde(rename = "from_descriptor_path")]
    from: Walk,
    /// Whose its files are.
    #[serde(rename = "map_options", default)]
    pub manner: Manner,
    #[serde(default, skip_serializing)]
    whiteout_mode: i64,
}

/// From the entry of the index to the manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Walk {
    descriptor_walk: Vec<Descriptor>,
}

impl Meta {
    /// Of a bundle that was made so, of the image that the last of `walk` describes.
    pub fn new(walk: Vec<Descriptor>, manner: Manner) -> Self {
        let from = Walk { descriptor_walk: walk };
        Self { version: VERSION.into(), from, manner, whiteout_mode: 0 }
    }

    /// The manifest that the bundle was made of.
    pub fn manifest(&self) -> Result<&Descriptor> {
        let last = self.from.descriptor_walk.last();
        last.ok_or_else(|| Error::invalid(FILE, "it names no manifest"))
    }

    /// Reads a bundle's.
    pub fn read(bundle: &Path) -> Result<Self> {
        let path = bundle.join(FILE);
        let size = match fs::metadata(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let name = bundle.display().to_string();
                let hint = "it has no umoci.json: only what unpack has made can be repacked";
                return Err(Error::NotFound { what: "bundle", name, hint: hint.into() });
            }
            meta => meta.map_err(Error::at("read", &path))?,
        };
        let what = path.display().to_string();
        if !size.is_file() || size.len() > MAX {
            return Err(Error::invalid(what, "it is no small file"));
        }
        let bytes = fs::read(&path).map_err(Error::at("read", &path))?;
        let meta: Self =
            serde_json::from_slice(&bytes).map_err(|e| Error::invalid(what.as_str(), e))?;
        if meta.version != VERSION || meta.whiteout_mode != 0 {
            let hint = "unpack the bundle again";
            return Err(Error::unsupported(format!("{what} of version {:?}", meta.version), hint));
        }
        Ok(meta)
    }

    /// Writes it into a bundle.
    pub fn write(&self, bundle: &Path) -> Result<()> {
        let mut text = serde_json::to_vec(self).map_err(|e| Error::invalid(FILE, e))?;
        text.push(b'\n');
        super::replace(&bundle.join(FILE), &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::OCI_MANIFEST;

    #[test]
    fn it_is_written_as_umoci_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        let meta = Meta::new(vec![Descriptor::of(OCI_MANIFEST, b"x")], Manner::default());
        meta.write(dir.path()).unwrap();
        let text = fs::read_to_string(dir.path().join(FILE)).unwrap();
        let digest = crate::digest::Digest::of(b"x");
        assert_eq!(
            text,
            format!(
                "{{\"umoci_version\":\"2\",\"from_descriptor_path\":{{\"descriptor_walk\":[{{\"mediaType\":\"{OCI_MANIFEST}\",\"digest\":\"{digest}\",\"size\":1}}]}},\"map_options\":{{\"uid_mappings\":null,\"gid_mappings\":null,\"rootless\":false}}}}\n"
            )
        );
        assert_eq!(Meta::read(dir.path()).unwrap().manifest().unwrap().digest, digest);
        fs::write(dir.path().join(FILE), text.replace("\"2\"", "\"3\"")).unwrap();
        assert!(Meta::read(dir.path()).is_err());
    }
}
