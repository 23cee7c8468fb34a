//! Pulling: reference → manifest → config → layers, side by side → one sync → visible.
//!
//! Each layer is one pipeline (`fetch` → unpack): its bytes are hashed and kept while they
//! arrive, inflated and unpacked at once. Nothing is visible before all of it is on disk.

mod fetch;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::ImageConfig;
use crate::digest::{ChainId, DiffId, Digest};
use crate::error::{Error, Result};
use crate::manifest::{self, Descriptor, MAX_CONFIG, Manifest, Parsed};
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::{Client, Settings, first_of, may_differ};
use crate::snapshot::{Layers, Step, Unpacked, side_by_side};
use crate::source::Document;
use crate::store::{Lease, Store};
use crate::trust::{Origin, stores};
use fetch::{Claims, Fetch, Kept};

/// How to pull.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which platform to take from a list; the host's if `None`.
    pub platform: Option<Platform>,
    /// Unpack the layers while they arrive.
    pub unpack: bool,
    /// How to speak to the registry.
    pub settings: Settings,
}

/// What was pulled.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The full name it has in the store; without a tag if it was pulled by digest.
    pub reference: Reference,
    /// What the name led to: the digest of the manifest, or of the list it came from.
    pub digest: Digest,
    /// The image's own manifest.
    pub manifest: Descriptor,
    /// Docker's IMAGE ID.
    pub config_digest: Digest,
    /// Whether the name led to another image before, or to none.
    pub changed: bool,
    /// What the image says it runs on.
    pub platform: Platform,
}

/// An image about to be pulled: its documents are read, its layers not yet.
struct Plan {
    platform: Platform,
    root: Digest,
    at: Descriptor,
    bytes: Vec<u8>,
    manifest: Manifest,
}

