//! Removing images, by docker's rules: a name goes by itself, an image with its last name or
//! by its id, unless somebody uses it.

use std::collections::HashSet;

use super::index::{REPO_DIGEST, name_of, repo_digest_of, take_name};
use super::{Store, Stored};
use crate::digest::{ChainId, Digest};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Index};
use crate::reference::Reference;

/// What a removal did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names (and `name@digest`s) that are gone, familiar form.
    pub untagged: Vec<String>,
    /// Image ids and layers (chain ids, topmost first) that are gone.
    pub deleted: Vec<Digest>,
    /// Bytes given back.
    pub freed: u64,
}

/// Containers that use an image, one of each kind, by their short ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// One that runs.
    pub running: Option<String>,
    /// One that doesn't.
    pub stopped: Option<String>,
}

impl Users {
    fn any(&self) -> Option<&String> {
        self.running.as_ref().or(self.stopped.as_ref())
    }
}

/// How to remove.
#[derive(Clone, Copy, Debug)]
pub struct Removal<'a> {
    /// In spite of several names, or of containers that don't run.
    pub force: bool,
    /// Who uses the image.
    pub users: &'a Users,
    /// Layers that stay.
    pub in_use: &'a HashSet<ChainId>,
}

/// All that leads to an image, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Refs {
    tags: Vec<Reference>,
    digests: Vec<Reference>,
}

/// What goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Plan {
    tags: Vec<Reference>,
    digests: Vec<Reference>,
    image: bool,
}

impl Store {
    /// Removes what `needle` names, as docker's rmi; then what nobody uses is collected.
    pub fn remove(&self, needle: &str, how: Removal<'_>) -> Result<Removed> {
        let images = self.images()?;
        let image = super::find::find_in(images.clone(), needle)?;
        // Manifests may differ where images are the same: packed once so and once otherwise.
        let same = images.iter().filter(|i| i.config_digest == image.config_digest);
        let roots: HashSet<Digest> = same.map(|i| i.root.digest.clone()).collect();
        let mut removed = Removed::default();
        self.change(|index| {
            let refs = refs(index, &roots).ok_or_else(|| gone(needle))?;
            let typed = typed(needle, &refs);
            let plan = plan(&refs, typed.as_ref(), needle, image.config_digest.short(), &how)?;
            perform(index, &roots, &plan);
            removed.untagged =
                plan.tags.iter().chain(&plan.digests).map(Reference::familiar).collect();
            if plan.image {
                removed.deleted.push(image.config_digest.clone());
            }
            Ok(())
        })?;
        if removed.deleted.is_empty() {
            return Ok(removed);
        }
        let collected = self.collect(how.in_use)?;
        removed.deleted.extend(topmost_first(&image, collected.layers));
        removed.freed = collected.freed;
        Ok(removed)
    }
}

/// The image's own layers first, the topmost before what it stands on.
pub(super) fn topmost_first(image: &Stored, layers: Vec<ChainId>) -> Vec<ChainId> {
    let chain = Digest::chain(&image.diff_ids);
    let at = |layer: &ChainId| chain.iter().position(|c| c == layer).map_or(0, |at| at + 1);
    let mut layers = layers;
    layers.sort_by_key(|layer| std::cmp::Reverse(at(layer)));
    layers
}

/// What leads to an image now; nothing if it is gone.
fn refs(index: &Index, roots: &HashSet<Digest>) -> Option<Refs> {
    let entries: Vec<&Descriptor> =
        index.manifests.iter().filter(|d| roots.contains(&d.digest)).collect();
    let sorted = |of: fn(&Descriptor) -> Option<Reference>| {
        let mut all: Vec<Reference> = entries.iter().filter_map(|d| of(d)).collect();
        all.sort();
        all.dedup();
        all
    };
    let refs = Refs { tags: sorted(name_of), digests: sorted(repo_digest_of) };
    (!entries.is_empty()).then_some(refs)
}

/// Which of the references was typed; none if it was an id.
fn typed(needle: &str, refs: &Refs) -> Option<Reference> {
    let typed = Reference::parse_normal(needle).ok()?;
    match typed.digest() {
        Some(digest) => refs
            .digests
            .iter()
            .find(|d| d.name() == typed.name() && d.digest() == Some(digest))
            .cloned(),
        None => Some(typed.tagged()).filter(|typed| refs.tags.contains(typed)),
    }
}

/// Whether there is but one repository, and at most one tag in it.
fn single(refs: &Refs) -> bool {
    let mut names: Vec<String> =
        refs.tags.iter().chain(&refs.digests).map(Reference::name).collect();
    names.dedup();
    names.len() == 1 && refs.tags.len() <= 1
}

/// Decides. The words are docker's.
fn plan(
    refs: &Refs,
    typed: Option<&Reference>,
    needle: &str,
    id: &str,
    how: &Removal<'_>,
) -> Result<Plan> {
    let Some(typed) = typed else {
        check(refs, id, how)?;
        return Ok(Plan { tags: refs.tags.clone(), digests: refs.digests.clone(), image: true });
    };
    if let (false, true, Some(user)) = (how.force, single(refs), how.users.any()) {
        return Err(Error::Conflict(format!(
            "conflict: unable to remove repository reference \"{needle}\" (must force) - container {user} is using its referenced image {id}"
        )));
    }
    let mut plan = Plan::default();
    if typed.digest().is_some() {
        plan.digests.push(typed.clone());
    } else {
        plan.tags.push(typed.clone());
        let others = refs.tags.iter().any(|t| t != typed && t.name() == typed.name());
        let own = refs.digests.iter().filter(|d| !others && d.name() == typed.name());
        plan.digests.extend(own.cloned());
    }
    let left = refs.tags.len() + refs.digests.len() - plan.tags.len() - plan.digests.len();
    let used = how.users.running.is_some() || how.users.stopped.is_some() && !how.force;
    plan.image = left == 0 && !used;
    Ok(plan)
}

