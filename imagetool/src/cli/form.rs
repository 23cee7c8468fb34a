//! In which form an image is to arrive: skopeo's flags of copy and sync.

use clap::Args;
use dhow_image::manifest::Compression;
use dhow_image::recode::{Kind, Packing, Recode};
use dhow_image::transport::Place;
use dhow_image::{Error, Result};

use crate::context::Context;

/// What copy and sync do to the image itself.
#[derive(Args, Clone, Default)]
pub struct FormFlags {
    /// Whose manifests to write: oci, or docker's (v2s2)
    #[arg(long, short, value_name = "KIND")]
    pub format: Option<String>,
    /// Change nothing; fail if something would have to be changed
    #[arg(long)]
    pub preserve_digests: bool,
}

/// How copy packs layers.
#[allow(clippy::struct_field_names)] // the flags are called so
#[derive(Args, Clone, Default)]
pub struct PackFlags {
    /// Compress layers that aren't, on the way into a dir:
    #[arg(long, conflicts_with = "dest_decompress")]
    dest_compress: bool,
    /// Unpack all layers on the way into a dir:
    #[arg(long)]
    dest_decompress: bool,
    /// Leave layers uncompressed that are, on the way into an OCI layout
    #[arg(long)]
    dest_oci_accept_uncompressed_layers: bool,
    /// Compress layers with gzip or zstd; those packed otherwise are packed anew
    #[arg(long, value_name = "FORMAT")]
    dest_compress_format: Option<String>,
    /// How hard to compress: gzip 0 to 9, zstd 1 to 22
    #[arg(long, value_name = "LEVEL", allow_hyphen_values = true)]
    dest_compress_level: Option<i32>,
    /// Take nothing over that is packed otherwise than --dest-compress-format says; it never is
    #[arg(long, requires = "dest_compress_format", hide_short_help = true)]
    dest_force_compress_format: bool,
    /// Know a layer's digest before it is sent, so that none is sent twice; it always is
    #[arg(long, hide_short_help = true)]
    dest_precompute_digests: bool,
}

/// skopeo's names of manifests' kinds, and ours.
pub fn kind(text: &str) -> Result<Kind> {
    match text {
        "oci" => Ok(Kind::Oci),
        "v2s2" | "docker" => Ok(Kind::Docker),
        "v2s1" => Err(Error::unsupported(
            "writing v2s1, docker's manifest schema 1",
            "it was retired in 2017, and no registry takes it; write v2s2 or oci",
        )),
        _ => Err(Error::Conflict(format!(
            "unknown format \"{text}\". Choose one of the supported formats: 'oci', 'v2s1', or 'v2s2'"
        ))),
    }
}

/// A compression by its name.
pub fn compression(text: &str) -> Result<Compression> {
    match text.to_lowercase().as_str() {
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        "zstd:chunked" => Err(Error::unsupported(
            "writing zstd:chunked",
            "zstd is written, and zstd:chunked read; its table of contents is podman's own",
        )),
        "bzip2" | "xz" => Err(Error::unsupported(
            format!("{text} for layers"),
            "no container engine reads it; take gzip or zstd",
        )),
        _ => Err(Error::Conflict(format!("cannot find compressor for \"{text}\""))),
    }
}

impl FormFlags {
    /// The form that an image gets at a place.
    pub fn recode(&self, cx: &Context, to: &Place, pack: &PackFlags) -> Result<Recode> {
        let mut recode = Recode {
            kind: self.format.as_deref().map(kind).transpose()?,
            packing: pack.packing(cx, to)?,
            level: pack.dest_compress_level,
            habit: false,
        };
        let asked = recode.kind.is_some() || recode.packing != Packing::AsTheyAre;
        if self.preserve_digests {
            return if asked {
                Err(Error::usage(
                    "flag",
                    "--preserve-digests",
                    "another format or compression changes the digest",
                ))
            } else {
                Ok(Recode::default())
            };
        }
        // Docker's kind has no zstd.
        if recode.kind.is_none() && recode.packing == Packing::All(Compression::Zstd) {
            recode.kind = Some(Kind::Oci);
        }
        let layout = matches!(to, Place::Layout(..) | Place::OciArchive(..));
        // An OCI layout holds OCI's manifests, whatever came.
        if layout && recode.kind.is_none() {
            recode.kind = Some(Kind::Oci);
        }
        let plain_is_fine = pack.dest_oci_accept_uncompressed_layers && layout;
        let sent = matches!(to, Place::Registry(_));
        if recode.packing == Packing::AsTheyAre && (layout || sent) && !plain_is_fine {
            recode.packing = Packing::Plain(Compression::Gzip);
        }
        recode.habit = !asked;
        recode.check()?;
        Ok(recode)
    }
}

impl PackFlags {
    fn packing(&self, cx: &Context, to: &Place) -> Result<Packing> {
        let format = self.dest_compress_format.as_deref().map(compression).transpose()?;
        let dir = matches!(to, Place::Dir(_));
        for (flag, set) in [("compress", self.dest_compress), ("decompress", self.dest_decompress)]
        {
            if set && !dir {
                cx.warn(&format!(
                    "--dest-{flag} can only be used if the destination transport is 'dir'"
                ));
            }
        }
        Ok(match format {
            _ if dir && self.dest_decompress => Packing::All(Compression::None),
            Some(format) => Packing::All(format),
            None if dir && self.dest_compress => Packing::Plain(Compression::Gzip),
            None => Packing::AsTheyAre,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_skopeos() {
        assert_eq!(kind("v2s2").unwrap(), Kind::Docker);
        assert!(kind("v2s1").unwrap_err().to_string().contains("v2s1"));
        assert!(kind("x").unwrap_err().to_string().contains("supported formats"));
        assert_eq!(compression("Zstd").unwrap(), Compression::Zstd);
        for bad in ["zstd:chunked", "xz", "none"] {
            assert!(compression(bad).is_err(), "{bad}");
        }
    }
}
