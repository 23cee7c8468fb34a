//! `dhow system generate`: units that run single containers, as podman's `generate systemd`.

use std::path::Path;

use clap::Args;

use super::unit::{manager, program};
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::model::{Record, Sdnotify};
use crate::output::Output;
use crate::store::{Sync, write_atomic};
use crate::units::{Container, Wants, file_name, reworked};

/// Values of `Restart=`, systemd.service(5).
const POLICIES: [&str; 7] =
    ["no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"];

/// Print a systemd unit for a container
#[derive(Debug, Args)]
#[command(
    after_help = "For a container that is there, the unit starts and stops it; with --new it makes it anew\n\
                        each time, by the command line that made this one. Install it so:\n  \
                        cd /etc/systemd/system && dhow system generate --new --files --name web\n  \
                        systemctl daemon-reload && systemctl enable --now container-web"
)]
pub struct Generate {
    /// Make the container at each start, and remove it at the end
    #[arg(long)]
    pub new: bool,
    /// Write NAME.service into this directory, and print its path
    #[arg(short, long)]
    pub files: bool,
    /// Use the container's name, not its id (with --new it is always the name)
    #[arg(short, long)]
    pub name: bool,
    /// For the systemd of a user (an ordinary user's always is)
    #[arg(long)]
    pub user: bool,
    /// Who tells systemd that it is up: container, conmon (dhow itself) or ignore
    /// (default what it was made with, else conmon)
    #[arg(long, value_name = "WHO")]
    pub sdnotify: Option<Sdnotify>,
    /// systemd's Restart=
    #[arg(long, value_name = "POLICY", default_value = "on-failure", value_parser = POLICIES)]
    pub restart_policy: String,
    /// systemd's RestartSec=
    #[arg(long, value_name = "SECONDS")]
    pub restart_sec: Option<u64>,
    /// systemd's TimeoutStartSec= (default 900 with --new, which may pull)
    #[arg(long, value_name = "SECONDS")]
    pub start_timeout: Option<u64>,
    /// Seconds before SIGKILL (default the container's)
    #[arg(short = 't', long, visible_alias = "time", value_name = "SECONDS")]
    pub stop_timeout: Option<u32>,
    /// Environment variable KEY=VALUE of the unit
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub env: Vec<String>,
    /// Unit that is to be up before
    #[arg(long, value_name = "UNIT")]
    pub after: Vec<String>,
    /// Unit that is started, too
    #[arg(long, value_name = "UNIT")]
    pub wants: Vec<String>,
    /// Unit that has to be there
    #[arg(long, value_name = "UNIT")]
    pub requires: Vec<String>,
    /// Stream socket that systemd opens and the container is given at 3 and after, as 8080,
    /// 127.0.0.1:8080, [::1]:8080 or /run/web.sock: a NAME.socket beside the NAME.service
    #[arg(long, value_name = "ADDRESS")]
    pub listen_stream: Vec<String>,
    /// Datagram socket, the same
    #[arg(long, value_name = "ADDRESS")]
    pub listen_datagram: Vec<String>,
    /// What the unit's name begins with
    #[arg(long, value_name = "TEXT", default_value = "container")]
    pub container_prefix: String,
    /// What follows it
    #[arg(long, value_name = "TEXT", default_value = "-")]
    pub separator: String,
    /// No line that says what wrote it
    #[arg(long)]
    pub no_header: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

impl Generate {
    /// Prints each unit, or the path of each file.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let done = self.units(host, out).and_then(|units| {
            for (file, text) in units {
                if self.files {
                    let cause = |e| Error::io("write", Path::new(&file), e);
                    let path = std::env::current_dir().map_err(cause)?.join(&file);
                    write_atomic(&path, text.as_bytes(), Sync::Yes)?;
                    out.line(&path.display().to_string());
                } else {
                    out.text(&text);
                }
            }
            Ok(())
        });
        match done {
            Ok(()) => out.exit(),
            Err(e) => out.end(Err(e)),
        }
    }

    /// All of them, before the first is written: files, and texts.
    fn units(&self, host: &Host, out: &mut Output) -> Result<Vec<(String, String)>> {
        for (flag, values) in
            [("--after", &self.after), ("--wants", &self.wants), ("--requires", &self.requires)]
        {
            values.iter().try_for_each(|name| unit_name(flag, name))?;
        }
        unit_name("--container-prefix", &format!("{}{}x", self.container_prefix, self.separator))?;
        if let Some(set) =
            self.env.iter().find(|set| set.split_once('=').is_none_or(|s| s.0.is_empty()))
        {
            return Err(Error::usage(format!("--env: {set:?} is no KEY=VALUE")));
        }
        let mut units = Vec::new();
        for needle in &self.containers {
            let unit = self.unit(host, &host.containers.find(needle)?.record, out)?;
            let text = unit.text()?;
            units.extend(unit.socket());
            units.push((unit.file, text));
        }
        Ok(units)
    }

    fn unit(&self, host: &Host, record: &Record, out: &mut Output) -> Result<Container> {
        let name = &record.name;
        if record.host_config.auto_remove && !self.new {
            return Err(Error::usage(format!(
                "{name} is removed when it ends (--rm): a unit can't start it again; use --new"
            )));
        }
        let policy = &record.host_config.restart_policy.name;
        if !self.new && !matches!(policy.as_str(), "" | "no") {
            out.note(&format!(
                "WARNING: {name} has --restart {policy} and begins again by itself, too; to leave that to systemd: dhow update --restart no {name}"
            ));
        }
        let new = self.new.then(|| again(record)).transpose()?;
        let kind = record.host_config.log_config.kind.as_str();
        let called = if self.name || self.new { name } else { &record.id };
        let mut others = Wants {
            after: self.after.clone(),
            wants: self.wants.clone(),
            requires: self.requires.clone(),
        };
        // Whose namespaces it joins has to be there; it may have such a unit or be started by hand.
        for other in crate::monitor::joined(&record.host_config) {
            let Ok(found) = host.containers.find(other) else { continue };
            let other = &found.record;
            let id = if self.name || self.new { &other.name } else { &other.id };
            others.after.push(file_name(&self.container_prefix, &self.separator, id));
        }
        Ok(Container {
            file: file_name(&self.container_prefix, &self.separator, called),
            name: called.clone(),
            dhow: program(host)?,
            root: host.paths.root.to_string_lossy().into_owned(),
            new,
            directory: Some(record.directory.clone())
                .filter(|dir| !dir.is_empty() && dir != "/" && !dir.contains(char::is_control)),
            sdnotify: self.sdnotify.or(record.sdnotify).unwrap_or(Sdnotify::Conmon),
            quiet: kind == "journald",
            stop_timeout: self.stop_timeout.map_or_else(|| record.stop_timeout(), i64::from),
            restart: self.restart_policy.clone(),
            restart_sec: self.restart_sec,
            start_timeout: self.start_timeout,
            env: self.env.clone(),
            others,
            sockets: self.sockets()?,
            manager: manager(self.user),
            header: !self.no_header,
        })
    }
}

