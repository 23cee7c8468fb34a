//! Trust: which images may come in (`policy.json`), and the signatures that say whose they are.
//!
//! A [`Trust`] goes with the settings of everything that brings images in; a source that was
//! opened by [`crate::source::with`] or [`crate::source::each`] asks it before any blob is read,
//! and a pull does before its first layer. Whatever can't be judged is refused.

mod identity;
mod json;
mod judge;
mod origin;
mod policy;
mod requirement;
mod signature;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::digest::Digest;
use crate::error::Result;
use crate::reference::Reference;
use crate::source::Document;

pub use origin::Origin;
pub use policy::Policy;
pub(crate) use signature::collect;
pub use signature::{
    Attachment, MAX_SIGNATURE, MAX_SIGNATURES, SIGSTORE_SIGNATURE, SIGSTORE_TYPE, Signature,
};

/// Whom to believe. By default everyone: a program has to say where a policy is.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    policy: Option<PathBuf>,
    read: Arc<OnceLock<Policy>>,
}

impl Trust {
    /// By the policy in this file; it must be there.
    pub fn by(policy: PathBuf) -> Self {
        Self { policy: Some(policy), ..Self::default() }
    }

    /// By the user's policy, `HOME/.config/containers/policy.json`, or else by the system's,
    /// `/etc/containers/policy.json`. Where there is neither, everyone is believed.
    ///
    /// DIFFERS: skopeo doesn't work without a policy; we do, as docker does.
    pub fn find(home: Option<&Path>) -> Self {
        let user = home.map(|h| h.join(".config/containers/policy.json"));
        let mut places = user.into_iter().chain([PathBuf::from("/etc/containers/policy.json")]);
        // What can't be looked at is there: then reading it tells why.
        Self { policy: places.find(|p| p.try_exists().unwrap_or(true)), ..Self::default() }
    }

    /// Whether an image may come in. Its signatures are asked for only if they matter.
    pub fn permit(
        &self,
        origin: &Origin,
        document: &Document,
        signatures: &dyn Fn() -> Result<Vec<Signature>>,
    ) -> Result<()> {
        let Some(path) = &self.policy else { return Ok(()) };
        let policy = if let Some(policy) = self.read.get() {
            policy
        } else {
            let read = Policy::read(path)?;
            self.read.get_or_init(|| read)
        };
        judge::judge(policy.requirements(origin), origin, document, signatures)
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
