//! Which image is meant: `--image PATH[:TAG]` and `--layout PATH` as umoci has them, or else a
//! place as skopeo writes them, or a name of the store.

use std::path::PathBuf;

use clap::Args;
use dhow_image::config::History;
use dhow_image::edit::{Changed, Draft, NewLayer, Tagged, between};
use dhow_image::manifest::Compression;
use dhow_image::platform::Platform;
use dhow_image::reference::Reference;
use dhow_image::sink::Outputs;
use dhow_image::source::{Guarded, Inputs, Source, with};
use dhow_image::transport::{Place, Which};
use dhow_image::trust::Origin;
use dhow_image::{Error, Result};

use super::RegistryFlags;
use crate::context::{Context, stdin, stdout};

/// `--image`.
#[derive(Args, Clone, Debug, Default)]
pub struct ImageFlag {
    /// An image of an OCI layout, in place of a positional one; TAG is `latest` if not given
    #[arg(long, value_name = "PATH[:TAG]")]
    pub image: Option<String>,
}

/// `--layout`.
#[derive(Args, Clone, Debug, Default)]
pub struct LayoutFlag {
    /// An OCI layout
    #[arg(long, value_name = "PATH")]
    pub layout: Option<String>,
}

/// `--tag`.
#[derive(Args, Clone, Debug, Default)]
pub struct TagFlag {
    /// Name the result so; without it, it takes its base's name
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
}

/// What was named.
#[derive(Clone, Debug)]
pub enum Target {
    /// By `--image`: a name in a layout.
    Tagged(Tagged),
    /// By a place or a name.
    Place(Place),
}

impl ImageFlag {
    /// The layout and the tag, if the flag was given.
    pub fn tagged(&self) -> Result<Option<Tagged>> {
        let Some(text) = &self.image else { return Ok(None) };
        let bad = |why: &str| Error::usage("--image", text, why);
        let (dir, tag) = text.split_once(':').unwrap_or((text, "latest"));
        if dir.is_empty() {
            return Err(bad("the path is empty"));
        }
        if tag.is_empty() {
            return Err(bad("the tag is empty"));
        }
        if !is_ref_name(tag) {
            return Err(bad("the tag contains invalid characters"));
        }
        Ok(Some(Tagged { dir: PathBuf::from(dir), tag: tag.to_owned() }))
    }

    /// Whether it was typed as umoci's users type it; then what comes of it is umoci's, too.
    pub fn is_umocis(&self) -> bool {
        self.image.is_some()
    }

    /// What is meant. Without the flag it is the first of the words, which is taken from them.
    pub fn take(&self, words: &mut Vec<String>) -> Result<Target> {
        if let Some(tagged) = self.tagged()? {
            return Ok(Target::Tagged(tagged));
        }
        if words.is_empty() {
            let why = "say which: --image PATH[:TAG], a place such as oci:DIR:TAG, or a name of the store";
            return Err(Error::usage("image", "", why));
        }
        words.remove(0).parse().map(Target::Place)
    }
}

impl LayoutFlag {
    /// The layout, if the flag was given.
    pub fn dir(&self) -> Result<Option<PathBuf>> {
        let Some(text) = &self.layout else { return Ok(None) };
        let bad = |why: &str| Error::usage("--layout", text, why);
        match text.as_str() {
            "" => Err(bad("the path is empty")),
            path if path.contains(':') => Err(bad("the path contains a colon")),
            path => Ok(Some(path.into())),
        }
    }
}

impl TagFlag {
    /// The new tag, if there is one.
    pub fn get(&self) -> Result<Option<&str>> {
        let Some(tag) = self.tag.as_deref() else { return Ok(None) };
        let bad = |why: &str| Error::usage("--tag", tag, why);
        match tag {
            "" => Err(bad("it is empty")),
            tag if !is_ref_name(tag) => Err(bad("it contains invalid characters")),
            tag => Ok(Some(tag)),
        }
    }
}

