//! `dhow-image tree`: the layers of the store's images; one that several stand on is there once.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use dhow_image::Result;
use dhow_image::digest::{ChainId, Digest};
use dhow_image::reference::Reference;
use dhow_image::snapshot::Layers;
use dhow_image::store::{Store, Stored};
use serde_json::{Value, json};

use crate::command::table::human;
use crate::context::Context;

/// Flags of `tree`.
#[derive(Args)]
pub struct Tree {
    /// Only these images: names or ids
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// Whole digests
    #[arg(long)]
    no_trunc: bool,
}

/// A layer upon the layers below it.
struct Node {
    size: u64,
    /// Whether it is unpacked; else the size is of its blob.
    unpacked: bool,
    /// The images that end here.
    images: Vec<String>,
    above: BTreeSet<ChainId>,
}

#[derive(Default)]
struct Forest {
    nodes: BTreeMap<ChainId, Node>,
    roots: BTreeSet<ChainId>,
    /// Images without a layer.
    bare: Vec<String>,
}

impl Tree {
    /// Draws it.
    pub fn run(self, cx: &Context) -> Result<()> {
        let store = cx.store()?;
        let images: Vec<Stored> = if self.images.is_empty() {
            store.images()?
        } else {
            self.images.iter().map(|i| store.find(i)).collect::<Result<_>>()?
        };
        let forest = Forest::of(&store, &images)?;
        if cx.json {
            let roots: Vec<Value> = forest.roots.iter().map(|id| forest.shape(id)).collect();
            return cx.print_json(&roots);
        }
        for id in &forest.roots {
            self.draw(cx, &forest, id, "", "")?;
        }
        for name in &forest.bare {
            cx.line(format!("(no layers)  {name}"))?;
        }
        let total = forest.nodes.values().fold(0u64, |sum, n| sum.saturating_add(n.size));
        cx.line(format!("{} layers, {} in all", forest.nodes.len(), human(total)))
    }

    /// A line a layer. As deep as an image has layers, which is bounded.
    fn draw(
        &self,
        cx: &Context,
        forest: &Forest,
        id: &Digest,
        mark: &str,
        pad: &str,
    ) -> Result<()> {
        let node = &forest.nodes[id];
        let shown = if self.no_trunc { id.to_string() } else { id.short().to_owned() };
        let packed = if node.unpacked { "" } else { " (packed)" };
        let names = if node.images.is_empty() {
            String::new()
        } else {
            format!("  {}", node.images.join(", "))
        };
        cx.line(format!("{pad}{mark}{shown} {}{packed}{names}", human(node.size)))?;
        let below = match mark {
            "" => pad.to_owned(),
            "└─ " => format!("{pad}   "),
            _ => format!("{pad}│  "),
        };
        let last = node.above.len().saturating_sub(1);
        node.above.iter().enumerate().try_for_each(|(i, next)| {
            self.draw(cx, forest, next, if i == last { "└─ " } else { "├─ " }, &below)
        })
    }
}

impl Forest {
    fn of(store: &Store, images: &[Stored]) -> Result<Self> {
        let layers = Layers::open(store.root());
        let mut forest = Self::default();
        for image in images {
            let names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
            let title = if names.is_empty() { image.title() } else { names.join(", ") };
            let chain = image.chain_ids(store)?;
            let Some(top) = chain.last() else {
                forest.bare.push(title);
                continue;
            };
            let blobs = image.manifest(store)?.layers;
            for (i, (id, blob)) in chain.iter().zip(&blobs).enumerate() {
                let record = layers.record(id).ok();
                forest.nodes.entry(id.clone()).or_insert_with(|| Node {
                    size: record.as_ref().map_or(blob.size, |r| r.size),
                    unpacked: record.is_some(),
                    images: Vec::new(),
                    above: BTreeSet::new(),
                });
                match i.checked_sub(1).and_then(|below| forest.nodes.get_mut(&chain[below])) {
                    Some(parent) => drop(parent.above.insert(id.clone())),
                    None => drop(forest.roots.insert(id.clone())),
                }
            }
            if let Some(node) = forest.nodes.get_mut(top) {
                node.images.push(title);
            }
        }
        Ok(forest)
    }

    fn shape(&self, id: &Digest) -> Value {
        let node = &self.nodes[id];
        let above: Vec<Value> = node.above.iter().map(|next| self.shape(next)).collect();
        json!({
            "chainId": id, "size": node.size, "unpacked": node.unpacked,
            "images": node.images, "above": above,
        })
    }
}
