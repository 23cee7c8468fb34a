//! `--output type=local|tar|oci|docker|image|registry|cacheonly,…`, `-o DIR`, `-o -`, `--push`, `--load`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::csv::{fields, switch};
use super::refuse;
use crate::build::Wants;
use crate::error::Result;
use crate::manifest::Compression;
use crate::recode::{Kind, Packing, Recode};
use crate::reference::Reference;
use crate::transport::File;

/// Where a build's result goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// An image.
    Image(ImageOutput),
    /// An archive or a layout of an image.
    Archive(ArchiveOutput),
    /// Its files, into a directory.
    Local(PathBuf),
    /// Its files, as a tar.
    Tar(File),
    /// Nowhere: the cache alone.
    CacheOnly,
}

/// `type=image`, `type=registry`, and `type=docker` without a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageOutput {
    /// Names beside `--tag`'s.
    pub names: Vec<Reference>,
    /// Kept in the store.
    pub store: bool,
    /// Brought to the registries of its names.
    pub push: bool,
    /// In what form it is pushed.
    pub recode: Recode,
}

/// `type=oci`, and `type=docker` with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveOutput {
    /// Whose archive.
    pub kind: Kind,
    /// Where to.
    pub to: File,
    /// A layout in a directory, no archive.
    pub directory: bool,
    /// Names beside `--tag`'s.
    pub names: Vec<Reference>,
    /// In what form.
    pub recode: Recode,
}

/// What the flags mean, with annotations of outputs; an image in the store if nothing is said.
pub struct Outputs {
    /// Where it goes.
    pub all: Vec<Output>,
    /// `annotation.KEY=VALUE`
    pub annotations: BTreeMap<String, String>,
}

/// Reads all of them.
pub fn outputs(typed: &[String], push: bool, load: bool, terminal: bool) -> Result<Outputs> {
    let mut found = Outputs { all: Vec::new(), annotations: BTreeMap::new() };
    for text in typed.iter().filter(|text| !text.is_empty()) {
        let output = one(text, &mut found.annotations)?;
        found.all.push(output);
    }
    let image =
        |push| ImageOutput { names: Vec::new(), store: true, push, recode: Recode::pushed() };
    if push {
        let pushed = found.all.iter_mut().find_map(|output| match output {
            Output::Image(image) => Some(image),
            _ => None,
        });
        match pushed {
            Some(image) => image.push = true,
            None => found.all.push(Output::Image(image(true))),
        }
    }
    let kept = |output: &Output| matches!(output, Output::Image(image) if image.store);
    if (load && !found.all.iter().any(kept)) || found.all.is_empty() {
        found.all.push(Output::Image(image(false)));
    }
    let stdout = |output: &&Output| output.is_stdout();
    match found.all.iter().filter(stdout).count() {
        1 if terminal => {
            let what = found.all.iter().find(stdout).map_or("tar", Output::word);
            return Err(refuse(format!(
                "dest file is required for {what} exporter. refusing to write to console"
            )));
        }
        0 | 1 => {}
        _ => return Err(refuse("multiple outputs configured to write to stdout".into())),
    }
    Ok(found)
}

impl Output {
    /// BuildKit's word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Image(_) => "image",
            Self::Archive(archive) if archive.kind == Kind::Oci => "oci",
            Self::Archive(_) => "docker",
            Self::Local(_) => "local",
            Self::Tar(_) => "tar",
            Self::CacheOnly => "cacheonly",
        }
    }

    /// Whether it goes to stdout.
    pub fn is_stdout(&self) -> bool {
        match self {
            Self::Tar(file) => *file == File::Std,
            Self::Archive(archive) => archive.to == File::Std,
            _ => false,
        }
    }

    /// What has to be made for it.
    pub fn wants(&self) -> Wants {
        match self {
            Self::Image(_) | Self::Archive(_) => Wants::Image,
            Self::Local(_) | Self::Tar(_) => Wants::Files,
            Self::CacheOnly => Wants::Nothing,
        }
    }
}

fn one(text: &str, annotations: &mut BTreeMap<String, String>) -> Result<Output> {
    let all = fields(text).map_err(refuse)?;
    if let ([field], false) = (all.as_slice(), text.starts_with("type="))
        && *field == text
    {
        if text == "-" {
            return Ok(Output::Tar(File::Std));
        }
        return local(text);
    }
    let mut attrs = BTreeMap::new();
    for field in &all {
        let Some((key, value)) = field.split_once('=') else {
            return Err(refuse(format!("invalid value {field}")));
        };
        attrs.insert(key.trim().to_ascii_lowercase(), value.to_owned());
    }
    let Some(kind) = attrs.remove("type").filter(|kind| !kind.is_empty()) else {
        return Err(refuse("type is required for output".into()));
    };
    let mut attrs = Attrs { kind, attrs };
    let marked: Vec<String> =
        attrs.attrs.keys().filter(|k| k.starts_with("annotation.")).cloned().collect();
    for key in marked {
        let value = attrs.attrs.remove(&key).unwrap_or_default();
        annotations.insert(key["annotation.".len()..].to_owned(), value);
    }
    let output = attrs.output()?;
    attrs.end()?;
    Ok(output)
}

