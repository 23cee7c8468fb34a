//! `dhow-image raw unpack IMAGE ROOTFS`: an image's root, and nothing beside it.

use clap::Args;
use dhow_image::Result;
use dhow_image::bundle;

use super::unpack::HowFlags;
use crate::context::Context;

/// Flags of `raw unpack`.
#[derive(Args)]
pub struct Unpack {
    /// A name of the store or a place such as docker://REF or oci:DIR:TAG, unless --image is
    /// given; then the directory, which must not exist, or be empty
    #[arg(value_name = "[IMAGE] ROOTFS")]
    words: Vec<String>,
    #[command(flatten)]
    how: HowFlags,
}

impl Unpack {
    /// Unpacks.
    pub fn run(self, cx: &Context) -> Result<()> {
        self.how
            .run(cx, self.words, "ROOTFS", |source, to, how| bundle::unpack_root(source, to, &how))
    }
}
