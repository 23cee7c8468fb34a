//! `dhow events`.

use clap::Args;
use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::events::{Event, Filter, Look, Span, read};
use crate::exit::Exit;
use crate::host::Host;
use crate::options::time::moment;
use crate::output::Output;

/// Show what happens, as it happens
#[derive(Debug, Args)]
pub struct Events {
    /// Keep what matches KEY=VALUE: container, daemon, event, image, label, network, scope, type, volume
    #[arg(short, long, value_name = "FILTER")]
    pub filter: Vec<String>,
    /// A Go template for each, or json
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// What happened from this time on, or up to so long ago (as 10m), too
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Only up to this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,
}

impl Events {
    /// A line an event, until `--until` or a signal.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let look = match Look::of(self.format.as_deref()) {
            Ok(look) => look,
            Err(e) => {
                out.error(&e);
                return Exit::FORMAT;
            }
        };
        let mut bad_format = false;
        let result =
            self.perform(host, out, |event| look.show(event).inspect_err(|_| bad_format = true));
        match out.end(result) {
            Exit::FAILED if bad_format => Exit::FORMAT,
            other => other,
        }
    }

    fn perform(
        &self,
        host: &Host,
        out: &mut Output,
        mut show: impl FnMut(&Event) -> Result<String>,
    ) -> Result<()> {
        let filter = Filter::parse(&self.filter)?;
        let now = Timestamp::now();
        let at = |flag: &str, text: &Option<String>| -> Result<Option<Timestamp>> {
            let typed = text.as_deref().filter(|text| !text.is_empty());
            typed.map(|text| moment(flag, text, now)).transpose()
        };
        let span = Span { since: at("--since", &self.since)?, until: at("--until", &self.until)? };
        if let (Some(since), Some(until)) = (span.since, span.until)
            && until < since
        {
            return Err(Error::usage(format!(
                "`since` time ({}) cannot be after `until` time ({})",
                since.as_second(),
                until.as_second()
            )));
        }
        read(&host.paths, span, |event| {
            if filter.fits(event) {
                out.text(&show(event)?);
            }
            Ok(())
        })
    }
}
