//! `dhow-image tag IMAGE NAME…`

use clap::Args;
use dhow_image::Result;
use dhow_image::reference::Reference;

use crate::context::Context;

/// Flags of `tag`.
#[derive(Args)]
pub struct Tag {
    /// A name or an id
    image: String,
    /// Its new names
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Tag {
    /// Tags; all names are read before the first is given.
    pub fn run(self, cx: &Context) -> Result<()> {
        let names = self.names.iter().map(|n| Reference::parse_normal(n));
        let names: Vec<Reference> = names.collect::<Result<_>>()?;
        let store = cx.store()?;
        let image = store.find(&self.image)?;
        names.iter().try_for_each(|name| store.tag(&image, name))
    }
}
