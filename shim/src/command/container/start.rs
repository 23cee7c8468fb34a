//! `dhow start`.

use clap::Args;

use crate::cli::SigProxy;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::model::{Record, Sdnotify};
use crate::monitor::{self, Attach, Ended, Notice, Start as How};
use crate::output::Output;

/// Start stopped containers
#[derive(Debug, Args)]
pub struct Start {
    /// Show the output, pass signals on and end with the exit code
    #[arg(short, long)]
    pub attach: bool,
    /// Send stdin
    #[arg(short, long)]
    pub interactive: bool,
    /// Keys that leave the container running (default ctrl-p,ctrl-q)
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub sig_proxy: SigProxy,
    /// Who tells NOTIFY_SOCKET that it is up: container, conmon or ignore (default what it was made with)
    #[arg(long, value_name = "WHO")]
    pub sdnotify: Option<Sdnotify>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

impl Start {
    /// Prints each name; attached, the container's exit code.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        if self.attach || self.interactive {
            return match self.foreground(host, out) {
                Ok(exit) => exit,
                Err(e) => {
                    out.error(&e);
                    Exit::of_verb(e.kind)
                }
            };
        }
        let mut told = Vec::new();
        let exit = out.each(&self.containers, |needle| {
            let found = host.containers.find(needle)?;
            match self.notice(&found.record) {
                Some(notify) if !monitor::state(host, &found.record)?.status.is_alive() => {
                    let how = How { attach: None, notify: Some(notify) };
                    let mut running = monitor::start(host, &found.record, how)?;
                    told.append(&mut running.told);
                    running.leave()?;
                }
                _ => monitor::ensure(host, &found.record)?,
            }
            Ok(needle.to_owned())
        });
        out.warn(&told);
        exit
    }

    fn notice(&self, record: &Record) -> Option<Notice> {
        let background = !self.attach && !self.interactive;
        let how = self.sdnotify.or(record.sdnotify).unwrap_or(Sdnotify::unsaid(background));
        Notice::of(std::env::var_os("NOTIFY_SOCKET"), how)
    }

    fn foreground(&self, host: &Host, out: &Output) -> Result<Exit> {
        let [needle] = self.containers.as_slice() else {
            return Err(Error::usage("you cannot start and attach multiple containers at once"));
        };
        let record = host.containers.find(needle)?.record;
        let attach = Attach {
            stdin: self.interactive && record.config.open_stdin,
            stdout: self.attach || self.interactive,
            stderr: self.attach || self.interactive,
            detach_keys: self.detach_keys.clone(),
            sig_proxy: self.sig_proxy.sig_proxy,
        };
        let ended = if monitor::state(host, &record)?.status.is_alive() {
            self.notice(&record).iter().for_each(Notice::tell_running);
            monitor::attach(host, &record, &attach)?
        } else {
            let how = How { attach: Some(attach), notify: self.notice(&record) };
            let running = monitor::start(host, &record, how)?;
            out.warn(&running.told);
            running.follow()?
        };
        Ok(match ended {
            Ended::Exited(code) => Exit::container(code),
            Ended::Detached => Exit::OK,
        })
    }
}
