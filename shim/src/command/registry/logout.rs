//! `dhow logout`.

use clap::Args;
use dhow_image::registry::Server;

use super::{logins, warn_of_environment};
use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::output::Output;

/// Log out from a registry
#[derive(Debug, Args)]
pub struct Logout {
    /// HOST[:PORT]; without it, Docker Hub
    #[arg(value_name = "SERVER")]
    pub server: Option<String>,
}

impl Logout {
    /// Says so whether or not somebody was logged in, as docker does.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out);
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<()> {
        let server = Server::new(self.server.as_deref()).map_err(of_image)?;
        warn_of_environment(out);
        out.line(&format!("Removing login credentials for {}", server.key));
        let logins = logins(host)?;
        if let Err(e) = logins.forget(&server) {
            // As docker: what could not be erased is a warning, but a lost file is an error.
            if !matches!(e, dhow_image::Error::Auth { .. }) {
                return Err(of_image(e));
            }
            out.note(&format!("WARNING: could not erase credentials:\n{}: {e}", server.key));
        }
        Ok(())
    }
}
