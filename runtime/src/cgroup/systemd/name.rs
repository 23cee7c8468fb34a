//! What systemd calls a container's groups.

use crate::error::{Error, Result};

/// A scope and the slice that it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cgroup) struct Name {
    /// As `machine-a.slice`.
    pub slice: String,
    /// As `libpod-ID.scope`.
    pub scope: String,
}

impl Name {
    /// Reads `linux.cgroupsPath` as `slice:prefix:name`. As runc: absent, the scope has our name
    /// and stands in `system.slice`, or the user's `user.slice`.
    pub(super) fn new(path: Option<&str>, id: &str, user: bool) -> Result<Self> {
        let wrong = |why: String| Error::config("/linux/cgroupsPath", why);
        let usual = if user { "user.slice" } else { "system.slice" };
        let (slice, prefix, name) = match path.map(|path| path.split(':').collect::<Vec<_>>()) {
            None => (usual, "dhow-runtime", id),
            Some(parts) => match *parts {
                ["", prefix, name] => (usual, prefix, name),
                [slice, prefix, name] => (slice, prefix, name),
                _ => {
                    return Err(wrong(format!(
                        "{:?}: must have the form slice:prefix:name with --systemd-cgroup",
                        path.unwrap_or_default()
                    )));
                }
            },
        };
        if name.strip_suffix(".slice").is_some() {
            let why = format!("{name:?}: a container's processes are in a scope, not a slice");
            return Err(wrong(why));
        }
        let scope = format!("{prefix}-{name}.scope");
        // KERNEL: NAME_MAX; systemd.unit(5) has the letters and a length of 255, too.
        let letter = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\".contains(&b);
        if name.is_empty() || scope.len() > 255 || !scope.bytes().all(letter) {
            let why = format!(
                "{scope:?} is no unit's name: up to 255 of letters, digits and \":-_.\\\" are"
            );
            return Err(wrong(why));
        }
        expand(slice).ok_or_else(|| wrong(format!("{slice:?} is no slice's name")))?;
        Ok(Self { slice: slice.to_owned(), scope })
    }

    /// The group's path below the manager's own.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", expand(&self.slice).unwrap_or_default(), self.scope)
    }
}

/// The path of a slice: `a-b.slice` lies in `a.slice`, and `-.slice` is the top.
///
/// SPEC: systemd.slice(5).
fn expand(slice: &str) -> Option<String> {
    let name = slice.strip_suffix(".slice")?;
    if name == "-" {
        return Some(String::new());
    }
    let letter = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\".contains(&b);
    if slice.len() > 255 || !name.bytes().all(letter) || name.split('-').any(str::is_empty) {
        return None;
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    Some(ends.flat_map(|end| ["/", &name[..end], ".slice"]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(path: &str) -> String {
        Name::new(Some(path), "id", false).unwrap().path()
    }

    #[test]
    fn slices_lie_in_each_other() {
        assert_eq!(path("a.slice:libpod:1"), "/a.slice/libpod-1.scope");
        assert_eq!(path("a-b-c.slice:p:1"), "/a.slice/a-b.slice/a-b-c.slice/p-1.scope");
        assert_eq!(path("-.slice:p:1"), "/p-1.scope");
        assert_eq!(path(":p:1"), "/system.slice/p-1.scope");
        assert_eq!(Name::new(Some("::x"), "id", true).unwrap().path(), "/user.slice/-x.scope");
    }

    #[test]
    fn without_a_path_the_scope_has_our_name() {
        let name = |user| Name::new(None, "id", user).unwrap().path();
        assert_eq!(name(false), "/system.slice/dhow-runtime-id.scope");
        assert_eq!(name(true), "/user.slice/dhow-runtime-id.scope");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for (path, part) in [
            ("/a/b", "slice:prefix:name"),
            ("a:b:c:d", "slice:prefix:name"),
            ("a:b:c", "no slice"),
            ("-a.slice:b:c", "no slice"),
            ("a--b.slice:b:c", "no slice"),
            ("a/../b.slice:b:c", "no slice"),
            (".slice:b:c", "no slice"),
            ("a.slice:b:c.slice", "not a slice"),
            ("a.slice:b:../c", "no unit"),
            ("a.slice:b:", "no unit"),
        ] {
            let why = Name::new(Some(path), "id", false).unwrap_err().to_string();
            assert!(why.contains(part) && why.contains("/linux/cgroupsPath"), "{path}: {why}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leads_out(text in "[a-z./:\\-]{0,20}|.{0,20}") {
            if let Ok(name) = Name::new(Some(&text), "id", false) {
                prop_assert!(!name.path().split('/').any(|part| part == ".."));
                prop_assert!(name.scope.strip_suffix(".scope").is_some());
            }
        }
    }
}
