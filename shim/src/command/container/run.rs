//! `dhow run`: make, start, stay.

use std::io::IsTerminal;
use std::time::Instant;

use clap::Args;

use crate::cli::SigProxy;
use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{self, Request, Steps, lap, make};
use crate::model::{Record, Sdnotify};
use crate::monitor::{self, Attach, Ended, Notice, Start};
use crate::options::{Order, fill};
use crate::output::Output;

/// Make a container of an image and start it
#[derive(Debug, Args)]
#[command(disable_help_flag = true, override_usage = "dhow run [OPTIONS] IMAGE [COMMAND] [ARG...]")]
pub struct Run {
    /// Don't stay connected: print the id and return
    #[arg(short, long)]
    pub detach: bool,
    /// Say how long each step took (on by itself for hello)
    #[arg(long)]
    pub timing: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub sig_proxy: SigProxy,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub order: Order,
}

impl Run {
    /// The container's exit code, or 125 to 127 when it did not come to that.
    pub fn run(mut self, host: &Host, out: &mut Output) -> Exit {
        match self.perform(host, out) {
            Ok(exit) => exit,
            Err(e) => {
                out.error(&e);
                Exit::of_run(e.kind)
            }
        }
    }

    fn perform(&mut self, host: &Host, out: &mut Output) -> Result<Exit> {
        let began = Instant::now();
        fill(&mut self.order.flags, host.settings.client()?, host.settings.daemon()?);
        let mut steps = Steps::new();
        if self.detach && !self.order.flags.attach.is_empty() {
            let why = "conflicting options: cannot specify both --attach and --detach";
            out.error(&Error::usage(why));
            return Ok(Exit::FAILED); // as docker's
        }
        let (image, command, intent) = self.order.understood("run", self.detach)?;
        let config = &intent.config;
        if config.tty && config.attach_stdin && !std::io::stdin().is_terminal() {
            out.error(&Error::usage("the input device is not a TTY; leave -t away"));
            return Ok(Exit::FAILED);
        }
        monitor::DetachKeys::parse(self.order.flags.detach_keys.as_deref())?;
        lap(&mut steps, "options", began);
        let attach = (!self.detach).then(|| Attach {
            stdin: config.attach_stdin,
            stdout: config.attach_stdout,
            stderr: config.attach_stderr,
            detach_keys: self.order.flags.detach_keys.clone(),
            sig_proxy: self.sig_proxy.sig_proxy,
        });
        let request = Request { flags: &self.order.flags, image, command, intent, now: true };
        let record = make(host, request, out, &mut steps)?;
        let begun = Instant::now();
        let how = record.sdnotify.unwrap_or(Sdnotify::unsaid(self.detach));
        let notify = Notice::of(std::env::var_os("NOTIFY_SOCKET"), how);
        let started = monitor::start(host, &record, Start { attach, notify });
        let running = started.inspect_err(|_| {
            if record.host_config.auto_remove {
                // The failure is told; what can't be removed now, `dhow rm` can.
                let _ = crate::store::discard(host, &record, true);
                // It would keep the next container with this --cidfile from being made.
                let _ = self.order.flags.cidfile.as_ref().map(std::fs::remove_file);
            }
        })?;
        lap(&mut steps, "start", begun);
        let inner = running.steps.clone();
        out.warn(&running.told);
        let exit = if self.detach {
            running.leave()?;
            out.line(&record.id);
            out.exit()
        } else {
            match running.follow()? {
                Ended::Exited(code) => Exit::container(code),
                Ended::Detached => Exit::OK,
            }
        };
        if self.timing || record.image.reference == making::HELLO {
            out.note(&timing(&record, &steps, &inner));
        }
        Ok(exit)
    }
}

/// `image 0.3 ms, record 0.2 ms, start 9.1 ms (overlay 0.1 ms, …)`
fn timing(record: &Record, steps: &Steps, inner: &[monitor::Step]) -> String {
    let ms = |micros: u64| format!("{}.{} ms", micros / 1000, micros / 100 % 10);
    let total: u64 = steps.iter().map(|(_, micros)| micros).sum();
    let outer: Vec<String> = steps.iter().map(|(n, t)| format!("{n} {}", ms(*t))).collect();
    let inner: Vec<String> = inner.iter().map(|s| format!("{} {}", s.name, ms(s.micros))).collect();
    let inner = if inner.is_empty() { String::new() } else { format!(" ({})", inner.join(", ")) };
    format!("dhow: {} was up in {}: {}{inner}", record.name, ms(total), outer.join(", "))
}
