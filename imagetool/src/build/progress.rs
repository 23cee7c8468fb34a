//! What is told of a build while it goes on.

use std::time::Duration;

/// A step's number, from 1, in the order of being told of first.
pub type StepId = usize;

/// Whoever shows it. Called from several threads.
pub trait Watcher: Sync {
    /// Something has happened.
    fn tell(&self, event: Event<'_>);
}

/// Nobody.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Watcher for Nobody {
    fn tell(&self, _: Event<'_>) {}
}

/// Which way a line came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// A RUN's stdout.
    Stdout,
    /// A RUN's stderr.
    Stderr,
}

/// What has happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A step has begun: `[builder 2/5] RUN make`, `[internal] load build context`.
    Began(StepId, &'a str),
    /// Its result of an earlier build holds.
    Cached(StepId),
    /// What a RUN wrote, as it came: not always whole lines.
    Wrote(StepId, Stream, &'a [u8]),
    /// Work within a step: what, bytes done, bytes in all if known.
    Moved(StepId, &'a str, u64, Option<u64>),
    /// It has ended well, after so long.
    Done(StepId, Duration),
    /// It has failed.
    Failed(StepId, &'a str),
    /// It was not finished, as another one has failed.
    Canceled(StepId),
    /// Something is not as it should be, but can be built: the check's name, what, the line.
    Warning(&'a str, &'a str, usize),
}
