//! Whom to ask for an image: mirrors by docker's settings or by registries.conf, then its own place.

use std::sync::{Mutex, OnceLock};

use super::conf::Location;
use super::{Access, Client, Settings};
use crate::error::{Error, Result};
use crate::reference::Reference;

impl Client {
    /// A client for the repository of `reference`, in its own place. Nothing is sent yet.
    /// What is written goes there and to no mirror.
    pub fn new(settings: &Settings, reference: &Reference, access: Access) -> Result<Self> {
        Self::there(settings, settings.registries.plain(reference.clone()), access)
    }

    /// Everybody to read an image from, in order: its mirrors, then its own place.
    pub fn sources(settings: &Settings, reference: &Reference) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        if reference.domain() == "docker.io" {
            for mirror in &settings.mirrors {
                all.push(Self::of_mirror(settings, mirror, reference)?);
            }
        }
        for location in settings.registries.locations(reference)? {
            // What was typed as a password is for the registry that was typed.
            let elsewhere = location.reference.domain() != reference.domain();
            let settings = if elsewhere { settings.for_others() } else { settings.clone() };
            all.push(Self::there(&settings, location, Access::Pull)?);
        }
        Ok(all)
    }

    fn there(settings: &Settings, location: Location, access: Access) -> Result<Self> {
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
            Access::All => "*",
        };
        let (domain, path) = (location.reference.domain(), location.reference.path());
        let host = if domain == "docker.io" { "registry-1.docker.io" } else { domain };
        let mut settings = settings.clone();
        settings.insecure |= location.insecure && !settings.secure;
        let mut new = Self::at(&settings, domain, host)?;
        new.blocked = location.blocked;
        new.scopes = Mutex::new(vec![format!("repository:{path}:{actions}")]);
        path.clone_into(&mut new.repository);
        new.login = false;
        Ok(new)
    }

    /// A client for a mirror's copy of a repository of Docker Hub. The mirror is asked with the
    /// credentials of its own host, if there are any: Hub's are not for it.
    fn of_mirror(settings: &Settings, mirror: &str, reference: &Reference) -> Result<Self> {
        let bad = || Error::usage("registry mirror", mirror, "write http://HOST or https://HOST");
        let (scheme, rest) = mirror.trim_end_matches('/').split_once("://").ok_or_else(bad)?;
        let host = rest.split('/').next().unwrap_or_default();
        if host.is_empty() || !matches!(scheme, "http" | "https") || rest.contains(['@', '?', '#'])
        {
            return Err(bad());
        }
        let mut new = Self::at(&settings.for_others(), host, host)?;
        new.base = OnceLock::from(format!("{scheme}://{rest}"));
        new.scopes = Mutex::new(vec![format!("repository:{}:pull", reference.path())]);
        reference.path().clone_into(&mut new.repository);
        new.login = false;
        Ok(new)
    }

    /// Where it asks, as `HOST/REPOSITORY`.
    pub fn place(&self) -> String {
        format!("{}/{}", self.domain, self.repository)
    }
}

impl Settings {
    /// The same without the credentials that were given for one registry.
    fn for_others(&self) -> Self {
        let mut new = self.clone();
        new.keyring.fixed = None;
        new
    }
}

/// Asks one after another. The last one's error is told, with what the mirrors said.
pub fn first_of<'a, T>(
    clients: &'a [Client],
    ask: impl Fn(&'a Client) -> Result<T>,
) -> Result<(usize, T)> {
    let mut before = Vec::new();
    for (n, client) in clients.iter().enumerate() {
        match ask(client) {
            Ok(done) => return Ok((n, done)),
            Err(e) if n + 1 < clients.len() && may_differ(&e) => {
                before.push(format!("{}: {e}", client.place()));
            }
            Err(e) if before.is_empty() => return Err(e),
            Err(e) => return Err(e.noting(&format!("mirrors failed, too: {}", before.join("; ")))),
        }
    }
    Err(Error::invalid("registry settings", "there is no place to ask"))
}

/// Whether another place may do better: a full disk is full for that, too, and what was typed
/// wrong stays wrong.
pub fn may_differ(e: &Error) -> bool {
    !matches!(e, Error::Io { .. } | Error::Usage { .. })
}
