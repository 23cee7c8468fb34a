//! Flags of every verb: our own, and those that skopeo and umoci take before theirs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};

use super::go;

/// Flags of every verb.
#[derive(Args, Default)]
pub struct Global {
    /// Where images and layers are kept [default: /var/lib/dhow, or DHOW_ROOT]
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Where dhow keeps what runs; taken so that one set of flags fits both programs
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub run: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress; lists print ids only
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more on stderr
    #[arg(long, global = true)]
    pub debug: bool,
    /// Choose images for this architecture, not for this machine's
    #[arg(long, global = true, value_name = "ARCH", hide_short_help = true)]
    pub override_arch: Option<String>,
    /// Choose images for this operating system, not for linux
    #[arg(long, global = true, value_name = "OS", hide_short_help = true)]
    pub override_os: Option<String>,
    /// Choose images for this variant of the architecture
    #[arg(long, global = true, value_name = "VARIANT", hide_short_help = true)]
    pub override_variant: Option<String>,
    /// End with an error after so long: 30s, 1m30s
    #[arg(long, global = true, value_name = "DURATION", value_parser = go::duration,
          hide_short_help = true)]
    pub command_timeout: Option<Duration>,
    #[command(flatten)]
    pub trust: TrustFlags,
    /// The registries.conf to go by
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub registries_conf: Option<PathBuf>,
    /// A file of TLS settings (containers-tls-details.yaml)
    #[arg(long, global = true, value_name = "FILE", hide = true)]
    pub tls_details: Option<PathBuf>,
    /// umoci's hidden flag for its own developers
    #[arg(long, global = true, value_name = "FILE", hide = true)]
    pub cpu_profile: Option<PathBuf>,
    /// Where archives that come from a pipe are laid while they are read [default: the store]
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    pub tmpdir: Option<PathBuf>,
    /// What registries are told before our own name
    #[arg(long, global = true, value_name = "TEXT", hide_short_help = true)]
    pub user_agent_prefix: Option<String>,
    /// The outdated place of a verb's --tls-verify.
    #[arg(id = "outdated_tls_verify", long = "tls-verify", value_name = "BOOL", num_args = 0..=1,
          require_equals = true, default_missing_value = "true", value_parser = go::switch,
          hide = true)]
    pub tls_verify: Option<bool>,
    /// As --log info
    #[arg(id = "umoci_verbose", long = "verbose", hide_short_help = true)]
    pub verbose: bool,
    /// How much is said on stderr
    #[arg(
        id = "umoci_log",
        long = "log",
        value_name = "LEVEL",
        value_enum,
        conflicts_with = "umoci_verbose",
        hide_short_help = true
    )]
    pub log: Option<Level>,
    /// Print version
    #[arg(long, short = 'v', short_alias = 'V', action = ArgAction::Version)]
    pub version: Option<bool>,
}

/// What an image has to be signed by to be taken.
#[derive(Args, Clone, Debug, Default)]
pub struct TrustFlags {
    /// The policy.json that says which images are trusted
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub policy: Option<PathBuf>,
    /// Trust every image
    #[arg(long, global = true, hide_short_help = true)]
    pub insecure_policy: bool,
    /// Take only what is signed, whatever the policy accepts without
    #[arg(long, global = true, hide_short_help = true, conflicts_with = "insecure_policy")]
    pub require_signed: bool,
    /// The folder that says where registries' signatures are
    #[arg(
        long = "registries.d",
        id = "registries_d",
        global = true,
        value_name = "DIR",
        hide_short_help = true
    )]
    pub registries_d: Option<PathBuf>,
}

/// umoci's log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Global {
    /// Whether details are told.
    pub fn says_more(&self) -> bool {
        self.debug || self.log == Some(Level::Debug)
    }

    /// Whether there is no progress.
    pub fn is_quiet(&self) -> bool {
        self.quiet || matches!(self.log, Some(Level::Error | Level::Fatal)) && !self.verbose
    }
}
