//! `dhow-image diff A B`: how two images differ, wherever they are.

use clap::Args;
use dhow_image::difference::{Change, documents, files};
use dhow_image::digest::DiffId;
use dhow_image::edit::Draft;
use dhow_image::layer::merged::{Merged, Node, What};
use dhow_image::manifest::Descriptor;
use dhow_image::source::{Inputs, Source, with};
use dhow_image::stack::{Layer, lay};
use dhow_image::transport::Place;
use dhow_image::{Error, Result};
use serde_json::{Value, json};

use crate::cli::RegistryFlags;
use crate::context::{Context, stdin};

/// Flags of `diff`.
#[derive(Args)]
pub struct Diff {
    /// A name of the store, or a place such as docker://REF or oci:DIR:NAME
    #[arg(value_name = "A")]
    first: String,
    /// The same
    #[arg(value_name = "B")]
    second: String,
    /// Tell of files, too, that differ in nothing but their times
    #[arg(long)]
    times: bool,
    /// Compare what the images' configs say, and no files
    #[arg(long)]
    config_only: bool,
    /// Which platform's image of a list
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// One of the two.
struct Side<'a> {
    source: &'a dyn Source,
    layers: Vec<Layer>,
    config: Value,
}

impl Diff {
    /// Compares. Layers that both begin with are read once.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (first, second): (Place, Place) = (self.first.parse()?, self.second.parse()?);
        let platform = cx.platform(self.platform.as_deref())?;
        let (store, settings) = (cx.store_for([&first, &second])?, cx.settings(&self.registry)?);
        let inputs = Inputs::new(&store, &settings, stdin);
        with(&first, &inputs, |a| {
            with(&second, &inputs, |b| {
                let side = |source| -> Result<Side<'_>> {
                    let draft = Draft::of(source, platform.as_ref())?;
                    let layers: Vec<(Descriptor, DiffId)> =
                        draft.layers().map(|(blob, id)| (blob.clone(), id.clone())).collect();
                    let config = serde_json::to_value(&*draft.config)
                        .map_err(|e| Error::invalid("image config", e))?;
                    Ok(Side { source, layers, config })
                };
                self.compare(cx, &side(a)?, &side(b)?)
            })
        })
    }

    fn compare(&self, cx: &Context, a: &Side<'_>, b: &Side<'_>) -> Result<()> {
        let mut said = Vec::new();
        if !self.config_only {
            let (x, y) = both(cx, a, b)?;
            files(&x, &y, self.times, |path, change| {
                if cx.json {
                    said.push(shape(path, change));
                    return Ok(());
                }
                cx.line(line(path, change))
            })?;
        }
        let config = documents(&a.config, &b.config);
        if cx.json {
            let config: Vec<Value> =
                config.iter().map(|(at, x, y)| json!({"at": at, "a": x, "b": y})).collect();
            return cx.print_json(&json!({"files": said, "config": config}));
        }
        config.iter().try_for_each(|(at, x, y)| {
            let text = |v: Option<&Value>| v.map_or_else(|| "-".to_owned(), Value::to_string);
            cx.line(format!("config {at}: {} -> {}", text(*x), text(*y)))
        })
    }
}

/// What both images' layers come to.
fn both(cx: &Context, a: &Side<'_>, b: &Side<'_>) -> Result<(Merged, Merged)> {
    let progress = cx.progress();
    let shared = a.layers.iter().zip(&b.layers).take_while(|(x, y)| x.1 == y.1).count();
    let mut first = Merged::new(true, false);
    lay(&mut first, a.source, &a.layers[..shared], &*progress)?;
    let mut second = first.clone();
    lay(&mut first, a.source, &a.layers[shared..], &*progress)?;
    lay(&mut second, b.source, &b.layers[shared..], &*progress)?;
    Ok((first, second))
}

fn kind(node: &Node) -> &'static str {
    match node.what {
        What::Dir => "directory",
        What::File { .. } => "file",
        What::Symlink(_) => "symlink",
        What::Char(_) => "character device",
        What::Block(_) => "block device",
        What::Fifo => "fifo",
        What::LinkBelow(_) => "hard link",
    }
}

fn size(node: &Node) -> Option<u64> {
    if let What::File { size, .. } = node.what { Some(size) } else { None }
}

/// A name of the image's, which may be anything: what is no text is escaped.
fn shown(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) if !text.chars().any(char::is_control) => format!("/{text}"),
        _ => format!("/{}", path.escape_ascii()),
    }
}

fn line(path: &[u8], change: Change<'_>) -> String {
    let about = |node: &Node| {
        let meta = &node.meta;
        let size = size(node).map(|s| format!(" {s}")).unwrap_or_default();
        format!("{} {:04o} {}:{}{size}", kind(node), meta.mode, meta.uid, meta.gid)
    };
    match change {
        Change::Added(node) => format!("A {} ({})", shown(path), about(node)),
        Change::Deleted(node) => format!("D {} ({})", shown(path), about(node)),
        Change::Changed(a, b) => {
            let ways = change.ways().join(", ");
            let (was, is) = (about(a), about(b));
            let from = if was == is { String::new() } else { format!(": {was} -> {is}") };
            format!("C {} ({ways}{from})", shown(path))
        }
    }
}

fn shape(path: &[u8], change: Change<'_>) -> Value {
    let about = |node: &Node| {
        let meta = &node.meta;
        let link = match &node.what {
            What::Symlink(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        };
        let seconds = meta.mtime.secs;
        json!({
            "kind": kind(node), "mode": format!("{:04o}", meta.mode), "uid": meta.uid,
            "gid": meta.gid, "size": size(node), "target": link, "mtime": seconds,
        })
    };
    let (what, a, b) = match change {
        Change::Added(node) => ("added", None, Some(about(node))),
        Change::Deleted(node) => ("deleted", Some(about(node)), None),
        Change::Changed(a, b) => ("changed", Some(about(a)), Some(about(b))),
    };
    json!({"path": shown(path), "change": what, "ways": change.ways(), "a": a, "b": b})
}
