//! `dhow-image logout REGISTRY[/REPOSITORY]`, or `--all`. skopeo's flags and words.

use std::path::PathBuf;

use clap::Args;
use dhow_image::registry::credentials::FILES;
use dhow_image::registry::{Credentials, Server, verify};
use dhow_image::{Error, Result};

use crate::cli::{RegistryFlags, go};
use crate::context::Context;

/// Flags of `logout`.
#[derive(Args)]
pub struct Logout {
    /// HOST[:PORT], or a repository there
    #[arg(value_name = "REGISTRY")]
    registry: Vec<String>,
    /// Forget every login of the file
    #[arg(long, short)]
    all: bool,
    /// The file that the login is in [default: REGISTRY_AUTH_FILE, else $XDG_RUNTIME_DIR/containers/auth.json]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// The same, in docker's form
    #[arg(long, value_name = "FILE")]
    compat_auth_file: Option<PathBuf>,
    /// Check certificates when the registry has to be asked; `false` also allows http
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go::switch)]
    tls_verify: Option<bool>,
}

impl Logout {
    /// Logs out.
    pub fn run(self, cx: &Context) -> Result<()> {
        for file in [&self.authfile, &self.compat_auth_file].into_iter().flatten() {
            if !file.exists() {
                let text = "credential file is not accessible: stat";
                return Err(words(format!("{text} {}: no such file or directory", file.display())));
            }
        }
        let place = cx.auth_place(self.authfile.as_deref(), self.compat_auth_file.as_deref())?;
        let helpers = cx.registries()?.helpers().to_vec();
        let helpers: Vec<String> =
            if place.docker || helpers.is_empty() { vec![FILES.to_owned()] } else { helpers };
        if self.all {
            if !self.registry.is_empty() {
                return Err(words("--all takes no arguments"));
            }
            for helper in &helpers {
                if helper == FILES {
                    place.logins().forget_all()
                } else {
                    Server::forget_all(helper)
                }?;
            }
            return cx.said("Removed login credentials for all registries");
        }
        let typed = match self.registry.as_slice() {
            [one] => one,
            [] => return Err(words("please provide a registry to log out from")),
            _ => return Err(words("logout accepts only one registry to log out from")),
        };
        let server = Server::podman(typed)?;
        let key = place.key(&server)?;
        let mut known = false;
        for helper in &helpers {
            known |= if helper == FILES {
                place.logins().forget(&key)?
            } else {
                key.forget_with(helper)?
            };
        }
        if known {
            return cx.said(format!("Removed login credentials for {}", server.key));
        }
        self.elsewhere(cx, &server)
    }

    /// Nothing was kept there; what another tool keeps is not ours to remove.
    fn elsewhere(&self, cx: &Context, server: &Server) -> Result<()> {
        let flags = RegistryFlags { tls_verify: self.tls_verify, ..RegistryFlags::default() };
        let settings = cx.settings(&flags)?;
        let found = settings.keyring.find(&server.domain, &server.repository)?;
        if let Some(known @ Credentials::Basic { .. }) = found
            && verify(&settings, server, &known).is_ok()
        {
            let text = "Existing credentials were established via docker login. Please use docker logout instead.";
            return cx.said(format!("Not logged into {} with current tool. {text}", server.key));
        }
        Err(words(format!("not logged into {}", server.key)))
    }
}

fn words(text: impl Into<String>) -> Error {
    Error::Conflict(text.into())
}
