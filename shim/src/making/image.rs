//! The image of a new container: found, pulled when it lacks, or dhow's own.

use dhow_image::digest::Digest;
use dhow_image::manifest::{Descriptor, OCI_CONFIG, OCI_MANIFEST};
use dhow_image::platform::Platform;
use dhow_image::reference::Reference;
use dhow_image::snapshot::Layers;
use dhow_image::store::{Store, Stored};
use serde_json::json;

use crate::error::{Error, Kind, Result};
use crate::host::Host;

/// The embedded image's name: a registry of its own that exists nowhere, so
/// that nothing pulled can be mistaken for it.
pub const HELLO: &str = "dhow.local/hello:latest";

static LAYER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello.tar"));

/// The image that `typed` names in the store, or dhow's own.
pub fn local(store: &Store, typed: &str) -> Result<Stored> {
    match store.find(typed) {
        Ok(image) => Ok(image),
        Err(e @ dhow_image::Error::NotFound { .. }) => {
            hello(store, typed)?.ok_or_else(|| of_image(e))
        }
        Err(e) => Err(of_image(e)),
    }
}

/// The name in the store for what was typed: `hello` is short for dhow's own
/// image while nothing else is called so.
pub fn name_of<'a>(store: &Store, typed: &'a str) -> &'a str {
    let short = matches!(typed, "hello" | "hello:latest");
    if short && store.find(typed).is_err() { HELLO } else { typed }
}

/// What was typed, with its tag.
pub fn reference(typed: &str) -> Result<Reference> {
    let reference = Reference::parse_normal(typed).map_err(|e| Error::usage(e.to_string()))?;
    Ok(reference.tagged())
}

/// An error of the image library, by kind.
pub fn of_image(error: dhow_image::Error) -> Error {
    if let dhow_image::Error::NotFound { what: "image", name, hint } = &error
        && hint.is_empty()
    {
        return Error::not_found(format!("No such image: {}", tagged(name)));
    }
    let kind = match &error {
        dhow_image::Error::NotFound { .. } => Kind::NotFound,
        dhow_image::Error::Usage { .. } => Kind::Usage,
        dhow_image::Error::InUse { .. }
        | dhow_image::Error::Conflict(_)
        | dhow_image::Error::Ambiguous { .. } => Kind::Conflict,
        _ => Kind::Engine,
    };
    Error::new(kind, error.to_string())
}

/// An image of the store by name or id; when it lacks, the one that was probably meant is named.
pub fn find(store: &Store, needle: &str) -> Result<Stored> {
    store.find(needle).map_err(|e| {
        let mut error = of_image(e);
        if error.kind == Kind::NotFound {
            let all = store.images().unwrap_or_default();
            let names = all.iter().flat_map(|image| &image.names);
            let typed = tagged(needle);
            if let Some(near) = crate::output::nearest(&typed, names.map(Reference::familiar)) {
                error.message = format!("{}; did you mean \"{near}\"?", error.message);
            }
        }
        error
    })
}

/// A name as docker tells it: with the tag that was meant. An id stays as it is.
fn tagged(typed: &str) -> String {
    let digits = Digest::digits(typed);
    let id = digits != typed || Digest::from_hex(digits).is_ok();
    match Reference::parse_normal(typed) {
        Ok(reference) if !id => reference.tagged().familiar(),
        _ => typed.to_owned(),
    }
}

/// The chain ids of an image's layers, all of them unpacked.
pub fn layers(host: &Host, image: &Stored) -> Result<Vec<String>> {
    let store = host.images()?;
    let chain = Layers::open(store.root()).unpack(store, image).map_err(of_image)?;
    Ok(chain.iter().map(ToString::to_string).collect())
}

/// dhow's own image, brought into the store, when `typed` means it.
pub fn hello(store: &Store, typed: &str) -> Result<Option<Stored>> {
    if !matches!(typed, "hello" | "hello:latest" | "dhow.local/hello" | HELLO) {
        return Ok(None);
    }
    bring_hello(store).map(Some).map_err(of_image)
}

const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// As any other image: a layer, a config, a manifest, a name.
fn bring_hello(store: &Store) -> dhow_image::Result<Stored> {
    let name = Reference::parse_normal(HELLO)?;
    if let Some(image) = store.find_name(&name)? {
        return Ok(image);
    }
    let layer = Descriptor::of(LAYER_TYPE, LAYER);
    let platform = Platform::host();
    // The same bytes from the same program: no dates.
    let config = json!({
        "architecture": platform.architecture,
        "os": platform.os,
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": ["/hello"],
            "WorkingDir": "/",
            "Labels": {"org.opencontainers.image.title": "hello",
                "org.opencontainers.image.description": "dhow's own first container"},
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "dhow"}],
    })
    .to_string();
    let config = config.as_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": Descriptor::of(OCI_CONFIG, config),
        "layers": [layer],
    })
    .to_string();
    let lease = store.lease()?;
    let root = Descriptor::of(OCI_MANIFEST, manifest.as_bytes());
    let digests =
        [&layer.digest, &Descriptor::of(OCI_CONFIG, config).digest, &root.digest].map(Clone::clone);
    lease.hold(&digests)?;
    lease.put(LAYER_TYPE, LAYER)?;
    lease.put(OCI_CONFIG, config)?;
    lease.put(OCI_MANIFEST, manifest.as_bytes())?;
    lease.publish(&root, Some(&name), None, false)?;
    store.find(HELLO)
}
