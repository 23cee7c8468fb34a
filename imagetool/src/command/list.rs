//! `dhow-image list`: the store's images, newest first.

use std::path::Path;

use clap::Args;
use dhow_image::Result;
use dhow_image::manifest::Descriptor;
use dhow_image::reference::Reference;
use dhow_image::source::{Directory, layout_index};
use dhow_image::store::Stored;
use serde_json::{Value, json};

use super::table::{human, table};
use crate::cli::target::{LayoutFlag, exactly};
use crate::context::Context;

/// Flags of `list`.
#[derive(Args)]
pub struct List {
    /// Only images of this name
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print whole ids
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    of_layout: LayoutFlag,
}

impl List {
    /// Lists.
    pub fn run(self, cx: &Context) -> Result<()> {
        if let Some(dir) = self.of_layout.dir()? {
            let [] = exactly(self.name.into_iter().collect(), [])?;
            return tags(cx, &dir);
        }
        let wanted = self.name.as_deref().map(Reference::parse_normal).transpose()?;
        let mut images = cx.store()?.images()?;
        images.retain(|i| wanted.as_ref().is_none_or(|w| fits(i, w)));
        images.sort_by(|a, b| b.created.cmp(&a.created));
        if cx.json {
            return cx.print_json(&images.iter().map(shape).collect::<Vec<Value>>());
        }
        let id = |i: &Stored| {
            if self.no_trunc { i.id().to_string() } else { i.id().short().to_owned() }
        };
        if cx.quiet {
            return images.iter().try_for_each(|i| cx.line(id(i)));
        }
        let mut rows = vec![["NAME", "ID", "CREATED", "SIZE"].map(str::to_owned)];
        for image in &images {
            let created = image.created.as_deref().unwrap_or("-");
            let created = created.get(..16).unwrap_or(created).replace('T', " ");
            let names: Vec<String> = match image.names.as_slice() {
                [] => vec!["<none>".to_owned()],
                names => names.iter().map(Reference::familiar).collect(),
            };
            for name in names {
                rows.push([name, id(image), created.clone(), human(image.size)]);
            }
        }
        table(&rows).iter().try_for_each(|line| cx.line(line))
    }
}

/// The names of a layout, a line each, as umoci lists them.
fn tags(cx: &Context, dir: &Path) -> Result<()> {
    let index = layout_index(&Directory(dir.to_owned()))?;
    if cx.json {
        let entry = |d: &Descriptor| json!({ "name": d.ref_name(), "digest": d.digest, "mediaType": d.media_type, "size": d.size });
        return cx.print_json(&index.manifests.iter().map(entry).collect::<Vec<Value>>());
    }
    index.manifests.iter().filter_map(Descriptor::ref_name).try_for_each(|name| cx.line(name))
}

fn fits(image: &Stored, wanted: &Reference) -> bool {
    let same = |n: &Reference| {
        n.name() == wanted.name() && (wanted.tag().is_none() || n.tag() == wanted.tag())
    };
    image.names.iter().any(same)
}

fn shape(image: &Stored) -> Value {
    json!({
        "id": image.id(),
        "names": image.names,
        "repoDigests": image.repo_digests,
        "manifest": image.manifest.digest,
        "created": image.created,
        "platform": image.platform.to_string(),
        "size": image.size,
        "layers": image.diff_ids.len(),
    })
}