fn local(dest: &str) -> Result<Output> {
    let there = std::fs::metadata(dest);
    match dest {
        "" => Err(refuse("dest is required for local exporter".into())),
        "-" => Err(refuse("dest cannot be stdout for local exporter".into())),
        _ if there.is_ok_and(|m| !m.is_dir()) => {
            Err(refuse(format!("destination directory {dest} is a file")))
        }
        _ => Ok(Output::Local(dest.into())),
    }
}

/// The attributes of an output that haven't been understood yet.
struct Attrs {
    kind: String,
    attrs: BTreeMap<String, String>,
}

impl Attrs {
    fn take(&mut self, key: &str) -> Option<String> {
        self.attrs.remove(key)
    }

    fn switch(&mut self, key: &str, usual: bool) -> Result<bool> {
        let Some(value) = self.take(key) else { return Ok(usual) };
        let read = if value.is_empty() { Some(true) } else { switch(&value) };
        read.ok_or_else(|| {
            refuse(format!("invalid value {value:?} for {key} of output type {}", self.kind))
        })
    }

    fn names(&mut self) -> Result<Vec<Reference>> {
        let names = self.take("name").unwrap_or_default();
        names.split(',').filter(|n| !n.is_empty()).map(super::names::tag).collect()
    }

    /// A file, or stdout.
    fn file(&mut self, usual: Option<&str>) -> Result<Option<File>> {
        let dest = self.take("dest").filter(|dest| !dest.is_empty());
        let Some(dest) = dest.or_else(|| usual.map(str::to_owned)) else { return Ok(None) };
        if dest != "-" && Path::new(&dest).is_dir() {
            return Err(refuse(format!("destination file {dest} is a directory")));
        }
        Ok(Some(File::new(&dest)))
    }

    fn output(&mut self) -> Result<Output> {
        match self.kind.as_str() {
            "local" => {
                if self.take("mode").is_some_and(|mode| mode != "copy") {
                    return Err(refuse(
                        "output mode: only copy is supported; empty the directory before".into(),
                    ));
                }
                if self.switch("platform-split", false)? {
                    return Err(refuse(
                        "platform-split: a build is of one platform; name its directory in dest"
                            .into(),
                    ));
                }
                local(&self.take("dest").unwrap_or_default())
            }
            "tar" => Ok(Output::Tar(self.file(Some("-"))?.unwrap_or(File::Std))),
            "oci" => self.archive(Kind::Oci),
            "docker" if self.attrs.contains_key("dest") => self.archive(Kind::Docker),
            "docker" | "image" => self.image(false),
            "registry" => self.image(true),
            "cacheonly" => Ok(Output::CacheOnly),
            other => Err(refuse(format!(
                "exporter {other:?} could not be found; it is one of local, tar, oci, docker, image, registry, cacheonly"
            ))),
        }
    }

    fn image(&mut self, push: bool) -> Result<Output> {
        self.common()?;
        for by in ["push-by-digest", "name-canonical"] {
            if self.switch(by, false)? {
                return Err(refuse(format!(
                    "{by} is not supported; push under a tag, the digest is in --metadata-file"
                )));
            }
        }
        self.switch("unpack", true)?; // layers are unpacked when they are made
        let (names, store) = (self.names()?, self.switch("store", true)?);
        let push = self.switch("push", push)?;
        if self.switch("registry.insecure", false)? {
            return Err(refuse(
                "registry.insecure: name the registry in daemon.json's insecure-registries".into(),
            ));
        }
        Ok(Output::Image(ImageOutput {
            names,
            store,
            push,
            recode: self.recode(Recode::pushed())?,
        }))
    }

    fn archive(&mut self, kind: Kind) -> Result<Output> {
        self.common()?;
        let directory = !self.switch("tar", true)?;
        let to = if directory {
            let dest = self.take("dest").unwrap_or_default();
            local(&dest)?;
            if kind == Kind::Docker {
                return Err(refuse(
                    "type=docker,tar=false: a directory is an OCI layout; take type=oci,tar=false"
                        .into(),
                ));
            }
            File::Path(dest.into())
        } else {
            self.file(Some("-"))?.unwrap_or(File::Std)
        };
        let usual =
            Recode { kind: (kind == Kind::Docker).then_some(Kind::Docker), ..Recode::pushed() };
        let (names, recode) = (self.names()?, self.recode(usual)?);
        Ok(Output::Archive(ArchiveOutput { kind, to, directory, names, recode }))
    }

