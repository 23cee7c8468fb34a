//! How to speak to a registry, as typed: skopeo's flags, and for a copy the same again for each side.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dhow_image::{Error, Result};

use super::go::{self, duration};

/// A struct of skopeo's flags for one registry, each with a prefix, and with more flags of its own.
macro_rules! access {
    ($(#[$about:meta])* $name:ident, $prefix:literal, $(alias $alias:literal,)? $heading:literal,
     { $($(#[$more:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Args, Clone, Default)]
        #[command(next_help_heading = $heading)]
        pub struct $name {
            /// Check certificates; `false` also allows http
            #[arg(id = concat!($prefix, "tls-verify"), long = concat!($prefix, "tls-verify"),
                  value_name = "BOOL", num_args = 0..=1, require_equals = true,
                  default_missing_value = "true", value_parser = go::switch)]
            pub tls_verify: Option<bool>,
            /// Log in as this user
            #[arg(id = concat!($prefix, "creds"), long = concat!($prefix, "creds"),
                  $(alias = $alias,)? value_name = "USER[:PASSWORD]")]
            pub creds: Option<String>,
            /// Log in as this user, with --password
            #[arg(id = concat!($prefix, "username"), long = concat!($prefix, "username"),
                  value_name = "USER", hide_short_help = true)]
            pub username: Option<String>,
            /// The password of --username
            #[arg(id = concat!($prefix, "password"), long = concat!($prefix, "password"),
                  value_name = "PASSWORD", hide_short_help = true)]
            pub password: Option<String>,
            /// Don't log in
            #[arg(id = concat!($prefix, "no-creds"), long = concat!($prefix, "no-creds"))]
            pub no_creds: bool,
            /// Send this bearer token
            #[arg(id = concat!($prefix, "registry-token"), long = concat!($prefix, "registry-token"),
                  value_name = "TOKEN", hide_short_help = true)]
            pub registry_token: Option<String>,
            /// Log in with what this file says [default: podman's auth.json, then ~/.docker/config.json]
            #[arg(id = concat!($prefix, "authfile"), long = concat!($prefix, "authfile"),
                  value_name = "FILE")]
            pub authfile: Option<PathBuf>,
            /// A folder of *.crt, *.cert, *.key, or of HOST/*.crt … as /etc/docker/certs.d
            #[arg(id = concat!($prefix, "cert-dir"), long = concat!($prefix, "cert-dir"),
                  value_name = "DIR")]
            pub cert_dir: Option<PathBuf>,
            $($(#[$more])* pub $field: $kind,)*
        }
    };
}

access! {
    /// How to speak to a registry.
    RegistryFlags, "", "Options for registries", {
        /// Speak http to a registry that isn't on this machine
        #[arg(long)]
        plain_http: bool,
        /// Ask this mirror of Docker Hub first
        #[arg(long, value_name = "URL")]
        mirror: Vec<String>,
        /// Let this host of another domain give tokens for our password
        #[arg(long, value_name = "HOST")]
        trust_realm: Vec<String>,
        /// How often a request is tried again [default: 4]
        #[arg(long, value_name = "N")]
        retry_times: Option<u32>,
        /// Wait so long before trying again, as 1s or 500ms [default: longer each time]
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        retry_delay: Option<Duration>,
        /// Give up a connection on which nothing comes for so long [default: 1m]
        #[arg(long, value_name = "DURATION", value_parser = duration, hide_short_help = true)]
        idle_timeout: Option<Duration>,
    }
}

access! {
    /// How to speak to the registry that is copied from.
    SourceFlags, "src-", alias "screds", "Options for the registry that is copied from", {}
}

access! {
    /// How to speak to the registry that is copied to.
    TargetFlags, "dest-", alias "dcreds", "Options for the registry that is copied to", {}
}

