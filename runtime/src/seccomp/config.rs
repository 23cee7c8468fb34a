//! `linux.seccomp` of config.json as it is written; nothing is judged here.
//!
//! Strings are borrowed from the JSON text, unknown fields are ignored, and a
//! `null` list counts as an absent one, because Go programs write it so.

use std::borrow::Cow;

use serde::Deserialize;

use crate::null;

/// SPEC: config-linux.md §Seccomp.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Seccomp<'a> {
    /// What happens to a call that no rule matches.
    #[serde(borrow)]
    pub default_action: Cow<'a, str>,
    /// The errno (or trace datum) of the default action; EPERM when absent.
    pub default_errno_ret: Option<u32>,
    /// Names such as `SCMP_ARCH_X86_64`; the native one is always included.
    #[serde(borrow, deserialize_with = "null::is_default")]
    pub architectures: Vec<Text<'a>>,
    /// seccomp(2) flags; absent means runc's default, `SPEC_ALLOW`.
    #[serde(borrow)]
    pub flags: Option<Vec<Text<'a>>>,
    /// The agent's socket, for `SCMP_ACT_NOTIFY`.
    #[serde(borrow)]
    pub listener_path: Cow<'a, str>,
    /// Opaque text for the agent.
    #[serde(borrow)]
    pub listener_metadata: Cow<'a, str>,
    /// The rules, first match first.
    #[serde(borrow, deserialize_with = "null::is_default")]
    pub syscalls: Vec<Syscall<'a>>,
}

/// One entry of `linux.seccomp.syscalls`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Syscall<'a> {
    /// The calls it speaks of; names that the kernel headers lack are skipped.
    #[serde(borrow, deserialize_with = "null::is_default")]
    pub names: Vec<Text<'a>>,
    /// What happens on a match.
    #[serde(borrow)]
    pub action: Cow<'a, str>,
    /// The errno (or trace datum) of the action; EPERM when absent.
    pub errno_ret: Option<u32>,
    /// Conditions on the arguments.
    #[serde(borrow, deserialize_with = "null::is_default")]
    pub args: Vec<Arg<'a>>,
}

/// One condition of `linux.seccomp.syscalls[].args`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Arg<'a> {
    /// 0 to 5.
    pub index: u32,
    /// What the argument is compared with; the mask of `SCMP_CMP_MASKED_EQ`.
    pub value: u64,
    /// What the masked argument is compared with.
    pub value_two: u64,
    /// A name such as `SCMP_CMP_EQ`.
    #[serde(borrow)]
    pub op: Cow<'a, str>,
}

/// A string borrowed from the JSON text where it has no escapes.
///
/// serde borrows a `Cow` field, but never a `Cow` inside a `Vec`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Seccomp<'_> {
    /// Whether there is nothing to load: neither a default action nor a rule.
    ///
    /// DIFFERS: the spec requires `defaultAction`; runc takes `{}` for "no
    /// seccomp", and engines rely on it.
    pub fn is_empty(&self) -> bool {
        self.default_action.is_empty() && self.syscalls.is_empty()
    }
}
