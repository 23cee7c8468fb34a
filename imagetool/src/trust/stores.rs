//! Where the signatures of a registry's image are: in a lookaside storage, a directory or a web
//! server that `registries.d` names, and in the registry itself as sigstore's attachments.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Trust;
use super::signature::{Attachment, MAX_SIGNATURE, MAX_SIGNATURES, Signature, collect};
use crate::digest::{Digest, Verified};
use crate::error::{Error, Result};
use crate::leftovers;
use crate::manifest::{self, Descriptor, MAX_CONFIG, OCI_MANIFEST, Parsed};
use crate::reference::Reference;
use crate::registry::{Client, Settings, download};

const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The signatures of what `name` leads to, from wherever they may be.
pub fn fetch(
    client: &Client,
    settings: &Settings,
    name: &Reference,
    of: &Digest,
) -> Result<Vec<Signature>> {
    let mut found = Vec::new();
    let Some(base) = settings.trust.lookaside(name, false)? else { return Ok(found) };
    for n in 1.. {
        let url = signature_url(&base, name, of, n);
        let Some(bytes) = read(&url, settings)? else { break };
        // One more than fits is an error, not the end.
        collect(&mut found, Signature::from_file(&bytes, &url)?, &url)?;
    }
    if settings.trust.registries()?.attachments(name) {
        attached(client, name, of, &mut found)?;
    }
    Ok(found)
}

/// Keeps the signatures of what was pushed as `name`.
pub fn store(
    client: &Client,
    trust: &Trust,
    name: &Reference,
    of: &Digest,
    signatures: &[Signature],
) -> Result<()> {
    let mut simple: Vec<&Signature> = Vec::new();
    let mut attachments: Vec<&Attachment> = Vec::new();
    for signature in signatures {
        match signature {
            Signature::Sigstore(attachment) => attachments.push(attachment),
            other @ Signature::Simple(_) => simple.push(other),
        }
    }
    if !attachments.is_empty() {
        if !trust.registries()?.attachments(name) {
            return Err(Error::unsupported(
                format!("writing sigstore signatures of {}", name.familiar()),
                "writing sigstore attachments is disabled by configuration: set use-sigstore-attachments in registries.d",
            ));
        }
        attach(client, name, of, &attachments)?;
    }
    if simple.is_empty() {
        return Ok(());
    }
    let base = trust.lookaside(name, true)?.ok_or_else(|| {
        let what = format!("writing signatures of {}", name.familiar());
        Error::unsupported(what, "set a lookaside in registries.d")
    })?;
    for (i, signature) in simple.iter().enumerate() {
        let path = local(&signature_url(&base, name, of, i + 1))?;
        write(&path, &signature.to_file())?;
    }
    // Those of earlier signings would come after ours.
    for n in simple.len() + 1..=MAX_SIGNATURES {
        let path = local(&signature_url(&base, name, of, n))?;
        match fs::remove_file(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => break,
            removed => removed.map_err(Error::at("remove", &path))?,
        }
    }
    Ok(())
}

/// SPEC: containers/image docs/signature-protocols.md, "Path structure".
fn signature_url(base: &str, name: &Reference, of: &Digest, n: usize) -> String {
    let algorithm = of.algorithm().name();
    let base = base.trim_end_matches('/');
    format!("{base}/{}@{algorithm}={}/signature-{n}", name.path(), of.hex())
}

/// The file that a URL for writing names.
fn local(url: &str) -> Result<PathBuf> {
    match url.strip_prefix("file://") {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        _ => Err(Error::unsupported(
            format!("writing a signature to {url}"),
            "only file:/// can be written: set a lookaside-staging in registries.d",
        )),
    }
}

fn read(url: &str, settings: &Settings) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    if url.starts_with("http://") || url.starts_with("https://") {
        let body = match download(settings, url) {
            Err(e) if e.is_not_found() => return Ok(None),
            other => other?,
        };
        body.take(MAX_SIGNATURE + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::from_io("read", url, e))?;
    } else {
        let path = local(url)?;
        match fs::metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", &path, e)),
            Ok(meta) if !meta.is_file() => return Err(Error::invalid(url, "it is no file")),
            Ok(_) => {}
        }
        let file = fs::File::open(&path).map_err(Error::at("open", &path))?;
        file.take(MAX_SIGNATURE + 1).read_to_end(&mut bytes).map_err(Error::at("read", &path))?;
    }
    if bytes.len() as u64 > MAX_SIGNATURE {
        return Err(Error::invalid(url, format!("it is over {MAX_SIGNATURE} bytes")));
    }
    Ok(Some(bytes))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(Error::at("create", folder))?;
    let mut file = leftovers::file_in(folder)?;
    let readable = fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(readable).map_err(Error::at("write", path))?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_data())
        .map_err(Error::at("write", path))?;
    file.persist(path).map(drop).map_err(|e| Error::io("create", path, e.error))
}

