//! What refers to a manifest (signatures, SBOMs, …): by the registry's own list, or where it keeps
//! none, by an index under a tag made of the digest, which whoever pushes keeps up to date.
//!
//! SPEC: distribution-spec §listing referrers, §pushing manifests with subject, §referrers tag schema.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::http::Response;
use ureq::{Body, http};

use super::request::Call;
use super::{Client, search, tags, url};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Index, OCI_INDEX};
use crate::reference::Reference;

/// More are not believed.
const MAX_REFERRERS: usize = 10_000;
/// Nor on more pages.
const MAX_PAGES: usize = 1000;
/// So often an index is written before it is given up.
const MAX_WRITES: u32 = 20;
/// Processes that have to wait for a processor take this long for what takes no time.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl Client {
    /// What refers to a manifest, of one type or of all.
    pub fn referrers(&self, subject: &Digest, kind: Option<&str>) -> Result<Vec<Descriptor>> {
        let mut all = match self.listed(subject, kind)? {
            Some(all) => all,
            None => self.kept(subject)?.manifests,
        };
        all.retain(|d| kind.is_none_or(|kind| kind_of(d) == kind));
        Ok(all)
    }

    /// The registry's own list; `None` if it keeps none.
    fn listed(&self, subject: &Digest, kind: Option<&str>) -> Result<Option<Vec<Descriptor>>> {
        let mut at = self.url(&format!("referrers/{subject}"));
        if let Some(kind) = kind {
            at = url::with_query(&at, "artifactType", kind);
        }
        let (mut all, mut pages) = (Vec::new(), 0);
        let mut next = Some(at);
        while let Some(at) = next.take() {
            let call = Call::new("GET", at.clone()).header("Accept", OCI_INDEX);
            let title = call.title();
            let mut answer = match self.send(call, &[200]) {
                Err(Error::Registry { status: 400 | 404 | 405 | 501, .. }) if all.is_empty() => {
                    return Ok(None);
                }
                other => other?,
            };
            // A registry without the list may answer with a page for people.
            if !is_index(&answer) {
                return Ok(None);
            }
            next = tags::next_page(&at, &answer)?;
            let page = search::read::<Index>(self, &mut answer, &title)?.manifests;
            if page.is_empty() {
                break;
            }
            all.extend(page);
            pages += 1;
            if all.len() > MAX_REFERRERS || pages > MAX_PAGES {
                return Err(Error::invalid(title, format!("it has more than {MAX_REFERRERS}")));
            }
        }
        Ok(Some(all))
    }

    /// The index under the tag; an empty one if there is none.
    fn kept(&self, subject: &Digest) -> Result<Index> {
        let tag = tag_of(subject);
        let empty = Index {
            schema_version: 2,
            media_type: OCI_INDEX.to_owned(),
            manifests: Vec::new(),
            extra: std::collections::BTreeMap::new(),
            annotations: std::collections::BTreeMap::new(),
        };
        let name = Reference::parse_normal(&format!("{}/{}", self.domain, self.repository))?;
        match self.manifest(&name.with_tag(&tag)?) {
            Ok((bytes, at)) if at.is_index() => serde_json::from_slice(&bytes)
                .map_err(|e| Error::invalid(format!("index {tag}"), e)),
            Ok(_) => Err(Error::invalid(format!("tag {tag}"), "it is no index of referrers")),
            Err(e) if e.is_not_found() => Ok(empty),
            Err(e) => Err(e),
        }
    }

    /// After a manifest with a subject was put: where the registry doesn't keep the list, we do.
    pub(super) fn note_referrer(
        &self,
        bytes: &[u8],
        at: &Descriptor,
        answer: &Response<Body>,
    ) -> Result<()> {
        let Some(subject) = subject_of(bytes) else { return Ok(()) };
        if answer.headers().contains_key("oci-subject") {
            return Ok(());
        }
        self.keep(&subject, |index| {
            let there = index.manifests.iter().any(|d| d.digest == at.digest);
            if !there {
                index.manifests.push(entry(bytes, at));
            }
            !there
        })
    }

    /// After a manifest was deleted: it goes from the list that we keep.
    pub(super) fn forget_referrer(&self, bytes: &[u8], at: &Descriptor) -> Result<()> {
        let Some(subject) = subject_of(bytes) else { return Ok(()) };
        if self.listed(&subject, None)?.is_some() {
            return Ok(());
        }
        self.keep(&subject, |index| {
            let before = index.manifests.len();
            index.manifests.retain(|d| d.digest != at.digest);
            index.manifests.len() < before
        })
    }

    /// Changes the index under the tag until nothing is left to change. No registry changes a tag in
    /// one step: of two who read it, add an entry and write it, the first one's entry is lost. So
    /// whoever has written waits for longer than reading and writing take, and looks again, twice.
    fn keep(&self, subject: &Digest, change: impl Fn(&mut Index) -> bool) -> Result<()> {
        let tag = tag_of(subject);
        let (mut took, mut stood, mut written) = (SHORTEST_WAIT / 4, 0, 0);
        while written < MAX_WRITES {
            let since = Instant::now();
            let mut index = self.kept(subject)?;
            if change(&mut index) {
                let bytes = serde_json::to_vec(&index);
                let bytes = bytes.map_err(|e| Error::invalid("referrers", e))?;
                self.put_manifest(&tag, &bytes, OCI_INDEX)?;
                (stood, written) = (0, written + 1);
            } else if written == 0 || stood == 1 {
                return Ok(());
            } else {
                stood += 1;
            }
            took = took.max(since.elapsed());
            sleep(settled(took, written, chance()));
        }
        let why = "others write it over and over: push or delete it again when they are done";
        Err(Error::invalid(format!("index of referrers {tag} of {}", self.repository), why))
    }
}

