//! Trust: which images may come in (`policy.json`), and the signatures that say whose they are.
//!
//! A [`Trust`] goes with the settings of everything that brings images in; a source that was
//! opened by [`crate::source::with`] or [`crate::source::each`] asks it before any blob is read,
//! and a pull does before its first layer. Whatever can't be judged is refused.

pub mod cosign;
pub mod gpg;
mod identity;
mod json;
mod judge;
mod key;
mod origin;
pub mod payload;
mod pem;
mod policy;
mod registries;
mod rekor;
mod requirement;
mod signature;
pub(crate) mod stores;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::source::Document;

pub use origin::Origin;
pub use policy::Policy;
use registries::Registries;
pub(crate) use signature::collect;
pub use signature::{
    Attachment, MAX_SIGNATURE, MAX_SIGNATURES, SIGSTORE_SIGNATURE, SIGSTORE_TYPE, Signature,
};

/// Whom to believe, and where signatures are. By default everyone is believed and no signature
/// is looked for: a program has to say where the files are.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    policy: Option<PathBuf>,
    read: Arc<OnceLock<Policy>>,
    signed: bool,
    folder: Option<PathBuf>,
    known: Arc<OnceLock<Registries>>,
    storage: Option<PathBuf>,
}

impl Trust {
    /// By the user's policy, `HOME/.config/containers/policy.json`, or else by the system's,
    /// `/etc/containers/policy.json`. Where there is neither, everyone is believed. The same
    /// goes for `registries.d`.
    ///
    /// DIFFERS: skopeo doesn't work without a policy; we do, as docker does.
    pub fn find(home: Option<&Path>) -> Self {
        // What can't be looked at is there: then reading it tells why.
        let there = |name: &str| {
            let user = home.map(|h| h.join(".config/containers").join(name));
            let mut places = user.into_iter().chain([Path::new("/etc/containers").join(name)]);
            places.find(|p| p.try_exists().unwrap_or(true))
        };
        let storage = if nix::unistd::geteuid().is_root() && crate::rootless::inside().is_none() {
            Some("/var/lib/containers/sigstore".into())
        } else {
            home.map(|h| h.join(".local/share/containers/sigstore"))
        };
        let (policy, folder) = (there("policy.json"), there("registries.d"));
        Self { policy, folder, storage, ..Self::default() }
    }

    /// The same by another policy, which must be there; or by none.
    #[must_use]
    pub fn by(self, policy: Option<PathBuf>) -> Self {
        Self { policy, read: Arc::default(), ..self }
    }

    /// The same with another `registries.d`.
    #[must_use]
    pub fn registries_d(self, folder: PathBuf) -> Self {
        Self { folder: Some(folder), known: Arc::default(), ..self }
    }

    /// What `registries.d` says.
    fn registries(&self) -> Result<&Registries> {
        if let Some(known) = self.known.get() {
            return Ok(known);
        }
        let read = match &self.folder {
            Some(folder) => Registries::read(folder)?,
            None => Registries::default(),
        };
        Ok(self.known.get_or_init(|| read))
    }

    /// The URL of the storage for a name's signatures.
    fn lookaside(&self, name: &Reference, write: bool) -> Result<Option<String>> {
        let set = self.registries()?.lookaside(name, write).map(str::to_owned);
        Ok(set.or_else(|| self.storage.as_ref().map(|p| format!("file://{}", p.display()))))
    }

    /// The same, but nothing comes in unsigned, even if the policy would let it.
    #[must_use]
    pub fn signed_only(self) -> Self {
        Self { signed: true, ..self }
    }

    /// Whether an image may come in. Its signatures are asked for only if they matter.
    pub fn permit(
        &self,
        origin: &Origin,
        document: &Document,
        signatures: &dyn Fn() -> Result<Vec<Signature>>,
    ) -> Result<()> {
        let Some(path) = &self.policy else {
            let shown = &origin.shown;
            return if self.signed && origin.transport != origin::STORE {
                let why = format!("No signature verification policy found for image {shown}");
                Err(Error::Rejected(why))
            } else {
                Ok(())
            };
        };
        let policy = if let Some(policy) = self.read.get() {
            policy
        } else {
            let read = Policy::read(path)?;
            self.read.get_or_init(|| read)
        };
        let signed = self.signed && origin.transport != origin::STORE;
        judge::judge(policy.requirements(origin), signed, origin, document, signatures)
    }
}

/// Makes signatures.
pub trait Sign: fmt::Debug + Send + Sync {
    /// Signs that the manifest of this digest is what the name means.
    fn sign(&self, manifest: &Digest, name: &Reference) -> Result<Signature>;
}

/// What a copy does about signatures.
#[derive(Clone, Debug, Default)]
pub struct Signing {
    /// Leave the source's signatures behind.
    pub remove: bool,
    /// Who signs what is written.
    pub signers: Vec<Arc<dyn Sign>>,
    /// What the signatures speak of, if not of the destination's name.
    pub identity: Option<Reference>,
}