/// SPEC: image-spec annotations.md, `org.opencontainers.image.ref.name`: words of letters and
/// digits, joined by one of `-._:@+/` or by `--`.
pub fn is_ref_name(text: &str) -> bool {
    let words = text.replace("--", "-");
    let tight = !text.contains("---");
    tight
        && words
            .split(['-', '.', '_', ':', '@', '+', '/'])
            .all(|w| !w.is_empty() && w.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// The words that a verb wants after its image.
pub fn exactly<const N: usize>(words: Vec<String>, want: [&str; N]) -> Result<[String; N]> {
    let wrong = |words: &[String]| {
        let why = match N {
            0 => "nothing is expected here".to_owned(),
            _ => format!("expected is {}", want.join(" ")),
        };
        Error::usage("arguments", words.join(" "), why)
    };
    if let Some(at) = words.iter().position(String::is_empty) {
        return Err(Error::usage("argument", "", format!("number {} is empty", at + 1)));
    }
    <[String; N]>::try_from(words).map_err(|words| wrong(&words))
}

impl Target {
    /// Calls `then` with the image.
    pub fn read<T>(
        &self,
        cx: &Context,
        registry: &RegistryFlags,
        then: impl FnOnce(&dyn Source) -> Result<T>,
    ) -> Result<T> {
        match self {
            // No store is needed for it, and none is made.
            Self::Tagged(tagged) => {
                let (source, trust) = (tagged.open()?, cx.trust());
                then(&Guarded::new(&source, &trust, Origin::of(&tagged.place())))
                    .map_err(in_umocis_words)
            }
            Self::Place(place) => {
                let (store, settings) = (cx.store()?, cx.settings(registry)?);
                with(place, &Inputs::new(&store, &settings, stdin), then)
            }
        }
    }

    /// Changes the image, and names the result: as it was, or by `tag`.
    pub fn edit(
        &self,
        cx: &Context,
        registry: &RegistryFlags,
        (tag, platform): (&TagFlag, Option<&Platform>),
        change: impl FnOnce(&mut Draft<'_>, &std::path::Path) -> Result<()>,
    ) -> Result<Changed> {
        let place = match self {
            Self::Tagged(tagged) => return tagged.edit(tag.get()?, platform, change),
            Self::Place(Place::Layout(dir, Which::Named(name))) => {
                let tagged = Tagged { dir: dir.clone(), tag: name.clone() };
                return tagged.edit(tag.get()?, platform, change);
            }
            Self::Place(place) => place,
        };
        let to = renamed(place, tag)?;
        let (store, settings) = (cx.store()?, cx.settings(registry)?);
        let inputs = Inputs::new(&store, &settings, stdin);
        let outputs = Outputs::new(&store, &settings, stdout);
        let lease = store.lease()?;
        let progress = cx.progress();
        between((place, &inputs), (&to, &outputs), (platform, lease.dir()), &*progress, change)
    }
}

/// What umoci says of a blob that isn't what its descriptor says; its users' scripts look for it.
fn in_umocis_words(error: Error) -> Error {
    match error {
        Error::Digest { what, want, got } => {
            let why = format!("verified reader digest mismatch: expected {want}, it is {got}");
            Error::invalid(what, why)
        }
        // The digest takes precedence, and that of fewer bytes is another.
        Error::Size { what, want, got } if got < want => {
            let why =
                format!("verified reader digest mismatch: it ends after {got} of {want} bytes");
            Error::invalid(what, why)
        }
        Error::Size { what, want, .. } => {
            let why = format!("verified reader size mismatch: expected {want} bytes, it has more");
            Error::invalid(what, why)
        }
        other => other,
    }
}

/// Says what came of a change: JSON if asked for, else for a place the digest. With `--image`
/// nothing is said, as umoci says nothing.
pub fn report(cx: &Context, target: &Target, changed: &Changed) -> Result<()> {
    if cx.json {
        return cx.print_json(&serde_json::json!({
            "digest": changed.root.digest,
            "manifest": changed.manifest,
            "id": changed.config,
        }));
    }
    match target {
        Target::Tagged(_) => Ok(()),
        Target::Place(_) => cx.line(&changed.root.digest),
    }
}

/// The place under another tag.
fn renamed(place: &Place, tag: &TagFlag) -> Result<Place> {
    let Some(tag) = tag.tag.as_deref() else {
        let written = matches!(place, Place::Store(_) | Place::Registry(_) | Place::Layout(..));
        if written {
            return Ok(place.clone());
        }
        let why =
            "an image is changed in the store, an OCI layout or a registry; copy it there first";
        return Err(Error::usage("place", place.to_string(), why));
    };
    Ok(match place {
        // A whole name stands alone, a mere tag goes with the repository.
        Place::Store(name) => match Reference::parse_normal(name) {
            Ok(old) if is_tag(tag) => Place::Store(old.with_tag(tag)?.to_string()),
            _ => Place::Store(tag.to_owned()),
        },
        Place::Registry(old) => Place::Registry(old.with_tag(tag)?),
        Place::Layout(dir, _) => Place::Layout(dir.clone(), Which::Named(tag.to_owned())),
        _ => return renamed(place, &TagFlag::default()),
    })
}

fn is_tag(text: &str) -> bool {
    !text.contains([':', '/', '@'])
}

/// What is told of a change in the image's history.
#[derive(Args, Clone, Debug, Default)]
pub struct HistoryFlags {
    /// Add no history entry
    #[arg(long)]
    pub no_history: bool,
    /// Who made the change
    #[arg(long = "history.author", value_name = "TEXT", conflicts_with = "no_history")]
    pub history_author: Option<String>,
    /// A comment on the change
    #[arg(long = "history.comment", value_name = "TEXT", conflicts_with = "no_history")]
    pub history_comment: Option<String>,
    /// When the change was made (RFC 3339)
    #[arg(long = "history.created", value_name = "TIME", conflicts_with = "no_history")]
    pub history_created: Option<String>,
    /// What made the change
    #[arg(long = "history.created_by", value_name = "TEXT", conflicts_with = "no_history")]
    pub history_created_by: Option<String>,
}

impl HistoryFlags {
    /// The entry, unless none is wanted; `by` and `author` are for where the flags say nothing.
    pub fn entry(&self, cx: &Context, by: &str, author: &str) -> Result<Option<History>> {
        if self.no_history {
            return Ok(None);
        }
        let or =
            |flag: &Option<String>, other: &str| flag.clone().unwrap_or_else(|| other.to_owned());
        let created = match &self.history_created {
            Some(time) => checked_time("--history.created", time)?,
            None => cx.now()?,
        };
        Ok(Some(History {
            created: Some(created),
            created_by: or(&self.history_created_by, by),
            author: or(&self.history_author, author),
            comment: or(&self.history_comment, ""),
            empty_layer: false,
        }))
    }
}

/// A time of RFC 3339, as it was typed.
pub fn checked_time(flag: &'static str, text: &str) -> Result<String> {
    let why = "write it as 2006-01-02T15:04:05Z or with an offset such as +02:00";
    let shape = text.len() >= 20 && text.as_bytes()[10] == b'T';
    match text.parse::<jiff::Timestamp>() {
        Ok(_) if shape => Ok(text.to_owned()),
        _ => Err(Error::usage(flag, text, why)),
    }
}

/// `--compress`.
#[derive(Args, Clone, Debug, Default)]
pub struct CompressFlag {
    /// How new layers are packed: gzip, zstd, none, or auto, as the image's topmost packed one
    #[arg(long, value_name = "HOW")]
    pub compress: Option<String>,
}

impl CompressFlag {
    /// Which way is meant; `None` for auto.
    pub fn get(&self) -> Result<Option<Compression>> {
        Ok(match self.compress.as_deref() {
            None | Some("auto") => None,
            Some("gzip") => Some(Compression::Gzip),
            Some("zstd") => Some(Compression::Zstd),
            Some("none") => Some(Compression::None),
            Some(other) => {
                return Err(Error::usage("--compress", other, "gzip, zstd, none or auto"));
            }
        })
    }
}

/// umoci's note on a packed layer: how long it is unpacked.
pub const PLAIN_SIZE: &str = "ci.umo.uncompressed_blob_size";

/// Notes a new layer's plain size.
pub fn noted(mut layer: NewLayer) -> NewLayer {
    if layer.plain != layer.blob.size {
        layer.blob.annotations.insert(PLAIN_SIZE.to_owned(), layer.plain.to_string());
    }
    layer
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tagged(text: &str) -> Result<Option<Tagged>> {
        ImageFlag { image: Some(text.to_owned()) }.tagged()
    }

    #[test]
    fn an_image_is_a_path_and_a_tag() {
        let of = |text: &str| tagged(text).unwrap().map(|t| (t.dir, t.tag)).unwrap();
        assert_eq!(of("a/b"), ("a/b".into(), "latest".into()));
        assert_eq!(of("a/b:1.2"), ("a/b".into(), "1.2".into()));
        assert_eq!(of("a:x/y:1@2"), ("a".into(), "x/y:1@2".into()));
        for bad in ["", ":a", "a:", "a:.x", "a:x y", "a:x-", "a:x---y", "a:x//y", "a:x..y"] {
            assert!(tagged(bad).is_err(), "{bad}");
        }
        assert!(is_ref_name("a--b") && !is_ref_name("a--") && !is_ref_name("a-.b"));
    }

    #[test]
    fn a_tag_goes_with_its_place() {
        let to = |place: &str, tag: &str| {
            let tag = TagFlag { tag: Some(tag.to_owned()) };
            renamed(&place.parse().unwrap(), &tag).unwrap().to_string()
        };
        assert_eq!(to("oci:d:a", "b"), "oci:d:b");
        assert_eq!(to("busybox", "b"), "docker.io/library/busybox:b");
        assert_eq!(to("busybox", "x/y:b"), "x/y:b");
        assert_eq!(to("docker://r.io/a:1", "b"), "docker://r.io/a:b");
        assert!(renamed(&"dir:x".parse().unwrap(), &TagFlag::default()).is_err());
    }

    proptest! {
        #[test]
        fn flags_never_panic(text in "\\PC{0,30}") {
            let _ = tagged(&text);
            let _ = LayoutFlag { layout: Some(text.clone()) }.dir();
            let _ = checked_time("x", &text);
        }
    }
}