impl Generate {
    /// In the words of systemd.socket(5).
    fn sockets(&self) -> Result<Vec<(&'static str, String)>> {
        let mut all = Vec::new();
        for (flag, key, addresses) in [
            ("--listen-stream", "ListenStream", &self.listen_stream),
            ("--listen-datagram", "ListenDatagram", &self.listen_datagram),
        ] {
            for address in addresses {
                if address.is_empty()
                    || address.contains(|c: char| c.is_whitespace() || c.is_control())
                {
                    return Err(Error::usage(format!(
                        "{flag}: {address:?} is no address of a socket"
                    )));
                }
                all.push((key, address.replace('%', "%%")));
            }
        }
        Ok(all)
    }
}

/// What makes it once more.
fn again(record: &Record) -> Result<Vec<String>> {
    let env = record.config.env.as_slice();
    reworked(&crate::cli::definition(), &record.typed, env).ok_or_else(|| {
        Error::usage(format!(
            "{} was made by an older dhow, which didn't note how; make it again, or leave --new away",
            record.name
        ))
    })
}

/// systemd.unit(5): what a unit's name is made of.
fn unit_name(flag: &str, name: &str) -> Result<()> {
    let fit = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if name.is_empty() || !name.chars().all(fit) {
        return Err(Error::usage(format!("{flag}: {name:?} is no name of a unit")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_units_are_names() {
        assert!(unit_name("--after", "postgresql@15-main.service").is_ok());
        for bad in ["", "a b", "a\nExecStart=b", "../x"] {
            assert!(unit_name("--after", bad).is_err(), "{bad:?}");
        }
    }
}
