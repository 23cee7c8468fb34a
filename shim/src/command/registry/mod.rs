//! Verbs of registries.

pub mod login;
pub mod logout;
pub mod search;

use dhow_image::registry::{Credentials, Logins};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::output::Output;

/// docker's `config.json`, where logins are kept.
fn logins(host: &Host) -> Result<Logins> {
    let path = host.settings.client_file();
    let missing =
        || Error::engine("neither HOME nor DOCKER_CONFIG says where config.json is; set one");
    path.map(|path| Logins::new(path.to_path_buf())).ok_or_else(missing)
}

/// A login by the environment would win over the one in the file.
fn warn_of_environment(out: &Output) {
    if std::env::var_os("REGISTRY_AUTH_FILE").is_some_and(|v| !v.is_empty()) {
        out.note("WARNING: REGISTRY_AUTH_FILE is set: its logins are found too, after docker's config.json.");
    }
}

fn user_of(known: &Credentials) -> &str {
    match known {
        Credentials::Basic { user, .. } => user,
        Credentials::Identity(_) | Credentials::Bearer(_) => "",
    }
}
