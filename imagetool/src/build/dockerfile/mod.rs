//! The language: a Dockerfile's text becomes stages of typed instructions.
//!
//! Words keep their variables and quotes: what these stand for is known to the plan alone, which
//! expands them.

pub mod checks;
mod directives;
mod expanding;
mod flags;
mod heredoc;
mod instruction;
mod line;
mod mount;
mod ports;
mod source;
mod stages;
mod suggest;
mod times;
mod words;

use std::ops::RangeInclusive;

use crate::config::Healthcheck;

pub use mount::MountText;
pub use ports::ports;
pub use source::{Fault, Source};
pub use stages::{parse, parse_one};
pub use suggest::suggest;

/// A whole Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// Its name and lines, for errors.
    pub source: Source,
    /// `# escape=`: a backslash, or a backtick.
    pub escape: char,
    /// `# syntax=`: the frontend it was written for, which is told of and not fetched.
    pub syntax: Option<String>,
    /// `# check=`
    pub check: Check,
    /// The ARGs before the first FROM.
    pub args: Vec<Argument>,
    /// In order.
    pub stages: Vec<Stage>,
    /// Where an instruction ends that goes on over an empty line ([`checks`] tells of the rest).
    pub holes: Vec<usize>,
}

/// `# check=skip=…;error=…`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Checks that are left out; `all` is all of them.
    pub skip: Vec<String>,
    /// Checks that are made though they are experimental; `all` is all of them.
    pub experimental: Vec<String>,
    /// Whether a warning ends the build.
    pub error: bool,
}

/// A finding of one of BuildKit's checks, by its name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// `StageNameCasing`, …
    pub check: &'static str,
    /// What it is about.
    pub text: String,
    /// Where, from 1.
    pub lines: RangeInclusive<usize>,
}

/// An ARG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// Its default.
    pub value: Option<String>,
    /// What a comment right above its ARG says of it: `# NAME what it is for`.
    pub about: String,
    /// The comments right above its ARG.
    pub comments: Vec<String>,
    /// Where, from 1.
    pub lines: RangeInclusive<usize>,
}

/// FROM and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// An image, an earlier stage, or `scratch`.
    pub from: String,
    /// `--platform=`
    pub platform: Option<String>,
    /// `AS`, in lower case; empty without.
    pub name: String,
    /// What a comment right above its FROM says of it: `# NAME what it is for`.
    pub about: String,
    /// The comments right above its FROM.
    pub comments: Vec<String>,
    /// Its FROM as written.
    pub text: String,
    /// Where, from 1.
    pub lines: RangeInclusive<usize>,
    /// In order.
    pub steps: Vec<Step>,
}

/// One instruction of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub what: Instruction,
    /// The comments right above it.
    pub comments: Vec<String>,
    /// As written, its lines joined, without heredocs.
    pub text: String,
    /// Where, from 1.
    pub lines: RangeInclusive<usize>,
}

/// A command: as a list, or as text for the stage's SHELL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `["a", "b"]`
    Exec(Vec<String>),
    /// All else. A RUN's heredocs are part of it: what it is of one alone is that one's content.
    Shell(String),
}

/// A heredoc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// What ends it: the file's name in a COPY.
    pub name: String,
    /// Whether variables in it are expanded: its name was not quoted.
    pub expand: bool,
    /// `<<-`: leading tabs go.
    pub chomp: bool,
    /// Its lines, tabs gone where they go.
    pub content: String,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Names with defaults.
    Arg(Vec<Argument>),
    /// Names and values.
    Env(Vec<(String, String)>),
    /// Names and values.
    Label(Vec<(String, String)>),
    /// Runs a command and keeps what it changes.
    Run(Box<Run>),
    /// Takes files from the context, a stage or an image.
    Copy(Box<Copy>),
    /// The same, and unpacks archives, fetches URLs and repositories.
    Add(Box<Copy>),
    /// The directory of what follows.
    Workdir(String),
    /// Who runs what follows.
    User(String),
    /// Ports, as written.
    Expose(Vec<String>),
    /// Paths.
    Volume(Vec<String>),
    /// argv's default rest.
    Cmd(Command),
    /// argv's beginning.
    Entrypoint(Command),
    /// What runs text.
    Shell(Vec<String>),
    /// By name or number.
    Stopsignal(String),
    /// As it stands in the config, `["NONE"]` for NONE.
    Healthcheck(Box<Healthcheck>),
    /// An instruction for builds upon the image, as written, with its heredocs: [`parse_one`] reads it.
    Onbuild(String),
    /// Who made it.
    Maintainer(String),
}

