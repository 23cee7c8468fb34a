//! `dhow login`.

use std::io::{IsTerminal, Read};

use clap::Args;
use dhow_image::registry::{Credentials, Kept, Server, verify};

use super::{logins, user_of, warn_of_environment};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::output::{Answer, Output, ask};

/// Log in to a registry
#[derive(Debug, Args)]
pub struct Login {
    /// User name
    #[arg(short, long, value_name = "USER")]
    pub username: Option<String>,
    /// Password or token; - reads it from stdin
    #[arg(short, long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// Read the password from stdin
    #[arg(long)]
    pub password_stdin: bool,
    /// HOST[:PORT]; without it, Docker Hub
    #[arg(value_name = "SERVER")]
    pub server: Option<String>,
}

/// Somebody pressed ctrl-c at a question, or an error.
enum Stop {
    Interrupted,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

const REGISTER: &str = "Log in with your Docker ID or email address to push and pull images from Docker Hub. \
    If you don't have a Docker ID, head over to https://hub.docker.com/ to create one.";

impl Login {
    /// Asks for what lacks, has the registry say yes, keeps it.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        match self.perform(host, out) {
            Err(Stop::Interrupted) => Exit::signal(libc::SIGINT),
            Err(Stop::Failed(e)) => out.end(Err(e)),
            Ok(()) => {
                out.line("Login Succeeded");
                out.exit()
            }
        }
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<(), Stop> {
        let password = self.typed_password(out)?;
        let server = Server::new(self.server.as_deref()).map_err(of_image)?;
        warn_of_environment(out);
        let mut default = String::new();
        if self.username.is_none() && password.is_none() {
            let known = logins(host)?.find(&server).map_err(of_image)?;
            if let Some(known) = known {
                user_of(&known).clone_into(&mut default);
                if existing(host, &server, &known, out)? {
                    return Ok(());
                }
            }
        }
        let (user, password) = self.complete(&server, password, &default, out)?;
        let known = Credentials::Basic { user: user.clone(), password };
        let accepted = verify(&host.registry()?, &server, &known).map_err(of_image)?;
        Ok(keep(host, &server, &user, &accepted, out)?)
    }

    /// The password of a flag or of stdin.
    fn typed_password(&self, out: &mut Output) -> Result<Option<String>> {
        let typed = self.password.as_deref();
        let from_stdin = self.password_stdin || typed == Some("-");
        if self.password_stdin && typed.is_some_and(|p| p != "-") {
            return Err(Error::usage("--password and --password-stdin are mutually exclusive"));
        }
        if self.username.as_deref() == Some("") {
            return Err(Error::usage("username is empty"));
        }
        if typed == Some("") {
            return Err(Error::usage("password is empty"));
        }
        if !from_stdin {
            if typed.is_some() {
                out.note(
                    "WARNING! Using --password via the CLI is insecure. Use --password-stdin.",
                );
            }
            return Ok(typed.map(str::to_owned));
        }
        if self.username.is_none() {
            return Err(Error::usage("must provide --username with --password-stdin"));
        }
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .take(1 << 20)
            .read_to_string(&mut text)
            .map_err(|e| Error::engine(format!("cannot read the password from stdin: {e}")))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.trim().is_empty() {
            return Err(Error::usage("password is empty"));
        }
        Ok(Some(text.to_owned()))
    }

    /// Asks on the terminal for what was not typed.
    fn complete(
        &self,
        server: &Server,
        password: Option<String>,
        default: &str,
        out: &mut Output,
    ) -> Result<(String, String), Stop> {
        if let (Some(user), Some(password)) = (&self.username, &password) {
            return Ok((user.clone(), password.clone()));
        }
        if !std::io::stdin().is_terminal() {
            let text = "cannot perform an interactive login from a non-TTY device; use --username and --password-stdin";
            return Err(Error::usage(text).into());
        }
        let user = if let Some(user) = &self.username {
            user.clone()
        } else {
            if server.domain == "docker.io" {
                out.line(REGISTER);
            }
            let question = match default {
                "" => "Username: ".to_owned(),
                name => format!("Username ({name}): "),
            };
            let typed = answered(ask(out, &question, true)?)?;
            if typed.is_empty() { default.to_owned() } else { typed }
        };
        if user.is_empty() {
            return Err(Error::usage("username is required").into());
        }
        let password = match password {
            Some(password) => password,
            None => answered(ask(out, "Password: ", false)?)?,
        };
        if password.is_empty() {
            return Err(Error::usage("password is required").into());
        }
        Ok((user, password))
    }
}

fn answered(answer: Answer) -> Result<String, Stop> {
    match answer {
        Answer::Line(line) => Ok(line.trim().to_owned()),
        Answer::End => Ok(String::new()),
        Answer::Interrupted => Err(Stop::Interrupted),
    }
}

/// Tries what is kept already; whether it still holds.
fn existing(host: &Host, server: &Server, known: &Credentials, out: &mut Output) -> Result<bool> {
    let user = user_of(known);
    let whose = if user.is_empty() { String::new() } else { format!(" [Username: {user}]") };
    out.note(&format!("Authenticating with existing credentials...{whose}"));
    out.note("To log in as somebody else, run 'dhow logout' first.");
    match verify(&host.registry()?, server, known) {
        Ok(accepted) => {
            if accepted != *known {
                keep(host, server, user, &accepted, out)?;
            }
            Ok(true)
        }
        Err(e @ dhow_image::Error::Auth { .. }) => {
            out.note(&format!("Stored credentials invalid or expired: {e}"));
            Ok(false)
        }
        Err(e) => Err(of_image(e)),
    }
}

fn keep(
    host: &Host,
    server: &Server,
    user: &str,
    accepted: &Credentials,
    out: &mut Output,
) -> Result<()> {
    let kept = logins(host)?.keep(server, user, accepted).map_err(of_image)?;
    if let (Kept::Plain(path), Credentials::Basic { .. }) = (&kept, accepted) {
        out.note(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\n\
             Configure a credential helper to remove this warning. See\n\
             https://docs.docker.com/go/credential-store/\n",
            path.display()
        ));
    }
    Ok(())
}