/// What keeps an image from being removed by its id.
fn check(refs: &Refs, id: &str, how: &Removal<'_>) -> Result<()> {
    let conflict = |forced: &str, why: String| {
        Err(Error::Conflict(format!("conflict: unable to delete {id} ({forced}) - {why}")))
    };
    if let Some(user) = &how.users.running {
        let why = format!("image is being used by running container {user}");
        return conflict("cannot be forced", why);
    }
    let several = refs.tags.len() + refs.digests.len() > 0 && !single(refs);
    if several && !how.force {
        return conflict("must be forced", "image is referenced in multiple repositories".into());
    }
    if let (Some(user), false) = (&how.users.stopped, how.force) {
        let why = format!("image is being used by stopped container {user}");
        return conflict("must be forced", why);
    }
    Ok(())
}

fn perform(index: &mut Index, roots: &HashSet<Digest>, plan: &Plan) {
    if plan.image {
        index.manifests.retain(|d| !roots.contains(&d.digest));
        return;
    }
    for tag in &plan.tags {
        take_name(index, &tag.to_string(), None);
    }
    for entry in index.manifests.iter_mut().filter(|d| roots.contains(&d.digest)) {
        if repo_digest_of(entry).is_some_and(|d| plan.digests.contains(&d)) {
            entry.annotations.remove(REPO_DIGEST);
        }
    }
}

fn gone(name: &str) -> Error {
    Error::NotFound {
        what: "image",
        name: name.to_owned(),
        hint: "it was removed meanwhile".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refs(tags: &[&str], digests: &[&str]) -> Refs {
        let digest = Digest::of(b"x");
        let name = |n: &&str| Reference::parse_normal(n).unwrap().tagged();
        let by = |n: &&str| Reference::parse_normal(n).unwrap().with_digest(&digest);
        Refs { tags: tags.iter().map(name).collect(), digests: digests.iter().map(by).collect() }
    }

    /// What goes, or the conflict; `user` is `r` for a running and `s` for a stopped container.
    fn decide(
        refs: &Refs,
        needle: &str,
        force: bool,
        user: &str,
    ) -> Result<(String, bool), String> {
        let some = |kind: &str| user.contains(kind).then(|| "c0".to_owned());
        let users = Users { running: some("r"), stopped: some("s") };
        let in_use = HashSet::new();
        let how = Removal { force, users: &users, in_use: &in_use };
        let typed = typed(needle, refs);
        let plan = plan(refs, typed.as_ref(), needle, "abc", &how).map_err(|e| e.to_string())?;
        let names: Vec<String> =
            plan.tags.iter().chain(&plan.digests).map(Reference::familiar).collect();
        Ok((names.join(" ").replace(&Digest::of(b"x").to_string(), "D"), plan.image))
    }

    #[test]
    fn names_go_one_by_one_and_the_last_takes_the_image_along() {
        let two = refs(&["a:1", "a:2"], &["a"]);
        assert_eq!(decide(&two, "a:1", false, ""), Ok(("a:1".into(), false)));
        let one = refs(&["a:1"], &["a"]);
        assert_eq!(decide(&one, "a:1", false, ""), Ok(("a:1 a@D".into(), true)));
        let elsewhere = refs(&["a:1"], &["b"]);
        assert_eq!(decide(&elsewhere, "a:1", false, ""), Ok(("a:1".into(), false)));
        let digest = format!("a@{}", Digest::of(b"x"));
        assert_eq!(decide(&one, &digest, false, ""), Ok(("a@D".into(), false)));
        assert_eq!(decide(&refs(&[], &["a"]), &digest, false, ""), Ok(("a@D".into(), true)));
    }

    #[test]
    fn an_id_goes_with_its_one_name_and_needs_force_for_several() {
        assert_eq!(decide(&refs(&["a:1"], &["a"]), "abc", false, ""), Ok(("a:1 a@D".into(), true)));
        assert_eq!(decide(&refs(&[], &[]), "abc", false, ""), Ok((String::new(), true)));
        for several in
            [refs(&["a:1", "a:2"], &[]), refs(&["a:1", "b:1"], &[]), refs(&["a:1"], &["b"])]
        {
            let why = decide(&several, "abc", false, "").unwrap_err();
            assert_eq!(
                why,
                "conflict: unable to delete abc (must be forced) - image is referenced in multiple repositories"
            );
            assert!(decide(&several, "abc", true, "").unwrap().1);
        }
    }

    #[test]
    fn users_keep_an_image() {
        let one = refs(&["a:1"], &[]);
        assert_eq!(
            decide(&one, "a:1", false, "s").unwrap_err(),
            "conflict: unable to remove repository reference \"a:1\" (must force) - container c0 is using its referenced image abc"
        );
        // Forced, the name goes; the image only if nobody runs it.
        assert_eq!(decide(&one, "a:1", true, "s"), Ok(("a:1".into(), true)));
        assert_eq!(decide(&one, "a:1", true, "r"), Ok(("a:1".into(), false)));
        assert!(decide(&one, "abc", false, "s").unwrap_err().contains("stopped container c0"));
        assert!(decide(&one, "abc", true, "s").unwrap().1);
        assert!(decide(&one, "abc", true, "r").unwrap_err().contains("(cannot be forced)"));
        assert_eq!(
            decide(&refs(&["a:1", "b:1"], &[]), "a:1", false, "r"),
            Ok(("a:1".into(), false))
        );
    }
}