/// How long to wait before looking again. Those who have collided spread out more each time, by
/// chance, a number below 1000.
fn settled(took: Duration, written: u32, chance: u32) -> Duration {
    let spread = took.saturating_mul(1 << written.min(8)) / 1000 * chance;
    (took * 4 + spread).min(LONGEST_WAIT)
}

/// A number below 1000 that two processes don't share.
fn chance() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().subsec_nanos().wrapping_add(std::process::id().wrapping_mul(7919))
        % 1000
}

fn is_index(answer: &Response<Body>) -> bool {
    let kind = answer.headers().get(http::header::CONTENT_TYPE);
    kind.and_then(|v| v.to_str().ok())
        .is_none_or(|v| v.split(';').next().unwrap_or_default().trim() == OCI_INDEX)
}

/// `sha256-…`: a tag has no colon, and at most 128 characters.
fn tag_of(subject: &Digest) -> String {
    let (name, hex) = (subject.algorithm().name(), subject.hex());
    format!("{}-{}", &name[..name.len().min(32)], &hex[..hex.len().min(64)])
}

fn subject_of(manifest: &[u8]) -> Option<Digest> {
    let text: Value = serde_json::from_slice(manifest).ok()?;
    text.get("subject")?.get("digest")?.as_str()?.parse().ok()
}

/// What kind of thing a descriptor leads to.
pub fn kind_of(at: &Descriptor) -> &str {
    at.extra.get("artifactType").and_then(Value::as_str).unwrap_or_default()
}

/// A manifest's entry in the list of who refers: with its type, or its config's, and its annotations.
fn entry(manifest: &[u8], at: &Descriptor) -> Descriptor {
    let text: Value = serde_json::from_slice(manifest).unwrap_or_default();
    let own = text.get("artifactType").and_then(Value::as_str).filter(|s| !s.is_empty());
    let config = text.pointer("/config/mediaType").and_then(Value::as_str);
    let mut entry = at.clone();
    if let Some(kind) = own.or(config) {
        entry.extra.insert("artifactType".into(), json!(kind));
    }
    let annotations = text.get("annotations").cloned().unwrap_or_default();
    entry.annotations = serde_json::from_value(annotations).unwrap_or_default();
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_entry_says_what_it_is() {
        let at = Descriptor::of("m", b"x");
        let text = br#"{"config":{"mediaType":"c/t"},"annotations":{"a":"b"}}"#;
        let made = entry(text, &at);
        assert_eq!((kind_of(&made), made.annotations["a"].as_str()), ("c/t", "b"));
        let text = br#"{"artifactType":"own","config":{"mediaType":"c/t"},"annotations":null}"#;
        assert_eq!(kind_of(&entry(text, &at)), "own");
        assert_eq!(kind_of(&entry(b"{", &at)), "");
    }

    #[test]
    fn who_collides_waits_longer_and_longer_but_not_for_ever() {
        let took = Duration::from_millis(10);
        assert_eq!(settled(took, 0, 0), took * 4);
        assert!(settled(took, 3, 500) > settled(took, 0, 999));
        assert_eq!(settled(Duration::from_mins(1), 31, 999), LONGEST_WAIT);
        assert!(chance() < 1000);
    }

    #[test]
    fn a_digest_becomes_a_tag() {
        let subject = Digest::of(b"");
        assert_eq!(tag_of(&subject), subject.to_string().replace(':', "-"));
        let long = format!("sha512:{}", "a".repeat(128)).parse().unwrap();
        assert_eq!(tag_of(&long), format!("sha512-{}", "a".repeat(64)));
        let bytes = format!(r#"{{"subject":{{"digest":"{subject}"}}}}"#);
        assert_eq!(subject_of(bytes.as_bytes()), Some(subject));
        for none in ["{", "{}", r#"{"subject":{"digest":"x"}}"#, r#"{"subject":3}"#] {
            assert_eq!(subject_of(none.as_bytes()), None);
        }
    }

    proptest! {
        #[test]
        fn near_misses_never_panic(
            key in "(subject|artifactType|config|annotations|digest|mediaType|x)",
            value in "(null|[0-9]|\"[a-z:/]{0,6}\"|\\[\\]|\\{\\}|\\{\"(digest|mediaType)\":(3|\"x\"|null)\\})",
            cut in 0usize..60,
        ) {
            let text = format!("{{\"{key}\":{value},\"config\":{{\"mediaType\":\"c\"}}}}");
            let at = Descriptor::of("m", b"x");
            for text in [text.as_bytes(), &text.as_bytes()[..cut.min(text.len())]] {
                let made = entry(text, &at);
                let _ = (kind_of(&made), subject_of(text));
                prop_assert_eq!(&made.digest, &at.digest);
            }
        }
    }
}