macro_rules! over {
    ($name:ident) => {
        impl $name {
            /// These where they are given, else what holds for both sides.
            pub fn over(&self, both: &RegistryFlags) -> RegistryFlags {
                let own = self.clone();
                let mut all = both.clone();
                // Who we are is said as a whole: a side's user doesn't go with the other's password.
                if own.names_someone() {
                    (all.creds, all.no_creds) = (own.creds, own.no_creds);
                    (all.username, all.password) = (own.username, own.password);
                    all.registry_token = own.registry_token;
                }
                all.tls_verify = own.tls_verify.or(all.tls_verify);
                all.authfile = own.authfile.or(all.authfile);
                all.cert_dir = own.cert_dir.or(all.cert_dir);
                all
            }

            fn names_someone(&self) -> bool {
                let texts = [&self.creds, &self.username, &self.password, &self.registry_token];
                self.no_creds || texts.iter().any(|t| t.is_some())
            }
        }
    };
}

over!(SourceFlags);
over!(TargetFlags);

/// Who is logged in as, by flags.
pub enum Who {
    /// What the files say.
    Known,
    /// Nobody.
    Nobody,
    /// This user; without a password it is asked for.
    User(String, Option<String>),
    /// Whoever has this token.
    Token(String),
}

impl RegistryFlags {
    /// What is meant, in skopeo's words if that can't be said.
    pub fn who(&self) -> Result<Who> {
        let both = |a: &str, b: &str| {
            Error::Conflict(format!("{a} and {b} cannot be specified at the same time"))
        };
        match (&self.creds, &self.username, &self.password) {
            (Some(_), _, _) if self.no_creds => return Err(both("creds", "no-creds")),
            (_, Some(_), _) if self.no_creds => return Err(both("username", "no-creds")),
            (Some(_), Some(_), _) => return Err(both("creds", "username")),
            (_, Some(_), None) => {
                let text = "password must be specified when username is specified";
                return Err(Error::Conflict(text.into()));
            }
            (_, None, Some(_)) => {
                let text = "username must be specified when password is specified";
                return Err(Error::Conflict(text.into()));
            }
            _ => {}
        }
        if let Some(token) = &self.registry_token {
            return Ok(Who::Token(token.clone()));
        }
        if let (Some(user), password) = (&self.username, &self.password) {
            return Ok(Who::User(user.clone(), password.clone()));
        }
        Ok(match &self.creds {
            Some(creds) => match creds.split_once(':') {
                Some((user, password)) => Who::User(user.into(), Some(password.into())),
                None => Who::User(creds.clone(), None),
            },
            None if self.no_creds => Who::Nobody,
            None => Who::Known,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        both: RegistryFlags,
        #[command(flatten)]
        from: SourceFlags,
        #[command(flatten)]
        to: TargetFlags,
    }

    fn line(flags: &[&str]) -> Line {
        Line::try_parse_from([&["x"], flags].concat()).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_side_s_flags_win_for_that_side() {
        let l = line(&["--creds=u:p", "--src-no-creds", "--tls-verify=false", "--dest-tls-verify"]);
        let (from, to) = (l.from.over(&l.both), l.to.over(&l.both));
        assert!(matches!(from.who(), Ok(Who::Nobody)));
        assert!(matches!(to.who(), Ok(Who::User(u, Some(p))) if u == "u" && p == "p"));
        assert_eq!((from.tls_verify, to.tls_verify), (Some(false), Some(true)));
        let l = line(&["--screds", "a:b:c", "--dcreds", "d"]);
        let who = l.from.over(&l.both).who();
        assert!(matches!(who, Ok(Who::User(u, Some(p))) if u == "a" && p == "b:c"));
        assert!(matches!(l.to.over(&l.both).who(), Ok(Who::User(u, None)) if u == "d"));
    }

    #[test]
    fn what_contradicts_itself_is_refused_in_skopeo_s_words() {
        for (flags, words) in [
            (&["--creds=u", "--no-creds"][..], "creds and no-creds cannot be specified"),
            (&["--username=u", "--no-creds"], "username and no-creds cannot be"),
            (&["--username=u", "--creds=u", "--password=p"], "creds and username cannot be"),
            (&["--username=u"], "password must be specified when username"),
            (&["--password=p"], "username must be specified when password"),
        ] {
            let Err(e) = line(flags).both.who() else { panic!("{flags:?}") };
            assert!(e.to_string().contains(words), "{e}");
        }
    }
}