    /// What holds anyway.
    fn common(&mut self) -> Result<()> {
        // Times of new layers follow SOURCE_DATE_EPOCH without being told to.
        self.switch("rewrite-timestamp", true)?;
        for key in ["buildinfo", "buildinfo-attrs"] {
            self.take(key);
        }
        Ok(())
    }

    fn recode(&mut self, usual: Recode) -> Result<Recode> {
        let mut recode = usual;
        let force = self.switch("force-compression", false)?;
        let wanted = match self.take("compression").as_deref() {
            None => None,
            Some("uncompressed") => Some(Compression::None),
            Some("gzip") => Some(Compression::Gzip),
            Some("zstd") => Some(Compression::Zstd),
            Some(other) => {
                return Err(refuse(format!(
                    "unsupported layer compression type {other:?}; it is one of uncompressed, gzip, zstd"
                )));
            }
        };
        if let Some(wanted) = wanted {
            // DIFFERS: BuildKit leaves the base's layers as they are without force-compression; here
            // it is the form of the whole image.
            (recode.packing, recode.habit) = (Packing::All(wanted), false);
        } else if force {
            (recode.packing, recode.habit) = (Packing::All(Compression::Gzip), false);
        }
        if let Some(level) = self.take("compression-level") {
            let bad =
                |_| refuse(format!("non-integer value {level:?} specified for compression-level"));
            recode.level = Some(level.parse().map_err(bad)?);
        }
        if self.attrs.contains_key("oci-mediatypes") {
            let oci = self.switch("oci-mediatypes", true)?;
            recode.kind = Some(if oci { Kind::Oci } else { Kind::Docker });
            recode.habit = false;
        }
        recode.check()?;
        Ok(recode)
    }

    fn end(self) -> Result<()> {
        let Some((key, _)) = self.attrs.first_key_value() else { return Ok(()) };
        Err(refuse(format!("output type {}: {key:?} is not supported", self.kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Output> {
        outputs(&[text.to_owned()], false, false, false).map(|mut found| found.all.remove(0))
    }

    #[test]
    fn outputs_are_read_as_buildx_reads_them() {
        for (text, expected) in [
            ("out", Output::Local("out".into())),
            ("-", Output::Tar(File::Std)),
            ("type=local,dest=out", Output::Local("out".into())),
            ("type=tar", Output::Tar(File::Std)),
            ("type=tar,dest=a.tar", Output::Tar(File::Path("a.tar".into()))),
            ("type=cacheonly", Output::CacheOnly),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        let Output::Archive(oci) = read("type=oci,dest=a.tar,name=x:1").unwrap() else { panic!() };
        assert_eq!((oci.kind, oci.directory), (Kind::Oci, false));
        assert_eq!(oci.names[0].to_string(), "docker.io/library/x:1");
        let Output::Archive(dir) = read("type=oci,tar=false,dest=layout").unwrap() else {
            panic!()
        };
        assert!(dir.directory);
        let Output::Image(image) = read("type=docker").unwrap() else { panic!() };
        assert!(image.store && !image.push);
        let Output::Image(image) = read("type=registry,compression=zstd").unwrap() else {
            panic!()
        };
        assert!(image.push);
        assert_eq!(image.recode.packing, Packing::All(Compression::Zstd));
        for (text, told) in [
            ("type=local", "dest is required for local exporter"),
            ("type=local,dest=-", "dest cannot be stdout for local exporter"),
            ("type=local,dest=/etc/passwd", "destination directory /etc/passwd is a file"),
            ("type=tar,dest=/etc", "destination file /etc is a directory"),
            ("dest=a,x=b", "type is required for output"),
            ("type=tar,x", "invalid value x"),
            ("type=tar,x=y", "output type tar: \"x\" is not supported"),
            ("type=oci,compression=lzma", "unsupported layer compression type \"lzma\""),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(told), "{text}: {error}");
        }
    }

    #[test]
    fn push_and_load_are_short_for_outputs() {
        let all = |typed: &[&str], push, load| {
            let typed: Vec<String> = typed.iter().map(ToString::to_string).collect();
            outputs(&typed, push, load, false).unwrap().all
        };
        let [Output::Image(image)] = &all(&[], false, false)[..] else { panic!() };
        assert!(image.store && !image.push);
        let [Output::Image(image)] = &all(&[], true, true)[..] else { panic!() };
        assert!(image.store && image.push);
        assert_eq!(all(&["out"], false, true).len(), 2);
        assert_eq!(all(&["type=image"], true, true).len(), 1);
        let two = ["-".to_owned(), "type=oci".to_owned()];
        assert!(outputs(&two, false, false, false).is_err());
        let console = outputs(&two[..1], false, false, true).err().unwrap().to_string();
        assert_eq!(console, "dest file is required for tar exporter. refusing to write to console");
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "(type=(oci|docker|image|tar))?[a-z=,\":@.-]{0,30}|\\PC{0,30}") {
            let _ = read(&text);
        }
    }
}