/// Pulls an image into the store, under its own name.
pub fn pull(
    store: &Store,
    reference: &Reference,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Pulled> {
    pull_as(store, reference, None, options, progress)
}

/// The tags of a repository, in the registry's order.
pub fn tags(reference: &Reference, settings: &Settings) -> Result<Vec<String>> {
    let found = first_of(&Client::sources(settings, reference)?, Client::tags);
    found.map(|(_, tags)| tags).map_err(|e| match e {
        Error::Registry { status: 404, message, .. } => Error::NotFound {
            what: "repository",
            name: reference.familiar_name(),
            hint: format!("{} says: {message}", reference.domain()),
        },
        other => other,
    })
}

/// Pulls an image into the store under another name.
pub fn pull_as(
    store: &Store,
    reference: &Reference,
    name: Option<&Reference>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Pulled> {
    let reference = reference.clone().tagged();
    let places = Client::sources(&options.settings, &reference)?;
    let Some((own, mirrors)) = places.split_last() else {
        return Err(Error::invalid("registry settings", "there is no place to ask"));
    };
    for mirror in mirrors {
        match from(store, mirror, &reference, name, options, progress) {
            Err(e) if may_differ(&e) => {
                let place = mirror.place();
                progress.message(&format!("mirror {place}: {e}; asking the next place"));
            }
            done => return done,
        }
    }
    from(store, own, &reference, name, options, progress)
}

/// Pulls from one place.
fn from(
    store: &Store,
    client: &Client,
    reference: &Reference,
    name: Option<&Reference>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Pulled> {
    let mut plan = plan(client, reference, options.platform.as_ref())?;
    permit(client, reference, &plan, &options.settings)?;
    let lease = store.lease()?;
    let blobs = plan.manifest.layers.iter().chain([&plan.manifest.config, &plan.at]);
    lease.hold(blobs.map(|b| &b.digest))?;
    let config = config(client, &lease, &plan)?;
    plan.platform = config.platform();
    let diff_ids = config.rootfs.diff_ids;
    let chain = Digest::chain(&diff_ids);
    lease.hold(&chain)?;
    let claims = Claims::of(&lease, &plan.manifest.layers, progress)?;
    let pull = Pull {
        client,
        lease: &lease,
        claims,
        layers: Layers::open(store.root()),
        unpack: options.unpack,
        progress,
        stop: AtomicBool::new(false),
        fault: Mutex::new(None),
    };
    // Held until the end: another pull must not append to a file that becomes a blob.
    let (kept, steps) = pull.layers(&plan.manifest.layers, &diff_ids, &chain)?;
    for kept in &kept {
        kept.adopt(&lease);
    }
    if !store.has_blob(&plan.at.digest) {
        lease.put_as(&plan.at.digest, &plan.bytes)?;
    }
    let synced = !steps.is_empty();
    pull.layers.commit_all(steps)?;
    publish(&lease, reference, name, &plan, synced)
}

/// The entry in the index, and what it says about what was there before.
fn publish(
    lease: &Lease,
    reference: &Reference,
    name: Option<&Reference>,
    plan: &Plan,
    synced: bool,
) -> Result<Pulled> {
    let repo_digest = reference.with_digest(&plan.root);
    let wanted = name.unwrap_or(reference);
    let name = wanted.tag().map(|tag| wanted.with_tag(tag)).transpose()?;
    let before = match &name {
        Some(name) => lease.store().find_name(name)?,
        None => lease.store().find(&repo_digest.to_string()).ok(),
    };
    lease.publish(&plan.at, name.as_ref(), Some(&repo_digest), synced)?;
    Ok(Pulled {
        reference: name.unwrap_or(repo_digest),
        digest: plan.root.clone(),
        manifest: plan.at.clone(),
        config_digest: plan.manifest.config.digest.clone(),
        changed: before.is_none_or(|b| b.root.digest != plan.at.digest),
        platform: plan.platform.clone(),
    })
}

/// Follows a reference to the manifest of one platform.
fn plan(client: &Client, reference: &Reference, platform: Option<&Platform>) -> Result<Plan> {
    let what = format!("manifest {reference}");
    let (bytes, at) = client.manifest(reference)?;
    let root = at.digest.clone();
    let (bytes, at, manifest) = match manifest::parse(&bytes, &at.media_type, &what)? {
        Parsed::Manifest(m) => (bytes, at, m),
        Parsed::Index(index) => {
            let wanted = platform.cloned().unwrap_or_else(Platform::host);
            let chosen = manifest::choose(&index, &wanted, &reference.familiar())?;
            let (bytes, at) = client.manifest(&reference.with_digest(&chosen.digest))?;
            if at.size != chosen.size {
                return Err(Error::Size { what, want: chosen.size, got: at.size });
            }
            match manifest::parse(&bytes, &chosen.media_type, &what)? {
                Parsed::Manifest(m) => (bytes, at, m),
                Parsed::Index(_) => return Err(Error::invalid(what, "a list within a list")),
            }
        }
    };
    let at = Descriptor::new(&manifest.media_type, at.digest, at.size);
    Ok(Plan { platform: Platform::default(), root, at, bytes, manifest })
}

/// Asks the policy, by the name that was typed, before anything more is fetched.
fn permit(client: &Client, reference: &Reference, plan: &Plan, settings: &Settings) -> Result<()> {
    let document = Document { bytes: plan.bytes.clone(), at: plan.at.clone() };
    let signatures = || stores::fetch(client, settings, reference, &plan.at.digest);
    settings.trust.permit(&Origin::registry(reference), &document, &signatures)
}

/// Gets the image's config, with one diff id a layer.
fn config(client: &Client, lease: &Lease, plan: &Plan) -> Result<ImageConfig> {
    let blob = &plan.manifest.config;
    let what = format!("image config {}", blob.digest);
    if !manifest::is_image_config(&blob.media_type) {
        return Err(Error::unsupported(
            format!("{what}: type {:?}", blob.media_type),
            "this is an artifact, not a container image",
        ));
    }
    if blob.size > MAX_CONFIG {
        return Err(Error::invalid(what, format!("it is over {MAX_CONFIG} bytes")));
    }
    let bytes = if lease.store().has_blob(&blob.digest) {
        lease.store().read_blob(&blob.digest, MAX_CONFIG)?
    } else {
        let mut bytes = Vec::new();
        let reader = client.blob(blob, 0)?;
        let mut checked = crate::digest::Verified::new(reader, &blob.digest, blob.size, &what);
        std::io::Read::read_to_end(&mut checked, &mut bytes)
            .map_err(|e| Error::from_io("read", &what, e))?;
        lease.put_as(&blob.digest, &bytes)?;
        bytes
    };
    let config = ImageConfig::parse(&bytes, &what)?;
    let diff_ids = &config.rootfs.diff_ids;
    let layers = plan.manifest.layers.len();
    if diff_ids.len() != layers {
        let why = format!("it names {} layers, the manifest {layers}", diff_ids.len());
        return Err(Error::invalid(what, why));
    }
    Ok(config)
}

struct Pull<'a> {
    client: &'a Client,
    lease: &'a Lease,
    claims: Claims,
    layers: Layers,
    unpack: bool,
    progress: &'a dyn Progress,
    stop: AtomicBool,
    fault: Mutex<Option<Error>>,
}

/// One layer's part of the work.
struct Job<'a> {
    blob: &'a Descriptor,
    diff_id: &'a DiffId,
    chain: &'a ChainId,
    parent: Option<&'a ChainId>,
}

impl Pull<'_> {
    /// Fetches what lacks, side by side. A blob that occurs twice is fetched once.
    fn layers(
        &self,
        blobs: &[Descriptor],
        diff_ids: &[DiffId],
        chain: &[ChainId],
    ) -> Result<(Vec<Kept>, Vec<Step>)> {
        let jobs: Vec<Job<'_>> = (0..blobs.len())
            .map(|i| Job {
                blob: &blobs[i],
                diff_id: &diff_ids[i],
                chain: &chain[i],
                parent: i.checked_sub(1).map(|below| &chain[below]),
            })
            .collect();
        let mut seen = HashSet::new();
        let (mut first, again): (Vec<&Job<'_>>, Vec<&Job<'_>>) =
            jobs.iter().partition(|j| seen.insert(&j.blob.digest));
        // A large one that began last would be waited for alone.
        first.sort_by_key(|j| std::cmp::Reverse(j.blob.size));
        let done = side_by_side(&first, |job| self.guarded(job)).map_err(|e| self.cause(e));
        let mut done = done.inspect_err(|e| {
            // Room is wanted more than a shorter next pull.
            if e.is_full() {
                self.claims.clear();
                for job in &first {
                    fetch::discard(self.lease, &job.blob.digest);
                }
            }
        })?;
        let mut kept: Vec<Kept> = done.iter_mut().filter_map(|d| d.kept.take()).collect();
        let mut unpacked: HashMap<&ChainId, Unpacked> = HashMap::new();
        for (job, done) in first.iter().zip(done) {
            unpacked.extend(done.unpacked.map(|u| (job.chain, u)));
        }
        for job in again.iter().filter(|j| self.unpack && !self.layers.has(j.chain)) {
            let reader: Box<dyn std::io::Read> =
                match kept.iter_mut().find(|k| k.digest == job.blob.digest) {
                    Some(kept) => Box::new(kept.reader()?),
                    None => self.lease.store().open_blob(&job.blob.digest)?,
                };
            let begun = self.layers.start(self.lease, job.diff_id, &job.blob.media_type)?;
            unpacked.insert(job.chain, begun.early(self.lease).run(reader)?);
        }
        for what in unpacked.values().flat_map(|u| &u.applied.lost) {
            self.progress.message(&format!("not kept by this file system: {what}"));
        }
        let step = |j: &Job<'_>| {
            let (chain, parent) = (j.chain.clone(), j.parent.cloned());
            unpacked.remove(j.chain).map(|unpacked| Step { unpacked, chain, parent })
        };
        Ok((kept, jobs.iter().filter_map(step).collect()))
    }

    /// Does a job; its failure stops the others, and is the one that is told.
    fn guarded(&self, job: &Job<'_>) -> Result<Done> {
        self.job(job).map_err(|e| {
            let first = !self.stop.swap(true, Ordering::SeqCst);
            if first {
                let mut fault =
                    self.fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                *fault = Some(e);
                return stopped();
            }
            e
        })
    }

    fn cause(&self, other: Error) -> Error {
        let mut fault = self.fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        fault.take().unwrap_or(other)
    }

    fn job(&self, job: &Job<'_>) -> Result<Done> {
        let id = job.blob.digest.short();
        let store = self.lease.store();
        let there = store.has_blob(&job.blob.digest);
        let unpack = self.unpack && !self.layers.has(job.chain);
        if there {
            self.progress.start(id, "unpacking", None);
            let mut done = Done::default();
            if unpack {
                let begun = self.layers.start(self.lease, job.diff_id, &job.blob.media_type)?;
                let packed = store.open_verified(job.blob)?;
                done.unpacked = Some(begun.early(self.lease).run(packed)?);
            }
            self.progress.done(id, if unpack { "unpacked" } else { "already there" });
            return Ok(done);
        }
        self.progress.start(id, "pulling", Some(job.blob.size));
        let mut fetch = Fetch::new(self.client, &self.claims, job.blob, self.progress, &self.stop)?;
        let mut done = self.fetched(&mut fetch, job, unpack);
        if fetch.restart(&done) {
            // What an earlier pull had left behind was not what it should be.
            self.progress.message(&format!("{id}: the partial download was damaged; again"));
            done = self.fetched(&mut fetch, job, unpack);
        }
        let unpacked = done.map_err(|e| fetch.failed(e))?;
        self.progress.done(id, if unpack { "pulled and unpacked" } else { "pulled" });
        Ok(Done { kept: Some(fetch.keep()), unpacked })
    }

    fn fetched(
        &self,
        fetch: &mut Fetch<'_>,
        job: &Job<'_>,
        unpack: bool,
    ) -> Result<Option<Unpacked>> {
        if !unpack {
            std::io::copy(fetch, &mut std::io::sink())
                .map_err(|e| Error::from_io("read", job.blob.digest.to_string(), e))?;
            return Ok(None);
        }
        fetch.passes(self.lease.early());
        let begun = self.layers.start(self.lease, job.diff_id, &job.blob.media_type)?;
        begun.early(self.lease).run(fetch).map(Some)
    }
}

#[derive(Default)]
struct Done {
    kept: Option<Kept>,
    unpacked: Option<Unpacked>,
}

fn stopped() -> Error {
    Error::Network { request: "pull".into(), why: "stopped, another layer failed".into() }
}
