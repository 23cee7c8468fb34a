//! `annotations` that this runtime acts upon: crun's names, which podman and its users write.

use std::collections::BTreeMap;
use std::ffi::CString;

use crate::error::{Error, Result};
use crate::validate::cstring;

/// The program keeps the groups of the runtime's caller (podman's `--group-add keep-groups`).
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
/// A name in `linux.seccomp` that is no system call of this machine is an error.
pub const KNOWN_CALLS: &str = "run.oci.seccomp_fail_unknown_syscall";
/// Files to which the standard output and error of the hooks outside of the container go.
pub const HOOKS_OUTPUT: [&str; 2] = ["run.oci.hooks.stdout", "run.oci.hooks.stderr"];

/// Whether one that is on or off is on. As crun: whatever it says but 0.
pub fn is_on(map: &BTreeMap<String, String>, name: &str) -> bool {
    map.get(name).is_some_and(|value| value != "0")
}

/// The files of [`HOOKS_OUTPUT`], where they are named.
pub fn hooks_output(map: &BTreeMap<String, String>) -> Result<[Option<CString>; 2]> {
    let [out, err] = HOOKS_OUTPUT.map(|name| {
        let path = map.get(name).map(|path| (path, format!("/annotations/{name}")));
        path.map(|(path, at)| {
            if path.starts_with('/') {
                cstring(path, || at.clone())
            } else {
                Err(Error::config(&at, "must be an absolute path"))
            }
        })
        .transpose()
    });
    Ok([out?, err?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_zero_is_off() {
        assert!(is_on(&map(KEEP_GROUPS, "1"), KEEP_GROUPS));
        assert!(!is_on(&map(KEEP_GROUPS, "0"), KEEP_GROUPS));
        assert!(!is_on(&map(KEEP_GROUPS, "1"), KNOWN_CALLS));
    }

    #[test]
    fn the_hooks_files_are_absolute() {
        let e = hooks_output(&map(HOOKS_OUTPUT[1], "log")).unwrap_err().to_string();
        assert!(e.contains("/annotations/run.oci.hooks.stderr"), "{e}");
        let paths = hooks_output(&map(HOOKS_OUTPUT[0], "/log")).unwrap();
        assert_eq!(paths, [Some(c"/log".to_owned()), None]);
    }
}