/// Where sigstore attaches: an image under a tag made of the digest.
fn attachment_tag(of: &Digest) -> String {
    format!("{}-{}.sig", of.algorithm().name(), of.hex())
}

/// The manifest of what is attached, if anything is.
fn attachment_manifest(
    client: &Client,
    name: &Reference,
    of: &Digest,
) -> Result<Option<(Vec<u8>, manifest::Manifest)>> {
    let at = name.with_tag(&attachment_tag(of))?;
    let (bytes, found) = match client.manifest(&at) {
        Err(e) if e.is_not_found() => return Ok(None),
        other => other?,
    };
    let what = format!("sigstore attachments {}", at.familiar());
    match manifest::parse(&bytes, &found.media_type, &what)? {
        Parsed::Manifest(m) if m.media_type == OCI_MANIFEST => Ok(Some((bytes, m))),
        _ => Err(Error::invalid(what, "it is no OCI manifest")),
    }
}

fn attached(
    client: &Client,
    name: &Reference,
    of: &Digest,
    found: &mut Vec<Signature>,
) -> Result<()> {
    let Some((_, manifest)) = attachment_manifest(client, name, of)? else { return Ok(()) };
    let what = format!("sigstore attachments of {}", name.familiar());
    for layer in &manifest.layers {
        // Judged by what is announced, before it is fetched.
        if layer.size > MAX_SIGNATURE || found.len() >= MAX_SIGNATURES {
            return Err(Error::invalid(what, "they are too large, or too many"));
        }
        let signature = Signature::Sigstore(Attachment {
            media_type: layer.media_type.clone(),
            payload: blob(client, layer)?,
            annotations: layer.annotations.clone().into_iter().collect(),
        });
        collect(found, signature, &what)?;
    }
    Ok(())
}

fn blob(client: &Client, at: &Descriptor) -> Result<Vec<u8>> {
    let what = format!("sigstore attachment {}", at.digest);
    let mut bytes = Vec::new();
    Verified::new(client.blob(at, 0)?, &at.digest, at.size, &what)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::from_io("read", &what, e))?;
    Ok(bytes)
}

/// Adds attachments to those that are there.
fn attach(client: &Client, name: &Reference, of: &Digest, new: &[&Attachment]) -> Result<()> {
    let what = || format!("sigstore attachments of {}", name.familiar());
    let bad = |e: serde_json::Error| Error::invalid(what(), e);
    let (mut document, mut config, mut known) = match attachment_manifest(client, name, of)? {
        Some((bytes, m)) => {
            if m.config.size > MAX_CONFIG {
                return Err(Error::invalid(what(), "their config is too large"));
            }
            let config: Value = serde_json::from_slice(&blob(client, &m.config)?).map_err(bad)?;
            (serde_json::from_slice(&bytes).map_err(bad)?, config, m.layers)
        }
        None => (
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [] }),
            json!({
                "architecture": "", "os": "", "config": {},
                "rootfs": { "type": "layers", "diff_ids": [] },
            }),
            Vec::new(),
        ),
    };
    for attachment in new {
        let mut at = described(&attachment.media_type, &attachment.payload);
        at.annotations.extend(attachment.annotations.clone());
        let same = |k: &Descriptor| {
            (&k.media_type, &k.digest, &k.annotations)
                == (&at.media_type, &at.digest, &at.annotations)
        };
        if known.iter().any(same) {
            continue;
        }
        push(client, &at, &attachment.payload)?;
        let entry = serde_json::to_value(&at).map_err(bad)?;
        append(&mut document["layers"], entry)
            .ok_or_else(|| Error::invalid(what(), "no layers"))?;
        append(&mut config["rootfs"]["diff_ids"], json!(at.digest))
            .ok_or_else(|| Error::invalid(what(), "their config has no diff_ids"))?;
        known.push(at);
    }
    let config = serde_json::to_vec(&config).map_err(bad)?;
    let at = described(OCI_CONFIG, &config);
    push(client, &at, &config)?;
    document["config"] = serde_json::to_value(&at).map_err(bad)?;
    let document = serde_json::to_vec(&document).map_err(bad)?;
    client.put_manifest(&attachment_tag(of), &document, OCI_MANIFEST)
}

fn append(list: &mut Value, entry: Value) -> Option<()> {
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut()?.push(entry);
    Some(())
}

fn described(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
}

fn push(client: &Client, at: &Descriptor, bytes: &[u8]) -> Result<()> {
    let open = || -> Result<Box<dyn Read + Send + '_>> { Ok(Box::new(bytes)) };
    client.push_blob(at, None, None, &open).map(drop)
}
