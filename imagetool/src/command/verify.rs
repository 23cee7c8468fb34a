//! `dhow-image verify [IMAGE…]`: one line a finding.

use std::path::PathBuf;

use clap::Args;
use dhow_image::source::{self, Inputs};
use dhow_image::store::{Depth, Finding, Repaired, Severity, verify_layout, verify_source};
use dhow_image::transport::{Place, Which};
use dhow_image::{Error, Result};
use serde_json::json;

use crate::cli::RegistryFlags;
use crate::command::gc::layout_dir;
use crate::context::{Context, stdin};

/// Flags of `verify`.
#[derive(Args)]
pub struct Verify {
    /// Images of the store, or any other places; without one, the whole store
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// The whole of this layout
    #[arg(long, value_name = "PATH", conflicts_with_all = ["images", "repair"])]
    layout: Option<PathBuf>,
    /// Compare the contents of unpacked files, too
    #[arg(long)]
    deep: bool,
    /// Fetch again what is bad, from where it was pulled, and unpack bad layers again
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Verify {
    /// Prints what is not as it should be; damage is a failure.
    pub fn run(self, cx: &Context) -> Result<()> {
        let mut repaired = Repaired::default();
        if let Some(layout) = &self.layout {
            repaired.left = verify_layout(layout_dir(layout)?, &Which::Only)?;
            return tell(cx, &repaired);
        }
        let places = self.images.iter().map(|text| text.parse::<Place>());
        let (mut mine, mut others) = (Vec::new(), Vec::new());
        for place in places.collect::<Result<Vec<Place>>>()? {
            match place {
                Place::Store(name) => mine.push(name),
                other => others.push(other),
            }
        }
        if let (true, Some(other)) = (self.repair, others.first()) {
            let hint = "it puts the store right; into any other place, copy the image again";
            return Err(Error::unsupported(format!("verify --repair of {other}"), hint));
        }
        if !mine.is_empty() || others.is_empty() {
            repaired = self.store(cx, &mine)?;
        }
        for place in &others {
            repaired.left.extend(self.elsewhere(cx, place)?);
        }
        tell(cx, &repaired)
    }

    fn store(&self, cx: &Context, images: &[String]) -> Result<Repaired> {
        let (store, depth) = (cx.store()?, Depth { contents: self.deep });
        if !self.repair {
            return Ok(Repaired { done: Vec::new(), left: store.verify(images, depth)? });
        }
        let settings = cx.settings(&self.registry)?;
        store.repair(images, depth, &settings, &*cx.progress())
    }

    fn elsewhere(&self, cx: &Context, place: &Place) -> Result<Vec<Finding>> {
        if let Place::Layout(dir, which) = place {
            return verify_layout(dir, which);
        }
        let (store, settings) = (cx.store_for([place])?, cx.settings(&self.registry)?);
        let inputs =
            Inputs { tmpdir: cx.tmpdir.as_deref(), ..Inputs::new(&store, &settings, stdin) };
        source::with(place, &inputs, |image| verify_source(image, &place.to_string()))
    }
}

fn tell(cx: &Context, repaired: &Repaired) -> Result<()> {
    let Repaired { done, left } = repaired;
    if cx.json {
        cx.print_json(&json!({ "findings": left, "repaired": done }))?;
    } else {
        done.iter().try_for_each(|what| cx.line(format!("repaired {what}")))?;
        left.iter().try_for_each(|finding| cx.line(finding))?;
    }
    match left.iter().filter(|f| f.severity == Severity::Damage).count() {
        0 => Ok(()),
        1 => Err(Error::Conflict("verify: 1 thing is damaged".into())),
        n => Err(Error::Conflict(format!("verify: {n} things are damaged"))),
    }
}
