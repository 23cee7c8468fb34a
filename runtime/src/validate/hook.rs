//! `hooks`: programs of the engine that run at six places of a container's life.

use std::ffi::CString;

use crate::error::{Error, Result};
use crate::validate::{cstring, spec};

/// One hook, ready to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The program, absolute.
    pub path: CString,
    /// Its arguments; the first is its name.
    pub args: Vec<CString>,
    /// Its whole environment: nothing of ours is passed on.
    pub env: Vec<CString>,
    /// Seconds until it is killed; 0 waits for ever.
    pub timeout: u32,
}

/// The six lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// In the runtime's namespaces, before createRuntime (deprecated by the spec, used by engines).
    pub prestart: Vec<Hook>,
    /// In the runtime's namespaces, when the container's exist.
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before pivot_root.
    pub create_container: Vec<Hook>,
    /// In the container, just before its program.
    pub start_container: Vec<Hook>,
    /// In the runtime's namespaces, when the program runs.
    pub poststart: Vec<Hook>,
    /// In the runtime's namespaces, when the container is gone.
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Reads all six lists.
pub fn read(hooks: &spec::Hooks<'_>) -> Result<Hooks> {
    Ok(Hooks {
        prestart: list(&hooks.prestart, "prestart")?,
        create_runtime: list(&hooks.create_runtime, "createRuntime")?,
        create_container: list(&hooks.create_container, "createContainer")?,
        start_container: list(&hooks.start_container, "startContainer")?,
        poststart: list(&hooks.poststart, "poststart")?,
        poststop: list(&hooks.poststop, "poststop")?,
    })
}

fn list(hooks: &[spec::Hook<'_>], kind: &str) -> Result<Vec<Hook>> {
    hooks.iter().enumerate().map(|(n, hook)| one(hook, &format!("/hooks/{kind}/{n}"))).collect()
}

fn one(hook: &spec::Hook<'_>, at: &str) -> Result<Hook> {
    if !hook.path.starts_with('/') {
        return Err(Error::config(format!("{at}/path"), "must be an absolute path"));
    }
    let timeout = match hook.timeout {
        None => 0,
        Some(n) if n > 0 => u32::try_from(n).unwrap_or(u32::MAX),
        Some(_) => return Err(Error::config(format!("{at}/timeout"), "must be greater than zero")),
    };
    let strings = |list: &[spec::Text<'_>], field: &str| -> Result<Vec<CString>> {
        let read = |(n, s): (usize, &spec::Text<'_>)| cstring(s, || format!("{at}/{field}/{n}"));
        list.iter().enumerate().map(read).collect()
    };
    let path = cstring(&hook.path, || format!("{at}/path"))?;
    let mut args = strings(&hook.args, "args")?;
    if args.is_empty() {
        args.push(path.clone());
    }
    Ok(Hook { path, args, env: strings(&hook.env, "env")?, timeout })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_without_args_gets_its_path() {
        let hooks: spec::Hooks =
            serde_json::from_str(r#"{"poststop":[{"path":"/h","timeout":3}]}"#).unwrap();
        let read = read(&hooks).unwrap();
        assert_eq!(read.poststop[0].args, [c"/h".to_owned()]);
        assert_eq!(read.poststop[0].timeout, 3);
    }

    #[test]
    fn a_relative_hook_or_a_zero_timeout_is_refused() {
        for bad in [r#"{"prestart":[{"path":"h"}]}"#, r#"{"prestart":[{"path":"/h","timeout":0}]}"#]
        {
            assert!(read(&serde_json::from_str(bad).unwrap()).is_err());
        }
    }
}
