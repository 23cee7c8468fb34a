//! Verbs of builds.

pub mod build;
pub mod du;
mod ending;
pub mod prune;

use std::time::Duration;

use dhow_image::build::cache::Filter;

use crate::error::{Error, Result};
use crate::options::filters::Filters;

/// Keys of `--filter` that are times.
const TIMES: [&str; 2] = ["until", "unused-for"];

/// `--filter` as the cache reads it.
fn filter(typed: &[String], all: bool, keep: u64) -> Result<Filter> {
    // A key alone is asked for as true, as buildx has it.
    let whole = |text: &String| {
        if text.contains('=') { text.clone() } else { format!("{text}=") }
    };
    let typed: Vec<String> = typed.iter().map(whole).collect();
    let filters = Filters::parse(&typed, &[&TIMES[..], &Filter::KEYS].concat())?;
    let (until, unused) = (filters.values("until"), filters.values("unused-for"));
    let (key, times) = match (until, unused) {
        ([], times) => ("unused-for", times),
        (times, []) => ("until", times),
        _ => return Err(Error::usage("conflicting filters \"until\" and \"unused-for\"")),
    };
    let unused_for = match times {
        [] => None,
        [time] => Some(duration(key, time)?),
        _ => return Err(Error::usage(format!("\"{key}\" filter expects only one value"))),
    };
    let mut fits = Vec::new();
    for key in Filter::KEYS {
        match filters.values(key) {
            [] => {}
            [value] => fits.push((key.to_owned(), value.clone())),
            _ => return Err(Error::usage(format!("\"{key}\" filter expects only one value"))),
        }
    }
    Ok(Filter { all, unused_for, keep, fits })
}

fn duration(key: &str, text: &str) -> Result<Duration> {
    dhow_image::moment::duration(text).ok_or_else(|| {
        Error::usage(format!("\"{key}\" filter expects a duration (e.g., '24h'), not {text}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_as_buildx_reads_them() {
        let read = |typed: &[&str]| {
            let typed: Vec<String> = typed.iter().map(ToString::to_string).collect();
            filter(&typed, false, 0)
        };
        let found = read(&["until=24h", "type=regular", "inuse"]).unwrap();
        assert_eq!(found.unused_for, Some(Duration::from_hours(24)));
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(found.fits, [pair("type", "regular"), pair("inuse", "")]);
        for bad in [
            &["until=24h", "unused-for=1h"][..],
            &["until=soon"],
            &["id=a", "id=b"],
            &["colour=red"],
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
