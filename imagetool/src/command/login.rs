//! `dhow-image login REGISTRY[/REPOSITORY]`: asks the registry, then keeps what it accepted.
//! skopeo's flags and words.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use dhow_image::registry::credentials::FILES;
use dhow_image::registry::{Credentials, Kept, Server, Settings, is_wrong_password, verify};
use dhow_image::{Error, Result};

use super::ask;
use crate::cli::{RegistryFlags, go};
use crate::context::{AuthPlace, Context};

/// Flags of `login`.
#[derive(Args)]
pub struct Login {
    /// HOST[:PORT], or a repository there that the login is for
    #[arg(value_name = "REGISTRY")]
    registry: Vec<String>,
    /// Who
    #[arg(long, short, value_name = "USER")]
    username: Option<String>,
    /// The password; others can see it in the list of processes
    #[arg(long, short, value_name = "PASSWORD")]
    password: Option<String>,
    /// Read the password from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Print who is logged in
    #[arg(long = "get-login")]
    who: bool,
    /// Keep the login in this file [default: REGISTRY_AUTH_FILE, else $XDG_RUNTIME_DIR/containers/auth.json]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Keep it in this file, in docker's form
    #[arg(long, value_name = "FILE")]
    compat_auth_file: Option<PathBuf>,
    /// A folder of *.crt, *.cert, *.key
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Check certificates; `false` also allows http
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go::switch)]
    tls_verify: Option<bool>,
    /// Say where the login is kept
    #[arg(long, short)]
    verbose: bool,
}

impl Login {
    /// Logs in.
    pub fn run(self, cx: &Context) -> Result<()> {
        let place = cx.auth_place(self.authfile.as_deref(), self.compat_auth_file.as_deref())?;
        let typed = match self.registry.as_slice() {
            [one] => one,
            [] => return Err(words("please provide a registry to log in to")),
            _ => return Err(words("login accepts only one registry to log in to")),
        };
        let server = Server::podman(typed)?;
        let flags = RegistryFlags {
            cert_dir: self.cert_dir.clone(),
            tls_verify: self.tls_verify,
            ..RegistryFlags::default()
        };
        let mut settings = cx.settings(&flags)?;
        settings.keyring.files = place.readable(cx);
        let known = settings.keyring.find(&server.domain, &server.repository)?;
        let before = user_of(known.as_ref());
        if self.who {
            if before.is_empty() {
                return Err(words(&format!("not logged into {}", server.key)));
            }
            return cx.said(before);
        }
        if let Some(Credentials::Identity(_)) = known {
            return Err(words("currently logged in, auth file contains an Identity token"));
        }
        let typed = self.typed_password()?;
        if let (None, None, Some(known @ Credentials::Basic { .. })) =
            (&self.username, &typed, &known)
            && Self::still_holds(cx, &settings, &server, known)?
        {
            return Ok(());
        }
        let (user, password) = self.complete(typed, before)?;
        let given = Credentials::Basic { user: user.clone(), password };
        verify(&settings, &server, &given).map_err(|e| {
            if is_wrong_password(&e) {
                return words(&format!("logging into {:?}: invalid username/password", server.key));
            }
            e
        })?;
        let kept = keep(&place, &settings, &server, &user, &given)?;
        if self.verbose {
            cx.said(format!("Used:  {kept}"))?;
        }
        cx.said("Login Succeeded!")
    }

    fn typed_password(&self) -> Result<Option<String>> {
        if !self.password_stdin {
            return Ok(self.password.clone().filter(|p| !p.is_empty()));
        }
        if self.password.is_some() {
            return Err(words("can't specify both --password-stdin and --password"));
        }
        if self.username.is_none() {
            return Err(words("must provide --username with --password-stdin"));
        }
        let mut text = String::new();
        let mut stdin = std::io::stdin().lock().take(1 << 20);
        stdin.read_to_string(&mut text).map_err(Error::at("read", "stdin"))?;
        // As podman: lines are one after another.
        Ok(Some(text.lines().collect()))
    }

    /// Whether what is known already is still accepted.
    fn still_holds(
        cx: &Context,
        settings: &Settings,
        server: &Server,
        known: &Credentials,
    ) -> Result<bool> {
        cx.said(format!("Authenticating with existing credentials for {}", server.key))?;
        if verify(settings, server, known).is_ok() {
            let text = "Existing credentials are valid. Already logged in to";
            cx.said(format!("{text} {}", server.domain))?;
            return Ok(true);
        }
        cx.said("Existing credentials are invalid, please enter valid username and password")?;
        Ok(false)
    }

    /// Asks for what wasn't typed.
    fn complete(&self, password: Option<String>, before: &str) -> Result<(String, String)> {
        let user = if let Some(user) = self.username.as_deref().filter(|u| !u.is_empty()) {
            user.to_owned()
        } else {
            let shown = if before.is_empty() { String::new() } else { format!(" ({before})") };
            let typed = ask::line("username", &format!("Username{shown}: "))?;
            if typed.is_empty() { before.to_owned() } else { typed }
        };
        let password = match password {
            Some(password) if !password.is_empty() => password,
            _ => ask::secret("password", "Password: ")?,
        };
        Ok((user.trim().to_owned(), password))
    }
}

fn words(text: &str) -> Error {
    Error::Conflict(text.to_owned())
}

fn user_of(known: Option<&Credentials>) -> &str {
    match known {
        Some(Credentials::Basic { user, .. }) => user,
        _ => "",
    }
}

/// Keeps credentials in the file, or with the first helper of registries.conf that takes them.
fn keep(
    place: &AuthPlace,
    settings: &Settings,
    server: &Server,
    user: &str,
    known: &Credentials,
) -> Result<String> {
    let mut failed = None;
    let (logins, key) = (place.logins(), place.key(server)?);
    let helpers = &settings.keyring.helpers;
    let own = [FILES.to_owned()];
    let helpers = if place.docker || helpers.is_empty() { &own[..] } else { helpers };
    for helper in helpers {
        let kept = if helper == FILES {
            logins.keep(&key, user, known)
        } else {
            key.keep_with(helper, known).map(|()| Kept::Helper(helper.clone()))
        };
        match kept {
            Ok(Kept::Plain(path)) => return Ok(path.display().to_string()),
            Ok(Kept::Helper(name)) => return Ok(format!("credential helper: {name}")),
            Err(e) => failed = Some(e),
        }
    }
    Err(failed.unwrap_or_else(|| words("there is nowhere to keep credentials")))
}
