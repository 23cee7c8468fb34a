//! `dhow-image tag IMAGE NAME…`

use clap::Args;
use dhow_image::reference::Reference;
use dhow_image::transport::{Place, Which};
use dhow_image::{Error, Result};

use crate::cli::target::{ImageFlag, Target, exactly, is_ref_name};
use crate::context::Context;

/// Flags of `tag`.
#[derive(Args)]
pub struct Tag {
    /// A name or an id of the store, or oci:DIR:TAG, unless --image is given; then new names
    #[arg(value_name = "[IMAGE] NAME")]
    words: Vec<String>,
    #[command(flatten)]
    image: ImageFlag,
}

impl Tag {
    /// Tags; all names are read before the first is given.
    pub fn run(mut self, cx: &Context) -> Result<()> {
        let tagged = match self.image.take(&mut self.words)? {
            Target::Tagged(tagged) => {
                let [name] = exactly(self.words, ["NAME"])?;
                return tagged.tag(&[checked(name)?]);
            }
            Target::Place(Place::Layout(dir, Which::Named(tag))) => {
                dhow_image::edit::Tagged { dir, tag }
            }
            Target::Place(Place::Store(needle)) => return stored(cx, &needle, &self.words),
            Target::Place(place) => {
                let why = "names are given in the store and in OCI layouts; elsewhere by copy";
                return Err(Error::usage("place", place.to_string(), why));
            }
        };
        some(&self.words)?;
        let names = self.words.into_iter().map(checked).collect::<Result<Vec<_>>>()?;
        tagged.tag(&names)
    }
}

fn stored(cx: &Context, needle: &str, names: &[String]) -> Result<()> {
    some(names)?;
    let names = names.iter().map(|n| Reference::parse_normal(n));
    let names: Vec<Reference> = names.collect::<Result<_>>()?;
    let store = cx.store()?;
    let image = store.find(needle)?;
    names.iter().try_for_each(|name| store.tag(&image, name))
}

fn some(names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Err(Error::usage("arguments", "", "expected is IMAGE NAME…"));
    }
    Ok(())
}

fn checked(name: String) -> Result<String> {
    if is_ref_name(&name) {
        return Ok(name);
    }
    Err(Error::usage("tag", name, "it contains invalid characters"))
}
