//! Verbs of the machine.

pub mod df;
pub mod events;
pub mod generate;
pub mod info;
pub mod prune;
pub mod start;
pub mod stop;
pub mod unit;
mod usage;
pub mod version;

use crate::error::{Error, Kind, Result};
use crate::exit::Exit;
use crate::monitor::Outcome;
use crate::output::{Output, Template};

/// A template of `version` or `info`, whose mistakes docker tells in words of their own.
fn template(text: &str) -> Result<Template> {
    Template::parse(text).map_err(|e| {
        let why =
            e.message.replacen("failed to parse template", "template parsing error: template", 1);
        Error::new(Kind::Template, why)
    })
}

/// Names on stdout, failures on stderr.
fn told(outcomes: Result<Vec<Outcome>>, out: &mut Output) -> Exit {
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        Err(e) => return out.end(Err(e)),
    };
    let mut worst = Exit::OK;
    for (record, result) in outcomes {
        worst = worst.and(match result {
            Ok(()) => {
                out.line(&record.name);
                Exit::OK
            }
            Err(e) => out.end(Err(e)),
        });
    }
    worst.and(out.exit())
}
