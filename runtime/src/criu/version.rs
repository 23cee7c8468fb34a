//! What the installed criu is, and can.

use super::rpc::{Features, Request};
use super::swrk::{Criu, Nobody, Program, Seat};
use crate::error::{Error, Result};

/// The request for the version, and thereby all of it.
pub const LEAST: i32 = 30_000;
/// External network namespaces.
pub const EXTERNAL_NET: i32 = 31_100;
/// Freezing by cgroup v2.
pub const FREEZER_V2: i32 = 31_400;
/// External pid namespaces.
pub const EXTERNAL_PID: i32 = 31_500;
/// That the page server is ready is told.
pub const STATUS_READY: i32 = 31_500;
/// Another LSM profile than the dumped one.
pub const LSM_PROFILE: i32 = 31_600;

/// Asks; an old one that doesn't know the question is too old.
pub fn ask(program: &Program) -> Result<i32> {
    let criu = Criu::start(program, Seat::default())?;
    let response = criu.ask(&Request::Version, &mut Nobody)?;
    criu.end()?;
    at_least(response.version, LEAST, "checkpoint and restore")?;
    Ok(response.version)
}

/// What is asked for takes a version.
pub fn at_least(criu: i32, least: i32, what: &str) -> Result<()> {
    if criu >= least {
        return Ok(());
    }
    let shown = |v: i32| format!("{}.{}.{}", v / 10_000, v / 100 % 100, v % 100);
    let why = format!("criu is {}: install {} or newer", shown(criu), shown(least));
    Err(Error::unsupported(what, why))
}

/// Checks that criu and the kernel have what is wanted.
pub fn check(program: &Program, wanted: Features) -> Result<()> {
    let criu = Criu::start(program, Seat::default())?;
    let there = criu.ask(&Request::Features(wanted), &mut Nobody)?.features;
    criu.end()?;
    let why = "criu says that this kernel lacks it";
    if wanted.mem_track && !there.mem_track {
        return Err(Error::unsupported("--pre-dump: tracking of dirty memory", why));
    }
    if wanted.lazy_pages && !there.lazy_pages {
        return Err(Error::unsupported("--lazy-pages: userfaultfd", why));
    }
    Ok(())
}
