//! A policy's requirements against an image: all of them must be met.

use super::origin::Origin;
use super::requirement::Requirement;
use super::signature::Signature;
use crate::error::{Error, Result};
use crate::source::Document;

/// Whether the requirements take an image.
pub fn judge(
    requirements: &[Requirement],
    origin: &Origin,
    document: &Document,
    signatures: &dyn Fn() -> Result<Vec<Signature>>,
) -> Result<()> {
    if requirements.is_empty() {
        return Err(Error::Rejected("the policy has no requirements for it".into()));
    }
    requirements.iter().try_for_each(|r| one(r, origin, document, signatures))
}

fn one(
    requirement: &Requirement,
    origin: &Origin,
    _document: &Document,
    _signatures: &dyn Fn() -> Result<Vec<Signature>>,
) -> Result<()> {
    let refuse = |why: String| Err(Error::Rejected(why));
    match requirement {
        Requirement::Accept => Ok(()),
        Requirement::Reject => {
            refuse(format!("Running image {} is rejected by policy.", origin.shown))
        }
        Requirement::SignedBaseLayer => {
            refuse("signedBaseLayer, which the policy asks for, is not implemented".into())
        }
        Requirement::SignedBy { .. } | Requirement::Sigstore { .. } => {
            refuse("the policy asks for a signature that this version can't verify".into())
        }
    }
}
