//! Verbs of the machine.

pub mod events;
pub mod info;
pub mod start;
pub mod stop;
pub mod unit;
pub mod version;

use crate::error::Result;
use crate::exit::Exit;
use crate::monitor::Outcome;
use crate::output::Output;

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
