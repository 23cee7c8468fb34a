//! `dhow-image experimental-image-proxy`: skopeo's protocol for ostree, which isn't spoken here.

use clap::Args;
use dhow_image::{Error, Result};

use crate::context::Context;

/// Whatever flags it was given.
#[derive(Args)]
pub struct Proxy {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

impl Proxy {
    /// Says so.
    pub fn run(self, _cx: &Context) -> Result<()> {
        let hint = "it is an experiment of skopeo's for ostree-rs-ext, which starts skopeo itself";
        let what = format!("experimental-image-proxy {}", self.words.join(" "));
        Err(Error::unsupported(what.trim_end(), hint))
    }
}
