//! `dhow logs`.

use clap::Args;
use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::logging::Look;
use crate::monitor::{self, LogOptions};
use crate::options::time::moment;
use crate::output::Output;

/// Show a container's output
#[derive(Debug, Args)]
pub struct Logs {
    /// Go on as new output comes
    #[arg(short, long)]
    pub follow: bool,
    /// Only what is newer than this time or age (as 10m)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only what is older than this time or age
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only the last N lines, or all
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value = "all",
        allow_negative_numbers = true
    )]
    pub tail: String,
    /// Each line's time before it
    #[arg(short, long)]
    pub timestamps: bool,
    /// The log driver's extra attributes
    #[arg(long)]
    pub details: bool,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

impl Logs {
    /// The container's stdout to stdout, its stderr to stderr.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host);
        out.end(result)
    }

    fn perform(&self, host: &Host) -> Result<()> {
        let now = Timestamp::now();
        let at = |flag: &str, text: &Option<String>| -> Result<Option<Timestamp>> {
            let what = format!("invalid value for \"{flag}\"");
            text.as_deref().map(|text| moment(&what, text, now)).transpose()
        };
        let tail = match self.tail.as_str() {
            "all" => None,
            // As docker: below zero is everything.
            n => n.parse::<i64>().map(|n| u64::try_from(n).ok()).map_err(|_| {
                Error::usage(format!("--tail: \"{n}\" is neither a number nor \"all\""))
            })?,
        };
        let options = LogOptions {
            follow: self.follow,
            tail,
            look: Look {
                since: at("since", &self.since)?,
                until: at("until", &self.until)?,
                timestamps: self.timestamps,
                details: self.details,
            },
        };
        let record = host.containers.find(&self.container)?.record;
        let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
        let done = monitor::logs(host, &record, &options, &mut out, &mut err);
        host.containers.unless_gone(&self.container, done)
    }
}
