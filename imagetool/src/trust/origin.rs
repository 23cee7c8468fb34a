//! Where an image comes from, in a policy's words: a transport, scopes from the narrowest to
//! the widest, and the name it claims, if it claims one.
//!
//! SPEC: containers-policy.json(5), "Supported transports and their scopes".

use std::path::{Path, PathBuf};

use crate::reference::Reference;
use crate::transport::{File, Held, Place};

/// The transport that our own store is to a policy.
pub const STORE: &str = "dhow";

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `docker`, `oci`, `dir`…
    pub transport: &'static str,
    /// Scopes that fit, the narrowest first; the transport's own, `""`, is not among them.
    pub scopes: Vec<String>,
    /// The name that a signature has to agree to.
    pub name: Option<Reference>,
    /// As the user wrote it.
    pub shown: String,
}

impl Origin {
    /// A place that is read.
    pub fn of(place: &Place) -> Self {
        let shown = place.to_string();
        let with = |transport, scopes, name| Self { transport, scopes, name, shown: shown.clone() };
        match place {
            Place::Store(name) => {
                let name = Reference::parse_normal(name).map(Reference::tagged).ok();
                with(STORE, name.as_ref().map(name_scopes).unwrap_or_default(), name)
            }
            Place::Registry(reference) => Self::registry(reference),
            Place::Layout(dir, _) => with("oci", path_scopes(dir), None),
            Place::Dir(dir) => with("dir", path_scopes(dir), None),
            Place::OciArchive(File::Path(file), _) => with("oci-archive", path_scopes(file), None),
            Place::OciArchive(File::Std, _) => with("oci-archive", Vec::new(), None),
            Place::DockerArchive(_, which) => {
                let name = match which {
                    crate::transport::Which::Named(name) => {
                        Reference::parse_normal(name).map(Reference::tagged).ok()
                    }
                    _ => None,
                };
                with("docker-archive", Vec::new(), name)
            }
            Place::DockerDaemon(Held::Named(name)) => {
                with("docker-daemon", name_scopes(name), Some(name.clone()))
            }
            Place::DockerDaemon(Held::Id(id)) => with("docker-daemon", vec![id.to_string()], None),
            // Its scopes begin with the storage's own place, known when it is open: `storage`.
            Place::ContainersStorage(_) => with("containers-storage", Vec::new(), None),
        }
    }

    /// An image in podman's store at `root`, by what was typed after the store.
    pub fn storage(place: &Place, driver: &str, root: &Path, typed: &str) -> Self {
        let is_id = |text: &str| text.len() >= 12 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let (name, id) = match typed.rsplit_once('@') {
            Some((name, id)) if is_id(id) => (name, Some(id)),
            _ if is_id(typed) => ("", Some(typed)),
            _ => (typed, None),
        };
        let name = Reference::parse_normal(name).map(Reference::tagged).ok();
        let mut below: Vec<String> = id.map(|id| format!("@{id}")).into_iter().collect();
        let names = name.as_ref().map(name_scopes).unwrap_or_default();
        below.extend(names.into_iter().filter(|scope| !scope.starts_with("*.")));
        below.push(String::new());
        // As it was named, and as it is: a link must not lead past the policy.
        let mut roots = vec![root.to_owned()];
        roots.extend(root.canonicalize().ok().filter(|real| real != root));
        let of = |scope: &String| -> Vec<String> {
            roots.iter().map(|root| format!("[{driver}@{}]{scope}", root.display())).collect()
        };
        let mut scopes: Vec<String> = below.iter().flat_map(of).collect();
        scopes.extend(roots.iter().map(|root| format!("[{}]", root.display())));
        Self { transport: "containers-storage", scopes, name, shown: place.to_string() }
    }

    /// A registry, by the name that was typed, whichever mirror answers.
    pub fn registry(reference: &Reference) -> Self {
        let name = reference.clone().tagged();
        Self {
            transport: "docker",
            scopes: name_scopes(&name),
            shown: format!("docker://{}", name.familiar()),
            name: Some(name),
        }
    }
}

/// The whole reference, its repository, the folders above it, its host, and its host's domains.
pub fn name_scopes(name: &Reference) -> Vec<String> {
    let repository = name.name();
    let mut scopes = Vec::new();
    if let Some(digest) = name.digest() {
        scopes.push(format!("{repository}@{digest}"));
    }
    if let Some(tag) = name.tag() {
        scopes.push(format!("{repository}:{tag}"));
    }
    let mut rest = repository.as_str();
    scopes.push(rest.to_owned());
    while let Some((above, _)) = rest.rsplit_once('/') {
        scopes.push(above.to_owned());
        rest = above;
    }
    let mut domain = rest.split(':').next().unwrap_or_default();
    while let Some((_, above)) = domain.split_once('.') {
        scopes.push(format!("*.{above}"));
        domain = above;
    }
    scopes
}

/// A path without links, and the directories above it except `/`.
fn path_scopes(path: &Path) -> Vec<String> {
    let Some(path) = explicit(path) else { return Vec::new() };
    let above = path.ancestors().filter(|p| *p != Path::new("/"));
    above.filter_map(|p| p.to_str().map(str::to_owned)).collect()
}

/// A path without links; its last part need not be there.
fn explicit(path: &Path) -> Option<PathBuf> {
    if let Ok(real) = path.canonicalize() {
        return Some(real);
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(folder.canonicalize().ok()?.join(path.file_name()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_podmans_store_is_in_the_scopes_of_its_store() {
        let of = |typed: &str| {
            let place = Place::ContainersStorage(typed.to_owned());
            Origin::storage(&place, "vfs", Path::new("/s"), typed).scopes
        };
        assert_eq!(
            of("docker.io/library/x:latest"),
            [
                "[vfs@/s]docker.io/library/x:latest",
                "[vfs@/s]docker.io/library/x",
                "[vfs@/s]docker.io/library",
                "[vfs@/s]docker.io",
                "[vfs@/s]",
                "[/s]",
            ]
        );
        let id = "0123456789abcdef";
        assert_eq!(of(id), [&format!("[vfs@/s]@{id}"), "[vfs@/s]", "[/s]"]);
        assert_eq!(of(&format!("x@{id}"))[1], "[vfs@/s]docker.io/library/x:latest");
    }

    #[test]
    fn a_name_is_looked_up_from_narrow_to_wide() {
        let name: Reference = "reg.example.com:5000/ns/repo:1".parse().unwrap();
        assert_eq!(
            name_scopes(&name),
            [
                "reg.example.com:5000/ns/repo:1",
                "reg.example.com:5000/ns/repo",
                "reg.example.com:5000/ns",
                "reg.example.com:5000",
                "*.example.com",
                "*.com",
            ]
        );
        let hub = Origin::registry(&"busybox".parse().unwrap());
        assert_eq!(hub.scopes[0], "docker.io/library/busybox:latest");
        assert_eq!(hub.scopes.last().unwrap(), "*.io");
    }

    #[test]
    fn a_path_is_looked_up_without_links() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("a")).unwrap();
        std::os::unix::fs::symlink("a", real.join("b")).unwrap();
        let origin = Origin::of(&Place::Dir(real.join("b")));
        assert_eq!(origin.scopes[0], real.join("a").to_str().unwrap());
        assert!(!origin.scopes.contains(&"/".to_owned()));
        let new = Origin::of(&Place::Dir(real.join("b/new")));
        assert_eq!(new.scopes[0], real.join("a/new").to_str().unwrap());
    }
}
