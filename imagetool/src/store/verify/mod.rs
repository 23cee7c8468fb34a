//! Verifying: whether everything is what its name says, in the store or anywhere else.
//!
//! [`needs`] reads the documents and gathers what they lead to; [`content`] reads every blob
//! once, several at a time, and compares unpacked layers with what their blobs unpack to;
//! [`own`] looks at what only a store has; [`repair`] puts right what it can.

mod content;
mod layout;
mod needs;
mod own;
mod repair;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::digest::ChainId;
use crate::error::Result;
use crate::manifest::Descriptor;
use crate::source::Source;

pub use layout::{LayoutCollected, collect_layout, delete_from_layout, verify_layout};
pub use repair::Repaired;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is not what it should be.
    Damage,
    /// Something that nothing needs; `gc` removes it.
    Orphan,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// `blob`, `manifest`, `config`, `layer`, `image`, `name`, `file`.
    pub what: &'static str,
    /// Which: a digest, a name, a path.
    pub subject: String,
    /// What is wrong with it.
    pub why: String,
    /// The images it belongs to.
    pub images: BTreeSet<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.severity {
            Severity::Damage => write!(f, "damaged {} {}: {}", self.what, self.subject, self.why)?,
            Severity::Orphan => write!(f, "orphan {} {}: {}", self.what, self.subject, self.why)?,
        }
        if self.images.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.images.iter().map(String::as_str).collect();
        write!(f, " (of {})", names.join(", "))
    }
}

/// What can be done about a finding.
#[derive(Clone, Debug)]
enum Fault {
    /// A manifest or an index.
    Document(Descriptor),
    /// A config or a layer's blob.
    Blob(Descriptor),
    /// An unpacked layer.
    Layer(ChainId),
}

impl Fault {
    /// The unpacked layer that is at fault.
    fn layer(&self) -> Option<&ChainId> {
        match self {
            Self::Layer(chain) => Some(chain),
            Self::Document(_) | Self::Blob(_) => None,
        }
    }
}

/// How to verify.
#[derive(Clone, Copy, Debug, Default)]
pub struct Depth {
    /// Compare the contents of unpacked files, too.
    pub contents: bool,
}

/// Findings as they come, from several threads.
#[derive(Default)]
struct Findings {
    all: Mutex<Vec<(Finding, Option<Fault>)>>,
}

impl Findings {
    fn damage(
        &self,
        what: &'static str,
        subject: impl fmt::Display,
        why: impl fmt::Display,
        images: &BTreeSet<String>,
        fault: Option<Fault>,
    ) {
        let (subject, why) = (subject.to_string(), why.to_string());
        let severity = Severity::Damage;
        let finding = Finding { severity, what, subject, why, images: images.clone() };
        self.push(finding, fault);
    }

    fn orphan(&self, what: &'static str, subject: impl fmt::Display, why: &str) {
        let (subject, why) = (subject.to_string(), why.to_owned());
        let severity = Severity::Orphan;
        self.push(Finding { severity, what, subject, why, images: BTreeSet::new() }, None);
    }

    fn push(&self, finding: Finding, fault: Option<Fault>) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push((finding, fault));
    }

    fn sorted(self) -> Vec<(Finding, Option<Fault>)> {
        let mut all = self.all.into_inner().unwrap_or_else(PoisonError::into_inner);
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.dedup_by(|a, b| a.0 == b.0);
        all
    }
}

/// Verifies one image anywhere: every document, blob and diff id.
pub fn verify_source(source: &dyn Source, title: &str) -> Result<Vec<Finding>> {
    let findings = Findings::default();
    let mut needs = needs::Needs::default();
    match source.root() {
        Ok(root) => needs.document(source, &root.at, title, &findings, 0),
        // A place that can't be opened at all is an error, not a finding.
        Err(e) if e.is_not_found() => return Err(e),
        Err(e) => findings.damage("manifest", title, e, &BTreeSet::new(), None),
    }
    content::blobs(source, &needs, &findings, None)?;
    Ok(findings.sorted().into_iter().map(|(finding, _)| finding).collect())
}

/// What an error says of a blob that the finding names.
fn worded(error: &crate::Error) -> String {
    match error {
        crate::Error::Digest { got, .. } => format!("its digest is {got}"),
        crate::Error::Size { want, got, .. } if got > want => format!("it has over {want} bytes"),
        crate::Error::Size { want, got, .. } => format!("it has {got} bytes, not {want}"),
        crate::Error::NotFound { .. } => "it is not there".to_owned(),
        error => error.to_string(),
    }
}