/// RUN
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What is run.
    pub command: Command,
    /// Those whose lines follow the command; already part of a shell's text.
    pub heredocs: Vec<Heredoc>,
    /// A heredoc that is all of the command and begins with `#!`: the file `/dev/pipes/NAME`, mode
    /// 0755, for this RUN only. The command is its path then.
    pub program: Option<Heredoc>,
    /// `--mount=`
    pub mounts: Vec<MountText>,
    /// `--network=`: default, none or host.
    pub network: Option<String>,
    /// `--security=insecure`
    pub insecure: bool,
    /// `--device=`
    pub devices: Vec<Device>,
}

/// `RUN --device=`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// As CDI has it.
    pub name: String,
    /// It is an error if it is not there.
    pub required: bool,
}

/// `RUN --mount=`, its variables expanded ([`MountText::read`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunMount {
    /// bind, cache, tmpfs, secret or ssh.
    pub kind: MountKind,
    /// Where; a secret's and an agent's have defaults.
    pub target: Option<String>,
    /// The path in what it comes from.
    pub source: Option<String>,
    /// A stage, an image or a named context; the context if `None`.
    pub from: Option<String>,
    /// Whether it is writable.
    pub writable: bool,
    /// The cache's, secret's or agent's name.
    pub id: Option<String>,
    /// A cache's.
    pub sharing: Sharing,
    /// It is an error if the secret or agent is not there.
    pub required: bool,
    /// Octal, of a cache's directory, a secret's file, an agent's socket.
    pub mode: Option<u32>,
    /// Their owner.
    pub uid: Option<u32>,
    /// Their group.
    pub gid: Option<u32>,
    /// A tmpfs's, in bytes.
    pub size: Option<u64>,
    /// The variable that a secret is given in; then there is no file unless a target is named.
    pub env: Option<String>,
}

/// A mount's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage or an image; what is written is lost.
    #[default]
    Bind,
    /// A directory that outlives the build.
    Cache,
    /// Memory.
    Tmpfs,
    /// A file that no layer keeps.
    Secret,
    /// An agent's socket.
    Ssh,
}

/// Who may use a cache at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// All.
    #[default]
    Shared,
    /// Each gets one of its own.
    Private,
    /// One after another.
    Locked,
}

/// COPY and ADD
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// Paths or patterns, or an ADD's URLs.
    pub sources: Vec<String>,
    /// Files that are written in the Dockerfile.
    pub heredocs: Vec<Heredoc>,
    /// Where to; a directory if it ends in `/`.
    pub dest: String,
    /// `--from=`; COPY's only.
    pub from: Option<String>,
    /// `--chown=`
    pub chown: Option<String>,
    /// `--chmod=`: octal, or symbolic as in `u=rwX,go=rX`.
    pub chmod: Option<String>,
    /// `--link`
    pub link: bool,
    /// `--parents`; COPY's only.
    pub parents: bool,
    /// `--exclude=`; as written, for variables are not expanded here.
    pub exclude: Vec<String>,
    /// `--checksum=`; ADD's only.
    pub checksum: Option<String>,
    /// `--keep-git-dir=`; ADD's only.
    pub keep_git_dir: Option<bool>,
    /// `--unpack=`; ADD's only.
    pub unpack: Option<bool>,
}

#[cfg(test)]
mod tests;
